/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small blocking client: what benchmarks and tests drive a server with, from
 * another process. One thread at a time. It trusts its server no further than
 * its own memory: sizes are checked.
 *
 * Functions return 0 or a negative errno: the server's, or -EPROTO (an answer
 * that is none), -ECONNRESET (the server has gone).
 */
#ifndef VFIO_USER_CLIENT_H
#define VFIO_USER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio_user/server.h"

#define VFU_CLIENT_MAX_AREAS 16

struct vfu_client;

/* What the server asks of our memory; called while a function below waits. 0 or a negative errno. May be
 * NULL: the server gets ENOTSUP. */
struct vfu_client_ops {
	int (*dma_read)(void *opaque, uint64_t address, void *buf, size_t len);
	int (*dma_write)(void *opaque, uint64_t address, const void *buf, size_t len);
};

struct vfu_client_region {
	uint64_t size;
	bool readable, writable;
	int fd; /* the caller closes it; -1: cannot be mapped */
	uint64_t fd_offset;
	struct vfu_mmap_area areas[VFU_CLIENT_MAX_AREAS];
	size_t area_count; /* 0 with an fd: all of it */
};

/* Connects and agrees on a version. `ops` is copied, NULL is fine. */
int vfu_client_connect(const char *path, const struct vfu_client_ops *ops, void *opaque,
		       struct vfu_client **ret_client);
void vfu_client_close(struct vfu_client *c);

/* The socket, and: answer what the server asks, for at most timeout_ms (-1: until it asks something). */
int vfu_client_fd(const struct vfu_client *c);
int vfu_client_serve(struct vfu_client *c, int timeout_ms);

int vfu_client_region_info(struct vfu_client *c, unsigned region, struct vfu_client_region *ret_region);
int vfu_client_region_read(struct vfu_client *c, unsigned region, uint64_t offset, void *buf, size_t len);
int vfu_client_region_write(struct vfu_client *c, unsigned region, uint64_t offset, const void *buf,
			    size_t len);
/* Without an answer. */
int vfu_client_region_post(struct vfu_client *c, unsigned region, uint64_t offset, const void *buf,
			   size_t len);

/* fd -1: the server has to ask for it by message. */
int vfu_client_dma_map(struct vfu_client *c, uint64_t iova, uint64_t size, int fd, uint64_t offset,
		       bool readable, bool writable);
int vfu_client_dma_unmap(struct vfu_client *c, uint64_t iova, uint64_t size);
int vfu_client_dma_unmap_all(struct vfu_client *c);

/* At most 16 at a time; NULL takes them away. The caller keeps its descriptors. */
int vfu_client_set_irq_eventfds(struct vfu_client *c, unsigned index, unsigned first, unsigned count,
				const int *eventfds);
int vfu_client_unmask_irq(struct vfu_client *c, unsigned index, unsigned vector);
int vfu_client_reset(struct vfu_client *c);

#endif
