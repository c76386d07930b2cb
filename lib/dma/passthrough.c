/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passthrough: the device's addresses are those of memory, and it reaches all
 * of it. What every other strategy is compared with (Linux: iommu=pt).
 */
#include <errno.h>

#include "dma/strategy.h"

static int open_all(struct viommu_dma *d)
{
	if (!d->backing.ops->pass_through)
		return -ENOTSUP;
	return d->backing.ops->pass_through(d->backing.opaque, true);
}

static void close_all(struct viommu_dma *d)
{
	d->backing.ops->pass_through(d->backing.opaque, false);
}

static int map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
	       struct viommu_dma_mapping *mappings)
{
	(void)t;
	/* Without translation a device that is too narrow cannot be helped. */
	for (size_t i = 0; i < count; i++)
		if ((requests[i].address + requests[i].len - 1) >> VI_DMA_PAGE_SHIFT > requests[i].last_page)
			return -ENOSPC;
	for (size_t i = 0; i < count; i++)
		mappings[i].iova = requests[i].address;
	return 0;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	(void)t;
	(void)mappings;
	(void)count;
	return 0;
}

const struct vi_dma_strategy vi_dma_passthrough = {
	.info =
		{
			.name = "passthrough",
			.doc = "Does not translate: a device address is a memory address.",
			.promise = "None: the device reaches all memory, always.",
			.source = "Linux, iommu=pt",
		},
	.open = open_all,
	.close = close_all,
	.map = map,
	.unmap = unmap,
};
