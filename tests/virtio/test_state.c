/* SPDX-License-Identifier: BSD-3-Clause */
/* A function that goes on in another one, between any two steps of its driver, and states that nobody saved.
 */
#include "driver.h"

#include <errno.h>
#include <string.h>

#include "pci/config_space.h"

/* Where what is in a state, which is of this machine's byte order. */
enum {
	AT_TABLE = PCI_CONFIG_SIZE,
	AT_FEATURES = AT_TABLE + 16 * VIRTIO_VECTORS_MOST,
	AT_CONFIG_VECTOR = AT_FEATURES + 16,
	AT_STATUS = AT_FEATURES + 20,
	AT_QUEUES = AT_FEATURES + 24, /* 32 bytes each: addresses, and then */
	IN_QUEUE_SIZE = 24,
	IN_QUEUE_VECTOR = 26,
	IN_QUEUE_ENABLED = 28,
	IN_QUEUE_UNUSED = 30,
	AT_RINGS = AT_QUEUES + 32 * VIRTIO_QUEUES_MOST, /* 8 bytes each: taken, given, quiet, unused */
	STATE_SIZE = AT_RINGS + 8 * VIRTIO_QUEUES_MOST,
};

/* A reset under way is waited for, as its end is nothing that a state has. */
static void move(struct drv *d)
{
	uint8_t state[STATE_SIZE];
	uint64_t accepted;
	int err = virtio_save(d->v, state);

	if (err == -EBUSY) {
		drv_turn(d);
		err = virtio_save(d->v, state);
	}
	assert_int_equal(err, 0);
	accepted = d->accepted;
	drv_another(d);
	assert_int_equal(virtio_restore_check(d->v, state, sizeof(state)), 0);
	virtio_restore(d->v, state);
	assert_int_equal(d->accepted, accepted);
}

/* ------------------------------------------------------------------- the driver's steps */

static void master_the_bus(struct drv *d)
{
	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
}

static void use_msix(struct drv *d)
{
	drv_config_write(d, DRV_MSIX_CONTROL, 2, DRV_MSIX_ENABLE);
	assert_int_equal(virtio_bar_write(d->v, 4, 16, "\x10\x02\xe0\xfe", 4), 0);
}

static void aim_window(struct drv *d)
{
	drv_config_write(d, DRV_WINDOW_OFFSET, 4, VIRTIO_COMMON_QUEUES);
	drv_config_write(d, DRV_WINDOW_LENGTH, 4, 2);
}

static void acknowledge(struct drv *d)
{
	drv_set_status(d, 3);
}

static void refused_features(struct drv *d)
{
	assert_false(drv_accept(d, 2));
}

static void half_of_the_features(struct drv *d)
{
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, (uint32_t)DRV_ALL_FEATURES);
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
}

static void other_half(struct drv *d)
{
	drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, DRV_ALL_FEATURES >> 32);
}

static void agree(struct drv *d)
{
	drv_set_status(d, 11);
	assert_int_equal(drv_status(d), 11);
	assert_int_equal(d->accepted, DRV_FEATURES);
}

