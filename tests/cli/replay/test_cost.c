/* SPDX-License-Identifier: BSD-3-Clause */
/* What calls cost, when other programs are in the way of most of them. */
#include "testing.h"

#include "cli/replay/cost.h"

#define CALLS 1000

/* Of 100: how many calls others are in the way of, by up to 5 ms. */
struct machine {
	struct chance chance;
	unsigned disturbed;
};

static uint64_t call(struct machine *m, uint64_t ns)
{
	uint64_t usual = ns + chance_below(&m->chance, ns / 10 + 1);

	return chance_below(&m->chance, 100) < m->disturbed ? usual + chance_below(&m->chance, 5000000)
							    : usual;
}

/* Many calls that take 50 ns, few that take 20 us. */
static void play_round(struct cost *c, struct machine *m)
{
	for (unsigned i = 0; i < CALLS; i++)
		assert_int_equal(cost_add(c, 1, 0, call(m, 50)), 0);
	for (unsigned i = 0; i < CALLS / 50; i++)
		assert_int_equal(cost_add(c, 2, 0, call(m, 20000)), 0);
	cost_end_round(c);
}

static struct cost played(unsigned disturbed)
{
	struct machine m = {.chance = {7}, .disturbed = disturbed};
	struct cost c = {0};

	for (unsigned i = 0; i < 5; i++)
		play_round(&c, &m);
	return c;
}

static void check_near(double value, double wanted)
{
	if (value < wanted * 0.9 || value > wanted * 1.1)
		fail_msg("%g is not about %g", value, wanted);
}

static void test_quiet(void **state)
{
	struct cost c = played(0);

	(void)state;
	check_near(cost_ns(&c), CALLS * 50 + CALLS / 50 * 20000);
	check_near(cost_median_ns(&c), cost_ns(&c));
	assert_true(cost_median_ns(&c) >= cost_ns(&c));
	cost_finish(&c);
}

/* Seven of ten calls are of no use, and the cost is the same. */
static void test_busy(void **state)
{
	struct cost quiet = played(0), busy = played(70);

	(void)state;
	check_near(cost_ns(&busy), cost_ns(&quiet));
	cost_finish(&quiet);
	cost_finish(&busy);
}

/* One round of them is quiet, and one is enough; that the others are not shows. */
static void test_best_round(void **state)
{
	struct machine m = {.chance = {3}, .disturbed = 97};
	struct cost c = {0}, quiet = played(0);

	(void)state;
	play_round(&c, &m);
	m.disturbed = 0;
	play_round(&c, &m);
	m.disturbed = 97;
	play_round(&c, &m);
	check_near(cost_ns(&c), cost_ns(&quiet));
	assert_true(cost_median_ns(&c) > 2 * cost_ns(&c));
	cost_finish(&c);
	cost_finish(&quiet);
}

/* Of two rounds nothing tells which is right: that they differ shows. */
static void test_two_rounds(void **state)
{
	struct machine m = {.chance = {3}, .disturbed = 97};
	struct cost c = {0};

	(void)state;
	assert_true(cost_median_ns(&c) == 0);
	play_round(&c, &m);
	m.disturbed = 0;
	play_round(&c, &m);
	assert_true(cost_median_ns(&c) > 2 * cost_ns(&c));
	cost_finish(&c);
}

static void fill_classes(struct cost *c)
{
	for (uint64_t i = 0; i < COST_CLASSES_MOST; i++)
		assert_int_equal(cost_add(c, 1000 + i, 0, 10), 0);
}

/* Calls of all sorts in one class: the fastest of them are of one sort only. */
static void test_mixed_class(void **state)
{
	struct cost c = {0};
	double wanted = COST_CLASSES_MOST * 10;

	(void)state;
	fill_classes(&c);
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t ns = i % 10 ? 100 : 100000;

		assert_int_equal(cost_add(&c, 1000000 + i, 3, ns), 0);
		wanted += (double)ns;
	}
	cost_end_round(&c);
	check_near(cost_ns(&c), wanted);
	cost_finish(&c);
}

/* A round takes no memory that the one before had not. */
static void test_memory(void **state)
{
	struct cost c = {0};
	const struct cost_times *times;

	(void)state;
	assert_true(sizeof(*times) * COST_CLASSES_MOST <= 10 << 20);
	fill_classes(&c);
	times = c.classes[7].times;
	cost_end_round(&c);
	assert_ptr_equal(c.classes[7].times, times);
	fill_classes(&c);
	cost_end_round(&c);
	assert_ptr_equal(c.classes[7].times, times);
	check_near(cost_ns(&c), COST_CLASSES_MOST * 10);
	cost_finish(&c);
}

/* More classes than there may be share a few. */
static void test_many_classes(void **state)
{
	struct cost c = {0};

	(void)state;
	for (uint64_t i = 0; i < 3 * COST_CLASSES_MOST; i++)
		assert_int_equal(cost_add(&c, 1000 + i, i % 4, 10), 0);
	assert_int_equal(c.count, COST_CLASSES_MOST + 4);
	cost_end_round(&c);
	check_near(cost_ns(&c), 3 * COST_CLASSES_MOST * 10);
	cost_finish(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),	     cmocka_unit_test(test_busy),
		cmocka_unit_test(test_best_round),   cmocka_unit_test(test_two_rounds),
		cmocka_unit_test(test_mixed_class),  cmocka_unit_test(test_memory),
		cmocka_unit_test(test_many_classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
