/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's half of a split virtqueue in fake memory, with everything a driver must not put there, too. */
#ifndef TESTS_VIRTIO_QUEUE_H
#define TESTS_VIRTIO_QUEUE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_access.h"
#include "virtio/spec.h"
#include "virtio/virtqueue.h"

struct ring_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* What of a queue is where. Numbers in memory are little-endian. */
struct ring {
	struct viommu_requester *memory;
	uint64_t descriptors, driver, device;
	uint16_t size;
	uint16_t offered, seen; /* buffers so far: made available, and found in the used ring */
};

#define RING_BYTES 0x4000ull /* enough for VIRTQUEUE_SIZE_MOST */

/* The three areas one behind the other, from `at` on, empty. */
void ring_init(struct ring *r, struct viommu_requester *memory, uint64_t at, uint16_t size);
/* A descriptor of a table, which need not be the queue's. */
void ring_describe(struct ring *r, uint64_t table, unsigned number, struct ring_descriptor d);
void ring_offer(struct ring *r, uint16_t head);
/* With an index that need not be the next. */
void ring_set_index(struct ring *r, uint16_t index);
void ring_set_flags(struct ring *r, uint16_t flags);
uint16_t ring_used_index(struct ring *r);
uint16_t ring_used_flags(struct ring *r);
/* The next buffer that came back; false: none yet. */
bool ring_take(struct ring *r, uint32_t *ret_head, uint32_t *ret_length);
/* Would the device's half make this access, whatever is in the ring? */
bool ring_has(const struct ring *r, uint64_t iova, size_t len, bool write);

#endif
