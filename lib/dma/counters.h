/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics of DMA address spaces, declared once with their documentation:
 * viommu_dma_counters_describe(), the tools, man pages and tests are made from
 * this table.
 */
#ifndef DMA_COUNTERS_H
#define DMA_COUNTERS_H

#include <viommu/dma.h>

#include "base/counter.h"

#define VI_DMA_COUNTERS(X)                                                                                   \
	X(maps, "events", "buffers mapped by the driver", 0)                                                 \
	X(unmaps, "events", "buffers unmapped by the driver", 0)                                             \
	X(maps_failed, "events", "maps that were refused", 0)                                                \
	X(bytes_mapped, "bytes", "bytes of those buffers", 0)                                                \
	X(reused, "events", "maps answered by a translation that was there already", 0)                      \
	X(table_writes, "events", "leaf entries of 4 KiB written, to map or to unmap", 0)                    \
	X(page_invalidations, "events", "ranges of pages invalidated one by one", 0)                         \
	X(full_invalidations, "events", "invalidations of the whole address space", 0)                       \
	X(invalidation_waits, "events", "times a thread waited for an invalidation to complete", 0)          \
	X(pages_died, "pages", "pages unmapped by the driver while their translation stayed", 0)             \
	X(pages_revived, "pages", "dead pages that were mapped again without the IOMMU", 0)                  \
	X(pages_ended, "pages", "dead pages that were taken out of the IOMMU", 0)                            \
	X(evictions, "events", "translations ended early, to stay within a quota", 0)                        \
	X(bytes_copied, "bytes", "bytes copied between buffers and shadow buffers", 0)                       \
	X(stale_ns_total, "ns", "sum of the stale times", 0)                                                 \
	X(stale_ns_max, "ns", "the longest stale time", VIOMMU_DMA_COUNTER_MAXIMUM)

/* Of all threads together, not per thread. */
#define VI_DMA_GAUGES(X)                                                                                     \
	X(mapped_pages, "pages", "pages that are in the tables now, or taken out and not yet invalidated",   \
	  0)                                                                                                 \
	X(mapped_pages_peak, "pages", "the most of those at a time", VIOMMU_DMA_COUNTER_MAXIMUM)

enum vi_dma_counter {
#define X(name, unit, doc, flags) VI_DMA_COUNT_##name,
	VI_DMA_COUNTERS(X)
#undef X
		VI_DMA_COUNTER_COUNT
};

/* One writer, the thread whose they are; any number of readers. */
struct vi_dma_counters {
	_Alignas(128) _Atomic uint64_t values[VI_DMA_COUNTER_COUNT];
	_Atomic uint64_t stale[VIOMMU_DMA_STALE_BUCKETS];
};

static inline void vi_dma_count(struct vi_dma_counters *c, enum vi_dma_counter which, uint64_t amount)
{
	vi_counter_add(&c->values[which], amount);
}

/* A translation was of use to the device for `ns` longer than the driver had it mapped. */
void vi_dma_count_stale(struct vi_dma_counters *c, uint64_t ns);

/* Add what a thread that goes has counted. */
void vi_dma_counters_keep(struct vi_dma_counters *kept, const struct vi_dma_counters *c);

#endif
