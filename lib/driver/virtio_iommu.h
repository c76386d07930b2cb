/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an OS driver does with a virtio-iommu that is a PCI function (virtio 1.3, 4.1
 * and 5.13): brings it up, and hands it batches of requests. It meets the device side in
 * registers and memory only. One thread at a time.
 */
#ifndef DRIVER_VIRTIO_IOMMU_H
#define DRIVER_VIRTIO_IOMMU_H

#include <stddef.h>
#include <stdint.h>

#include "driver/memory.h"
#include "driver/regs.h"

#define VI_DRIVER_VIRTIO_BATCH 128 /* requests at a time: two descriptors each */

/* Where the structures that the capabilities tell of are, as the registers' functions count. */
struct vi_driver_virtio_places {
	uint64_t common, notify;
	uint32_t notify_multiplier;
};

struct vi_driver_virtio {
	struct vi_driver_regs regs; /* sizes 1, 2 and 4 */
	struct vi_driver_virtio_places places;
	struct vi_driver_memory *memory;
	uint64_t descriptors, driver, device; /* gpas of the request queue's areas */
	uint64_t buffers;		      /* and of the requests */
	uint64_t bell;			      /* where it is notified */
	uint16_t size, made;		      /* entries; buffers offered so far */
};

/* A request as it lies in memory, and its answer. */
struct vi_driver_virtio_request {
	uint8_t bytes[40];
	uint8_t length; /* of the part that the device reads */
	int status;	/* VIRTIO_IOMMU_S_*; -1: the device could not understand it */
};

/*
 * Reset the device, accept `features` of its own and VERSION_1, set the request queue up, and begin. The
 * function masters the bus. 0, -ENOMEM; -ETIMEDOUT: it does not answer; -ENOTSUP: it refuses the features.
 */
int vi_driver_virtio_start(struct vi_driver_virtio *d, const struct vi_driver_regs *regs,
			   const struct vi_driver_virtio_places *places, struct vi_driver_memory *memory,
			   uint64_t features);
/* Reset it. 0 or -ETIMEDOUT. */
int vi_driver_virtio_stop(struct vi_driver_virtio *d);

/* Fill in a request. */
void vi_driver_virtio_attach(struct vi_driver_virtio_request *r, uint32_t domain, uint32_t endpoint,
			     bool bypass);
void vi_driver_virtio_detach(struct vi_driver_virtio_request *r, uint32_t domain, uint32_t endpoint);
/* `flags` VIRTIO_IOMMU_MAP_F_*. */
void vi_driver_virtio_map(struct vi_driver_virtio_request *r, uint32_t domain, uint64_t first, uint64_t last,
			  uint64_t address, uint32_t flags);
void vi_driver_virtio_unmap(struct vi_driver_virtio_request *r, uint32_t domain, uint64_t first,
			    uint64_t last);

/*
 * Hand over at most VI_DRIVER_VIRTIO_BATCH requests with one notification, or none where the device wants
 * none, and wait for all answers. 0; -ETIMEDOUT: it does not answer; -EIO: it wants to be reset.
 */
int vi_driver_virtio_submit(struct vi_driver_virtio *d, struct vi_driver_virtio_request *requests,
			    size_t count);

#endif
