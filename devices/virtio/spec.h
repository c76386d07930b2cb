/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers of virtio 1.3; sections are its. */
#ifndef DEVICES_VIRTIO_SPEC_H
#define DEVICES_VIRTIO_SPEC_H

/* 2.1, device status */
#define VIRTIO_STATUS_DRIVER_OK	  4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED	  128u

/* 6, reserved feature bits */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_VERSION_1     32

/* 2.7, split virtqueues: bytes, and where in them */
#define VIRTQ_DESCRIPTOR_SIZE	   16
#define VIRTQ_DESCRIPTOR_LENGTH	   8
#define VIRTQ_DESCRIPTOR_FLAGS	   12
#define VIRTQ_DESCRIPTOR_NEXT	   14
#define VIRTQ_DESC_F_NEXT	   1u
#define VIRTQ_DESC_F_WRITE	   2u
#define VIRTQ_DESC_F_INDIRECT	   4u
#define VIRTQ_AVAIL_FLAGS	   0 /* the driver area (available ring) */
#define VIRTQ_AVAIL_INDEX	   2
#define VIRTQ_AVAIL_RING	   4
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u
#define VIRTQ_USED_FLAGS	   0 /* the device area (used ring) */
#define VIRTQ_USED_INDEX	   2
#define VIRTQ_USED_RING		   4
#define VIRTQ_USED_ELEMENT_SIZE	   8
#define VIRTQ_USED_F_NO_NOTIFY	   1u

/* 4.1, PCI: identity and capabilities */
#define VIRTIO_PCI_VENDOR	 0x1af4
#define VIRTIO_PCI_DEVICE_OF(id) (0x1040u + (id))
#define VIRTIO_PCI_CAP_COMMON	 1
#define VIRTIO_PCI_CAP_NOTIFY	 2
#define VIRTIO_PCI_CAP_ISR	 3
#define VIRTIO_PCI_CAP_DEVICE	 4
#define VIRTIO_PCI_CAP_PCI	 5
#define VIRTIO_MSI_NO_VECTOR	 0xffffu

/* 4.1.4.3, common configuration structure */
#define VIRTIO_COMMON_DEVICE_FEATURE_SELECT 0x00
#define VIRTIO_COMMON_DEVICE_FEATURE	    0x04
#define VIRTIO_COMMON_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_COMMON_DRIVER_FEATURE	    0x0c
#define VIRTIO_COMMON_CONFIG_VECTOR	    0x10
#define VIRTIO_COMMON_QUEUES		    0x12
#define VIRTIO_COMMON_STATUS		    0x14
#define VIRTIO_COMMON_GENERATION	    0x15
#define VIRTIO_COMMON_QUEUE_SELECT	    0x16
#define VIRTIO_COMMON_QUEUE_SIZE	    0x18
#define VIRTIO_COMMON_QUEUE_VECTOR	    0x1a
#define VIRTIO_COMMON_QUEUE_ENABLE	    0x1c
#define VIRTIO_COMMON_QUEUE_NOTIFY	    0x1e
#define VIRTIO_COMMON_QUEUE_DESCRIPTORS	    0x20
#define VIRTIO_COMMON_QUEUE_DRIVER	    0x28
#define VIRTIO_COMMON_QUEUE_DEVICE	    0x30
#define VIRTIO_COMMON_SIZE		    0x38

#endif
