/* SPDX-License-Identifier: BSD-3-Clause */
/* How a driver begins (virtio 1.3, 3.1): features, queues, bus mastering; queues that break. */
#include "driver.h"

#include <string.h>

static int set_up(void **state)
{
	*state = drv_new();
	return 0;
}

static int tear_down(void **state)
{
	drv_free(*state);
	return 0;
}

static void select_queue(struct drv *d, uint16_t queue)
{
	drv_write(d, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
}

/* ------------------------------------------------------------------------------ features */

static void features_offered(void **state)
{
	struct drv *d = *state;

	drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DEVICE_FEATURE, 4), (uint32_t)DRV_ALL_FEATURES);
	drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DEVICE_FEATURE, 4), DRV_ALL_FEATURES >> 32);
	for (unsigned i = 2; i; i <<= 1) {
		drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, i);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_DEVICE_FEATURE, 4), 0);
	}
	drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE, 4, 0xffffffff); /* read-only */
	drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DEVICE_FEATURE, 4), (uint32_t)DRV_ALL_FEATURES);
}

static void features_of_the_driver(void **state)
{
	struct drv *d = *state;

	drv_write_features(d, 0xfedcba9876543210);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 0x76543210);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 2);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 0xffffffff);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 0);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 0xfedcba98);
	assert_int_equal(d->accepted, 0);
}

static void features_taken(void **state)
{
	static const struct {
		uint64_t features;
		bool good;
	} rows[] = {
		{DRV_ALL_FEATURES, true},
		{UINT64_C(1) << VIRTIO_F_VERSION_1, true},
		{UINT64_C(1) << VIRTIO_F_VERSION_1 | 4, true},
		{0, false},
		{DRV_FEATURES, false},						/* without VERSION_1 */
		{UINT64_C(1) << VIRTIO_F_VERSION_1 | 2, false},			/* not offered */
		{UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << 40, false}, /* nor is this half */
		{DRV_ALL_FEATURES | UINT64_C(1) << 63, false},			/* nor this */
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct drv *d = drv_new();

		drv_set_status(d, 3);
		assert_int_equal(drv_accept(d, rows[i].features), rows[i].good);
		assert_int_equal(drv_status(d), rows[i].good ? 11 : 3);
		assert_int_equal(d->accepted, rows[i].good ? rows[i].features & DRV_FEATURES : 0);
		drv_free(d);
	}
}

static void features_that_were_taken_stay(void **state)
{
	struct drv *d = *state;

	drv_set_status(d, 3);
	assert_false(drv_accept(d, 2));
	assert_true(drv_accept(d, DRV_ALL_FEATURES)); /* another try */
	drv_write_features(d, 0xffffffffffffffff);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), (uint32_t)DRV_ALL_FEATURES);
	assert_int_equal(d->accepted, DRV_FEATURES);
}

/* -------------------------------------------------------------------------------- queues */

static void queues_at_reset(void **state)
{
	struct drv *d = *state;

	assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUES, 2), DRV_QUEUES);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_CONFIG_VECTOR, 2), VIRTIO_MSI_NO_VECTOR);
	for (uint16_t i = 0; i < DRV_QUEUES; i++) {
		select_queue(d, i);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_SELECT, 2), i);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_SIZE, 2), DRV_QUEUE_SIZE);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_VECTOR, 2), VIRTIO_MSI_NO_VECTOR);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_NOTIFY, 2), i);
		for (unsigned at = VIRTIO_COMMON_QUEUE_DESCRIPTORS; at < VIRTIO_COMMON_SIZE; at += 4)
			assert_int_equal(drv_read(d, at, 4), 0);
	}
}

/* 0 bytes long: there is none (4.1.4.3.1). */
static void queues_that_are_not_there(void **state)
{
	static const uint16_t numbers[] = {DRV_QUEUES, VIRTIO_QUEUES_MOST, 0x100, 0xffff};
	struct drv *d = *state;

	for (unsigned i = 0; i < 4; i++) {
		select_queue(d, numbers[i]);
		drv_write(d, VIRTIO_COMMON_QUEUE_SIZE, 2, 4);
		drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
		drv_write(d, VIRTIO_COMMON_QUEUE_DESCRIPTORS, 4, 0x1000);
		drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
		for (unsigned at = VIRTIO_COMMON_QUEUE_SIZE; at < VIRTIO_COMMON_SIZE; at += 2)
			assert_int_equal(drv_read(d, at, 2), 0);
	}
	queues_at_reset(state);
}

