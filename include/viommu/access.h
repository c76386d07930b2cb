/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses of devices: copy in and out by iova, borrow host pointers under a
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
 *
 * Return values: 0, or a negative errno. What the tables of the guest refuse is
 * -EACCES for the device; the guest is told as its specification says.
 *
 * Threads: a struct viommu_thread is used by one thread at a time; different
 * ones run side by side, whichever requesters they serve.
 */
#ifndef VIOMMU_ACCESS_H
#define VIOMMU_ACCESS_H

#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct viommu_thread;

/* ---------------------------------------------------------- device threads */

/*
 * Make the calling thread known as one that does device accesses. A handle is
 * used by one thread at a time; any number of requesters may be served with
 * it. *ret_thread is owned by the caller, who ends it with
 * viommu_thread_destroy().
 *
 * -EAGAIN: as many as `max_threads_lg2` of the options allows are there.
 * -ENOMEM.
 */
int viommu_thread_create(struct viommu *v, struct viommu_thread **ret_thread);
/* End it. Not between viommu_enter() and viommu_exit(). NULL is fine. */
void viommu_thread_destroy(struct viommu_thread *t);

/* ------------------------------------------------------------------ copies */

/*
 * Copy `len` bytes between `buf` and the device's address space at `iova`,
 * with the device's rights, checked page by page. Memory before the first byte
 * that is refused may have been accessed, nothing after it.
 *
 * An access of 1, 2, 4 or 8 bytes aligned to its size is one access: other
 * observers see all or nothing of it, reads acquire, writes release.
 *
 * A 4-byte aligned write of 4 bytes to the interrupt range 0xfee00000 ..
 * 0xfeefffff is an interrupt message and goes to the host's `msi` callback.
 *
 * A write of length 0 does nothing. A read of length 0 checks the rights to the
 * page and moves nothing (VT-d 3.14, CAP.ZLR).
 *
 * Must not be called between viommu_enter() and viommu_exit(). Returns 0, or
 * what `mem_read` or `mem_write` of the host returned, or
 *
 * -EACCES: the IOMMU refused, and the guest has its fault unless its tables ask
 * for none. -EFAULT: the address translates to no memory, or to memory that may
 * not be accessed so. -EINVAL: iova + len wraps.
 */
int viommu_read(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, void *buf, size_t len);
int viommu_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, const void *buf,
		 size_t len);

/* ------------------------------------------------------------ short guards */

/*
 * Begin and end a short guard. Not nested. In between, this thread may call
 * viommu_translate() and viommu_unpin() and nothing else of the library: other
 * calls may wait for guards to end.
 */
void viommu_enter(struct viommu_thread *t);
void viommu_exit(struct viommu_thread *t);

#define VIOMMU_READ  (1u << 0) /* the device reads memory */
#define VIOMMU_WRITE (1u << 1) /* the device writes memory */
/* The address is one that an ATS translation answered with; VT-d blocks these without device-TLBs. */
#define VIOMMU_TRANSLATED (1u << 2)
/* An ATS translation request; VT-d blocks these without device-TLBs. */
#define VIOMMU_TRANSLATION_REQUEST (1u << 3)
/* Only look: a refusal is not reported to the guest as a fault. */
#define VIOMMU_QUIET (1u << 4)

/* What a part of a device's address space leads to. */
struct viommu_span {
	uint64_t gpa; /* where the iova leads */
	void *host;   /* the same in this process; NULL for memory without a pointer */
	size_t len;   /* bytes from there that are contiguous and permitted: 1 to as many as were asked for */
};

/*
 * Translate the beginning of iova .. iova + len - 1 (len >= 1) for `access`:
 * VIOMMU_READ or VIOMMU_WRITE or both, with flags or-ed in. Only between
 * viommu_enter() and viommu_exit(); the span is good until viommu_exit().
 *
 * -EACCES, -EFAULT: as viommu_read(). -EINVAL: len is 0, iova + len wraps, or
 * `access` is neither to read nor to write.
 */
int viommu_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
		     unsigned access, struct viommu_span *ret_span);

/* -------------------------------------------------------------------- pins */

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

	/* The library's own. */
	uint64_t reserved[12];
};

/*
 * Pin the beginning of iova .. iova + len - 1 for `access`, as
 * viommu_translate() has them; pin->span tells how far it reaches (call again
 * for the rest). Takes a lock, so it is not for each small access. Not between
 * viommu_enter() and viommu_exit().
 *
 * -EACCES, -EFAULT, -EINVAL: as viommu_translate(). -ENOTSUP: it leads to memory
 * without a host pointer, which cannot be pinned.
 */
int viommu_pin(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
	       unsigned access, struct viommu_pin *pin);
/* Give it back, from any thread. Afterwards the struct is the caller's again. */
void viommu_unpin(struct viommu_pin *pin);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
