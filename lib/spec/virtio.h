/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtio 1.3, as a driver needs it: split virtqueues (2.7) and the common configuration structure of PCI
 * (4.1.4.3).
 */
#ifndef SPEC_VIRTIO_H
#define SPEC_VIRTIO_H

#include "base/bits.h"

/* 2.1: device status */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER	  2u
#define VIRTIO_STATUS_DRIVER_OK	  4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u

#define VIRTIO_F_VERSION_1 VI_BIT(32)

/* 2.7.5: a descriptor of 16 bytes; length, flags and next are its second word */
#define VIRTQ_DESCRIPTOR_SIZE  16u
#define VIRTQ_DESCRIPTOR_LEN   VI_BITS(31, 0)
#define VIRTQ_DESCRIPTOR_FLAGS VI_BITS(47, 32)
#define VIRTQ_DESCRIPTOR_NEXT  VI_BITS(63, 48)
#define VIRTQ_DESC_F_NEXT      1u
#define VIRTQ_DESC_F_WRITE     2u
#define VIRTQ_INDEX	       2u /* of both rings: flags, index, */
#define VIRTQ_RING	       4u /* entries */
#define VIRTQ_USED_F_NO_NOTIFY 1u

/* 4.1.4.3: offsets */
#define VIRTIO_COMMON_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_COMMON_DRIVER_FEATURE	    0x0c
#define VIRTIO_COMMON_STATUS		    0x14
#define VIRTIO_COMMON_QUEUE_SELECT	    0x16
#define VIRTIO_COMMON_QUEUE_SIZE	    0x18
#define VIRTIO_COMMON_QUEUE_ENABLE	    0x1c
#define VIRTIO_COMMON_QUEUE_NOTIFY	    0x1e
#define VIRTIO_COMMON_QUEUE_DESCRIPTORS	    0x20
#define VIRTIO_COMMON_QUEUE_DRIVER	    0x28
#define VIRTIO_COMMON_QUEUE_DEVICE	    0x30

#endif
