/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mappings of client files, where a SIGBUS handler can look them up: a
 * client may truncate its file under us at any time.
 */
#ifndef VFIO_USER_SIGBUS_H
#define VFIO_USER_SIGBUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Mappings that all servers of the process may have together. */
#define VFU_SIGBUS_SLOTS 8192

/* Whom the handler tells. Outlives the mappings registered with it. */
struct vfu_sigbus_owner {
	atomic_bool hit;
	int wake_fd; /* an eventfd, non-blocking */
};

/* 0 .. VFU_SIGBUS_SLOTS - 1, or -ENOSPC. */
int vfu_sigbus_register(void *base, size_t size, struct vfu_sigbus_owner *owner);
/*
 * The mapping is larger than was registered, and no thread has touched more of it yet.
 * False: zeroes have replaced it, or are about to, perhaps not all of it: no thread may
 * touch more than was registered before.
 */
bool vfu_sigbus_grow(int slot, size_t size);
/* Before the munmap(), and after the last thread has stopped to touch the mapping. */
void vfu_sigbus_unregister(int slot);

#endif
