/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio device of a virtio-iommu unit (virtio 1.3, 5.13): its virtqueues carry
 * the guest's requests to the unit (viommu/request.h), and answers and events back.
 *
 * Threads as virtio.h has them. The work thread polls the request queue and tells the
 * driver to leave notifications out meanwhile; before it sleeps it asks for them again.
 */
#ifndef DEVICES_VIRTIO_IOMMU_H
#define DEVICES_VIRTIO_IOMMU_H

#include <viommu/request.h>

#include "virtio/virtio.h"

#define VIRTIO_IOMMU_QUEUES  2
#define VIRTIO_IOMMU_VECTORS (VIRTIO_IOMMU_QUEUES + 1)

struct virtio_iommu;

/* What the device asks of its host; all required, any thread, none may block. As those of virtio.h. */
struct virtio_iommu_host_ops {
	void (*msix)(void *opaque, unsigned vector);
	void (*kick)(void *opaque);
	void (*log)(void *opaque, const char *line);
};

/*
 * `requester` bypasses the unit; it, the unit and the work thread's `thread` outlive the device. NULL: no
 * memory.
 */
struct virtio_iommu *virtio_iommu_create(struct viommu *unit, struct viommu_requester *requester,
					 struct viommu_thread *thread,
					 const struct virtio_iommu_host_ops *ops, void *opaque);
void virtio_iommu_destroy(struct virtio_iommu *d);
/* Configuration space, BARs and resets are the transport's. It is the device's own. */
struct virtio *virtio_iommu_transport(struct virtio_iommu *d);

/* Work thread; then the unit is processed, and virtio_iommu_give() comes. */
struct virtio_iommu_look {
	unsigned steps; /* requests, answers and events that were moved */
	bool deep;	/* more requests are waiting than the budget allows */
	bool pending;	/* accesses in flight are waited for, or the unit is in use: come again */
};

/* Hand the unit at most `budget` requests; 0: none. Adds to *look. */
void virtio_iommu_take(struct virtio_iommu *d, unsigned budget, struct virtio_iommu_look *look);
/* Give the driver the answers and the events that there are. `worked`: the unit had something to do. */
void virtio_iommu_give(struct virtio_iommu *d, bool worked, struct virtio_iommu_look *look);
/* Work thread, about to sleep. False: there is work after all. */
bool virtio_iommu_arm(struct virtio_iommu *d);

/*
 * Work thread, and the register thread waits. Bytes of the state; `buf` NULL: that is all. -EBUSY: the unit
 * has requests, or a reset is under way. -ENOSPC.
 */
int64_t virtio_iommu_save(struct virtio_iommu *d, void *buf, size_t size);
/* The same. After the unit's state was restored. */
void virtio_iommu_restore(struct virtio_iommu *d, const void *buf);

#endif
