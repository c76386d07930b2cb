/* SPDX-License-Identifier: BSD-3-Clause */
/* Retention: by time, by quota, in order, taken back. */
#include "testing.h"

#include "dma/retention.h"

#define ITEMS 8

static void add_all(struct vi_retention *r, struct vi_retained *items, uint64_t weight)
{
	for (unsigned i = 0; i < ITEMS; i++)
		vi_retention_add(r, &items[i], weight, 100 * i);
}

static void test_by_time_in_order(void **state)
{
	struct vi_retained items[ITEMS];
	struct vi_retention r;

	(void)state;
	vi_retention_init(&r, 1000, UINT64_MAX);
	assert_int_equal(vi_retention_next_ns(&r), UINT64_MAX);
	add_all(&r, items, 1);
	assert_int_equal(vi_retention_next_ns(&r), 1000);
	assert_null(vi_retention_take_due(&r, 999));
	assert_ptr_equal(vi_retention_take_due(&r, 1299), &items[0]);
	assert_ptr_equal(vi_retention_take_due(&r, 1299), &items[1]);
	assert_ptr_equal(vi_retention_take_due(&r, 1299), &items[2]);
	assert_null(vi_retention_take_due(&r, 1299));
	assert_int_equal(vi_retention_next_ns(&r), 1300);
	assert_int_equal(r.count, ITEMS - 3);
}

static void test_by_quota(void **state)
{
	struct vi_retained items[ITEMS];
	struct vi_retention r;

	(void)state;
	vi_retention_init(&r, UINT64_MAX, 20);
	add_all(&r, items, 4); /* 32 in all */
	assert_ptr_equal(vi_retention_take_due(&r, 0), &items[0]);
	assert_ptr_equal(vi_retention_take_due(&r, 0), &items[1]);
	assert_ptr_equal(vi_retention_take_due(&r, 0), &items[2]);
	assert_int_equal(r.weight, 20);
	assert_null(vi_retention_take_due(&r, UINT64_MAX - 1));
}

static void test_taken_back(void **state)
{
	struct vi_retained items[ITEMS];
	struct vi_retention r;

	(void)state;
	vi_retention_init(&r, 1000, 3);
	add_all(&r, items, 1);
	vi_retention_remove(&r, &items[0]);
	assert_ptr_equal(vi_retention_take_due(&r, 0), &items[1]);
	for (unsigned i = 2; i < ITEMS; i++)
		assert_ptr_equal(vi_retention_take_oldest(&r), &items[i]);
	assert_null(vi_retention_take_oldest(&r));
	assert_int_equal(r.weight, 0);
	assert_int_equal(r.count, 0);
}

/* Order stays the order of deaths, also when a clock of another CPU is behind. */
static void test_time_goes_back(void **state)
{
	struct vi_retained items[2];
	struct vi_retention r;

	(void)state;
	vi_retention_init(&r, 1000, UINT64_MAX);
	vi_retention_add(&r, &items[0], 1, 500);
	vi_retention_add(&r, &items[1], 1, 400);
	assert_ptr_equal(vi_retention_take_due(&r, 1500), &items[0]);
	assert_ptr_equal(vi_retention_take_due(&r, 1500), &items[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_time_in_order),
		cmocka_unit_test(test_by_quota),
		cmocka_unit_test(test_taken_back),
		cmocka_unit_test(test_time_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
