/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA mapping for drivers in user space: when memory is mapped for a device,
 * and when it is unmapped.
 *
 * A struct viommu_dma is the address space of one device (or of several that
 * share one) on a backing IOMMU (viommu/backing.h), under one strategy, chosen by
 * name. The driver maps a buffer before it gives it to the device and unmaps
 * it afterwards; what the IOMMU is asked to do, and when, is the strategy's.
 * docs/strategies.md tells what each promises and costs.
 *
 * Return values: 0 or a positive number, or a negative errno, and then nothing
 * has changed.
 *
 * Threads: everything may be called from any thread, but a handle of a thread
 * and a mapping are used by one thread at a time, and open, close and memory
 * as said there.
 */
#ifndef VIOMMU_DMA_H
#define VIOMMU_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <viommu/backing.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct viommu_dma;
struct viommu_dma_thread;

/* ------------------------------------------------------------- strategies */

/* One option of a strategy. */
struct viommu_dma_option_info {
	const char *name;	     /* as in "optimistic,quota=256" */
	const char *unit;	     /* "pages", "us", "entries", ... */
	const char *doc;	     /* one sentence */
	uint64_t usual, least, most; /* its value when it is not given, and the range of it */
};

/* One strategy. */
struct viommu_dma_strategy_info {
	const char *name;    /* as in the options of viommu_dma_open() */
	const char *doc;     /* what it does, one sentence */
	const char *promise; /* which bytes a device may reach beyond live mappings, one sentence */
	const char *source;  /* where it was published */
	const struct viommu_dma_option_info *options; /* what can be set */
	size_t option_count;			      /* how many of these */
};

/* The strategy with this index, from 0 on, which lives as long as the program; NULL: there are no more. */
const struct viommu_dma_strategy_info *viommu_dma_strategy_describe(size_t index);

/* ------------------------------------------------------------ open, close */

/* How an address space works. Fill with zeros, set `sz` and what should differ from the default. */
struct viommu_dma_options {
	size_t sz; /* sizeof(struct viommu_dma_options) of the program */
	/* "NAME[,option=value]...", as viommu_dma_strategy_describe() tells them. Copied. */
	const char *strategy;
	/*
	 * Monotonic nanoseconds, for strategies that keep dead mappings for a time and
	 * for the stale times of the statistics. Must not be NULL. Must not block.
	 */
	uint64_t (*now_ns)(void *opaque);
	void *opaque;	      /* handed to it */
	uint64_t first_iova;  /* none below is given out; 0: 4096 */
	uint64_t last_iova;   /* none above; 0: what the backing can translate */
	unsigned max_threads; /* handles at a time, 1..1024; 0: 64 */
	/*
	 * Memory for shadow buffers, which only strategies that copy need: as
	 * viommu_dma_memory_add() takes it. The library's until viommu_dma_close().
	 */
	void *shadow_host;
	uint64_t shadow_len, shadow_address;
};

/*
 * Open an address space on `backing` (copied; what it points to must stay
 * until viommu_dma_close()). What is wrong with the options is told in a
 * sentence at `why`, unless it is NULL: at most `why_size` bytes with the final
 * zero. Returns 0, or what the backing returned, or
 *
 * -EINVAL: an unknown strategy or option, a value out of its range, no clock, a
 * range that is none, no shadow memory for a strategy that copies. -ENOSPC: no
 * device addresses for it. -E2BIG: an option that this library does not know is set.
 * -ENOTSUP: the backing cannot do what the strategy needs. -ENOMEM.
 */
int viommu_dma_open(const struct viommu_backing *backing, const struct viommu_dma_options *options, char *why,
		    size_t why_size, struct viommu_dma **ret_dma);

/*
 * Take everything out of the IOMMU, wait for it, and end. No other call may
 * be running; its threads go with it. NULL is fine. Returns 0, or the
 * backing's error when it does not answer: it is closed then, but the memory
 * must not be reused while the device runs. Or
 *
 * -EBUSY: the driver has something mapped, and nothing has changed.
 */
int viommu_dma_close(struct viommu_dma *d);

/*
 * Make memory known that will be mapped: `len` bytes at `host` in this
 * process, at `address` as the backing counts (guest physical, host virtual,
 * ...), all multiples of 4096. Strategies that map all of it up front do so
 * here. Not beside other calls. Returns 0, or what the backing returned, or
 *
 * -EINVAL: not aligned, empty, wraps. -EEXIST: overlaps memory that is known.
 * -ENOMEM.
 */
int viommu_dma_memory_add(struct viommu_dma *d, void *host, uint64_t len, uint64_t address);

/*
 * Forget memory that was added as `host`. When it returns no device reaches
 * it through this address space (but in pass-through). Not beside other calls.
 *
 * -ENOENT: there is none. -EBUSY: some of it is mapped by the driver.
 */
int viommu_dma_memory_remove(struct viommu_dma *d, void *host);

/*
 * Make a handle for one thread, with its caches. *ret_thread is the caller's,
 * who ends it with viommu_dma_thread_destroy().
 *
 * -EAGAIN: as many as the options allow are there. -ENOMEM.
 */
int viommu_dma_thread_create(struct viommu_dma *d, struct viommu_dma_thread **ret_thread);
/* End it. What its caches hold goes back first. NULL is fine. */
void viommu_dma_thread_destroy(struct viommu_dma_thread *t);

