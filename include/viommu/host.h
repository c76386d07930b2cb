/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What libviommu asks of the program that embeds it.
 *
 * The library has no threads, no event loop, no clock and no log of its own.
 * Everything it needs from outside comes through one struct of callbacks and
 * an opaque pointer that it hands back untouched.
 *
 * Threads: unless its comment says otherwise a callback may be called from any
 * thread that is inside a call of the library, from several at a time, and must
 * not call back into the library.
 */
#ifndef VIOMMU_HOST_H
#define VIOMMU_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* What a guest did that its IOMMU's specification calls an error. */
enum viommu_guest_error {
	VIOMMU_GUEST_FAULT = 1,		 /* a DMA was blocked; a fault was recorded or lost to overflow */
	VIOMMU_GUEST_BAD_DESCRIPTOR,	 /* the invalidation queue stopped */
	VIOMMU_GUEST_BAD_STATUS_ADDRESS, /* an invalidation wait's status was not written to `address` */
};

/* One such event, for the host's log. Lives only for the time of the call. */
struct viommu_guest_event {
	size_t sz;		       /* sizeof of this struct as the library knows it */
	enum viommu_guest_error error; /* what */
	uint16_t segment;	       /* PCI segment of the unit */
	uint16_t rid;		       /* requester id; 0 when no device was involved */
	uint8_t reason;		       /* the specification's own code, 0 when it has none */
	uint8_t write;		       /* 1: the device wanted to write */
	/*
	 * Where, by `error`: the iova of a blocked access, the offset of the bad
	 * descriptor in the invalidation queue, or the guest physical address of
	 * the status.
	 */
	uint64_t address;
	const char *text; /* the reason in words, never NULL */
	uint32_t pasid;	  /* of the access, or UINT32_MAX when it carried none */
};

/*
 * The callbacks. Unless its comment says otherwise each may be NULL. Members
 * that an older program does not know are taken as NULL.
 */
struct viommu_host_ops {
	size_t sz; /* sizeof(struct viommu_host_ops) of the program */

	/*
	 * Data in memory registered without a host pointer: read or write
	 * `len` bytes at guest physical address `gpa`. Returns 0 or a negative
	 * errno. May block: the library holds neither lock nor short guard over
	 * the call, and an invalidation of what is being accessed completes
	 * only after it returned; viommu_mem_remove() does not wait for
	 * it. Required when such memory is registered.
	 */
	int (*mem_read)(void *opaque, uint64_t gpa, void *buf, size_t len);
	int (*mem_write)(void *opaque, uint64_t gpa, const void *buf, size_t len);

	/*
	 * Deliver a message-signalled interrupt: write `data` to `address`.
	 * `rid` is the device that sent it, whose address lies in the interrupt
	 * range; or 0 for the unit itself, whose address is whatever the guest
	 * programmed. Must not block, and must take no lock that is held around a
	 * call of the library: for the unit it is called with the unit's lock
	 * held, for devices on their threads inside a short guard, so that an
	 * invalidation waits until the message is sent.
	 */
	void (*msi)(void *opaque, uint16_t rid, uint64_t address, uint32_t data);

	/*
	 * There is work for viommu_process() that no register access will
	 * announce: a device thread queued a fault, a pin that was asked back
	 * was given back, work was left over. Must not block; may be called very
	 * often, with the unit's lock held or inside a short guard. While
	 * viommu_process() returns VIOMMU_PROCESS_PENDING call it again: the end
	 * of a short guard is not announced.
	 */
	void (*kick)(void *opaque);

	/* The guest did something wrong. For a log; must not block. With the unit's lock held. */
	void (*guest_error)(void *opaque, const struct viommu_guest_event *event);

	/* Monotonic nanoseconds, for the drain counters. NULL: they stay 0. */
	uint64_t (*now_ns)(void *opaque);

	/*
	 * Tables and queues of the guest in memory registered without a host
	 * pointer: reads of 8 bytes, writes of 4 or 8, aligned. Called with the unit's
	 * lock held or inside a short guard: must answer at once. NULL: such tables
	 * are not reachable for the unit, which the guest sees as the
	 * specification's "error accessing ..." faults.
	 */
	int (*table_read)(void *opaque, uint64_t gpa, void *buf, size_t len);
	int (*table_write)(void *opaque, uint64_t gpa, const void *buf, size_t len);
};

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
