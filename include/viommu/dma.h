/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA mapping for drivers in user space: when is memory mapped for a device,
 * and when is it unmapped?
 *
 * A `struct viommu_dma` is the address space of one device (or of several that
 * share one) on a backing IOMMU (backing.h), under one strategy, chosen by
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

struct viommu_dma_option_info {
	const char *name; /* as in "optimistic,quota=256" */
	const char *unit; /* "pages", "us", "entries", ... */
	const char *doc;  /* one sentence */
	uint64_t usual, least, most;
};

struct viommu_dma_strategy_info {
	const char *name;
	const char *doc;     /* what it does, one sentence */
	const char *promise; /* which bytes a device may reach beyond live mappings, one sentence */
	const char *source;  /* where it was published */
	const struct viommu_dma_option_info *options;
	size_t option_count;
};

/* The strategy with this index, from 0 on, which lives as long as the program; NULL: there are no more. */
const struct viommu_dma_strategy_info *viommu_dma_strategy_describe(size_t index);

/* ------------------------------------------------------------ open, close */

struct viommu_dma_options {
	size_t sz;
	/* "NAME[,option=value]...", as viommu_dma_strategy_describe() tells them. Copied. */
	const char *strategy;
	/*
	 * Monotonic nanoseconds, for strategies that keep dead mappings for a time and
	 * for the stale times of the statistics. Must not be NULL. Must not block.
	 */
	uint64_t (*now_ns)(void *opaque);
	void *opaque;
	uint64_t first_iova;  /* none below is given out; 0: 4096 */
	uint64_t last_iova;   /* none above; 0: what the backing can translate */
	unsigned max_threads; /* handles at a time, 1..1024; 0: 64 */
};

/*
 * Open an address space on `backing` (copied; what it points to must stay
 * until viommu_dma_close()). -EINVAL: an unknown strategy or option, a value
 * out of its range, no clock, a range that is none: with `why` not NULL a sentence
 * says which. -E2BIG: an option that this library does not know is set.
 * -ENOTSUP: the backing cannot do what the strategy needs. -ENOMEM, and what the backing
 * returned.
 */
int viommu_dma_open(const struct viommu_backing *backing, const struct viommu_dma_options *options, char *why,
		    size_t why_size, struct viommu_dma **ret_dma);

/*
 * Take everything out of the IOMMU, wait for it, and end. No other call may
 * be running; its threads and memory go with it, mappings that are left are
 * dead. NULL is fine. The backing's error, when it does not answer; then the memory
 * must not be reused while the device runs.
 */
int viommu_dma_close(struct viommu_dma *d);

/*
 * Make memory known that will be mapped: `len` bytes at `host` in this
 * process, at `address` as the backing counts (guest physical, host virtual,
 * ...). Strategies that map all of it up front do so here. All multiples of 4096. Not beside other calls.
 * -EINVAL: not aligned, empty, wraps. -EEXIST: overlaps memory that is known. -ENOMEM, and
 * what the backing returned.
 */
int viommu_dma_memory_add(struct viommu_dma *d, void *host, uint64_t len, uint64_t address);

/*
 * Forget memory that was added as `host`. When it returns no device reaches
 * it through this address space (but in pass-through). Not beside other calls. -ENOENT: there is none.
 * -EBUSY: some of it is mapped by the driver.
 */
int viommu_dma_memory_remove(struct viommu_dma *d, void *host);

/*
 * A handle for one thread, with its caches. *ret_thread is the caller's.
 * -EAGAIN: as many as the options allow are there. -ENOMEM.
 */
int viommu_dma_thread_create(struct viommu_dma *d, struct viommu_dma_thread **ret_thread);
/* What its caches hold goes back first. NULL is fine. */
void viommu_dma_thread_destroy(struct viommu_dma_thread *t);

/* ------------------------------------------------------------- map, unmap */

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
	uint64_t iova; /* what the device is told: the first byte of the buffer */
	void *host;
	uint64_t len;
	enum viommu_dma_direction direction;
	uint32_t state; /* the library's, as what follows */
	uint64_t reserved[4];
};

/*
 * Map `len` bytes (>= 1, no alignment asked) at `host` for a device that can
 * put out addresses of `width` bits (12..64; 0: as many as the backing
 * translates). When it returns the device can use mapping->iova .. + len - 1, which are
 * contiguous. Addresses below 4 GiB are used first.
 *
 * -EINVAL: len 0, an unknown direction or width. -EFAULT: not in memory that was
 * added. -ENOSPC: no free address that the device can put out. -EDQUOT: the
 * strategy's quota is smaller than what is in flight. -ENOMEM, and what the backing returned.
 */
int viommu_dma_map(struct viommu_dma_thread *t, void *host, uint64_t len, enum viommu_dma_direction direction,
		   unsigned width, struct viommu_dma_mapping *ret_mapping);

/*
 * The device is done with it. Data that it wrote is in the buffer when this
 * returns. How soon the device cannot reach the memory any more is the strategy's
 * promise. -EINVAL: not mapped (a second unmap, say). -EIO, or what the
 * backing returned: it is unmapped for the driver, but the IOMMU does not answer, and the
 * address is never given out again.
 */
int viommu_dma_unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping);

/*
 * The same for `count` buffers at once, with as few steps of the backing as
 * the strategy can. All or none are mapped. ret_mappings has `count` places.
 */
int viommu_dma_map_list(struct viommu_dma_thread *t, const struct iovec *buffers, size_t count,
			enum viommu_dma_direction direction, unsigned width,
			struct viommu_dma_mapping *ret_mappings);
/* All are unmapped, whatever the backing returns; its first error. -EINVAL: one is not mapped; then none is
 * unmapped. */
int viommu_dma_unmap_list(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count);

/*
 * Between map and unmap: bytes offset .. offset + len - 1 of the buffer are handed
 * over. For the device: what the CPU wrote is there for it. For the CPU: what
 * the device wrote is there. Only strategies that copy have something to do,
 * but drivers that reuse mappings must call it. -EINVAL: not mapped, or beyond it.
 */
int viommu_dma_sync_for_device(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping,
			       uint64_t offset, uint64_t len);
int viommu_dma_sync_for_cpu(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping, uint64_t offset,
			    uint64_t len);

/* ------------------------------------------------------- time, statistics */

/*
 * Do what is due by now: tear down what has been dead for as long as the
 * strategy allows. Every map and unmap looks too; a program with a driver that may rest
 * calls this again within *ret_next_ns nanoseconds (UINT64_MAX: nothing is due). 0, or what the backing
 * returned.
 */
int viommu_dma_process(struct viommu_dma *d, uint64_t *ret_next_ns);

/* Tear down all that is dead now, and wait. */
int viommu_dma_flush(struct viommu_dma *d);

struct viommu_dma_counter_info {
	const char *name; /* stable, lower case, for machines */
	const char *unit;
	const char *doc;
};

/* The statistics there are: a table of *ret_count entries that lives as long as the program. */
const struct viommu_dma_counter_info *viommu_dma_counters_describe(size_t *ret_count);
/* Their values in the order of the table; at most `count` are written. Returns how many. */
size_t viommu_dma_counters_read(struct viommu_dma *d, uint64_t *ret_values, size_t count);

#define VIOMMU_DMA_STALE_BUCKETS 40
/*
 * Stale times: from the unmap of the driver to the moment when the device cannot
 * reach the pages any more (0 when unmap itself waits). ret_counts[i] is how many took at
 * most 2^i ns and more than 2^(i-1); the last one those above. Returns how many were written.
 */
size_t viommu_dma_stale_times_read(struct viommu_dma *d, uint64_t *ret_counts, size_t count);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