static void set_vector(struct drv *d)
{
	drv_write(d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
}

static void set_up_second(struct drv *d)
{
	drv_set_up_queue(d, 1);
}

static void set_up_first(struct drv *d)
{
	drv_set_up_queue(d, 0);
}

static void ask_early(struct drv *d)
{
	drv_ask(d, 1, 41);
}

static void ready(struct drv *d)
{
	drv_set_status(d, DRV_STARTED);
}

static void turn(struct drv *d)
{
	assert_int_equal(drv_turn(d), VIRTIO_RUNS);
}

static void answered_early(struct drv *d)
{
	assert_true(drv_answered(d, 1, 41));
}

/* Indices wrap on the way. */
static void much(struct drv *d)
{
	for (unsigned i = 0; i < 13; i++) {
		drv_exchange(d, 0);
		drv_exchange(d, 1);
	}
}

static void be_quiet(struct drv *d)
{
	assert_int_equal(virtqueue_set_quiet(virtio_queue(d->v, 0), true), 0);
	assert_int_equal(ring_used_flags(&d->rings[0]), VIRTQ_USED_F_NO_NOTIFY);
}

static void arm(struct drv *d)
{
	assert_true(virtio_arm(d->v, virtio_queue(d->v, 0)));
	assert_int_equal(ring_used_flags(&d->rings[0]), 0);
}

static void stop_mastering(struct drv *d)
{
	drv_config_write(d, DRV_COMMAND, 2, 2);
	drv_ask(d, 0, 42);
}

static void answered(struct drv *d)
{
	assert_true(drv_answered(d, 0, 42));
}

static void break_it(struct drv *d)
{
	ring_set_index(&d->rings[1], (uint16_t)(d->rings[1].offered + 9));
	drv_turn(d);
	assert_int_equal(d->msix[0], 1);
}

static void see_it_broken(struct drv *d)
{
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
}

static void reset(struct drv *d)
{
	drv_set_status(d, 0);
}

static void wait_for_it(struct drv *d)
{
	drv_turn(d);
	assert_int_equal(drv_status(d), 0);
	assert_int_equal(d->accepted, 0);
}

static void start_again(struct drv *d)
{
	drv_start(d);
}

static void see_window(struct drv *d)
{
	uint8_t word[4];

	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 2), DRV_QUEUES);
	assert_int_equal(virtio_bar_read(d->v, 4, 16, word, 4), 0);
	assert_memory_equal(word, "\x10\x02\xe0\xfe", 4);
}

static void (*const steps[])(struct drv *d) = {master_the_bus,
					       use_msix,
					       aim_window,
					       acknowledge,
					       refused_features,
					       half_of_the_features,
					       other_half,
					       agree,
					       set_vector,
					       set_up_second,
					       ask_early,
					       set_up_first,
					       ready,
					       turn,
					       answered_early,
					       much,
					       be_quiet,
					       arm,
					       stop_mastering,
					       master_the_bus,
					       turn,
					       answered,
					       much,
					       break_it,
					       see_it_broken,
					       reset,
					       wait_for_it,
					       start_again,
					       much,
					       see_window};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void between_any_two_steps(void **state)
{
	for (unsigned moved = 0; moved <= STEPS; moved++) {
		struct drv *d = drv_new();

		for (unsigned i = 0; i < STEPS; i++) {
			if (i == moved)
				move(d);
			steps[i](d);
		}
		drv_free(d);
	}
}

static void after_each_step(void **state)
{
	struct drv *d = drv_new();

	for (unsigned i = 0; i < STEPS; i++) {
		move(d);
		steps[i](d);
		move(d);
	}
	drv_free(d);
}

/* What is not saved leaves the caller's memory as it is. */
static void busy(void **state)
{
	struct drv *d = drv_new();
	uint8_t bytes[STATE_SIZE], before[STATE_SIZE];

	memset(bytes, 0xa5, sizeof(bytes));
	memcpy(before, bytes, sizeof(bytes));
	drv_start(d);
	d->resets_wait = true;
	drv_set_status(d, 0);
	assert_int_equal(virtio_save(d->v, bytes), -EBUSY);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	assert_int_equal(virtio_save(d->v, bytes), -EBUSY);
	virtio_reset(d->v);
	assert_int_equal(virtio_save(d->v, bytes), -EBUSY);
	assert_memory_equal(bytes, before, sizeof(bytes));
	d->resets_wait = false;
	drv_turn(d);
	assert_int_equal(virtio_save(d->v, bytes), 0);
	drv_free(d);
}

/* A restore ends what was under way in the one that takes the state. */
static void restored_over_another_life(void **state)
{
	struct drv *d = drv_new();
	uint8_t bytes[STATE_SIZE];

	assert_int_equal(virtio_save(d->v, bytes), 0);
	drv_start(d);
	drv_exchange(d, 0);
	d->resets_wait = true;
	drv_set_status(d, 0);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	virtio_restore(d->v, bytes);
	assert_int_equal(drv_status(d), 0);
	assert_int_equal(d->accepted, 0);
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	drv_start(d);
	drv_exchange(d, 0);
	drv_exchange(d, 1);
	drv_free(d);
}

