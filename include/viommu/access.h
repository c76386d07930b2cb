/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses of devices: copy in and out by IOVA, borrow host pointers under a
 * guard, send interrupts.
 *
 * The promise to the guest: when it can see that an invalidation is complete,
 * no access that began under the old translation touches memory any more. The
 * guard comes in two strengths.
 *
 *   short  viommu_enter() .. viommu_exit(): an invalidation waits for it. No
 *          system call that can block in between, no disk, no network.
 *          viommu_read() and viommu_write() do this for you.
 *   long   viommu_pin() .. viommu_unpin(): an invalidation of what is pinned
 *          calls your revoke callback and completes only after viommu_unpin().
 */
#ifndef VIOMMU_ACCESS_H
#define VIOMMU_ACCESS_H

#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define VIOMMU_READ  (1u << 0) /* the device reads memory */
#define VIOMMU_WRITE (1u << 1) /* the device writes memory */
/* The address is one that an ATS translation answered with; VT-d blocks these without device-TLBs. */
#define VIOMMU_TRANSLATED (1u << 2)
/* An ATS translation request; VT-d blocks these without device-TLBs. */
#define VIOMMU_TRANSLATION_REQUEST (1u << 3)
/* Only look: a refusal is not reported to the guest as a fault. */
#define VIOMMU_QUIET (1u << 4)

struct viommu_thread;

/*
 * Make the calling thread known as one that does device accesses. A handle is
 * used by one thread at a time; any number of requesters may be served with
 * it. *ret_thread is owned by the caller.
 * -EAGAIN: as many as the options allow are there. -ENOMEM.
 */
int viommu_thread_create(struct viommu *v, struct viommu_thread **ret_thread);
/* Not between enter and exit. NULL is fine. */
void viommu_thread_destroy(struct viommu_thread *t);

/*
 * Copy `len` bytes between `buf` and the device's address space at `iova`,
 * with the device's rights, checked page by page. Memory before the first byte
 * that is refused may have been accessed, nothing after it.
 *
 * An access of 1, 2, 4 or 8 bytes aligned to its size is one access: other
 * observers see all or nothing of it, reads acquire, writes release.
 *
 * A 4-byte aligned write of 4 bytes to the interrupt range 0xfee00000 ..
 * 0xfeefffff is an interrupt message and goes to the host's msi callback.
 *
 * len 0 writes nothing and asks nothing. len 0 reads: a zero-length read, which checks the page's rights and
 * moves nothing (VT-d 3.7, CAP.ZLR).
 *
 * 0. -EACCES: the IOMMU refused, and the guest has its fault unless
 * its tables ask for none. -EFAULT: the
 * address translates to no memory, or to memory that may not be accessed so.
 * -EINVAL: iova + len wraps. Others: what mem_read or mem_write returned.
 * Must not be called between viommu_enter() and viommu_exit().
 */
int viommu_read(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, void *buf, size_t len);
int viommu_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, const void *buf,
		 size_t len);

/*
 * Begin and end a short guard. Not nested. In between, this thread may call
 * viommu_translate() and viommu_unpin() and nothing else of the library: other
 * calls may wait for guards to end.
 */
void viommu_enter(struct viommu_thread *t);
void viommu_exit(struct viommu_thread *t);

struct viommu_span {
	uint64_t gpa; /* where iova leads */
	void *host;   /* the same in this process; NULL for memory without a pointer */
	size_t len;   /* bytes from there that are contiguous and permitted, at most what was asked, >= 1 */
};

/*
 * Translate the beginning of iova .. iova + len - 1 (len >= 1) for `access`
 * (VIOMMU_READ and/or VIOMMU_WRITE, with flags), between viommu_enter() and
 * viommu_exit(). The span is good until viommu_exit(). Errors as
 * viommu_read().
 */
int viommu_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
		     unsigned access, struct viommu_span *ret_span);

/*
 * A pin lends host memory for longer than a short guard may last. The struct
 * is the caller's and must not move; the library links it while pinned.
 */
struct viommu_pin {
	/*
	 * Set by the caller. Called at most once, from the thread that
	 * invalidates and with the unit's lock held, when the pinned range is
	 * being invalidated: stop the access and call viommu_unpin() soon,
	 * from any thread but not from inside this call, and without
	 * taking a lock that is held around viommu_pin() or
	 * viommu_unpin(). NULL: the invalidation simply waits.
	 */
	void (*revoke)(struct viommu_pin *pin);
	void *opaque; /* the caller's own */

	/* Set by viommu_pin(). */
	struct viommu_span span;
	struct viommu_requester *requester;
	uint64_t iova;

	/* The library's. */
	uint64_t reserved[12];
};

/*
 * Pin the beginning of iova .. iova + len - 1; pin->span tells how far it
 * reaches (call again for the rest). Only memory with a host pointer can be
 * pinned. 0 and the pin is held, or as viommu_translate(); -ENOTSUP: memory
 * without a host pointer. Takes a lock: not for each access. Not between
 * enter and exit.
 */
int viommu_pin(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
	       unsigned access, struct viommu_pin *pin);
/* Give it back. Afterwards the struct is the caller's again. Any thread. */
void viommu_unpin(struct viommu_pin *pin);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
