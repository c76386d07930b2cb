/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * single-use, or strict: mapped before each DMA, and when unmap returns no
 * device can reach it. Nothing is reused (Willmann et al., ATC 2008).
 */
#include <assert.h>

#include "dma/strategy.h"

static void free_ranges(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vi_dma_range_free(t, &ranges[i]);
}

static int find_places(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
		       struct viommu_backing_range *ret_ranges)
{
	for (size_t i = 0; i < count; i++) {
		const struct vi_dma_request *r = &requests[i];
		int err = vi_dma_range_for(t, r->address, r->len, r->access, r->last_page, &ret_ranges[i]);

		if (err) {
			free_ranges(t, ret_ranges, i);
			return err;
		}
	}
	return 0;
}

int vi_dma_map_once(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
		    struct viommu_dma_mapping *mappings)
{
	struct viommu_backing_range ranges[VI_DMA_LIST_MAX];
	int err;

	assert(count > 0 && count <= VI_DMA_LIST_MAX);
	err = find_places(t, requests, count, ranges);
	if (err)
		return err;
	err = vi_dma_backing_map(t, ranges, count);
	if (err) {
		free_ranges(t, ranges, count);
		return err;
	}
	for (size_t i = 0; i < count; i++)
		mappings[i].iova = ranges[i].iova + requests[i].address % VI_DMA_PAGE_SIZE;
	return 0;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	struct vi_dma_ending endings[VI_DMA_LIST_MAX];
	uint64_t now = vi_dma_now(t->dma);

	for (size_t i = 0; i < count; i++)
		endings[i] = vi_dma_ending_of(&mappings[i], now);
	return vi_dma_end(t, endings, count, VIOMMU_BACKING_LEAVES_ONLY);
}

const struct vi_dma_strategy vi_dma_single_use = {
	.info =
		{
			.name = "single-use",
			.doc = "Maps each buffer before its DMA and unmaps it after; each unmap waits for "
			       "the "
			       "invalidation. Linux calls it strict.",
			.promise = "Nothing once unmap has returned; while mapped, the whole pages that the "
				   "buffer lies in.",
			.source = "Willmann, Rixner, Cox, USENIX ATC 2008",
		},
	.map = vi_dma_map_once,
	.unmap = unmap,
};