static void sizes_of_queues(void **state)
{
	struct drv *d = *state;

	for (uint16_t size = 1; size <= DRV_QUEUE_SIZE; size *= 2) {
		drv_write(d, VIRTIO_COMMON_QUEUE_SIZE, 2, size);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_SIZE, 2), size);
	}
	for (uint32_t size = 0; size < 0x10000; size++) {
		if (size == 1 || size == 2 || size == 4)
			continue;
		drv_write(d, VIRTIO_COMMON_QUEUE_SIZE, 2, size);
		if (drv_read(d, VIRTIO_COMMON_QUEUE_SIZE, 2) != DRV_QUEUE_SIZE)
			fail_msg("size %u", size);
	}
}

static void addresses_by_halves(void **state)
{
	static const unsigned areas[] = {VIRTIO_COMMON_QUEUE_DESCRIPTORS, VIRTIO_COMMON_QUEUE_DRIVER,
					 VIRTIO_COMMON_QUEUE_DEVICE};
	struct drv *d = *state;

	for (uint16_t q = 0; q < DRV_QUEUES; q++) {
		select_queue(d, q);
		for (unsigned i = 0; i < 3; i++) {
			drv_write(d, areas[i] + 4, 4, 0xa0000000 + 16 * q + i);
			drv_write(d, areas[i], 4, 0xb0000000 + 16 * q + i);
		}
	}
	for (uint16_t q = 0; q < DRV_QUEUES; q++) {
		select_queue(d, q);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(drv_read(d, areas[i], 4), 0xb0000000 + 16 * q + i);
			assert_int_equal(drv_read(d, areas[i] + 4, 4), 0xa0000000 + 16 * q + i);
		}
	}
}

static void vectors(void **state)
{
	static const struct {
		uint16_t written, wanted;
	} rows[] = {{0, 0}, {1, 1}, {2, 2}, {3, 0xffff}, {4, 0xffff}, {0xfffe, 0xffff}, {0xffff, 0xffff}};
	struct drv *d = *state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		drv_write(d, VIRTIO_COMMON_CONFIG_VECTOR, 2, rows[i].written);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_CONFIG_VECTOR, 2), rows[i].wanted);
		drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, rows[i].written);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_VECTOR, 2), rows[i].wanted);
	}
}

static void enabled_queues_stay(void **state)
{
	struct drv *d = *state;
	uint32_t before[VIRTIO_COMMON_SIZE / 4];

	drv_start(d);
	select_queue(d, 0);
	for (unsigned i = 0; i < VIRTIO_COMMON_SIZE / 4; i++)
		before[i] = drv_read(d, 4 * i, 4);
	drv_write(d, VIRTIO_COMMON_QUEUE_SIZE, 2, 4);
	drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 0);
	for (unsigned at = VIRTIO_COMMON_QUEUE_DESCRIPTORS; at < VIRTIO_COMMON_SIZE; at += 4)
		drv_write(d, at, 4, 0xdead0000);
	for (unsigned i = 0; i < VIRTIO_COMMON_SIZE / 4; i++)
		assert_int_equal(drv_read(d, 4 * i, 4), before[i]);
	drv_exchange(d, 0);
	/* Its vector may change. */
	drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 0);
	drv_ask(d, 0, 9);
	drv_turn(d);
	assert_int_equal(d->msix[0], 1);
}

/* 1 enables; nothing else is a value that the driver may write. */
static void enabled_by_one(void **state)
{
	struct drv *d = *state;

	drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 2);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
	drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 0x101);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
	drv_write(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 1);
}

