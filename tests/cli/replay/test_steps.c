/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps come back from the file as they went in, with the numbers that replay needs. */
#include <errno.h>
#include <string.h>

#include "testing.h"

#include "cli/replay/steps.h"

#define MOST 40000

static struct replay_steps steps;

static int add(enum trace_kind kind, uint64_t mapping, uint64_t time_ns, uint64_t phys, uint64_t len,
	       uint64_t list)
{
	struct trace_step s = {.kind = kind,
			       .direction = TRACE_FROM_DEVICE,
			       .time_ns = time_ns,
			       .mapping = mapping,
			       .device = 5,
			       .cpu = 3,
			       .phys = phys,
			       .offset = 7,
			       .len = len,
			       .list = list};

	return replay_steps_add(&steps, &s);
}

/* A driver with a ring: what is mapped, and when it is unmapped, is random. */
static void test_round_trip(void **state)
{
	static struct replay_step got[REPLAY_LIST_MOST];
	static uint64_t phys[MOST], len[MOST], at[MOST];
	struct replay_cursor c;
	struct chance chance = {11};
	uint64_t now = 123456789, next = 0, oldest = 0, seen = 0;
	int count;

	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	while (next < MOST) {
		now += chance_below(&chance, 100000);
		if (next - oldest == 100 || (next > oldest && chance_one_in(&chance, 2))) {
			assert_int_equal(add(TRACE_UNMAP, oldest++, now, 0, 0, 0), 0);
			continue;
		}
		phys[next] = chance_below(&chance, UINT64_C(1) << 40);
		len[next] = chance_between(&chance, 1, 65536);
		at[next] = now;
		assert_int_equal(add(TRACE_MAP, next, now, phys[next], len[next], 0), 0);
		next++;
	}
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(steps.facts.maps, MOST);
	assert_int_equal(steps.facts.unmaps, oldest);
	assert_int_equal(steps.facts.devices, 1);
	assert_int_equal(steps.facts.cpus, 4);
	assert_in_range(steps.facts.slots, 1, 100);

	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(replay_cursor_init(&c, &steps), 0);
		for (seen = 0; (count = replay_cursor_next(&c, got)) > 0;) {
			assert_int_equal(count, 1);
			assert_int_equal(got->device, 0);
			assert_int_equal(got->cpu, 3);
			assert_int_equal(got->direction, TRACE_FROM_DEVICE);
			assert_true(got->slot < steps.facts.slots);
			if (got->kind != TRACE_MAP)
				continue;
			assert_int_equal(got->phys, phys[seen]);
			assert_int_equal(got->len, len[seen]);
			assert_int_equal(got->time_ns, at[seen] - at[0]);
			seen++;
		}
		assert_int_equal(count, 0);
		assert_int_equal(seen, MOST);
		replay_cursor_finish(&c);
	}
	replay_steps_finish(&steps);
}