/* ------------------------------------------------------------- states that nobody saved */

static int check(struct drv *d, const uint8_t *state)
{
	return virtio_restore_check(d->v, state, STATE_SIZE);
}

static void sizes(void **state)
{
	struct drv *d = drv_new();
	uint8_t bytes[STATE_SIZE + 1] = {0};

	assert_int_equal(virtio_save(d->v, bytes), 0);
	for (size_t size = 0; size <= STATE_SIZE + 1; size++)
		assert_int_equal(virtio_restore_check(d->v, bytes, size), size == STATE_SIZE ? 0 : -EBADMSG);
	drv_free(d);
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* Of a function in use, whose first queue has been used and whose third is not there. */
static const struct {
	const char *what;
	unsigned at;
	uint16_t value;
	bool possible;
} values[] = {
	{"vendor", 0, 0x1af5, false},
	{"command with I/O", DRV_COMMAND, DRV_MASTER | 1, false},
	{"BAR bits of the size", 0x10, 0x0014, false},
	{"an address of the BAR", 0x12, 0xfebf, true},
	{"configuration vector", AT_CONFIG_VECTOR, DRV_QUEUES, true},
	{"no configuration vector", AT_CONFIG_VECTOR, VIRTIO_MSI_NO_VECTOR, true},
	{"configuration vector that is not there", AT_CONFIG_VECTOR, DRV_QUEUES + 1, false},
	{"queue selected that is not there", AT_CONFIG_VECTOR + 2, 0xffff, true},
	{"status without features", AT_STATUS, 7, false},
	{"status and an unused byte", AT_STATUS, 0x010f, false},
	{"status of a broken one", AT_STATUS, 0x4f, true},
	{"unoffered feature", AT_FEATURES, (uint16_t)DRV_FEATURES | 2, false},
	{"no VERSION_1", AT_FEATURES + 4, DRV_FEATURES >> 32, false},
	{"queue of 0", AT_QUEUES + IN_QUEUE_SIZE, 0, false},
	{"queue of 3", AT_QUEUES + IN_QUEUE_SIZE, 3, false},
	{"queue of 4", AT_QUEUES + IN_QUEUE_SIZE, 4, true},
	{"queue longer than the most", AT_QUEUES + IN_QUEUE_SIZE, 2 * DRV_QUEUE_SIZE, false},
	{"vector that is not there", AT_QUEUES + IN_QUEUE_VECTOR, DRV_QUEUES + 1, false},
	{"used and not enabled", AT_QUEUES + IN_QUEUE_ENABLED, 0, false},
	{"enabled twice", AT_QUEUES + IN_QUEUE_ENABLED, 2, false},
	{"unused word of a queue", AT_QUEUES + IN_QUEUE_UNUSED, 1, false},
	{"address of a queue that is not there", AT_QUEUES + 32 * DRV_QUEUES, 1, false},
	{"size of a queue that is not there", AT_QUEUES + 32 * DRV_QUEUES + IN_QUEUE_SIZE, 8, false},
	{"enabled queue that is not there", AT_QUEUES + 32 * DRV_QUEUES + IN_QUEUE_ENABLED, 1, false},
	{"any index", AT_RINGS, 0x8000, true},
	{"quiet", AT_RINGS + 4, 1, true},
	{"twice as quiet", AT_RINGS + 4, 2, false},
	{"unused word of a ring", AT_RINGS + 6, 1, false},
	{"index of a queue that is not there", AT_RINGS + 8 * DRV_QUEUES, 1, false},
};

static void impossible_values(void **state)
{
	struct drv *d = drv_new();
	uint8_t good[STATE_SIZE], bytes[STATE_SIZE];

	drv_start(d);
	drv_exchange(d, 0);
	assert_int_equal(virtio_save(d->v, good), 0);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		memcpy(bytes, good, sizeof(bytes));
		put16(bytes + values[i].at, values[i].value);
		if (check(d, bytes) != (values[i].possible ? 0 : -EBADMSG))
			fail_msg("%s", values[i].what);
	}
	/* Before they are agreed on, any features may be there. */
	drv_free(d);
	d = drv_new();
	drv_write_features(d, 0xffffffffffffffff);
	assert_int_equal(virtio_save(d->v, bytes), 0);
	assert_int_equal(check(d, bytes), 0);
	drv_free(d);
}

