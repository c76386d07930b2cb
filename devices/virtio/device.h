/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a virtio device, for the files of this folder. */
#ifndef DEVICES_VIRTIO_DEVICE_H
#define DEVICES_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "pci/config_space.h"
#include "virtio/virtio.h"

/* A page of BAR 0 for each structure. */
#define BAR0_COMMON 0x0000u
#define BAR0_ISR    0x1000u
#define BAR0_DEVICE 0x2000u

/* What the driver sets of a queue. Plain numbers: saved as they are. */
struct queue_registers {
	uint64_t descriptors, driver, device;
	uint16_t size, vector, enabled, unused;
};

/* What the driver sets of the device, and reads. */
struct common_registers {
	uint64_t driver_features;
	uint32_t device_feature_select, driver_feature_select;
	uint16_t config_vector, queue_select;
	uint8_t status, unused[3];
	struct queue_registers queues[VIRTIO_QUEUES_MOST];
};

#define VIRTIO_PCI_FIELDS 37

#define MSIX_TABLE_SIZE (16 * VIRTIO_VECTORS_MOST)

/*
 * Registers belong to the lock, and so does what follows from them for both threads.
 * The work thread uses its own copy of what the driver has set up for queues, and
 * takes that over when `generation` has moved: it never holds the lock while it
 * accesses memory, which may need the register thread.
 */
struct virtio {
	struct virtio_device_ops ops;
	void *opaque;
	struct virtio_options options;
	uint64_t offered; /* features */
	struct pci_field fields[VIRTIO_PCI_FIELDS];

	pthread_mutex_t lock;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t msix_table[MSIX_TABLE_SIZE];
	struct common_registers common;
	/* Written under the lock. */
	_Atomic unsigned generation; /* of the queues' registers */
	_Atomic bool masters;	     /* the bus */
	_Atomic bool msix_on;
	_Atomic bool has_driver;
	_Atomic bool broken;			      /* nothing goes on before a reset */
	_Atomic bool runs;			      /* queues are to be looked at */
	_Atomic uint16_t vectors[VIRTIO_QUEUES_MOST]; /* those of the queues */
	_Atomic bool resetting;			      /* the driver wrote 0, and the device is not done */
	struct virtqueue_gate gate;		      /* closed by each reset that is asked for */

	/* The work thread's. */
	unsigned taken_over; /* the generation of `queues` */
	struct virtqueue queues[VIRTIO_QUEUES_MOST];
	struct virtqueue_buffer scratch;
};

void virtio_pci_init(struct virtio *d);
/* All that follow with the lock. */
void virtio_pci_reset(struct virtio *d);
/* Something was written that others look at without the lock. */
void virtio_publish(struct virtio *d);
/* Tell the device's own code what the driver and it have agreed on. */
void virtio_tell_features(struct virtio *d);

void virtio_common_reset(struct virtio *d);
uint32_t virtio_common_read(struct virtio *d, uint64_t offset, size_t len);
/* True: the driver accepted features, which the device's own code has to be told. */
bool virtio_common_write(struct virtio *d, uint64_t offset, size_t len, uint32_t value);
/* Has a driver agreed on features, and set up its queues? */
bool virtio_common_is_started(const struct common_registers *c);
/* Can a driver have made these? */
bool virtio_common_is_possible(const struct virtio *d, const struct common_registers *c);

#endif
