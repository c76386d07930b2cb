/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio device whose answers are the inverse of what it was asked, and the
 * driver of it: registers, features, queues in (fake) memory.
 */
#ifndef TESTS_VIRTIO_DRIVER_H
#define TESTS_VIRTIO_DRIVER_H

#include <semaphore.h>
#include <stdatomic.h>

#include "queue.h"
#include "virtio/virtio.h"

#define DRV_MEMORY     (128u << 10)
#define DRV_QUEUES     2
#define DRV_QUEUE_SIZE 8
#define DRV_FEATURES   UINT64_C(0x8000000025) /* the device's own */
#define DRV_CONFIG     40
#define DRV_BYTES      16 /* of a request, and of its answer */

#define DRV_ALL_FEATURES                                                                                     \
	(DRV_FEATURES | UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)

/* Structures of BAR 0. */
#define DRV_ISR	   0x1000
#define DRV_DEVICE 0x2000
#define DRV_NOTIFY 0x3000

/* Configuration space. */
#define DRV_COMMAND	  0x04
#define DRV_MASTER	  6 /* and memory */
#define DRV_MSIX_CONTROL  0x42
#define DRV_MSIX_ENABLE	  0x8000
#define DRV_WINDOW	  0x90
#define DRV_WINDOW_BAR	  (DRV_WINDOW + 4)
#define DRV_WINDOW_OFFSET (DRV_WINDOW + 8)
#define DRV_WINDOW_LENGTH (DRV_WINDOW + 12)
#define DRV_WINDOW_DATA	  (DRV_WINDOW + 16)

#define DRV_STARTED 0x0f /* acknowledged, driver, features, queues */

struct drv {
	struct virtio *v;
	struct viommu_requester memory;
	struct ring rings[DRV_QUEUES];
	unsigned life; /* times that it was started: all lies elsewhere in each second one */

	/* What the transport said to the device. */
	_Atomic uint64_t accepted; /* features; a reset forgets them */
	atomic_uint msix[VIRTIO_VECTORS_MOST], kicks, logs;
	unsigned resets, resets_by_driver;
	atomic_bool resets_wait; /* the device is not done with a reset */
	bool dawdles;		 /* it takes its time with what it is told */
	sem_t kicked;
	uint8_t config[DRV_CONFIG];
	unsigned config_reads, config_writes;
	char log[160];

	bool armed;	    /* after the last turn the work thread may sleep */
	atomic_bool is_off; /* there is nothing for the device to access */
	atomic_uint late;   /* accesses then */

	/*
	 * What the register thread does between two steps of the work thread: before its lock, access or
	 * reset with this number hook() is called, on the same thread.
	 */
	uint64_t moments, hook_at;
	void (*hook)(struct drv *d);
};

struct drv *drv_new(void);
void drv_free(struct drv *d);
/* The function ends, and a new one has its memory, and knows nothing yet. */
void drv_another(struct drv *d);

/* BAR 0; an access that the device does not take makes the test fail. */
uint32_t drv_read(struct drv *d, uint64_t offset, size_t len);
void drv_write(struct drv *d, uint64_t offset, size_t len, uint32_t value);
uint32_t drv_config_read(struct drv *d, uint64_t offset, size_t len);
void drv_config_write(struct drv *d, uint64_t offset, size_t len, uint32_t value);

uint8_t drv_status(struct drv *d);
void drv_set_status(struct drv *d, uint8_t status);
void drv_write_features(struct drv *d, uint64_t features);
/* True: the device took them. */
bool drv_accept(struct drv *d, uint64_t features);
/* An empty ring, enabled, with the vector behind its number. */
void drv_set_up_queue(struct drv *d, unsigned queue);
/* Of a device that is as after a reset: all that comes before queues. */
void drv_agree(struct drv *d);
/* The same: all, and configuration changes on vector 0. */
void drv_start(struct drv *d);

/* The work thread's turn: each request that is there is answered. */
enum virtio_phase drv_turn(struct drv *d);
/* One request, whose bytes follow from `seed`, without notification. */
void drv_ask(struct drv *d, unsigned queue, uint8_t seed);
/* Is the answer there, and right? */
bool drv_answered(struct drv *d, unsigned queue, uint8_t seed);
/* The whole way of a request makes the test fail, or is right. */
void drv_exchange(struct drv *d, unsigned queue);

#endif
