/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One VM of a viommud: a client that lends memory, maps the register page, and
 * plays the guest through lib/driver and a driver for NVMe with shadow
 * doorbells. What it does in a loop takes no message and no system call.
 *
 * Failures end the process.
 */
#ifndef TESTS_DAEMON_GUEST_H
#define TESTS_DAEMON_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/vtd.h"
#include "nvme/spec.h"
#include "vfio_user/client.h"

#define GUEST_RID      0x0088 /* 00:11.0, where viommud puts the first controller of a VM */
#define GUEST_DOMAIN   1
#define GUEST_RAM_SIZE (UINT64_C(32) << 20)
#define GUEST_ENTRIES  64 /* of each queue */
#define GUEST_BLOCK    512

/* Guest physical addresses. The low half of the memory is also mapped for the device, at the same addresses.
 */
enum {
	GUEST_ADMIN_SQ = 0x10000,
	GUEST_ADMIN_CQ = 0x11000,
	GUEST_SQ = 0x12000,
	GUEST_CQ = 0x13000,
	GUEST_SHADOW = 0x14000,
	GUEST_EVENT = 0x15000,
	GUEST_DATA = 0x100000,	  /* to the middle */
	GUEST_TABLES = 0x1000000, /* the other half: not the device's */
};

/* Words of the shadow doorbells. */
enum { GUEST_SHADOW_TAIL = 2, GUEST_SHADOW_HEAD = 3 };

struct guest {
	const char *dir;
	struct vfu_client *iommu, *nvme;
	int register_fd;
	uint8_t *page; /* the polled registers */
	int ram_fd;
	uint8_t *ram;
	struct vi_driver_memory memory;
	struct vi_driver_vtd driver;
	struct vi_driver_page_table table;
	uint32_t admin_tail, admin_head, tail, head; /* of both queues of a pair: indexes that never wrap */
};

void guest_fail(const char *what, int err) __attribute__((noreturn));
uint64_t guest_now_ns(void);

/* Connects to the sockets in `dir`, and brings all up. */
void guest_start(struct guest *g, const char *dir);
void guest_stop(struct guest *g);
/* Both devices are reset, and brought up anew. */
void guest_restart(struct guest *g);

/* 0, or the status of the completion. */
unsigned guest_admin(struct guest *g, const struct nvme_sqe *sqe);
void guest_put(struct guest *g, uint32_t index, const struct nvme_sqe *sqe);
/* The shadow doorbell says `tail`; rings when the controller asks for it. */
void guest_show_tail(struct guest *g, uint32_t tail);
/* One command through the I/O queues, waited for. 0 or its status. */
unsigned guest_io(struct guest *g, const struct nvme_sqe *sqe);

#endif
