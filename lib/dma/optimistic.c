/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * optimistic: a translation that is unmapped stays for some milliseconds, as
 * the same buffer is often mapped again soon (Amit et al., "vIOMMU", ATC 2011).
 * How many are dead at a time and for how long is bounded.
 */
#include "dma/extent_cache.h"

static const struct viommu_dma_option_info options[] = {
	{"limit-us", "us", "how long a dead translation stays at the most", 10000, 1, 10000000},
	{"quota", "pages", "dead pages at a time", 256, 1, 1u << 30},
	{"batch", "entries", "translations that end together when there are too many", 16, 1,
	 VI_DMA_LIST_MAX},
};

static int open_cache(struct viommu_dma *d)
{
	const struct vi_extent_rules rules = {
		.dead_limit_ns = d->option[0] * 1000,
		.dead_pages = d->option[1],
		.mapped_pages = UINT64_MAX,
		.batch = (unsigned)d->option[2],
	};

	return vi_extent_cache_open(d, &rules);
}

const struct vi_dma_strategy vi_dma_optimistic = {
	.info =
		{
			.name = "optimistic",
			.doc = "Keeps a translation for a few milliseconds after unmap, within a quota, and "
			       "uses it again if the same pages are mapped with the same rights.",
			.promise = "At most `quota` dead pages, each for at most `limit-us` after its unmap.",
			.source = "Amit, Ben-Yehuda, Tsafrir, Schuster, USENIX ATC 2011",
			.options = options,
			.option_count = VI_ARRAY_SIZE(options),
		},
	.open = open_cache,
	.close = vi_extent_cache_close,
	.memory_removed = vi_extent_cache_memory_removed,
	.map = vi_extent_cache_map,
	.unmap = vi_extent_cache_unmap,
	.process = vi_extent_cache_process,
};
