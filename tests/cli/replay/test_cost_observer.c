/* SPDX-License-Identifier: BSD-3-Clause */
/* Which calls are told apart by what they did, and that reading the clock is no part of one. */
#include <string.h>

#include "testing.h"

#include "cli/replay/cost_observer.h"

#define A_SECOND UINT64_C(1000000000)

static struct replay_steps steps;
static struct replay_memory memory;
static struct cost cost;
static struct cost_observer observer;
static const struct replay_observer_ops *ops;

static void begin(void)
{
	assert_int_equal(replay_steps_init(&steps), 0);
	assert_int_equal(replay_steps_add(&steps, &(struct trace_step){.kind = TRACE_MAP,
								       .direction = TRACE_TO_DEVICE,
								       .phys = 0x1000,
								       .len = 4096}),
			 0);
	assert_int_equal(replay_memory_init(&memory, &steps.blocks), 0);
	assert_int_equal(cost_observer_init(&observer, &steps, &memory, REPLAY_TRAP, 0, &cost), 0);
	ops = cost_observer_of(&observer).ops;
}

static void finish(void)
{
	cost_observer_finish(&observer);
	cost_finish(&cost);
	replay_memory_finish(&memory);
	replay_steps_finish(&steps);
}

/* A call whose work for the IOMMU is so many pages mapped. Returns how many classes there are then. */
static size_t classes_after(enum replay_call_kind kind, uint64_t buffers, uint64_t bytes, uint64_t mapped)
{
	const struct replay_call call = {.kind = kind, .buffers = buffers, .bytes = bytes};

	ops->call_begins(&observer);
	observer.work.mapped = mapped;
	assert_int_equal(ops->call_ends(&observer, &call), 0);
	return cost.count;
}

static void test_classes(void **state)
{
	(void)state;
	begin();
	assert_int_equal(classes_after(REPLAY_MAP, 1, 4096, 1), 1);
	assert_int_equal(classes_after(REPLAY_MAP, 1, 4200, 1), 1); /* about as much */
	assert_int_equal(classes_after(REPLAY_UNMAP, 1, 4096, 1), 2);
	assert_int_equal(classes_after(REPLAY_MAP, 1, 4096, 0), 3);
	assert_int_equal(classes_after(REPLAY_MAP, 1, 8192, 1), 4);
	assert_int_equal(classes_after(REPLAY_MAP, 2, 8192, 2), 5); /* lists of two sizes */
	assert_int_equal(classes_after(REPLAY_MAP, 200, 819200, 200), 6);
	assert_int_equal(classes_after(REPLAY_MAP, 200, 819200, 200), 6);
	finish();
}

static void test_clock(void **state)
{
	(void)state;
	begin();
	observer.clock_ns = 0;
	observer.began_ns = 0; /* since the machine runs */
	assert_int_equal(ops->call_ends(&observer, &(struct replay_call){.kind = REPLAY_MAP, .buffers = 1}),
			 0);
	assert_true(cost_end_round(&cost) > 0);
	observer.clock_ns = 3600 * A_SECOND;
	classes_after(REPLAY_MAP, 1, 4096, 1);
	assert_true(cost_end_round(&cost) == 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
