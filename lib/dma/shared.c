/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared: as single-use, but maps of the same pages at the same time share one
 * translation, which ends with the last of them (Willmann et al., ATC 2008).
 * With `slots` the look-up is a small table in place of a full index: it may
 * miss, and then there is one translation more (approximate sharing, Amit et
 * al., ATC 2011).
 */
#include "dma/extent_cache.h"

static const struct viommu_dma_option_info options[] = {
	{"slots", "entries, as a power of two",
	 "0: every translation is found; else a table of 2^N places that may forget", 0, 0, 20},
};

static int open_cache(struct viommu_dma *d)
{
	const struct vi_extent_rules rules = {
		.dead_limit_ns = 0,
		.dead_pages = 0,
		.mapped_pages = UINT64_MAX,
		.batch = 1,
		.lookup_slots_lg2 = (unsigned)d->option[0],
	};

	return vi_extent_cache_open(d, &rules);
}

const struct vi_dma_strategy vi_dma_shared = {
	.info =
		{
			.name = "shared",
			.doc = "As single-use, but buffers in the same pages at the same time share one "
			       "translation.",
			.promise = "Nothing once the last buffer in the pages is unmapped; while mapped, the "
				   "whole pages that the buffers lie in.",
			.source = "Willmann, Rixner, Cox, USENIX ATC 2008; approximate: Amit et al., USENIX "
				  "ATC 2011",
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
