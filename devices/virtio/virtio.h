/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio device as a PCI function (virtio 1.3, 4.1, without the legacy
 * interface): configuration space, registers, MSI-X, and its virtqueues. What the
 * device does is its user's.
 *
 * Two threads use it: the register thread calls the config and bar functions and
 * virtio_reset(), the work thread calls virtio_begin() and uses the queues. They
 * wait for each other no longer than a register access takes.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/access.h>

#include "virtio/virtqueue.h"

struct virtio;

/* What the transport asks of the device. All required. */
struct virtio_device_ops {
	/* --- register thread --- */
	/* Read and write the device's own configuration space; `len` is 1, 2 or 4. */
	void (*config_read)(void *opaque, size_t offset, void *buf, size_t len);
	void (*config_write)(void *opaque, size_t offset, const void *buf, size_t len);

	/* --- work thread --- */
	/*
	 * Forget what came out of queues, and may forget the features accepted, as the driver resets the
	 * device
	 * (`by_driver`), or the function was reset. False: it is not done yet, call again.
	 */
	bool (*reset)(void *opaque, bool by_driver);

	/* --- any thread --- */
	/*
	 * The driver accepted these of the features that the device offers; 0 after a reset. With the lock of
	 * the device, none of whose functions may be called: the last call tells what holds.
	 */
	void (*accepted)(void *opaque, uint64_t features);
	/* MSI-X vector fires; called only while the client enabled MSI-X. */
	void (*msix)(void *opaque, unsigned vector);
	/* virtio_begin() has something to do, or a driver has put a buffer into a ring. */
	void (*kick)(void *opaque);
	void (*log)(void *opaque, const char *line);
};

#define VIRTIO_QUEUES_MOST  4
#define VIRTIO_VECTORS_MOST (VIRTIO_QUEUES_MOST + 1) /* one for the configuration */

struct virtio_options {
	uint16_t device_id;  /* the number of the kind of device (5) */
	uint32_t class_code; /* 24 bits */
	unsigned queues;     /* 1 to VIRTIO_QUEUES_MOST */
	uint16_t queue_size; /* the most, and what it is at reset: a power of two, at most VIRTQUEUE_SIZE_MOST
			      */
	uint64_t features;   /* the device's own; VERSION_1 and INDIRECT_DESC are the transport's */
	size_t config_size;  /* bytes of the device's configuration space, at most 4096 */
};

/* NULL: no memory. The requester and the thread outlive it; the thread is the work thread's. */
struct virtio *virtio_create(const struct virtio_options *options, const struct virtio_device_ops *ops,
			     void *opaque, struct viommu_requester *requester, struct viommu_thread *thread);
void virtio_destroy(struct virtio *d);

#define VIRTIO_BAR0_SIZE	 0x4000 /* the four structures, a page each, the common configuration first */
#define VIRTIO_BAR0_NOTIFY	 0x3000 /* notifications */
#define VIRTIO_NOTIFY_MULTIPLIER 4	/* bytes from one queue's to the next one's */
#define VIRTIO_BAR4_SIZE	 0x2000 /* MSI-X table and PBA */

/* Register thread. PCI configuration space, 256 bytes; bars 0 and 4. 0 or -EINVAL. */
int virtio_config_read(struct virtio *d, uint64_t offset, void *buf, size_t len);
int virtio_config_write(struct virtio *d, uint64_t offset, const void *buf, size_t len);
int virtio_bar_read(struct virtio *d, unsigned bar, uint64_t offset, void *buf, size_t len);
int virtio_bar_write(struct virtio *d, unsigned bar, uint64_t offset, const void *buf, size_t len);
/* Does the driver let the function master the bus? Any thread. */
bool virtio_masters_bus(const struct virtio *d);
/* Has a driver set the device up (DRIVER_OK)? Any thread. */
bool virtio_has_driver(const struct virtio *d);
/* Register thread. All as at power-on. No access begins any more; one that has begun still ends. */
void virtio_reset(struct virtio *d);

/* What the work thread finds. */
enum virtio_phase {
	VIRTIO_IDLE,	  /* no driver uses the device */
	VIRTIO_RESETTING, /* ops.reset() is not done */
	VIRTIO_RUNS,	  /* queues are to be looked at */
};

/* Work thread, before it looks at queues: take over what the driver has set up. */
enum virtio_phase virtio_begin(struct virtio *d);
/* Work thread. Would virtio_begin() say RUNS? */
bool virtio_runs(const struct virtio *d);
/* Work thread. A queue's functions may be called while virtio_begin() says RUNS. */
struct virtqueue *virtio_queue(struct virtio *d, unsigned index);
/* Has the driver to reset the device, whatever comes? Any thread. */
bool virtio_is_broken(const struct virtio *d);
/* Work thread. Room for the descriptors of one buffer. */
struct virtqueue_buffer *virtio_buffer(struct virtio *d);
/* Work thread. Buffers were given back: interrupt the driver, if it wants that. */
void virtio_gave_back(struct virtio *d, struct virtqueue *q);
/*
 * Work thread. A function of a queue returned this error: the driver has to reset the device (2.1.2). Nothing
 * comes of it if there was a reset meanwhile.
 */
void virtio_broke(struct virtio *d, const struct virtqueue *q, int err);
/*
 * Work thread, about to sleep: let the driver notify of new buffers of this queue, and look once more. False:
 * there is one after all, or a reset.
 */
bool virtio_arm(struct virtio *d, struct virtqueue *q);

/* Bytes of its state. */
size_t virtio_state_size(void);
/* Work thread, and the register thread waits. -EBUSY: a reset is under way. 0, and virtio_state_size() bytes.
 */
int virtio_save(struct virtio *d, void *buf);
/* The same. Could virtio_restore() take it, whoever made it? 0 or -EBADMSG. */
int virtio_restore_check(const struct virtio *d, const void *buf, size_t size);
/* What was checked. */
void virtio_restore(struct virtio *d, const void *buf);

#endif
