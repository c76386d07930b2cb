/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user wire format, version 0.0 (QEMU docs/interop/vfio-user.rst).
 * Fields are in host byte order; where a message mirrors a VFIO ioctl its
 * flags are those of <linux/vfio.h>.
 */
#ifndef VFIO_USER_PROTOCOL_H
#define VFIO_USER_PROTOCOL_H

#include <linux/vfio.h>
#include <stdint.h>

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11,
	VFIO_USER_DMA_WRITE = 12,
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_DIRTY_PAGES = 14,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
};

#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0x0u
#define VFIO_USER_TYPE_REPLY   0x1u
#define VFIO_USER_NO_REPLY     0x10u
#define VFIO_USER_ERROR	       0x20u

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 0

/* What both sides assume of a peer that does not say. */
#define VFIO_USER_DEFAULT_MAX_DATA_XFER (1u << 20)
#define VFIO_USER_DEFAULT_MAX_DMA_MAPS	65535u
#define VFIO_USER_DEFAULT_MAX_MSG_FDS	1u
#define VFIO_USER_PAGE_SIZE		4096u

/* Of writes in a REGION_WRITE_MULTI. */
#define VFIO_USER_MULTI_DATA 8

/* In <linux/vfio.h> from 5.12 on. */
#ifndef VFIO_DMA_UNMAP_FLAG_ALL
#define VFIO_DMA_UNMAP_FLAG_ALL (1 << 1)
#endif

struct vfio_user_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* header included */
	uint32_t flags;
	uint32_t error; /* a positive errno, in replies with VFIO_USER_ERROR */
};

struct vfio_user_version {
	uint16_t major;
	uint16_t minor;
	/* then JSON, NUL-terminated; optional */
};

struct vfio_user_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset; /* in the fd that comes with the message */
	uint64_t iova;
	uint64_t size;
};

struct vfio_user_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t iova;
	uint64_t size;
};

struct vfio_user_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
};

struct vfio_user_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset;
	uint64_t size;
	uint64_t offset;
};

struct vfio_user_region_io_fds {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};

struct vfio_user_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};

struct vfio_user_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
	/* then `count` bytes with VFIO_IRQ_SET_DATA_BOOL */
};

/* REGION_READ, REGION_WRITE; data follows. */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};

/* DMA_READ, DMA_WRITE; data follows. */
struct vfio_user_dma_access {
	uint64_t address;
	uint64_t count;
};

struct vfio_user_write_one {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
	uint8_t data[VFIO_USER_MULTI_DATA];
};

/* REGION_WRITE_MULTI; an array of vfio_user_write_one follows in the request. */
struct vfio_user_write_multi {
	uint64_t count;
};

struct vfio_user_device_feature {
	uint32_t argsz;
	uint32_t flags;
};

#endif
