/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU below DMA address spaces, seen from the driver's side. It can put
 * translations in, take them out, and wait until nobody uses what was taken
 * out; viommu/dma.h builds on it.
 *
 * A program brings its own (VFIO, say) as a table of functions, or takes one
 * of those at the end of this page.
 */
#ifndef VIOMMU_BACKING_H
#define VIOMMU_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define VIOMMU_BACKING_READ  (1u << 0) /* the device may read: VIOMMU_READ of access.h */
#define VIOMMU_BACKING_WRITE (1u << 1) /* the device may write: VIOMMU_WRITE */

/* A range of device addresses; its three numbers are multiples of 4096, len >= 4096. */
struct viommu_backing_range {
	uint64_t iova;	  /* where it begins */
	uint64_t address; /* where it leads, as this backing counts memory; map only */
	uint64_t len;	  /* bytes */
	unsigned access;  /* VIOMMU_BACKING_*, at least one; map only */
};

/* Only leaf entries were taken out, so caches of the tables above them may be kept (VT-d 6.5.2.3, IH). */
#define VIOMMU_BACKING_LEAVES_ONLY (1u << 0)

/*
 * Callbacks. All but `pass_through` must be there, may be called from any thread at any time,
 * several at once, and serialise what they need to; never two at once for
 * ranges that overlap. They return 0 or a negative errno.
 */
struct viommu_backing_ops {
	size_t sz; /* sizeof(struct viommu_backing_ops) of the program */

	/*
	 * Put translations in; when it returns a device can use them. Nothing
	 * is mapped there yet. All or none: what an error leaves is as before.
	 * -ENOMEM: no memory for tables. -EEXIST: something is mapped there.
	 */
	int (*map)(void *opaque, const struct viommu_backing_range *ranges, size_t count);

	/*
	 * Take translations out: whole ranges that maps put in, one by one or
	 * joined. A device may go on using what it has cached until
	 * `invalidate` of it has returned.
	 */
	int (*unmap)(void *opaque, const struct viommu_backing_range *ranges, size_t count);

	/*
	 * Returns when no access through what was unmapped in these ranges can
	 * still happen, and none is under way. Flags VIOMMU_BACKING_*_ONLY.
	 * -EIO: the IOMMU does not answer; nothing may be reused then.
	 */
	int (*invalidate)(void *opaque, const struct viommu_backing_range *ranges, size_t count,
			  unsigned flags);

	/* As `invalidate`, for all that was unmapped before the call, at the cost of one invalidation. */
	int (*invalidate_all)(void *opaque);

	/*
	 * Let the device reach all memory untranslated (an iova is an address),
	 * or no longer. NULL: not possible.
	 */
	int (*pass_through)(void *opaque, bool on);
};

/* A backing. */
struct viommu_backing {
	const struct viommu_backing_ops *ops; /* what it does */
	void *opaque;			      /* handed to each of these */
	uint8_t address_width;		      /* bits of an iova that it translates, 32..57 */
};

/* ------------------------------------------------------ one that remembers */

/* What a backing was asked to do, and what a device can reach through it. Sizes in pages of 4096 bytes. */
struct viommu_backing_work {
	uint64_t table_writes;	       /* leaf entries written, to map or to unmap */
	uint64_t page_invalidations;   /* ranges invalidated one by one */
	uint64_t full_invalidations;   /* of the whole address space */
	uint64_t invalidation_waits;   /* times somebody waited for completion */
	uint64_t mapped_pages;	       /* device addresses in the tables now */
	uint64_t stale_pages;	       /* taken out and not yet invalidated */
	uint64_t reachable_pages;      /* different pages of memory that a device can reach through either */
	uint64_t peak_reachable_pages; /* the most of those at a time */
	uint64_t broken_rules;	       /* something mapped twice, or unmapped that was not mapped */
};

