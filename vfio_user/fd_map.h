/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that a client lends, mapped whole and once: guests map single
 * pages by the thousand, and the kernel allows a process some 65,000 mappings.
 *
 * A file is one mapping for its writable ranges and, if it has read-only
 * ranges too, one that the processor itself keeps read-only. A file that has
 * grown since is mapped anew; what was mapped stays where it is until its last
 * range has gone, so pointers into it hold.
 *
 * Belongs to the thread that processes the server.
 */
#ifndef VFIO_USER_FD_MAP_H
#define VFIO_USER_FD_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vfio_user/sigbus.h"

/* What one client may make us map. */
#define VFU_MAX_FD_MAPS	     1024
#define VFU_MAX_FD_MAP_BYTES (UINT64_C(1) << 44)

struct vfu_fd_maps;

struct vfu_fd_map {
	struct vfu_fd_maps *maps;
	dev_t dev;
	ino_t ino;
	bool writable;
	uint8_t *base;
	uint64_t size;
	size_t refs;
	int slot;
};

struct vfu_fd_maps {
	struct vfu_fd_map **items; /* by dev, ino, writable, size */
	size_t count, capacity;
	uint64_t bytes;
	struct vfu_sigbus_owner *owner;
};

void vfu_fd_maps_init(struct vfu_fd_maps *maps, struct vfu_sigbus_owner *owner);
/* All references are gone by now. */
void vfu_fd_maps_finish(struct vfu_fd_maps *maps);

/*
 * A reference to a mapping of the file that has bytes 0 .. end - 1. The fd
 * stays the caller's and may be closed. -EINVAL: not a regular file (memfd and
 * shm are), or shorter than `end`; -ENOSPC: over a limit; or of mmap().
 */
int vfu_fd_maps_get(struct vfu_fd_maps *maps, int fd, bool writable, uint64_t end,
		    struct vfu_fd_map **ret_map);
void vfu_fd_map_ref(struct vfu_fd_map *m);
/* The last one unmaps. */
void vfu_fd_map_unref(struct vfu_fd_map *m);

#endif