static void smaller_queues(void **state)
{
	struct drv *d = *state;

	select_queue(d, 1);
	drv_write(d, VIRTIO_COMMON_QUEUE_SIZE, 2, 2);
	drv_start(d);
	ring_init(&d->rings[1], &d->memory, d->rings[1].descriptors, 2);
	for (uint16_t i = 0; i < 7; i++) {
		uint32_t head, length;

		ring_describe(&d->rings[1], d->rings[1].descriptors, 1,
			      (struct ring_descriptor){FAKE_BASE + 0x10000, 5, 0, 0});
		ring_offer(&d->rings[1], 1);
		assert_int_equal(drv_turn(d), VIRTIO_RUNS);
		assert_true(ring_take(&d->rings[1], &head, &length));
		assert_int_equal(head, 1);
		assert_int_equal(length, 0);
	}
	ring_offer(&d->rings[1], 2); /* not in a queue of two */
	drv_turn(d);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
}

/* ------------------------------------------------------------------------ bus mastering */

static void dma_only_as_bus_master(void **state)
{
	struct drv *d = *state;
	uint64_t before;

	drv_start(d);
	assert_true(virtio_masters_bus(d->v));
	drv_exchange(d, 0);
	drv_config_write(d, DRV_COMMAND, 2, 2);
	assert_false(virtio_masters_bus(d->v));
	drv_ask(d, 0, 77);
	before = d->memory.accesses;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->memory.accesses, before);
	assert_false(drv_answered(d, 0, 77));
	d->kicks = 0;
	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	assert_true(d->kicks > 0);
	assert_int_equal(drv_turn(d), VIRTIO_RUNS);
	assert_true(drv_answered(d, 0, 77));
}

static void no_dma_before_the_driver_is_ready(void **state)
{
	struct drv *d = *state;

	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	drv_set_status(d, 3);
	assert_true(drv_accept(d, DRV_ALL_FEATURES));
	drv_set_up_queue(d, 0);
	drv_ask(d, 0, 5);
	drv_write(d, DRV_NOTIFY, 2, 0);
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->memory.accesses, 0);
	drv_set_status(d, DRV_STARTED);
	assert_int_equal(drv_turn(d), VIRTIO_RUNS);
	assert_true(drv_answered(d, 0, 5));
	/* FAILED: the driver has given up. */
	drv_set_status(d, DRV_STARTED | VIRTIO_STATUS_FAILED);
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
}

/* Nothing was agreed on: not even how rings are laid out. */
static void no_dma_without_features(void **state)
{
	struct drv *d = *state;

	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	drv_write_features(d, DRV_ALL_FEATURES);
	drv_set_up_queue(d, 0);
	drv_ask(d, 0, 5);
	drv_set_status(d, 7);
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->memory.accesses, 0);
	drv_set_status(d, DRV_STARTED);
	assert_int_equal(drv_turn(d), VIRTIO_RUNS);
	assert_true(drv_answered(d, 0, 5));
}

static void queue_enabled_later(void **state)
{
	struct drv *d = *state;

	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	drv_config_write(d, DRV_MSIX_CONTROL, 2, DRV_MSIX_ENABLE);
	drv_set_status(d, 3);
	assert_true(drv_accept(d, DRV_ALL_FEATURES));
	drv_set_up_queue(d, 1);
	drv_set_status(d, DRV_STARTED);
	drv_exchange(d, 1);
	drv_set_up_queue(d, 0);
	drv_exchange(d, 0);
	drv_exchange(d, 1);
}

/* ---------------------------------------------------------------------- broken queues */

static void needs_reset(void **state)
{
	struct drv *d = *state;
	uint64_t before;

	drv_start(d);
	drv_ask(d, 1, 3);
	ring_set_index(&d->rings[0], 9);
	drv_turn(d);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(d->msix[0], 1); /* configuration change */
	assert_int_equal(d->logs, 1);
	assert_non_null(strstr(d->log, "virtqueue 0: the driver put into the ring"));
	/* It stays so, whatever the driver writes but 0, and nothing is accessed. */
	drv_set_status(d, DRV_STARTED);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	before = d->memory.accesses;
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->memory.accesses, before);
	drv_set_status(d, 0);
	drv_turn(d);
	assert_int_equal(drv_status(d), 0);
	drv_start(d);
	drv_exchange(d, 0);
	drv_exchange(d, 1);
}

static void needs_reset_for_memory(void **state)
{
	struct drv *d = *state;

	drv_start(d);
	drv_ask(d, 1, 3);
	fake_refuse(&d->memory, d->rings[1].device, 4, false, true);
	drv_turn(d);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	assert_non_null(strstr(d->log, "virtqueue 1: its memory cannot be accessed"));
}

