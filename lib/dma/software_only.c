/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * software-only: no IOMMU translates. What the driver hands to the device is
 * checked instead: memory that is the driver's own, which is counted page by
 * page and not forgotten while a device may use it (Willmann et al., ATC 2008).
 * Against a device that does not keep to it there is no protection.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dma/strategy.h"

static int open_all(struct viommu_dma *d)
{
	return vi_dma_passthrough.open(d);
}

static void close_all(struct viommu_dma *d)
{
	vi_dma_passthrough.close(d);
}

/* How many mappings each page of the memory has. */
static int memory_added(struct viommu_dma_thread *t, struct vi_dma_region *r)
{
	r->state = calloc(r->len >> VI_DMA_PAGE_SHIFT, sizeof(_Atomic uint32_t));
	return r->state ? 0 : -ENOMEM;
}

static int memory_removed(struct viommu_dma_thread *t, struct vi_dma_region *r)
{
	free(r->state);
	return 0;
}

static void hold(const struct vi_dma_request *r, struct viommu_dma_mapping *m)
{
	uint64_t first = (r->address - r->region->address) >> VI_DMA_PAGE_SHIFT;
	_Atomic uint32_t *counts = (_Atomic uint32_t *)r->region->state + first;

	for (uint64_t i = 0; i < vi_dma_pages(r->address, r->len); i++)
		atomic_fetch_add_explicit(&counts[i], 1, memory_order_relaxed);
	vi_dma_note(m)->pointer = counts;
}

static int map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
	       struct viommu_dma_mapping *mappings)
{
	int err = vi_dma_passthrough.map(t, requests, count, mappings);

	for (size_t i = 0; !err && i < count; i++)
		hold(&requests[i], &mappings[i]);
	return err;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct viommu_dma_mapping *m = &mappings[i];
		_Atomic uint32_t *counts = vi_dma_note(m)->pointer;

		for (uint64_t page = 0; page < vi_dma_pages(m->iova, m->len); page++) {
			uint32_t before = atomic_fetch_sub_explicit(&counts[page], 1, memory_order_relaxed);

			assert(before > 0);
			(void)before;
		}
	}
	return 0;
}

const struct vi_dma_strategy vi_dma_software_only = {
	.info =
		{
			.name = "software-only",
			.doc = "Does not translate, and checks what the driver hands over: memory of its "
			       "own, counted page by page while a device may use it.",
			.promise = "None against the device, which reaches all memory; the driver cannot "
				   "hand over memory that is not its own.",
			.source = "Willmann, Rixner, Cox, USENIX ATC 2008",
		},
	.open = open_all,
	.close = close_all,
	.memory_added = memory_added,
	.memory_removed = memory_removed,
	.map = map,
	.unmap = unmap,
};
