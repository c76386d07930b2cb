/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a strategy is: one file each, a table of functions and of options.
 *
 * Requests come checked: in known memory, direction and width sound. A
 * strategy that needs no state of an address space, of a thread or of memory
 * leaves those functions NULL.
 */
#ifndef DMA_STRATEGY_H
#define DMA_STRATEGY_H

#include "dma/space.h"

/* A buffer to be mapped. */
struct vi_dma_request {
	void *host;
	uint64_t address; /* as the backing counts, of the first byte */
	uint64_t len;
	uint64_t last_page; /* the highest page of device addresses that will do */
	unsigned access;    /* VIOMMU_BACKING_* */
	const struct vi_dma_region *region;
};

/* The strategy's own words of a mapping: what unmap needs to know. */
struct vi_dma_note {
	uint64_t address; /* as the backing counts, of the first byte; set by the caller of map() */
	uint64_t region;  /* index of its memory; likewise */
	void *pointer;	  /* the strategy's */
	uint64_t value;	  /* the strategy's */
};

static inline struct vi_dma_note *vi_dma_note(struct viommu_dma_mapping *m)
{
	_Static_assert(sizeof(struct vi_dma_note) == sizeof(m->reserved), "a note fills the reserved words");
	return (struct vi_dma_note *)(void *)m->reserved;
}

struct vi_dma_strategy {
	struct viommu_dma_strategy_info info;
	bool needs_shadow; /* d->shadow is there */

	/* d->state is the strategy's; option values are in d->option. 0 or a negative errno, with nothing
	 * left. */
	int (*open)(struct viommu_dma *d);
	/* All is flushed and no thread left. */
	void (*close)(struct viommu_dma *d);

	/* t->state is the strategy's. */
	int (*thread_begin)(struct viommu_dma_thread *t);
	/* What the thread keeps is torn down. Its mappings live on. */
	void (*thread_end)(struct viommu_dma_thread *t);

	/* Nobody else is inside. `t` is one to work with. */
	int (*memory_added)(struct viommu_dma_thread *t, struct vi_dma_region *region);
	/* None of it is mapped by the driver. When it returns 0 none is reachable. */
	int (*memory_removed)(struct viommu_dma_thread *t, struct vi_dma_region *region);

	/* Map all or none of 1..VI_DMA_LIST_MAX requests: sets iova (of the first byte) and note of each. */
	int (*map)(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
		   struct viommu_dma_mapping *mappings);
	/* Unmap all, whatever it returns. 1..VI_DMA_LIST_MAX. */
	int (*unmap)(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count);

	void (*sync_for_device)(struct viommu_dma_thread *t, struct viommu_dma_mapping *m, uint64_t offset,
				uint64_t len);
	void (*sync_for_cpu)(struct viommu_dma_thread *t, struct viommu_dma_mapping *m, uint64_t offset,
			     uint64_t len);

	/* Tear down what is due at now_ns (UINT64_MAX: all that is dead). Sets when to come again. */
	int (*process)(struct viommu_dma_thread *t, uint64_t now_ns, uint64_t *ret_next_ns);
};

/* As single-use maps: new device addresses, in the tables before it returns. */
int vi_dma_map_once(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
		    struct viommu_dma_mapping *mappings);
/* The whole pages of a buffer, which ends. */
static inline struct vi_dma_ending vi_dma_ending_of(const struct viommu_dma_mapping *m, uint64_t died_ns)
{
	return (struct vi_dma_ending){.range.iova = vi_align_down(m->iova, VI_DMA_PAGE_SIZE),
				      .range.len = vi_dma_pages(m->iova, m->len) << VI_DMA_PAGE_SHIFT,
				      .died_ns = died_ns};
}

extern const struct vi_dma_strategy vi_dma_passthrough;
extern const struct vi_dma_strategy vi_dma_direct;
extern const struct vi_dma_strategy vi_dma_single_use;
extern const struct vi_dma_strategy vi_dma_shared;
extern const struct vi_dma_strategy vi_dma_persistent;
extern const struct vi_dma_strategy vi_dma_on_demand;
extern const struct vi_dma_strategy vi_dma_deferred;
extern const struct vi_dma_strategy vi_dma_optimistic;
extern const struct vi_dma_strategy vi_dma_copy;
extern const struct vi_dma_strategy vi_dma_contiguous;
extern const struct vi_dma_strategy vi_dma_software_only;

/* All of them, in the order in which they are told. */
extern const struct vi_dma_strategy *const vi_dma_strategies[];
extern const size_t vi_dma_strategy_count;

/*
 * Find "NAME[,option=value]..." and read its options, those not given at their
 * usual value. -EINVAL, with a sentence in `why`.
 */
int vi_dma_strategy_parse(const char *text, const struct vi_dma_strategy **ret_strategy,
			  uint64_t option[VI_DMA_OPTIONS_MAX], char *why, size_t why_size);

#endif