/* The driver cannot say so in the device's place. */
static void needs_reset_is_the_devices(void **state)
{
	struct drv *d = *state;

	drv_set_status(d, 1 | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(drv_status(d), 1);
}

/* 2.1.1: the driver takes no bit away; if it does all the same, what was agreed on stays agreed on. */
static void status_bits_stay(void **state)
{
	static const uint8_t values[] = {1, 3, 7, 8, 0x40, 0x80};
	struct drv *d = *state;

	drv_start(d);
	for (unsigned i = 0; i < sizeof(values); i++) {
		drv_set_status(d, values[i]);
		assert_int_equal(drv_status(d), DRV_STARTED | (values[i] & VIRTIO_STATUS_FAILED));
	}
	drv_write_features(d, 0);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), (uint32_t)DRV_ALL_FEATURES);
	assert_int_equal(d->accepted, DRV_FEATURES);
}

/* A driver that writes 0 finds all as after a reset, whatever another one left without a status. */
static void reset_of_what_has_no_status(void **state)
{
	struct drv *d = *state;

	drv_set_up_queue(d, 1);
	drv_write_features(d, 0xffffffffffffffff);
	drv_write(d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 1);
	drv_set_status(d, VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(drv_status(d), 0);
	drv_set_status(d, 0);
	queues_at_reset(state);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 0);
	drv_start(d);
	drv_exchange(d, 1);
}

/* ------------------------------------------------------------------------ notifications */

static void notifications_kick(void **state)
{
	struct drv *d = *state;

	for (unsigned at = DRV_NOTIFY; at < VIRTIO_BAR0_SIZE; at += 0x7fe) {
		d->kicks = 0;
		drv_write(d, at, 2, 0);
		assert_int_equal(d->kicks, 1);
		assert_int_equal(drv_read(d, at, 2), 0);
	}
}

/* Before the device sleeps it asks for notifications, and then looks once more. */
static void armed(void **state)
{
	struct drv *d = *state;
	struct virtqueue *q = virtio_queue(d->v, 0);

	assert_true(virtio_arm(d->v, q)); /* no driver */
	drv_start(d);
	drv_turn(d);
	assert_int_equal(virtqueue_set_quiet(q, true), 0);
	assert_true(virtio_arm(d->v, q));
	assert_int_equal(ring_used_flags(&d->rings[0]), 0);
	assert_int_equal(virtqueue_set_quiet(q, true), 0);
	drv_ask(d, 0, 1);
	assert_false(virtio_arm(d->v, q));
	assert_int_equal(ring_used_flags(&d->rings[0]), 0);
	drv_turn(d);
	ring_set_index(&d->rings[0], 100);
	assert_true(virtio_arm(d->v, q));
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	drv_set_status(d, 0);
	assert_false(virtio_arm(d->v, q)); /* there is a reset to do */
}

#define REGISTER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REGISTER_TEST(features_offered),
		REGISTER_TEST(features_of_the_driver),
		cmocka_unit_test(features_taken),
		REGISTER_TEST(features_that_were_taken_stay),
		REGISTER_TEST(queues_at_reset),
		REGISTER_TEST(queues_that_are_not_there),
		REGISTER_TEST(sizes_of_queues),
		REGISTER_TEST(addresses_by_halves),
		REGISTER_TEST(vectors),
		REGISTER_TEST(enabled_queues_stay),
		REGISTER_TEST(enabled_by_one),
		REGISTER_TEST(smaller_queues),
		REGISTER_TEST(dma_only_as_bus_master),
		REGISTER_TEST(no_dma_before_the_driver_is_ready),
		REGISTER_TEST(no_dma_without_features),
		REGISTER_TEST(queue_enabled_later),
		REGISTER_TEST(needs_reset),
		REGISTER_TEST(needs_reset_for_memory),
		REGISTER_TEST(needs_reset_is_the_devices),
		REGISTER_TEST(status_bits_stay),
		REGISTER_TEST(reset_of_what_has_no_status),
		REGISTER_TEST(notifications_kick),
		REGISTER_TEST(armed),
	};

	return cmocka_run_group_tests_name("virtio set-up", tests, NULL, NULL);
}
