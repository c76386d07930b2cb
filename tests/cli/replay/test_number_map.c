/* SPDX-License-Identifier: BSD-3-Clause */
/* The map against an array, with keys that meet in the same places. */
#include "testing.h"

#include "cli/number_map.h"

#define KEYS 300
#define NONE UINT64_MAX

static uint64_t key_of(unsigned i)
{
	return i % 3 ? i : (uint64_t)i << 40;
}

static void check_all(const struct number_map *m, const uint64_t *values)
{
	uint64_t value, key;
	size_t count = 0, at = 0, seen = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		assert_int_equal(number_map_get(m, key_of(i), &value), values[i] != NONE);
		if (values[i] != NONE) {
			assert_int_equal(value, values[i]);
			count++;
		}
	}
	assert_int_equal(m->count, count);
	while (number_map_next(m, &at, &key)) {
		assert_true(number_map_get(m, key, &value));
		seen++;
	}
	assert_int_equal(seen, count);
}

static void test_against_an_array(void **state)
{
	struct number_map m = {0};
	struct chance c = {7};
	uint64_t values[KEYS], value;

	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		values[i] = NONE;
	check_all(&m, values);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (unsigned)chance_below(&c, KEYS);

		if (chance_one_in(&c, 2)) {
			values[i] = chance_below(&c, NUMBER_MAP_MOST);
			assert_int_equal(number_map_put(&m, key_of(i), values[i]), 0);
		} else {
			assert_int_equal(number_map_take(&m, key_of(i), &value), values[i] != NONE);
			if (values[i] != NONE)
				assert_int_equal(value, values[i]);
			values[i] = NONE;
		}
		if (step % 100 == 0)
			check_all(&m, values);
	}
	check_all(&m, values);
	number_map_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
