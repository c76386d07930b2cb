/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An address space for DMA: its memory, its threads, and the steps on the
 * backing that all strategies share.
 */
#ifndef DMA_SPACE_H
#define DMA_SPACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include <viommu/dma.h>

#include "base/bits.h"
#include "base/list.h"
#include "dma/counters.h"
#include "dma/iova.h"

#define VI_DMA_PAGE_SHIFT  12
#define VI_DMA_PAGE_SIZE   (UINT64_C(1) << VI_DMA_PAGE_SHIFT)
#define VI_DMA_OPTIONS_MAX 8
#define VI_DMA_LIST_MAX	   64 /* requests that a strategy gets at once */

struct vi_dma_strategy;

/* Memory that may be mapped. */
struct vi_dma_region {
	uint8_t *host;
	uint64_t len, address;
	unsigned index;	    /* of its live count in each thread */
	uint64_t iova_page; /* for strategies that map all of it up front */
	void *state;	    /* the strategy's */
};

/*
 * Who writes: options, backing and strategy never change after open. Regions
 * and their order change in memory_add and memory_remove, which run beside no other
 * call. `lock` guards the list of threads and `service`, the handle that calls without
 * one use. The gauges are atomic.
 */
struct viommu_dma {
	struct viommu_backing backing;
	const struct vi_dma_strategy *strategy;
	uint64_t option[VI_DMA_OPTIONS_MAX];
	void *state; /* the strategy's */
	uint64_t (*now_ns)(void *opaque);
	void *opaque;
	uint64_t first_page, last_page; /* of device addresses */
	struct vi_iova_space *iova;

	struct vi_dma_region shadow;			 /* len 0: none; in no list */
	struct vi_dma_region **regions;			 /* by host address */
	unsigned region_count, region_room, region_next; /* region_next: the next index */

	pthread_mutex_t lock;
	struct vi_list threads;
	unsigned thread_count, max_threads;
	struct viommu_dma_thread *service;
	struct vi_dma_counters kept; /* of threads that are gone */

	_Atomic uint64_t mapped_pages, mapped_pages_peak;
};

struct viommu_dma_thread {
	struct viommu_dma *dma;
	struct vi_iova_cache *iova;
	const struct vi_dma_region *last_region; /* where the last buffer was */
	uint64_t *live; /* by region index: maps less unmaps of this thread; the sum of all threads counts */
	void *state;	/* the strategy's */
	struct vi_list link;
	struct vi_dma_counters counters;
};

static inline uint64_t vi_dma_now(const struct viommu_dma *d)
{
	return d->now_ns(d->opaque);
}

/* Pages that bytes address .. address + len - 1 lie in. */
static inline uint64_t vi_dma_pages(uint64_t address, uint64_t len)
{
	return ((address + len - 1) >> VI_DMA_PAGE_SHIFT) - (address >> VI_DMA_PAGE_SHIFT) + 1;
}

/* The memory that holds all of the buffer; NULL: none does. */
const struct vi_dma_region *vi_dma_find_region(struct viommu_dma_thread *t, const void *host, uint64_t len);
/* Whole pages, and no wrap. */
bool vi_dma_is_memory(const void *host, uint64_t len, uint64_t address);
/* Has the driver anything mapped? Nobody else is inside. */
bool vi_dma_is_mapped(const struct viommu_dma *d);
/* All memory goes; the first error. */
int vi_dma_memory_remove_all(struct viommu_dma *d);

/* ----------------------------------------------- steps on the backing, counted */

int vi_dma_backing_map(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count);

/*
 * Take ranges out, wait until no device can use them, give their addresses
 * back. `died_ns` of each is when the driver unmapped it, for the stale times.
 * An error of the backing: nothing is given back, ever.
 */
struct vi_dma_ending {
	struct viommu_backing_range range;
	uint64_t died_ns;
};
int vi_dma_end(struct viommu_dma_thread *t, const struct vi_dma_ending *endings, size_t count,
	       unsigned flags);

/* The two halves: out of the tables now, waited for (all of the address space at once) and given back later.
 */
int vi_dma_take_out(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count);
int vi_dma_invalidate(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count,
		      unsigned flags);
int vi_dma_invalidate_all(struct viommu_dma_thread *t);
/* After an invalidation that covered them. */
void vi_dma_give_back(struct viommu_dma_thread *t, const struct vi_dma_ending *endings, size_t count);

/* No device can use these pages any more, which the driver unmapped at died_ns; of that what is counted. */
void vi_dma_ended(struct viommu_dma_thread *t, uint64_t died_ns, uint64_t pages);

/* Addresses for the pages of a request: range->iova, address, len, access are set. -ENOSPC. */
int vi_dma_range_for(struct viommu_dma_thread *t, uint64_t address, uint64_t len, unsigned access,
		     uint64_t last_page, struct viommu_backing_range *ret_range);
/* One that was never mapped. */
void vi_dma_range_free(struct viommu_dma_thread *t, const struct viommu_backing_range *range);

#endif
