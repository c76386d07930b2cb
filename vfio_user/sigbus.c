/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/sigbus.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio_user/server.h"

/* The low bits of `state`. Above them stands a number that each registration of the slot changes. */
enum slot_state {
	SLOT_FREE,
	SLOT_CLAIMED, /* being filled in */
	SLOT_LIVE,
	SLOT_REPLACED, /* by zeroes */
};
#define STATE_MASK   3u
#define REGISTRATION 4u

/*
 * Written by the threads that process servers (claim, fill in, grow, free), read
 * by signal handlers on any thread. The release store of SLOT_LIVE in register()
 * pairs with the acquire load in vfu_handle_sigbus(): who sees LIVE sees base,
 * size and owner.
 *
 * The handler may use a slot that is freed at the same time only if its
 * thread faulted in a mapping that is about to go. It does not: a mapping goes
 * when dma_unmap() has returned, and then no thread touches it any more.
 *
 * A slot of another mapping may be freed, and claimed for the next, while it is
 * looked at, so that its base is of one registration and its size of another.
 * What was read counts only if `state` is still the same when it is exchanged
 * for SLOT_REPLACED, registration and all.
 */
struct slot {
	atomic_uint state;
	_Atomic(uintptr_t) base;
	atomic_size_t size;
	_Atomic(struct vfu_sigbus_owner *) owner;
};

static struct slot slots[VFU_SIGBUS_SLOTS];
/* No slot from here on was ever used. Only grows. */
static atomic_int slots_used;

static void raise_used(int to)
{
	int used = atomic_load(&slots_used);

	while (used < to && !atomic_compare_exchange_weak(&slots_used, &used, to))
		;
}

static bool claim(struct slot *s, unsigned *ret_state)
{
	unsigned state = atomic_load(&s->state);

	if ((state & STATE_MASK) != SLOT_FREE ||
	    !atomic_compare_exchange_strong(&s->state, &state, state | SLOT_CLAIMED))
		return false;
	*ret_state = state + REGISTRATION;
	return true;
}

int vfu_sigbus_register(void *base, size_t size, struct vfu_sigbus_owner *owner)
{
	int i;

	for (i = 0; i < VFU_SIGBUS_SLOTS; i++) {
		struct slot *s = &slots[i];
		unsigned state;

		if (!claim(s, &state))
			continue;
		atomic_store_explicit(&s->base, (uintptr_t)base, memory_order_relaxed);
		atomic_store_explicit(&s->size, size, memory_order_relaxed);
		atomic_store_explicit(&s->owner, owner, memory_order_relaxed);
		raise_used(i + 1);
		atomic_store_explicit(&s->state, state | SLOT_LIVE, memory_order_release);
		return i;
	}
	return -ENOSPC;
}

/*
 * A handler exchanges the state and then reads the size, both sequentially
 * consistent as the two here. So it maps zeroes up to the new size, or is seen
 * here, or both: never is the mapping replaced in part and used in the rest,
 * where each access would fault for ever.
 */
bool vfu_sigbus_grow(int slot, size_t size)
{
	atomic_store(&slots[slot].size, size);
	return (atomic_load(&slots[slot].state) & STATE_MASK) == SLOT_LIVE;
}

void vfu_sigbus_unregister(int slot)
{
	atomic_fetch_and(&slots[slot].state, ~STATE_MASK);
}

/* By system call: interceptors of sanitizers have no place in a signal handler. */
static bool map_zeroes(uintptr_t base, size_t size)
{
	long ret = syscall(SYS_mmap, base, size, PROT_READ | PROT_WRITE,
			   MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);

	return ret == (long)base;
}

static void tell(struct vfu_sigbus_owner *owner)
{
	uint64_t one = 1;

	atomic_store(&owner->hit, true);
	if (write(owner->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is readable then anyway */
}

static bool covers(struct slot *s, uintptr_t address)
{
	uintptr_t base = atomic_load_explicit(&s->base, memory_order_relaxed);

	return address >= base && address - base < atomic_load_explicit(&s->size, memory_order_relaxed);
}

/*
 * `state` is what the slot had before its range was read. Two threads may get
 * here for the same mapping; the second one finds REPLACED and just tries again.
 */
static bool replace(struct slot *s, unsigned state)
{
	unsigned replaced = (state & ~STATE_MASK) | SLOT_REPLACED,
		 expected = (state & ~STATE_MASK) | SLOT_LIVE;

	if (!atomic_compare_exchange_strong(&s->state, &expected, replaced))
		return expected == replaced;
	if (!map_zeroes(atomic_load(&s->base), atomic_load(&s->size)))
		return false;
	tell(atomic_load(&s->owner));
	return true;
}

static bool is_in_use(unsigned state)
{
	return (state & STATE_MASK) == SLOT_LIVE || (state & STATE_MASK) == SLOT_REPLACED;
}

bool vfu_handle_sigbus(const void *address)
{
	int i, used = atomic_load(&slots_used), saved_errno = errno;
	bool handled = false;

	for (i = 0; i < used && !handled; i++) {
		unsigned state = atomic_load_explicit(&slots[i].state, memory_order_acquire);

		if (is_in_use(state) && covers(&slots[i], (uintptr_t)address))
			handled = replace(&slots[i], state);
	}
	errno = saved_errno;
	return handled;
}