/* ------------------------------------------------------------- map, unmap */

/* Who does what with a buffer. */
enum viommu_dma_direction {
	VIOMMU_DMA_TO_DEVICE = 1,     /* the device reads */
	VIOMMU_DMA_FROM_DEVICE = 2,   /* the device writes */
	VIOMMU_DMA_BIDIRECTIONAL = 3, /* both */
};

/*
 * A buffer that is mapped. The struct is the caller's, who keeps it from map
 * to unmap; so unmapping needs no look-up and cannot be given a wrong address.
 */
struct viommu_dma_mapping {
	uint64_t iova;			     /* what the device is told: the first byte of the buffer */
	void *host;			     /* where it is for the driver */
	uint64_t len;			     /* its bytes */
	enum viommu_dma_direction direction; /* as it was mapped */
	uint32_t state;			     /* the library's own */
	uint64_t reserved[4];		     /* the library's own */
};

/*
 * Map `len` bytes (>= 1, no alignment asked) at `host` for a device that can
 * put out addresses of `width` bits (12..64; 0: as many as the backing
 * translates). When it returns the device can use `len` addresses from
 * `ret_mapping->iova` on. Addresses below 4 GiB are used first. Returns 0, or
 * what the backing returned, or
 *
 * -EINVAL: len 0, an unknown direction or width. -EFAULT: not in memory that was
 * added. -ENOSPC: no free address that the device can put out, or no shadow
 * memory left. -EDQUOT: the
 * strategy's quota is smaller than what is in flight. -ENOMEM.
 */
int viommu_dma_map(struct viommu_dma_thread *t, void *host, uint64_t len, enum viommu_dma_direction direction,
		   unsigned width, struct viommu_dma_mapping *ret_mapping);

/*
 * The device is done with it. Data that it wrote is in the buffer when this
 * returns. How soon the device cannot reach the memory any more is the
 * strategy's promise.
 *
 * Returns 0, or what the backing returned: it is unmapped for the driver, but
 * the IOMMU does not answer, and the address is never given out again. Or
 *
 * -EINVAL: not mapped (a second unmap, say). -EIO: as what the backing returns.
 */
int viommu_dma_unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping);

/*
 * viommu_dma_map() of `count` buffers at once, with as few steps of the backing
 * as the strategy can. All or none are mapped. `ret_mappings` has `count`
 * places.
 */
int viommu_dma_map_list(struct viommu_dma_thread *t, const struct iovec *buffers, size_t count,
			enum viommu_dma_direction direction, unsigned width,
			struct viommu_dma_mapping *ret_mappings);
/*
 * viommu_dma_unmap() of `count` buffers at once. All are unmapped, whatever the
 * backing returns. Returns 0, or its first error, or
 *
 * -EINVAL: one is not mapped; then none is unmapped.
 */
int viommu_dma_unmap_list(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count);

/*
 * Between map and unmap: bytes offset .. offset + len - 1 of the buffer are handed
 * over. For the device: what the CPU wrote is there for it. For the CPU: what
 * the device wrote is there. Only strategies that copy have something to do,
 * but drivers that reuse mappings must call it.
 *
 * -EINVAL: not mapped, or beyond it.
 */
int viommu_dma_sync_for_device(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping,
			       uint64_t offset, uint64_t len);
int viommu_dma_sync_for_cpu(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping, uint64_t offset,
			    uint64_t len);

/* ------------------------------------------------------- time, statistics */

/*
 * Do what is due by now: tear down what has been dead for as long as the
 * strategy allows. Every map and unmap looks too; a program with a driver that
 * may rest calls this again within *ret_next_ns nanoseconds (UINT64_MAX:
 * nothing is due). Returns 0, or what the backing returned.
 */
int viommu_dma_process(struct viommu_dma *d, uint64_t *ret_next_ns);

/* Tear down all that is dead now, and wait. Returns 0, or what the backing returned. */
int viommu_dma_flush(struct viommu_dma *d);

/* One statistic. */
struct viommu_dma_counter_info {
	const char *name; /* stable, lower case, for machines */
	const char *unit; /* "pages" or "ns", for example */
	const char *doc;  /* what it counts, in a few words */
	unsigned flags;	  /* VIOMMU_DMA_COUNTER_..., or-ed */
};

#define VIOMMU_DMA_COUNTER_MAXIMUM                                                                           \
	(1u << 0) /* the highest value so far: of two address spaces take the higher */

/* Returns the statistics there are: a table of *ret_count entries that lives as long as the program. */
const struct viommu_dma_counter_info *viommu_dma_counters_describe(size_t *ret_count);
/* Their values in the order of the table; at most `count` are written. Returns how many. */
size_t viommu_dma_counters_read(struct viommu_dma *d, uint64_t *ret_values, size_t count);

/* How many values viommu_dma_stale_times_read() has. */
#define VIOMMU_DMA_STALE_BUCKETS 40

/*
 * Stale times: from the unmap of the driver to the moment when the device cannot
 * reach the pages any more (0 when unmap itself waits). ret_counts[i] is how
 * many took at most 2^i ns and more than 2^(i-1); the last one those above. At
 * most `count` are written; returns how many.
 */
size_t viommu_dma_stale_times_read(struct viommu_dma *d, uint64_t *ret_counts, size_t count);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
