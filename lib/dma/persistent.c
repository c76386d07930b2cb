/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * persistent: what was mapped once stays mapped, and is found again. It ends
 * when the memory goes, or when there are no more device addresses (Willmann et
 * al., ATC 2008).
 */
#include "dma/extent_cache.h"

static int open_cache(struct viommu_dma *d)
{
	static const struct vi_extent_rules rules = {
		.dead_limit_ns = UINT64_MAX,
		.dead_pages = UINT64_MAX,
		.mapped_pages = UINT64_MAX,
		.batch = VI_DMA_LIST_MAX,
	};

	return vi_extent_cache_open(d, &rules);
}

const struct vi_dma_strategy vi_dma_persistent = {
	.info =
		{
			.name = "persistent",
			.doc = "Leaves every translation in place after the DMA, and uses it again.",
			.promise = "All pages that were ever mapped, with the rights they were mapped with, "
				   "until the memory is removed.",
			.source = "Willmann, Rixner, Cox, USENIX ATC 2008",
		},
	.open = open_cache,
	.close = vi_extent_cache_close,
	.memory_removed = vi_extent_cache_memory_removed,
	.map = vi_extent_cache_map,
	.unmap = vi_extent_cache_unmap,
	.process = vi_extent_cache_process,
};
