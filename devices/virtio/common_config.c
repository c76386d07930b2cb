/* SPDX-License-Identifier: BSD-3-Clause */
/* The common configuration structure (virtio 1.3, 4.1.4.3). Each function with the lock. */
#include <string.h>

#include "virtio/device.h"
#include "virtio/spec.h"

void virtio_common_reset(struct virtio *d)
{
	d->common = (struct common_registers){.config_vector = VIRTIO_MSI_NO_VECTOR};
	for (unsigned i = 0; i < d->options.queues; i++)
		d->common.queues[i] = (struct queue_registers){.size = d->options.queue_size,
							       .vector = VIRTIO_MSI_NO_VECTOR};
	virtio_publish(d);
}

/* NULL: the driver has selected none that there is. */
static struct queue_registers *selected(struct virtio *d)
{
	return d->common.queue_select < d->options.queues ? &d->common.queues[d->common.queue_select] : NULL;
}

/* ----------------------------------------------------------------------- reading */

static uint32_t half(uint64_t value, uint32_t which)
{
	return which < 2 ? (uint32_t)(value >> 32 * which) : 0;
}

static void put(uint8_t *at, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void show_queue(const struct queue_registers *q, unsigned number, uint8_t *bytes)
{
	put(bytes + VIRTIO_COMMON_QUEUE_SIZE, q->size, 2);
	put(bytes + VIRTIO_COMMON_QUEUE_VECTOR, q->vector, 2);
	put(bytes + VIRTIO_COMMON_QUEUE_ENABLE, q->enabled, 2);
	put(bytes + VIRTIO_COMMON_QUEUE_NOTIFY, number, 2);
	put(bytes + VIRTIO_COMMON_QUEUE_DESCRIPTORS, q->descriptors, 8);
	put(bytes + VIRTIO_COMMON_QUEUE_DRIVER, q->driver, 8);
	put(bytes + VIRTIO_COMMON_QUEUE_DEVICE, q->device, 8);
}

static void show(struct virtio *d, uint8_t bytes[VIRTIO_COMMON_SIZE])
{
	const struct common_registers *c = &d->common;
	const struct queue_registers *q = selected(d);

	memset(bytes, 0, VIRTIO_COMMON_SIZE);
	put(bytes + VIRTIO_COMMON_DEVICE_FEATURE_SELECT, c->device_feature_select, 4);
	put(bytes + VIRTIO_COMMON_DEVICE_FEATURE, half(d->offered, c->device_feature_select), 4);
	put(bytes + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, c->driver_feature_select, 4);
	put(bytes + VIRTIO_COMMON_DRIVER_FEATURE, half(c->driver_features, c->driver_feature_select), 4);
	put(bytes + VIRTIO_COMMON_CONFIG_VECTOR, c->config_vector, 2);
	put(bytes + VIRTIO_COMMON_QUEUES, d->options.queues, 2);
	put(bytes + VIRTIO_COMMON_STATUS, c->status, 1);
	put(bytes + VIRTIO_COMMON_QUEUE_SELECT, c->queue_select, 2);
	if (q)
		show_queue(q, c->queue_select, bytes);
}

uint32_t virtio_common_read(struct virtio *d, uint64_t offset, size_t len)
{
	uint8_t bytes[VIRTIO_COMMON_SIZE];
	uint32_t value = 0;

	if (offset + len > VIRTIO_COMMON_SIZE)
		return 0;
	show(d, bytes);
	for (size_t i = 0; i < len; i++)
		value |= (uint32_t)bytes[offset + i] << 8 * i;
	return value;
}

/* ----------------------------------------------------------------------- writing */

/* A vector that there is not is answered with none (4.1.5.1.2.1). */
static uint16_t vector_of(const struct virtio *d, uint32_t value)
{
	return value <= d->options.queues ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

static bool is_queue_size(const struct virtio *d, uint32_t size)
{
	return size && size <= d->options.queue_size && (size & (size - 1)) == 0;
}

static void set_half(uint64_t *io_value, bool upper, uint32_t value)
{
	*io_value = upper ? (*io_value & UINT32_MAX) | (uint64_t)value << 32
			  : (*io_value & ~(uint64_t)UINT32_MAX) | value;
}

/* A queue that is enabled stays as it is until the device is reset. */
static void write_queue(struct virtio *d, struct queue_registers *q, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_COMMON_QUEUE_SIZE:
		if (is_queue_size(d, value))
			q->size = (uint16_t)value;
		break;
	case VIRTIO_COMMON_QUEUE_ENABLE:
		q->enabled = value == 1;
		break;
	case VIRTIO_COMMON_QUEUE_DESCRIPTORS:
	case VIRTIO_COMMON_QUEUE_DESCRIPTORS + 4:
		set_half(&q->descriptors, offset != VIRTIO_COMMON_QUEUE_DESCRIPTORS, value);
		break;
	case VIRTIO_COMMON_QUEUE_DRIVER:
	case VIRTIO_COMMON_QUEUE_DRIVER + 4:
		set_half(&q->driver, offset != VIRTIO_COMMON_QUEUE_DRIVER, value);
		break;
	case VIRTIO_COMMON_QUEUE_DEVICE:
	case VIRTIO_COMMON_QUEUE_DEVICE + 4:
		set_half(&q->device, offset != VIRTIO_COMMON_QUEUE_DEVICE, value);
		break;
	}
}

/* Features are taken with FEATURES_OK, when all of them were offered and VERSION_1 is among them (6.1). */
static bool features_are_good(const struct virtio *d)
{
	return !(d->common.driver_features & ~d->offered) &&
	       d->common.driver_features >> VIRTIO_F_VERSION_1 & 1;
}

/* The work thread has to know first of a reset of what it may have seen. */
static void ask_for_reset(struct virtio *d)
{
	if (d->common.status == 0) {
		virtio_common_reset(d);
	} else {
		d->resetting = true;
		d->gate.resets_asked++;
	}
}

/* The driver adds bits one after the other, and only 0 takes them away; NEEDS_RESET is the device's (2.1). */
static bool write_status(struct virtio *d, uint8_t value)
{
	uint8_t before = d->common.status;

	if (value == 0) {
		ask_for_reset(d);
		return false;
	}
	value = (uint8_t)((value & ~VIRTIO_STATUS_NEEDS_RESET) | before);
	if (value & VIRTIO_STATUS_FEATURES_OK && !features_are_good(d))
		value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	d->common.status = value;
	return value & ~before & VIRTIO_STATUS_FEATURES_OK;
}

static void write_driver_features(struct virtio *d, uint32_t value)
{
	/* Those that were taken stay. */
	if (d->common.driver_feature_select < 2 && !(d->common.status & VIRTIO_STATUS_FEATURES_OK))
		set_half(&d->common.driver_features, d->common.driver_feature_select, value);
}

/* The size in which the driver has to access what is at `offset` (4.1.3.1); 0: nothing can be written there.
 */
static size_t width_of(uint64_t offset)
{
	switch (offset) {
	case VIRTIO_COMMON_STATUS:
		return 1;
	case VIRTIO_COMMON_CONFIG_VECTOR:
	case VIRTIO_COMMON_QUEUE_SELECT:
	case VIRTIO_COMMON_QUEUE_SIZE:
	case VIRTIO_COMMON_QUEUE_VECTOR:
	case VIRTIO_COMMON_QUEUE_ENABLE:
		return 2;
	case VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
	case VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
	case VIRTIO_COMMON_DRIVER_FEATURE:
		return 4;
	}
	return offset >= VIRTIO_COMMON_QUEUE_DESCRIPTORS && offset % 4 == 0 ? 4 : 0;
}

static void write_queue_register(struct virtio *d, uint64_t offset, uint32_t value)
{
	struct queue_registers *q = selected(d);

	if (!q)
		return;
	if (offset == VIRTIO_COMMON_QUEUE_VECTOR)
		q->vector = vector_of(d, value);
	else if (!q->enabled)
		write_queue(d, q, offset, value);
	d->generation++;
}

bool virtio_common_write(struct virtio *d, uint64_t offset, size_t len, uint32_t value)
{
	bool accepted = false;

	if (len != width_of(offset) || offset + len > VIRTIO_COMMON_SIZE || d->resetting)
		return false;
	switch (offset) {
	case VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
		d->common.device_feature_select = value;
		break;
	case VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
		d->common.driver_feature_select = value;
		break;
	case VIRTIO_COMMON_DRIVER_FEATURE:
		write_driver_features(d, value);
		break;
	case VIRTIO_COMMON_CONFIG_VECTOR:
		d->common.config_vector = vector_of(d, value);
		break;
	case VIRTIO_COMMON_STATUS:
		accepted = write_status(d, (uint8_t)value);
		break;
	case VIRTIO_COMMON_QUEUE_SELECT:
		d->common.queue_select = (uint16_t)value;
		break;
	default:
		write_queue_register(d, offset, value);
	}
	virtio_publish(d);
	return accepted;
}

/* A driver that has not accepted VERSION_1 is none that this device can serve (6.2). */
bool virtio_common_is_started(const struct common_registers *c)
{
	return c->status & VIRTIO_STATUS_FEATURES_OK && c->status & VIRTIO_STATUS_DRIVER_OK;
}

/* ------------------------------------------------------------------------ states */

static bool is_vector(const struct virtio *d, uint16_t vector)
{
	return vector == VIRTIO_MSI_NO_VECTOR || vector_of(d, vector) == vector;
}

static bool queue_is_possible(const struct virtio *d, const struct queue_registers *q)
{
	return is_queue_size(d, q->size) && is_vector(d, q->vector) && q->enabled <= 1 && !q->unused;
}

bool virtio_common_is_possible(const struct virtio *d, const struct common_registers *c)
{
	static const struct queue_registers none;

	if (!is_vector(d, c->config_vector) || c->unused[0] || c->unused[1] || c->unused[2])
		return false;
	if (c->status & VIRTIO_STATUS_FEATURES_OK &&
	    (c->driver_features & ~d->offered || !(c->driver_features >> VIRTIO_F_VERSION_1 & 1)))
		return false;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MOST; i++) {
		if (i < d->options.queues ? !queue_is_possible(d, &c->queues[i])
					  : memcmp(&c->queues[i], &none, sizeof(none)) != 0)
			return false;
	}
	return true;
}
