/* SPDX-License-Identifier: BSD-3-Clause */
/* Percentiles of buckets against sorted numbers, of which each is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "os/percentile.h"

#define BUCKETS 12 /* 1, 2, 4, ... 1024, and more */

static void test_empty(void **state)
{
	const uint64_t counts[BUCKETS] = {0};

	(void)state;
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 50), BUCKETS);
	assert_int_equal(os_percentile_bucket(counts, 0, 50), 0);
	assert_int_equal(os_percentile_of_powers(counts, BUCKETS, 50, 7), 0);
}

static void test_edges(void **state)
{
	uint64_t counts[BUCKETS] = {[2] = 1, [5] = 98, [9] = 1};

	(void)state;
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 0), 2);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 1), 2);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 1.001), 5);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 50), 5);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 99), 5);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 99.001), 9);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 100), 9);
	counts[9] = 2; /* 99 of 101 are 98.02 of a hundred */
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 98), 5);
	assert_int_equal(os_percentile_bucket(counts, BUCKETS, 99), 9);
}

/* No more than the largest, which is all that is known of the last bucket. */
static void test_largest(void **state)
{
	const uint64_t counts[BUCKETS] = {[3] = 1, [6] = 1, [11] = 1};

	(void)state;
	assert_int_equal(os_percentile_of_powers(counts, BUCKETS, 30, 5000), 8);
	assert_int_equal(os_percentile_of_powers(counts, BUCKETS, 60, 5000), 64);
	assert_int_equal(os_percentile_of_powers(counts, BUCKETS, 60, 40), 40);
	assert_int_equal(os_percentile_of_powers(counts, BUCKETS, 99, 5000), 5000);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned bucket_of(uint64_t value)
{
	unsigned i = 0;

	while (i < BUCKETS - 1 && value > UINT64_C(1) << i)
		i++;
	return i;
}

/* The number that has so many of a hundred at or below it is in the bucket that is found. */
static void test_sorted_numbers(void **state)
{
	enum { ROUNDS = 300, MOST = 64 };
	uint64_t values[MOST];

	(void)state;
	srand(1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t counts[BUCKETS] = {0};
		unsigned n = 1 + (unsigned)rand() % MOST;

		for (unsigned i = 0; i < n; i++) {
			values[i] = (uint64_t)rand() >> rand() % 31;
			counts[bucket_of(values[i])]++;
		}
		qsort(values, n, sizeof(*values), compare);
		for (unsigned percent = 1; percent <= 100; percent++) {
			unsigned rank = (n * percent + 99) / 100;

			assert_int_equal(os_percentile_bucket(counts, BUCKETS, percent),
					 bucket_of(values[rank - 1]));
			assert_true(os_percentile_of_powers(counts, BUCKETS, percent, values[n - 1]) >=
				    values[rank - 1]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_sorted_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