/* Whatever was taken: a driver that goes on, then one that resets it, find a device. */
static void live_with(struct drv *d, const uint8_t *bytes)
{
	virtio_restore(d->v, bytes);
	for (unsigned at = 0; at < VIRTIO_COMMON_SIZE; at += 4)
		drv_read(d, at, 4);
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4)
		drv_config_read(d, at, 4);
	for (unsigned i = 0; i < 3; i++)
		drv_turn(d);
	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
	drv_set_status(d, drv_status(d) | DRV_STARTED);
	drv_turn(d);
	drv_set_status(d, 0);
	drv_turn(d);
	assert_int_equal(drv_status(d), 0);
	drv_start(d);
	drv_exchange(d, 0);
	drv_exchange(d, 1);
}

static void any_byte_changed(void **state)
{
	static const uint8_t changes[] = {1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x0f, 0x81};
	unsigned taken = 0, refused = 0;

	for (unsigned step = 0; step < STEPS; step += 4) {
		struct drv *d = drv_new();
		uint8_t good[STATE_SIZE], bytes[STATE_SIZE];

		for (unsigned i = 0; i < step; i++)
			steps[i](d);
		if (virtio_save(d->v, good) == -EBUSY) {
			drv_turn(d);
			assert_int_equal(virtio_save(d->v, good), 0);
		}
		for (unsigned i = 0; i < STATE_SIZE * sizeof(changes); i++) {
			memcpy(bytes, good, sizeof(bytes));
			bytes[i / sizeof(changes)] ^= changes[i % sizeof(changes)];
			if (check(d, bytes)) {
				refused++;
				continue;
			}
			taken++;
			live_with(d, bytes);
		}
		drv_free(d);
	}
	assert_true(taken > 1000 && refused > 1000);
}

/* Rings that nobody has used yet have been used by nobody, or the next driver gets a queue that is not its.
 */
static void used_before_it_was_ready(void **state)
{
	static const uint8_t statuses[] = {0, 3, 11, 11 | VIRTIO_STATUS_FAILED};

	for (unsigned i = 0; i < sizeof(statuses); i++) {
		struct drv *d = drv_new();
		uint8_t bytes[STATE_SIZE];

		master_the_bus(d);
		use_msix(d);
		if (statuses[i] & VIRTIO_STATUS_FEATURES_OK)
			assert_true(drv_accept(d, DRV_ALL_FEATURES));
		drv_set_up_queue(d, 0);
		if (statuses[i])
			drv_set_status(d, statuses[i]);
		assert_int_equal(virtio_save(d->v, bytes), 0);
		assert_int_equal(check(d, bytes), 0);
		put16(bytes + AT_RINGS, 5);
		assert_int_equal(check(d, bytes), -EBADMSG);
		put16(bytes + AT_RINGS, 0);
		live_with(d, bytes);
		drv_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_any_two_steps),
		cmocka_unit_test(after_each_step),
		cmocka_unit_test(busy),
		cmocka_unit_test(restored_over_another_life),
		cmocka_unit_test(sizes),
		cmocka_unit_test(impossible_values),
		cmocka_unit_test(any_byte_changed),
		cmocka_unit_test(used_before_it_was_ready),
	};

	return cmocka_run_group_tests_name("virtio state", tests, NULL, NULL);
}
