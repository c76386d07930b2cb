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
 * Cuts the ranges that reach out of first..last at its ends, with a reference of
 * its own to the file for each piece: then every range lies inside or outside.
 * Without such a range nothing is to be done, and nothing can fail. -ENOMEM,
 * -ENOSPC (more than `max_count` ranges would be there): nothing has changed.
 */
int vfu_dma_table_cut(struct vfu_dma_table *t, uint64_t first, uint64_t last, size_t max_count);
/* Takes out `r`, which is in the table, and is the caller's then. */
void vfu_dma_table_take(struct vfu_dma_table *t, struct vfu_dma_range *r);

#endif
