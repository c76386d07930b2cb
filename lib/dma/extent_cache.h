/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translations that several maps may share, now or one after the other: what
 * shared, persistent, on-demand and optimistic have in common. They differ in
 * the rules.
 *
 * An extent is a stretch of whole pages with one right, mapped at one device
 * address. It lives while a driver has it mapped; when the last one unmaps it,
 * it is dead, and the rules say how long it stays mapped. A dead extent that is
 * asked for again lives again, without the IOMMU. Reuse is for equal rights only:
 * one with more would let the device do what the driver did not ask for.
 */
#ifndef DMA_EXTENT_CACHE_H
#define DMA_EXTENT_CACHE_H

#include "dma/strategy.h"

struct vi_extent_rules {
	uint64_t dead_limit_ns;	   /* a dead extent ends after this time; UINT64_MAX: never by time */
	uint64_t dead_pages;	   /* dead pages at a time; 0: it ends with the last unmap */
	uint64_t mapped_pages;	   /* live and dead pages at a time; UINT64_MAX: no quota */
	unsigned chunk_pages_lg2;  /* extents are whole chunks of so many pages: neighbours come along */
	unsigned batch;		   /* extents that end together when one has to, to stay in a quota; >= 1 */
	unsigned lookup_slots_lg2; /* 0: each extent is found; else a table that may forget, never mistake */
};

struct vi_extent_cache;

/* d->state is one. -ENOMEM. */
int vi_extent_cache_open(struct viommu_dma *d, const struct vi_extent_rules *rules);
void vi_extent_cache_close(struct viommu_dma *d);

/* As vi_dma_strategy has them. */
int vi_extent_cache_map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
			struct viommu_dma_mapping *mappings);
int vi_extent_cache_unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count);
int vi_extent_cache_process(struct viommu_dma_thread *t, uint64_t now_ns, uint64_t *ret_next_ns);
int vi_extent_cache_memory_removed(struct viommu_dma_thread *t, struct vi_dma_region *region);

#endif
