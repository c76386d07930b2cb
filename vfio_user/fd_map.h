/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that a client lends, mapped whole and once: guests map single
 * pages by the thousand, and the kernel allows a process some 65,000 mappings.
 *
 * A file is one mapping for its writable ranges and, if it has read-only
 * ranges too, one that the processor itself keeps read-only. Each has room for
 * the file to grow to twice its length without being mapped anew. One that has
 * outgrown its room is; what was mapped stays where it is until its last range
 * has gone, so pointers into it hold. As each room is twice the one before, all
 * that was ever mapped of a file is less than four times its greatest length,
 * twice that if it is mapped both ways, in however many steps it grew: page
 * tables, 1/512 of what is mapped, are bounded by what the client really has.
 * A file of huge pages has no room, nor has one whose file system refuses it: each
 * time it grows it is mapped anew, within the limits below.
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

/* What one client may make us map: so many mappings, and bytes of files in all of them. */
#define VFU_MAX_FD_MAPS	     1024
#define VFU_MAX_FD_MAP_BYTES (UINT64_C(1) << 44)
/*
 * Less where this machine has less memory than a quarter of that: the files of a
 * client are memory, and overcommitted more than four times it is of no use.
 */
#define VFU_MEMORY_TIMES 4

struct vfu_fd_maps;
struct vfu_unmapper;

struct vfu_fd_map {
	struct vfu_fd_maps *maps;
	dev_t dev;
	ino_t ino;
	bool writable;
	uint8_t *base;
	uint64_t size; /* of the file when it was looked at last */
	uint64_t room; /* mapped, size or more */
	size_t refs;
	int slot;
};

struct vfu_fd_maps {
	struct vfu_fd_map **items; /* by dev, ino, writable, room */
	size_t count, capacity;
	uint64_t bytes, max_bytes; /* sum of `size`, and what it may be */
	struct vfu_sigbus_owner *owner;
	const struct vfu_unmapper *unmapper;
};

/* What a client may lend on this machine, in bytes. */
uint64_t vfu_fd_maps_limit(void);
/* `unmapper`: NULL: munmap(), in place. `max_bytes`: at most VFU_MAX_FD_MAP_BYTES */
void vfu_fd_maps_init(struct vfu_fd_maps *maps, struct vfu_sigbus_owner *owner,
		      const struct vfu_unmapper *unmapper, uint64_t max_bytes);
/* All references are gone by now. */
void vfu_fd_maps_finish(struct vfu_fd_maps *maps);

/*
 * A reference to a mapping of the file that has bytes 0 .. end - 1. The fd
 * stays the caller's and may be closed. -EINVAL: not a regular file (memfd and
 * shm are), or shorter than `end`; -ENOSPC: over a limit; or of mmap().
 * `why` says in words what was wrong, which limit it was.
 */
int vfu_fd_maps_get(struct vfu_fd_maps *maps, int fd, bool writable, uint64_t end,
		    struct vfu_fd_map **ret_map, char *why, size_t why_size);
void vfu_fd_map_ref(struct vfu_fd_map *m);
/* The last one unmaps: in place if the unmapper has enough to do, which is quick if nobody touched it yet. */
void vfu_fd_map_unref(struct vfu_fd_map *m);
/* False: wait with the last reference, as the unmapper has enough to do. */
bool vfu_fd_map_may_unref(const struct vfu_fd_map *m);

#endif
