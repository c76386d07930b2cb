/* SPDX-License-Identifier: BSD-3-Clause */
/* Resets by the driver and of the function, in each phase and between any two steps of the work thread. */
#include "driver.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------------------- phases */

static void acknowledged(struct drv *d)
{
	drv_set_status(d, 1);
}

static void agreed(struct drv *d)
{
	drv_set_status(d, 3);
	assert_true(drv_accept(d, DRV_ALL_FEATURES));
}

static void half_set_up(struct drv *d)
{
	agreed(d);
	drv_set_up_queue(d, 1);
}

static void in_use(struct drv *d)
{
	drv_start(d);
	drv_exchange(d, 0);
	drv_exchange(d, 1);
}

static void with_requests(struct drv *d)
{
	in_use(d);
	drv_ask(d, 0, 1);
	drv_ask(d, 1, 2);
}

static void broken(struct drv *d)
{
	in_use(d);
	ring_set_index(&d->rings[1], 99);
	drv_turn(d);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
}

static void given_up(struct drv *d)
{
	in_use(d);
	drv_set_status(d, DRV_STARTED | VIRTIO_STATUS_FAILED);
}

static void without_bus_mastering(struct drv *d)
{
	with_requests(d);
	drv_config_write(d, DRV_COMMAND, 2, 0);
}

static void (*const phases[])(struct drv *d) = {acknowledged,  agreed, half_set_up, in_use,
						with_requests, broken, given_up,    without_bus_mastering};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

static void assert_as_new(struct drv *d)
{
	assert_int_equal(drv_status(d), 0);
	assert_int_equal(d->accepted, 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_CONFIG_VECTOR, 2), VIRTIO_MSI_NO_VECTOR);
	for (unsigned i = 0; i < 2; i++) {
		drv_write(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, i);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 0);
	}
	for (unsigned i = 0; i < DRV_QUEUES; i++) {
		drv_write(d, VIRTIO_COMMON_QUEUE_SELECT, 2, i);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_SIZE, 2), DRV_QUEUE_SIZE);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_VECTOR, 2), VIRTIO_MSI_NO_VECTOR);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
		for (unsigned at = VIRTIO_COMMON_QUEUE_DESCRIPTORS; at < VIRTIO_COMMON_SIZE; at += 4)
			assert_int_equal(drv_read(d, at, 4), 0);
	}
}

/* Another driver finds a device that works. */
static void assert_works(struct drv *d)
{
	drv_start(d);
	drv_turn(d); /* a reset may be left to do */
	for (unsigned i = 0; i < 3; i++) {
		drv_exchange(d, 0);
		drv_exchange(d, 1);
	}
	assert_int_equal(drv_status(d), DRV_STARTED);
	assert_int_equal(d->accepted, DRV_FEATURES);
}

static void driver_resets_in_each_phase(void **state)
{
	for (unsigned i = 0; i < PHASES; i++) {
		struct drv *d = drv_new();
		uint64_t before;
		uint8_t status;

		phases[i](d);
		status = drv_status(d);
		before = d->memory.accesses;
		d->kicks = 0;
		drv_set_status(d, 0);
		assert_true(d->kicks > 0);
		assert_int_equal(drv_status(d), status); /* the device is not done */
		assert_int_equal(drv_turn(d), VIRTIO_IDLE);
		assert_int_equal(d->resets, 1);
		assert_int_equal(d->resets_by_driver, 1);
		assert_int_equal(d->memory.accesses, before);
		assert_as_new(d);
		assert_int_equal(drv_config_read(d, DRV_MSIX_CONTROL, 2) & DRV_MSIX_ENABLE,
				 i < 3 ? 0 : DRV_MSIX_ENABLE); /* PCI is not reset */
		assert_works(d);
		drv_free(d);
	}
}

