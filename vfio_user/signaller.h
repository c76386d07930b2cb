/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals eventfds that somebody else has too, and never blocks.
 *
 * write() cannot promise that: the counter and O_NONBLOCK are shared with the
 * peer, who may fill the one and clear the other at any time, and eventfds know
 * no RWF_NOWAIT for writing. So an asynchronous read of nothing is submitted,
 * whose completion the kernel signals to the eventfd: it adds 1 to the counter,
 * or nothing when that is full.
 */
#ifndef VFIO_USER_SIGNALLER_H
#define VFIO_USER_SIGNALLER_H

#include <stdbool.h>

struct vfu_signaller {
	unsigned long context; /* of io_submit(); 0: there is none */
	int nothing;	       /* a file without a byte */
};

/*
 * 0 or a negative errno. A system without asynchronous I/O (or with no contexts
 * left) is not an error: signalling then, and when the kernel has no memory for a
 * request, is a write with O_NONBLOCK set just before it, and a peer that wins
 * that race does block the caller.
 */
int vfu_signaller_init(struct vfu_signaller *s);
void vfu_signaller_finish(struct vfu_signaller *s);
/* One thread at a time. False: `fd` is no eventfd. */
bool vfu_signaller_signal(struct vfu_signaller *s, int fd);

#endif
