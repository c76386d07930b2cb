/* SPDX-License-Identifier: BSD-3-Clause */
/* Replay without memory at every point: it ends with a sentence or goes on without a buffer, and leaves
 * nothing. */
#include <errno.h>

#include "testing.h"

#include "cli/replay/run.h"
#include "failing_alloc.h"

#define MS UINT64_C(1000000)

static const struct trace_step trace[] = {
	{.kind = TRACE_MAP, .direction = TRACE_TO_DEVICE, .mapping = 1, .phys = 0x5686, .len = 54},
	{.kind = TRACE_MAP,
	 .direction = TRACE_FROM_DEVICE,
	 .mapping = 2,
	 .phys = 0x5000,
	 .len = 1536,
	 .cpu = 1},
	{.kind = TRACE_MAP,
	 .direction = TRACE_TO_DEVICE,
	 .mapping = 3,
	 .phys = 0x1ff000,
	 .len = 0x3000,
	 .list = 1},
	{.kind = TRACE_MAP,
	 .direction = TRACE_TO_DEVICE,
	 .mapping = 4,
	 .phys = 0x400000,
	 .len = 4096,
	 .list = 1},
	{.kind = TRACE_MAP,
	 .direction = TRACE_BIDIRECTIONAL,
	 .device = 1,
	 .mapping = 5,
	 .phys = 0x5800,
	 .len = 100},
	{.kind = TRACE_SYNC_FOR_CPU, .mapping = 2, .time_ns = MS, .len = 100},
	{.kind = TRACE_UNMAP, .mapping = 1, .time_ns = MS},
	{.kind = TRACE_UNMAP, .mapping = 3, .time_ns = 2 * MS, .list = 2},
	{.kind = TRACE_UNMAP, .mapping = 4, .time_ns = 2 * MS, .list = 2},
	{.kind = TRACE_UNMAP, .mapping = 5, .time_ns = 3 * MS, .device = 1},
};

static int run_trace(const char *strategy, unsigned rounds, struct replay_result *ret_result)
{
	struct replay_options options = {.strategy = strategy, .rounds = rounds};
	struct replay_memory memory = {0};
	struct replay_steps steps;
	char why[256] = "";
	int err = replay_steps_init(&steps);

	for (size_t i = 0; !err && i < sizeof(trace) / sizeof(trace[0]); i++)
		err = replay_steps_add(&steps, &trace[i]);
	if (!err)
		err = replay_steps_end(&steps);
	if (!err)
		err = replay_memory_init(&memory, &steps.blocks);
	if (!err) {
		err = replay_run(&steps, &memory, &options, ret_result, why, sizeof(why));
		assert_true(!err || *why);
	}
	replay_memory_finish(&memory);
	replay_steps_finish(&steps);
	return err;
}

static void sweep(const char *strategy, unsigned rounds, void (*begin)(unsigned nth))
{
	for (unsigned nth = 1;; nth++) {
		long before = alloc_live();
		struct replay_result r = {0};
		int error, err;
		bool failed;

		begin(nth);
		err = run_trace(strategy, rounds, &r);
		failed = alloc_failed(&error);
		begin(0);
		assert_int_equal(alloc_live(), before);
		if (!failed) {
			assert_int_equal(err, 0);
			assert_int_equal(r.maps, 5);
			return;
		}
		assert_true(err < 0 || *r.why_not || r.refused || r.maps == 5);
	}
}

static void test_one_fails(void **state)
{
	(void)state;
	sweep("optimistic", 2, alloc_fail_at);
}

static void test_all_fail(void **state)
{
	(void)state;
	sweep("single-use", 1, alloc_fail_from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_fails),
		cmocka_unit_test(test_all_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
