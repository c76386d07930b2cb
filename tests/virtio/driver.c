/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RING_OF(queue, life) (FAKE_BASE + ((queue) + (life) % 2 * DRV_QUEUES) * RING_BYTES)
#define DATA_OF(queue, life) (FAKE_BASE + 0x10000 + ((queue) + (life) % 2 * DRV_QUEUES) * 0x1000ull)

/* ------------------------------------------------------- between two steps of the work thread */

/* Whose steps this thread's are, while it is the work thread. */
static _Thread_local struct drv *at_work;

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);

static void moment(void)
{
	struct drv *d = at_work;

	if (!d || ++d->moments != d->hook_at)
		return;
	at_work = NULL;
	d->hook(d);
	at_work = d;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	moment();
	return __real_pthread_mutex_lock(mutex);
}

static void watch(void *arg, uint64_t iova, size_t len, bool write)
{
	struct drv *d = arg;

	d->late += d->is_off;
	moment();
}

/* ----------------------------------------------------------------------------- the device */

static void config_read(void *opaque, size_t offset, void *buf, size_t len)
{
	struct drv *d = opaque;

	assert_true((len == 1 || len == 2 || len == 4) && offset % len == 0 && offset + len <= DRV_CONFIG);
	memcpy(buf, d->config + offset, len);
	d->config_reads++;
}

static void config_write(void *opaque, size_t offset, const void *buf, size_t len)
{
	struct drv *d = opaque;

	assert_true((len == 1 || len == 2 || len == 4) && offset % len == 0 && offset + len <= DRV_CONFIG);
	memcpy(d->config + offset, buf, len);
	d->config_writes++;
}

static void accepted(void *opaque, uint64_t features)
{
	struct drv *d = opaque;

	if (d->dawdles)
		usleep(100);
	d->accepted = features;
}

static bool reset(void *opaque, bool by_driver)
{
	struct drv *d = opaque;

	moment();
	if (d->resets_wait)
		return false;
	d->accepted = 0;
	d->resets++;
	d->resets_by_driver += by_driver;
	return true;
}

static void msix(void *opaque, unsigned vector)
{
	struct drv *d = opaque;

	assert_true(vector <= DRV_QUEUES);
	d->msix[vector]++;
}

static void kick(void *opaque)
{
	struct drv *d = opaque;

	d->kicks++;
	sem_post(&d->kicked);
}

static void tell(void *opaque, const char *line)
{
	struct drv *d = opaque;

	d->logs++;
	snprintf(d->log, sizeof(d->log), "%s", line);
}

static struct virtio *make(struct drv *d)
{
	static const struct virtio_options options = {.device_id = 23,
						      .class_code = 0x080600,
						      .queues = DRV_QUEUES,
						      .queue_size = DRV_QUEUE_SIZE,
						      .features = DRV_FEATURES,
						      .config_size = DRV_CONFIG};
	static const struct virtio_device_ops ops = {.config_read = config_read,
						     .config_write = config_write,
						     .accepted = accepted,
						     .reset = reset,
						     .msix = msix,
						     .kick = kick,
						     .log = tell};
	struct virtio *v = virtio_create(&options, &ops, d, &d->memory, NULL);

	assert_non_null(v);
	return v;
}

struct drv *drv_new(void)
{
	struct drv *d = calloc(1, sizeof(*d));

	fake_init(&d->memory, DRV_MEMORY);
	d->memory.watch = watch;
	d->memory.watch_arg = d;
	sem_init(&d->kicked, 0, 0);
	d->v = make(d);
	return d;
}

void drv_another(struct drv *d)
{
	virtio_destroy(d->v);
	d->accepted = 0;
	d->v = make(d);
}

void drv_free(struct drv *d)
{
	virtio_destroy(d->v);
	sem_destroy(&d->kicked);
	fake_finish(&d->memory);
	free(d);
}

static int answer(struct virtqueue *q, struct virtqueue_buffer *b, uint16_t head)
{
	uint8_t bytes[DRV_BYTES];
	int err = virtqueue_open(q, head, b);
	int64_t n = err ? err : virtqueue_read(q, b, bytes, sizeof(bytes));

	if (n < 0)
		return (int)n;
	virtqueue_take(q);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)~bytes[i];
	n = b->to_write < (uint64_t)n ? (int64_t)b->to_write : n;
	err = virtqueue_write(q, b, bytes, (size_t)n);
	return err ? err : virtqueue_give(q, head, (uint32_t)n);
}

static void serve(struct drv *d, struct virtqueue *q)
{
	unsigned count = 0;
	int found, err = 0;
	uint16_t head;

	while (!err && (found = virtqueue_look(q, &head)) != 0) {
		err = found < 0 ? found : answer(q, virtio_buffer(d->v), head);
		count++;
	}
	if (!err && count)
		err = virtqueue_set_quiet(q, true);
	if (err)
		virtio_broke(d->v, q, err);
	else if (count)
		virtio_gave_back(d->v, q);
}

enum virtio_phase drv_turn(struct drv *d)
{
	enum virtio_phase phase;

	at_work = d;
	phase = virtio_begin(d->v);
	for (unsigned i = 0; phase == VIRTIO_RUNS && i < DRV_QUEUES; i++)
		serve(d, virtio_queue(d->v, i));
	d->armed = phase != VIRTIO_RESETTING;
	for (unsigned i = 0; i < DRV_QUEUES; i++)
		d->armed &= virtio_arm(d->v, virtio_queue(d->v, i));
	at_work = NULL;
	return phase;
}

