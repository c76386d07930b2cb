/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sidecore/waker.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int waker_init(struct waker *w)
{
	atomic_init(&w->state, WAKER_RUNNING);
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return w->fd < 0 ? -errno : 0;
}

void waker_finish(struct waker *w)
{
	if (w->fd >= 0)
		close(w->fd);
}

void waker_kick(struct waker *w)
{
	uint64_t one = 1;
	ssize_t ignored;

	if (atomic_exchange_explicit(&w->state, WAKER_NOTIFIED, memory_order_acq_rel) != WAKER_SLEEPING)
		return;
	ignored = write(w->fd, &one, sizeof(one));
	(void)ignored;
}

bool waker_begin(struct waker *w)
{
	/* The look first spares the shared cache line while nobody kicks. */
	if (atomic_load_explicit(&w->state, memory_order_relaxed) == WAKER_RUNNING)
		return false;
	return atomic_exchange_explicit(&w->state, WAKER_RUNNING, memory_order_acq_rel) == WAKER_NOTIFIED;
}

bool waker_fall_asleep(struct waker *w)
{
	int running = WAKER_RUNNING;

	return atomic_compare_exchange_strong_explicit(&w->state, &running, WAKER_SLEEPING,
						       memory_order_acq_rel, memory_order_relaxed);
}

void waker_woke(struct waker *w)
{
	int sleeping = WAKER_SLEEPING;
	uint64_t count;
	ssize_t ignored;

	/*
	 * SLEEPING: time or a disk woke us, and no eventfd was written. Otherwise
	 * it was, or will be in a moment: that one then ends a later sleep early,
	 * which is harmless.
	 */
	if (atomic_compare_exchange_strong_explicit(&w->state, &sleeping, WAKER_RUNNING, memory_order_acq_rel,
						    memory_order_relaxed))
		return;
	ignored = read(w->fd, &count, sizeof(count));
	(void)ignored;
}