/*
 * A backing that remembers what is mapped, and hands everything on to `inner`
 * (copied); with `inner` NULL there is no IOMMU, and it tells what a strategy
 * asks for when nothing has a cost. What breaks the rules of this page is
 * counted, refused (with EEXIST or ENOENT) and not handed on. `address_width`,
 * 32..57 bits, is for `inner` NULL. *ret_backing is the caller's, who ends it
 * with viommu_backing_observer_destroy().
 *
 * -EINVAL: another width. -ENOMEM.
 */
int viommu_backing_observer_create(const struct viommu_backing *inner, unsigned address_width,
				   struct viommu_backing *ret_backing);
/* End it, not the inner one. A backing that was never created, all zeros, is fine. */
void viommu_backing_observer_destroy(struct viommu_backing *backing);
/* Tell what it was asked to do so far, as a snapshot. */
void viommu_backing_observer_work(const struct viommu_backing *backing, struct viommu_backing_work *ret_work);
/*
 * The rights (VIOMMU_BACKING_READ, VIOMMU_BACKING_WRITE) with which a device can
 * reach the page of memory at `address` now: through the tables, or through what
 * was taken out and not yet invalidated. All rights in pass-through, which the
 * counts above leave out.
 */
unsigned viommu_backing_observer_reach(const struct viommu_backing *backing, uint64_t address);

/*
 * What an observer tells while it is used. The functions are called with its lock held, so they must not call
 * the backing, nor the observer's functions.
 */
struct viommu_backing_watch {
	size_t sz; /* sizeof(struct viommu_backing_watch) of the program */
	/*
	 * From now on a device address leads to the page of memory at
	 * `address` (`leads`), or it does no longer: it was taken out and
	 * invalidated. `alone`: no other device address leads there.
	 */
	void (*page)(void *opaque, uint64_t address, bool leads, bool alone);
	void (*pass_through)(void *opaque, bool on); /* the device reaches all memory, or no longer */
	void *opaque;				     /* handed to both */
};

/*
 * Have changes told (`watch` is copied). To be called before the backing is used.
 *
 * -EINVAL: `watch` lacks a function.
 */
int viommu_backing_observer_watch(const struct viommu_backing *backing,
				  const struct viommu_backing_watch *watch);

/* ------------------------------------------------------- an Intel VT-d unit */

/* How the driver reaches the unit, and what it may build with. Zeros are defaults but where said. */
struct viommu_backing_vtd_options {
	size_t sz; /* sizeof(struct viommu_backing_vtd_options) of the program */
	/* Registers, `size` 4 or 8 bytes, as viommu_regs_read() and viommu_regs_write(); or a polled page. */
	uint64_t (*read)(void *arg, uint64_t offset, unsigned size);
	void (*write)(void *arg, uint64_t offset, unsigned size, uint64_t value);
	/* Called again and again while waiting for the unit; false gives up (-EIO). NULL: spins for ever. */
	bool (*relax)(void *arg);
	void *arg; /* handed to the three */
	/* Memory for tables and the queue: `table_memory` is at gpa `table_gpa` for the unit. */
	void *table_memory;
	uint64_t table_gpa;
	uint64_t table_size; /* bytes, a multiple of 4096, at least 64 KiB */
	uint16_t rid;	     /* the device that is attached to the address space */
	uint16_t domain_id;  /* 0: 1 */
	bool no_queue;	     /* invalidate through registers instead of the queue */
};

/*
 * Bring the unit up (root table, queue, translation on), attach the device to
 * an empty table. Tables are built in memory, invalidations are posted and
 * waited for as an operating system does (VT-d 6.5.2). Thread-safe.
 *
 * -EINVAL: an option is missing or out of its range. -ENOMEM: table memory is
 * too small. -EIO: the unit does not answer.
 */
int viommu_backing_vtd_create(const struct viommu_backing_vtd_options *options,
			      struct viommu_backing *ret_backing);
/* Detach the device and turn translation off. */
void viommu_backing_vtd_destroy(struct viommu_backing *backing);