/* -------------------------------------------------------------------------- its registers */

static uint32_t number(const uint8_t bytes[4])
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

uint32_t drv_read(struct drv *d, uint64_t offset, size_t len)
{
	uint8_t bytes[4] = {0};

	assert_int_equal(virtio_bar_read(d->v, 0, offset, bytes, len), 0);
	return number(bytes);
}

void drv_write(struct drv *d, uint64_t offset, size_t len, uint32_t value)
{
	const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
				  (uint8_t)(value >> 24)};

	assert_int_equal(virtio_bar_write(d->v, 0, offset, bytes, len), 0);
}

uint32_t drv_config_read(struct drv *d, uint64_t offset, size_t len)
{
	uint8_t bytes[4] = {0};

	assert_int_equal(virtio_config_read(d->v, offset, bytes, len), 0);
	return number(bytes);
}

void drv_config_write(struct drv *d, uint64_t offset, size_t len, uint32_t value)
{
	const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
				  (uint8_t)(value >> 24)};

	assert_int_equal(virtio_config_write(d->v, offset, bytes, len), 0);
}

uint8_t drv_status(struct drv *d)
{
	return (uint8_t)drv_read(d, VIRTIO_COMMON_STATUS, 1);
}

void drv_set_status(struct drv *d, uint8_t status)
{
	drv_write(d, VIRTIO_COMMON_STATUS, 1, status);
}

void drv_write_features(struct drv *d, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, i);
		drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
	}
}

bool drv_accept(struct drv *d, uint64_t features)
{
	drv_write_features(d, features);
	drv_set_status(d, drv_status(d) | VIRTIO_STATUS_FEATURES_OK);
	return drv_status(d) & VIRTIO_STATUS_FEATURES_OK;
}

static void write_address(struct drv *d, uint64_t offset, uint64_t address)
{
	drv_write(d, offset, 4, (uint32_t)address);
	drv_write(d, offset + 4, 4, (uint32_t)(address >> 32));
}

void drv_set_up_queue(struct drv *d, unsigned queue)
{
	struct ring *r = &d->rings[queue];

	ring_init(r, &d->memory, RING_OF(queue, d->life), DRV_QUEUE_SIZE);
	drv_write(d, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
	drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, queue + 1);
	write_address(d, VIRTIO_COMMON_QUEUE_DESCRIPTORS, r->descriptors);
	write_address(d, VIRTIO_COMMON_QUEUE_DRIVER, r->driver);
	write_address(d, VIRTIO_COMMON_QUEUE_DEVICE, r->device);
	drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

void drv_agree(struct drv *d)
{
	d->life++;
	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	drv_config_write(d, DRV_MSIX_CONTROL, 2, DRV_MSIX_ENABLE);
	drv_set_status(d, 1);
	drv_set_status(d, 3);
	assert_true(drv_accept(d, DRV_ALL_FEATURES));
	drv_write(d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
}

void drv_start(struct drv *d)
{
	drv_agree(d);
	for (unsigned i = 0; i < DRV_QUEUES; i++)
		drv_set_up_queue(d, i);
	drv_set_status(d, DRV_STARTED);
}

/* ------------------------------------------------------------------------------- requests */

/* Each has two descriptors of its own, and so many are under way at most. */
#define SLOTS (DRV_QUEUE_SIZE / 2)

static uint64_t bytes_of(const struct drv *d, unsigned queue, uint16_t slot)
{
	return DATA_OF(queue, d->life) + slot * 2u * DRV_BYTES;
}

void drv_ask(struct drv *d, unsigned queue, uint8_t seed)
{
	struct ring *r = &d->rings[queue];
	uint16_t slot = r->offered % SLOTS, head = 2 * slot;
	uint64_t at = bytes_of(d, queue, slot);

	for (unsigned i = 0; i < DRV_BYTES; i++)
		*(uint8_t *)fake_at(&d->memory, at + i) = (uint8_t)(seed + 11 * i);
	ring_describe(r, r->descriptors, head,
		      (struct ring_descriptor){at, DRV_BYTES, VIRTQ_DESC_F_NEXT, head + 1});
	ring_describe(r, r->descriptors, head + 1u,
		      (struct ring_descriptor){at + DRV_BYTES, DRV_BYTES, VIRTQ_DESC_F_WRITE, 0});
	ring_offer(r, head);
}

bool drv_answered(struct drv *d, unsigned queue, uint8_t seed)
{
	uint16_t head = 2 * (d->rings[queue].seen % SLOTS);
	const uint8_t *bytes = fake_at(&d->memory, bytes_of(d, queue, head / 2) + DRV_BYTES);
	uint32_t used, length;

	if (!ring_take(&d->rings[queue], &used, &length) || used != head || length != DRV_BYTES)
		return false;
	for (unsigned i = 0; i < DRV_BYTES; i++) {
		if (bytes[i] != (uint8_t) ~(seed + 11 * i))
			return false;
	}
	return true;
}

void drv_exchange(struct drv *d, unsigned queue)
{
	static uint8_t seed;
	unsigned before = d->msix[queue + 1];

	seed++;
	drv_ask(d, queue, seed);
	drv_write(d, DRV_NOTIFY + 4 * queue, 2, queue);
	assert_int_equal(drv_turn(d), VIRTIO_RUNS);
	assert_true(drv_answered(d, queue, seed));
	assert_int_equal(d->msix[queue + 1], before + 1);
}