static void function_reset_in_each_phase(void **state)
{
	for (unsigned i = 0; i < PHASES; i++) {
		struct drv *d = drv_new();
		uint64_t before;

		phases[i](d);
		before = d->memory.accesses;
		d->kicks = 0;
		virtio_reset(d->v);
		assert_true(d->kicks > 0);
		assert_as_new(d); /* at once */
		assert_false(virtio_masters_bus(d->v));
		assert_int_equal(drv_config_read(d, DRV_COMMAND, 2), 0);
		assert_int_equal(drv_config_read(d, DRV_MSIX_CONTROL, 2), DRV_QUEUES);
		assert_int_equal(drv_turn(d), VIRTIO_IDLE);
		assert_int_equal(d->resets, 1);
		assert_int_equal(d->resets_by_driver, 0);
		assert_int_equal(d->memory.accesses, before);
		assert_as_new(d);
		assert_works(d);
		drv_free(d);
	}
}

/* ---------------------------------------------------------- a reset that takes its time */

static void nothing_happens_until_it_is_done(void **state)
{
	struct drv *d = drv_new();
	uint64_t before;

	with_requests(d);
	d->resets_wait = true;
	drv_set_status(d, 0);
	before = d->memory.accesses;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
		assert_false(virtio_arm(d->v, virtio_queue(d->v, 0)));
		/* What the driver writes meanwhile is lost, as it has not waited for 0 (2.4.2). */
		drv_set_status(d, i % 2 ? 0 : 1);
		drv_write(d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 2);
		assert_int_equal(drv_read(d, VIRTIO_COMMON_CONFIG_VECTOR, 2), 0);
		assert_int_equal(drv_status(d), DRV_STARTED);
	}
	assert_int_equal(d->memory.accesses, before);
	d->resets_wait = false;
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->resets, 1);
	assert_as_new(d);
	assert_works(d);
	drv_free(d);
}

static void function_reset_meanwhile(void **state)
{
	struct drv *d = drv_new();

	with_requests(d);
	d->resets_wait = true;
	drv_set_status(d, 0);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	virtio_reset(d->v);
	assert_as_new(d);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	d->resets_wait = false;
	assert_int_equal(drv_turn(d), VIRTIO_IDLE);
	assert_int_equal(d->resets_by_driver, 0);
	assert_as_new(d);
	assert_works(d);
	drv_free(d);
}

/* The next driver is faster than the device: it is served when the device is done, by its own features. */
static void started_anew_meanwhile(void **state)
{
	struct drv *d = drv_new();
	uint64_t before;

	with_requests(d);
	d->resets_wait = true;
	virtio_reset(d->v);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	drv_start(d);
	drv_ask(d, 0, 55);
	before = d->memory.accesses;
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	assert_int_equal(d->memory.accesses, before);
	assert_int_equal(drv_status(d), DRV_STARTED);
	d->resets_wait = false;
	drv_turn(d);
	assert_int_equal(d->accepted, DRV_FEATURES);
	drv_turn(d);
	assert_true(drv_answered(d, 0, 55));
	drv_exchange(d, 1);
	drv_free(d);
}

/* Both resets are the device's to do, and the driver waits for its own. */
static void reset_by_the_driver_behind_one_of_the_function(void **state)
{
	struct drv *d = drv_new();

	in_use(d);
	d->resets_wait = true;
	virtio_reset(d->v);
	assert_int_equal(drv_turn(d), VIRTIO_RESETTING);
	drv_start(d);
	drv_set_status(d, 0);
	assert_int_equal(drv_status(d), DRV_STARTED);
	d->resets_wait = false;
	for (unsigned i = 0; i < 3; i++)
		drv_turn(d);
	assert_as_new(d);
	assert_int_equal(d->resets_by_driver, 1);
	assert_works(d);
	drv_free(d);
}

/* ------------------------------------------------- between two steps of the work thread */

/* What the register thread does there. */
struct act {
	const char *what;
	void (*act)(struct drv *d);
	bool closes; /* the work thread begins no access afterwards */
	bool starts; /* the next driver is at work afterwards */
};

static uint64_t accesses_then;

static void reset_function(struct drv *d)
{
	virtio_reset(d->v);
	accesses_then = d->memory.accesses;
}

static void reset_and_start(struct drv *d)
{
	reset_function(d);
	drv_start(d);
}

static void reset_by_driver(struct drv *d)
{
	drv_set_status(d, 0);
	accesses_then = d->memory.accesses;
}

static void toggle_mastering(struct drv *d)
{
	drv_config_write(d, DRV_COMMAND, 2, 0);
	drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
}

