/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * direct: all memory is mapped when it is made known, once and for good; a map
 * is an addition (Willmann et al., ATC 2008, "direct map").
 */
#include <errno.h>

#include "dma/strategy.h"

static int memory_added(struct viommu_dma_thread *t, struct vi_dma_region *r)
{
	struct viommu_backing_range range;
	int err = vi_dma_range_for(t, r->address, r->len, VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE,
				   t->dma->last_page, &range);

	if (err)
		return err;
	err = vi_dma_backing_map(t, &range, 1);
	if (err) {
		vi_dma_range_free(t, &range);
		return err;
	}
	r->iova_page = range.iova >> VI_DMA_PAGE_SHIFT;
	return 0;
}

static int memory_removed(struct viommu_dma_thread *t, struct vi_dma_region *r)
{
	struct vi_dma_ending ending = {.range.iova = r->iova_page << VI_DMA_PAGE_SHIFT,
				       .range.len = r->len,
				       .died_ns = vi_dma_now(t->dma)};

	return vi_dma_end(t, &ending, 1, VIOMMU_BACKING_LEAVES_ONLY);
}

static uint64_t iova_of(const struct vi_dma_request *r)
{
	return (r->region->iova_page << VI_DMA_PAGE_SHIFT) + (r->address - r->region->address);
}

static int map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
	       struct viommu_dma_mapping *mappings)
{
	for (size_t i = 0; i < count; i++)
		if ((iova_of(&requests[i]) + requests[i].len - 1) >> VI_DMA_PAGE_SHIFT >
		    requests[i].last_page)
			return -ENOSPC;
	for (size_t i = 0; i < count; i++)
		mappings[i].iova = iova_of(&requests[i]);
	vi_dma_count(&t->counters, VI_DMA_COUNT_reused, count);
	return 0;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	return 0;
}

const struct vi_dma_strategy vi_dma_direct = {
	.info =
		{
			.name = "direct",
			.doc = "Maps all memory that the driver made known, when it does, with all rights; "
			       "map and unmap only count.",
			.promise = "All memory that was made known, always; nothing else.",
			.source = "Willmann, Rixner, Cox, USENIX ATC 2008",
		},
	.memory_added = memory_added,
	.memory_removed = memory_removed,
	.map = map,
	.unmap = unmap,
};