/* ----------------------------------------------------- a paravirtual IOMMU */

/* What is asked for. */
enum viommu_backing_request_type {
	VIOMMU_BACKING_REQUEST_MAP,   /* put a translation in */
	VIOMMU_BACKING_REQUEST_UNMAP, /* take it out */
};

/* The shape of a virtio-iommu request. */
struct viommu_backing_request {
	enum viommu_backing_request_type type; /* what */
	struct viommu_backing_range range;     /* where */
	int status;			       /* the answer: 0 or a negative errno */
};

/* How the driver reaches a paravirtual IOMMU. Zeros are defaults but for `submit`. */
struct viommu_backing_paravirt_options {
	size_t sz; /* sizeof(struct viommu_backing_paravirt_options) of the program */
	/*
	 * Hand over a batch and wait until all of it is answered, in order. When
	 * an unmap is answered no access through it can still happen. 0, or a
	 * negative errno when the batch did not get through.
	 */
	int (*submit)(void *arg, struct viommu_backing_request *requests, size_t count);
	void *arg;	       /* handed to it */
	uint8_t address_width; /* bits of an iova; 0: 48 */
	unsigned batch;	       /* requests of one submission at most, 1..4096; 0: 64 */
};

/*
 * Requests in place of tables: maps go out at once with what waits, unmaps
 * wait until they are invalidated or the batch is full.
 *
 * -EINVAL: an option is missing or out of its range. -ENOMEM.
 */
int viommu_backing_paravirt_create(const struct viommu_backing_paravirt_options *options,
				   struct viommu_backing *ret_backing);
/* End it. */
void viommu_backing_paravirt_destroy(struct viommu_backing *backing);

/* ------------------------------------------------------- a virtio-iommu unit */

/* How the driver reaches the PCI function of a virtio-iommu. Zeros are defaults but where said. */
struct viommu_backing_virtio_options {
	size_t sz; /* sizeof(struct viommu_backing_virtio_options) of the program */
	/* What its capabilities lead to, in accesses of 1, 2 and 4 bytes. The function may master the bus. */
	uint64_t (*read)(void *arg, uint64_t offset, unsigned size);
	void (*write)(void *arg, uint64_t offset, unsigned size, uint64_t value);
	/* Called again and again while waiting for the unit; false gives up (-EIO). NULL: spins for ever. */
	bool (*relax)(void *arg);
	void *arg; /* handed to the three */
	/* Where, as offsets of these: the common configuration and the notifications (virtio 1.3, 4.1.4). */
	uint64_t common, notify;
	uint32_t notify_multiplier; /* bytes from one queue's notification to the next one's */
	/* Memory for the queue: `queue_memory` is at gpa `queue_gpa` for the unit. */
	void *queue_memory;
	uint64_t queue_gpa;
	uint64_t queue_size; /* bytes, a multiple of 4096, at least 64 KiB */
	uint32_t endpoint;   /* the device that is attached to the address space */
	uint32_t domain;     /* its domain's number; the number behind it is for pass-through */
	unsigned batch;	     /* unmaps that wait for one another at most, 1..4096; 0: 64 */
};

/*
 * Bring the unit up (features, queue), attach the device to an empty domain. A batch of
 * requests is one notification of the device, or none while the device polls. Thread-safe.
 * `pass_through` is refused (EBUSY) while something is mapped, as a domain that its last
 * endpoint leaves has no mappings any more.
 *
 * -EINVAL: an option is missing or out of its range. -ENOMEM: queue memory is
 * too small, or the unit has none. -EIO: the unit does not answer. -ENOENT: it has no such endpoint.
 */
int viommu_backing_virtio_create(const struct viommu_backing_virtio_options *options,
				 struct viommu_backing *ret_backing);
/* Detach the device, which ends the domain, and reset the unit. */
void viommu_backing_virtio_destroy(struct viommu_backing *backing);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
