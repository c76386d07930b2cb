/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waking the work thread, without a system call while it is awake.
 *
 * Who: any thread kicks; one thread, the owner, begins, sleeps and wakes.
 *
 * The proof. `state` changes by read-modify-write only, so all changes have one
 * order. A kick stores its work first, then exchanges in NOTIFIED (release).
 *  - It comes before the owner's next begin: begin's exchange (acquire) reads
 *    it or a later kick's, so what was stored is seen by the round that follows.
 *  - It comes after that begin and before the owner falls asleep: the exchange
 *    RUNNING -> SLEEPING fails, and the owner begins again.
 *  - It finds SLEEPING: the eventfd is written and ppoll() returns.
 * A kick that finds NOTIFIED exchanges all the same: a mere look could be
 * served before its own work became visible.
 */
#ifndef DAEMON_SIDECORE_WAKER_H
#define DAEMON_SIDECORE_WAKER_H

#include <stdatomic.h>
#include <stdbool.h>

enum waker_state { WAKER_RUNNING, WAKER_NOTIFIED, WAKER_SLEEPING };

struct waker {
	_Atomic int state; /* enum waker_state */
	int fd;		   /* eventfd, readable after a kick that found SLEEPING */
};

int waker_init(struct waker *w); /* 0 or a negative errno */
void waker_finish(struct waker *w);

void waker_kick(struct waker *w);
/* Owner: a round begins that will see all that was kicked for. True: there was a kick since the last begin.
 */
bool waker_begin(struct waker *w);
/* Owner: no more work is seen. True: now poll w->fd, then waker_woke(). False: there was a kick. */
bool waker_fall_asleep(struct waker *w);
void waker_woke(struct waker *w);

#endif
