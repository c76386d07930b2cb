/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * on-demand: a map cache with reference counts and a quota of pages that are
 * mapped, and with that pinned, at a time. What is not referenced stays until room is
 * needed, and ends in batches; a miss may bring neighbours along (Yassour,
 * Ben-Yehuda, Wasserman, SYSTOR 2010).
 */
#include "dma/extent_cache.h"

static const struct viommu_dma_option_info options[] = {
	{"quota", "pages", "pages that are mapped at a time, in use or not", 65536, 1, 1u << 30},
	{"batch", "entries", "translations that end together when room is needed", 32, 1, VI_DMA_LIST_MAX},
	{"prefetch", "pages, as a power of two", "a miss maps the whole aligned chunk of 2^N pages", 0, 0, 9},
};

static int open_cache(struct viommu_dma *d)
{
	const struct vi_extent_rules rules = {
		.dead_limit_ns = UINT64_MAX,
		.dead_pages = UINT64_MAX,
		.mapped_pages = d->option[0],
		.chunk_pages_lg2 = (unsigned)d->option[2],
		.batch = (unsigned)d->option[1],
	};

	return vi_extent_cache_open(d, &rules);
}

const struct vi_dma_strategy vi_dma_on_demand = {
	.info =
		{
			.name = "on-demand",
			.doc = "Maps pages when they are first needed and keeps them, within a quota of "
			       "pages; the least recently used that nobody uses go first.",
			.promise = "At most `quota` pages, all of them mapped by the driver at some time "
				   "(with prefetch: or next to such).",
			.source = "Yassour, Ben-Yehuda, Wasserman, SYSTOR 2010",
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