static void test_lists_are_one_call(void **state)
{
	static struct replay_step got[REPLAY_LIST_MOST];
	struct replay_cursor c;

	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(add(TRACE_MAP, i, 10, 0x1000 * i, 4096, 1), 0);
	for (unsigned i = 3; i < 3 + REPLAY_LIST_MOST + 2; i++)
		assert_int_equal(add(TRACE_MAP, i, 10, 0x1000 * i, 4096, 2), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(add(TRACE_UNMAP, i, 20, 0, 0, 1), 0);
	assert_int_equal(add(TRACE_UNMAP, 3, 20, 0, 0, 0), 0);
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(replay_cursor_init(&c, &steps), 0);
	assert_int_equal(replay_cursor_next(&c, got), 3);
	assert_int_equal(got[2].phys, 0x2000);
	assert_int_equal(replay_cursor_next(&c, got), REPLAY_LIST_MOST);
	assert_int_equal(replay_cursor_next(&c, got), 2);
	assert_int_equal(replay_cursor_next(&c, got), 3);
	assert_int_equal(got[2].kind, TRACE_UNMAP);
	assert_int_equal(replay_cursor_next(&c, got), 1);
	assert_int_equal(replay_cursor_next(&c, got), 0);
	assert_int_equal(replay_cursor_next(&c, got), 0);
	replay_cursor_finish(&c);
	replay_steps_finish(&steps);
}

/* What no machine has is left out, with all that follows of it; what ends what never began, too. */
static void test_left_out(void **state)
{
	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	assert_int_equal(add(TRACE_MAP, 1, 0, 0x1000, 0, 0), 0);
	assert_int_equal(add(TRACE_MAP, 2, 0, 0x1000, UINT64_MAX, 0), 0);
	assert_int_equal(add(TRACE_MAP, 3, 0, UINT64_MAX, 4096, 0), 0);
	assert_int_equal(add(TRACE_UNMAP, 3, 1, 0, 0, 0), 0);
	assert_int_equal(add(TRACE_SYNC_FOR_CPU, 2, 1, 0, 1, 0), 0);
	assert_int_equal(add(TRACE_UNMAP, 9, 1, 0, 0, 0), 0);
	assert_int_equal(steps.facts.steps, 0);
	assert_int_equal(steps.facts.left_out, 3);
	assert_int_equal(steps.blocks.count, 0);
	replay_steps_finish(&steps);
}

/* A trace that nobody recorded must not make everything grow. */
static void test_limits(void **state)
{
	uint64_t at = 0;
	int err = 0;

	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	for (; !err && at < 100; at++)
		err = add(TRACE_MAP, at, 0, at << 30, 1 << 30, 0);
	assert_int_equal(err, -EFBIG);
	assert_int_equal(at, 65);
	replay_steps_finish(&steps);

	assert_int_equal(replay_steps_init(&steps), 0);
	err = 0;
	for (at = 0; !err && at < 10000; at++)
		err = replay_steps_add(&steps, &(struct trace_step){.kind = TRACE_MAP,
								    .direction = TRACE_TO_DEVICE,
								    .mapping = at,
								    .device = (unsigned)at * 3,
								    .len = 1});
	assert_int_equal(err, -ENFILE);
	assert_int_equal(at, REPLAY_DEVICES_MOST + 1);
	replay_steps_finish(&steps);
}

/* A time that is made up: it and what is added to it are numbers, so time comes to an end. */
static void test_time_without_end(void **state)
{
	static struct replay_step got[REPLAY_LIST_MOST];
	struct replay_cursor c;

	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	assert_int_equal(add(TRACE_MAP, 1, 0, 0x1000, 1, 0), 0);
	assert_int_equal(add(TRACE_UNMAP, 1, UINT64_MAX, 0, 0, 0), 0);
	assert_int_equal(add(TRACE_MAP, 2, UINT64_MAX, 0x1000, 1, 0), 0);
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(steps.facts.last_ns, REPLAY_TIME_MOST_NS);
	assert_int_equal(replay_cursor_init(&c, &steps), 0);
	assert_int_equal(replay_cursor_next(&c, got), 1);
	assert_int_equal(got->time_ns, 0);
	assert_int_equal(replay_cursor_next(&c, got), 1);
	assert_int_equal(got->time_ns, REPLAY_TIME_MOST_NS);
	replay_cursor_finish(&c);
	replay_steps_finish(&steps);
}

/* Whoever unmaps, it is of the device that it was mapped for. */
static void test_device_of_a_mapping(void **state)
{
	static struct replay_step got[REPLAY_LIST_MOST];
	struct trace_step s = {.kind = TRACE_UNMAP, .mapping = 1, .device = 9};
	struct replay_cursor c;

	(void)state;
	assert_int_equal(replay_steps_init(&steps), 0);
	assert_int_equal(add(TRACE_MAP, 1, 0, 0x1000, 1, 0), 0);
	assert_int_equal(replay_steps_add(&steps, &s), 0);
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(steps.facts.devices, 1);
	assert_int_equal(replay_cursor_init(&c, &steps), 0);
	assert_int_equal(replay_cursor_next(&c, got), 1);
	assert_int_equal(replay_cursor_next(&c, got), 1);
	assert_int_equal(got->kind, TRACE_UNMAP);
	assert_int_equal(got->device, 0);
	replay_cursor_finish(&c);
	replay_steps_finish(&steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),	 cmocka_unit_test(test_lists_are_one_call),
		cmocka_unit_test(test_left_out),	 cmocka_unit_test(test_limits),
		cmocka_unit_test(test_time_without_end), cmocka_unit_test(test_device_of_a_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