static const struct act acts[] = {
	{"function reset", reset_function, true, false},
	{"function reset, and the next driver", reset_and_start, true, true},
	{"reset by the driver", reset_by_driver, true, false},
	{"bus mastering off and on", toggle_mastering, false, false},
};

/* What the work thread has before it in the turn that is disturbed. */
static void fresh_requests(struct drv *d)
{
	drv_start(d);
	drv_ask(d, 0, 1);
	drv_ask(d, 1, 2);
}

static void one_broken(struct drv *d)
{
	drv_start(d);
	drv_ask(d, 0, 1);
	ring_set_index(&d->rings[1], 99);
}

static void driver_has_reset(struct drv *d)
{
	with_requests(d);
	drv_set_status(d, 0);
}

static void function_was_reset(struct drv *d)
{
	with_requests(d);
	virtio_reset(d->v);
	drv_start(d);
	drv_ask(d, 0, 9);
}

static void (*const turns[])(struct drv *d) = {fresh_requests, one_broken, with_requests, driver_has_reset,
					       function_was_reset};

static void see_what_came_of_it(struct drv *d, const struct act *a)
{
	if (a->closes)
		assert_int_equal(d->memory.accesses, accesses_then);
	for (unsigned i = 0; i < 3; i++)
		drv_turn(d);
	if (a->starts) {
		assert_int_equal(drv_status(d), DRV_STARTED);
		assert_int_equal(d->accepted, DRV_FEATURES);
		for (unsigned i = 0; i < 3; i++) {
			drv_exchange(d, 0);
			drv_exchange(d, 1);
		}
	}
	drv_set_status(d, 0);
	drv_turn(d);
	assert_as_new(d);
	assert_works(d);
}

/* False: the turn has fewer steps. */
static bool disturb(void (*turn)(struct drv *d), const struct act *a, unsigned moment)
{
	struct drv *d = drv_new();
	bool reached;

	turn(d);
	d->hook = a->act;
	d->hook_at = d->moments + moment;
	drv_turn(d);
	reached = d->moments >= d->hook_at;
	d->hook_at = 0;
	if (reached)
		see_what_came_of_it(d, a);
	drv_free(d);
	return reached;
}

static void between_any_two_steps(void **state)
{
	unsigned count = 0;

	for (unsigned t = 0; t < sizeof(turns) / sizeof(turns[0]); t++) {
		for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
			unsigned moment = 1;

			while (disturb(turns[t], &acts[i], moment))
				moment++;
			print_message("%s, turn %u: %u moments\n", acts[i].what, t, moment - 1);
			count += moment - 1;
		}
	}
	assert_true(count > 100);
}

/* A queue that broke before the reset is nothing that the next driver has to hear of. */
static void broken_before_the_reset(void **state)
{
	struct drv *d = drv_new();

	in_use(d);
	virtio_reset(d->v);
	drv_start(d);
	virtio_broke(d->v, virtio_queue(d->v, 0), -EBADMSG);
	assert_int_equal(drv_status(d), DRV_STARTED);
	assert_int_equal(d->msix[0], 0);
	assert_int_equal(d->logs, 0);
	drv_turn(d);
	drv_exchange(d, 0);
	drv_free(d);
}

/* Said once, however many queues break in one turn. */
static void both_broken(void **state)
{
	struct drv *d = drv_new();

	drv_start(d);
	ring_set_index(&d->rings[0], 99);
	ring_set_index(&d->rings[1], 99);
	drv_turn(d);
	assert_int_equal(drv_status(d), DRV_STARTED | VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(d->logs, 1);
	assert_int_equal(d->msix[0], 1);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(driver_resets_in_each_phase),
		cmocka_unit_test(function_reset_in_each_phase),
		cmocka_unit_test(nothing_happens_until_it_is_done),
		cmocka_unit_test(function_reset_meanwhile),
		cmocka_unit_test(started_anew_meanwhile),
		cmocka_unit_test(reset_by_the_driver_behind_one_of_the_function),
		cmocka_unit_test(between_any_two_steps),
		cmocka_unit_test(broken_before_the_reset),
		cmocka_unit_test(both_broken),
	};

	return cmocka_run_group_tests_name("virtio reset", tests, NULL, NULL);
}
