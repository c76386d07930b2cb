/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client has mapped: disjoint ranges of IOVA, ordered. Every operation
 * is O(log n), also for 65,535 ranges in the worst order that a client can
 * think of: the tree is balanced by priorities that the client does not see.
 *
 * Belongs to the thread that processes the server.
 */
#ifndef VFIO_USER_DMA_TABLE_H
#define VFIO_USER_DMA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfu_fd_map;

struct vfu_dma_range {
	uint64_t first, last; /* IOVA, inclusive */
	bool readable, writable;
	bool has_file; /* the client sent an fd: dev, ino and offset say what of */
	dev_t dev;
	ino_t ino;
	uint64_t offset;	 /* of `first` in the file */
	struct vfu_fd_map *file; /* a reference; NULL: not mapped here */

	/* the table's own */
	struct vfu_dma_range *left, *right;
	uint64_t priority;
};

struct vfu_dma_table {
	struct vfu_dma_range *root;
	size_t count;
	uint64_t random;
};

void vfu_dma_table_init(struct vfu_dma_table *t);
/* The lowest range that has a byte in first..last, or NULL. */
struct vfu_dma_range *vfu_dma_table_find(const struct vfu_dma_table *t, uint64_t first, uint64_t last);
/* Takes over `r`, which overlaps nothing that is there. */
void vfu_dma_table_insert(struct vfu_dma_table *t, struct vfu_dma_range *r);
/*
 * Takes out what lies in first..last; a range that reaches out of it is cut,
 * and the piece outside stays, with a reference of its own to the file. The
 * removed ranges come as a list in ascending order, linked by `right`, and are
 * the caller's. -ENOMEM, -ENOSPC (the cuts would leave more than `max_count`
 * ranges): nothing has changed.
 */
int vfu_dma_table_remove(struct vfu_dma_table *t, uint64_t first, uint64_t last, size_t max_count,
			 struct vfu_dma_range **ret_removed);

#endif
