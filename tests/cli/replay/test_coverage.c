/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a page that buffers cover, against counting each byte. */
#include <string.h>

#include "testing.h"

#include "cli/replay/coverage.h"

#define BUFFERS 64

static unsigned times[COVERAGE_PAGE];

static unsigned count_bytes(void)
{
	unsigned bytes = 0;

	for (unsigned i = 0; i < COVERAGE_PAGE; i++)
		bytes += times[i] > 0;
	return bytes;
}

static void change(unsigned first, unsigned last, int by)
{
	for (unsigned i = first; i <= last; i++)
		times[i] = (unsigned)((int)times[i] + by);
}

/* Buffers that begin and end at multiples of `grain` are neighbours often, and often the same. */
static void check_random(unsigned grain, uint64_t seed)
{
	struct chance chance = {seed};
	struct coverage *c = NULL;
	unsigned first[BUFFERS], last[BUFFERS];
	bool is_there[BUFFERS] = {false};

	memset(times, 0, sizeof(times));
	for (unsigned step = 0; step < 4000; step++) {
		unsigned i = (unsigned)chance_below(&chance, BUFFERS);

		if (is_there[i]) {
			coverage_remove(&c, first[i], last[i]);
			change(first[i], last[i], -1);
		} else {
			first[i] = (unsigned)chance_below(&chance, COVERAGE_PAGE / grain) * grain;
			last[i] = (unsigned)chance_between(&chance, first[i] / grain + 1,
							   COVERAGE_PAGE / grain) *
					  grain -
				  1;
			assert_int_equal(coverage_add(&c, first[i], last[i]), 0);
			change(first[i], last[i], 1);
		}
		is_there[i] = !is_there[i];
		assert_int_equal(coverage_bytes(c), count_bytes());
	}
	for (unsigned i = 0; i < BUFFERS; i++)
		if (is_there[i])
			coverage_remove(&c, first[i], last[i]);
	assert_null(c);
}

static void test_random(void **state)
{
	(void)state;
	check_random(1, 1);
	check_random(64, 2);
	check_random(512, 3);
	check_random(2048, 4);
}

/* Each byte a buffer of its own, every second one first. */
static void test_all_bytes(void **state)
{
	struct coverage *c = NULL;

	(void)state;
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = round; i < COVERAGE_PAGE; i += 2)
			assert_int_equal(coverage_add(&c, i, i), 0);
	assert_int_equal(coverage_bytes(c), COVERAGE_PAGE);
	for (unsigned i = 1; i < COVERAGE_PAGE; i += 2)
		coverage_remove(&c, i, i);
	assert_int_equal(coverage_bytes(c), COVERAGE_PAGE / 2);
	coverage_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_all_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
