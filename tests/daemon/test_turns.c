/* SPDX-License-Identifier: BSD-3-Clause */
/* The turns of VMs on the work thread, in a time that the test makes: loads that ask for work as guests do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/sidecore/turns.h"

#define LOOK_NS 20
#define SECOND	UINT64_C(1000000000)

/* Does a piece of work of `work_ns`, and has the next one `pause_ns` later. `deep`: many more wait meanwhile.
 */
struct load {
	uint64_t work_ns, pause_ns;
	bool deep;
	uint64_t ready_ns, served_ns, done;
};

static bool has_work(const struct load *l, uint64_t now)
{
	return l->work_ns && now >= l->ready_ns;
}

static uint64_t do_work(struct load *l, uint64_t now)
{
	now += l->work_ns;
	l->served_ns += l->work_ns;
	l->done++;
	l->ready_ns = now + l->pause_ns;
	return now;
}

/* As daemon/sidecore/work_thread.c does it. */
static uint64_t take_turn(struct turns *t, unsigned who, struct load *l, uint64_t now)
{
	uint64_t began = now;

	if (!has_work(l, now)) {
		turns_idle(t, who);
		return now + LOOK_NS;
	}
	turns_begun(t, who, now);
	do
		now = do_work(l, now) + LOOK_NS;
	while (has_work(l, now) && now - began < TURN_NS);
	turns_ended(t, who, began, now, l->deep);
	return now;
}

static void run(struct load *loads, unsigned count, uint64_t ns)
{
	struct turns t;
	uint64_t now = SECOND, end = now + ns;

	turns_init(&t, count);
	while (now < end) {
		for (unsigned i = 0; i < count; i++) {
			if (turns_may_begin(&t, i, now))
				now = take_turn(&t, i, &loads[i], now);
			else
				now += 10;
		}
	}
}

static uint64_t alone(struct load l)
{
	struct load loads[2] = {l};

	run(loads, 2, SECOND / 10);
	return loads[0].done;
}

static void check_keeps(struct load b, struct load a, unsigned percent)
{
	struct load loads[2] = {b, a};

	run(loads, 2, SECOND / 10);
	assert_in_range(loads[0].done * 100 / alone(b), percent, 100);
	assert_true(loads[1].done > 0);
}

/* Whoever waits for each answer keeps its throughput beside work without end, however long the steps of that
 * are. */
static void test_endless_work_hurts_only_itself(void **state)
{
	static const uint64_t steps[] = {50, 500, 3000, 80000, 700000};
	static const struct load waiting[] = {
		{.work_ns = 150, .pause_ns = 200},
		{.work_ns = 3000, .pause_ns = 1000},
		{.work_ns = 3000, .pause_ns = 20000},
		{.work_ns = 40000, .pause_ns = 10000},
		{.work_ns = 2000, .pause_ns = 90000},
		{.work_ns = 2000, .pause_ns = 1000000},
		{.work_ns = 3000},
		{.work_ns = 100000},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		for (unsigned j = 0; j < sizeof(steps) / sizeof(steps[0]); j++)
			check_keeps(waiting[i], (struct load){.work_ns = steps[j], .deep = true}, 90);
	}
}

/* What nobody else wants is for whoever does. */
static void test_time_that_others_do_not_use_is_free(void **state)
{
	struct load loads[2] = {{.work_ns = 2000, .pause_ns = 200000}, {.work_ns = 500, .deep = true}};

	(void)state;
	run(loads, 2, SECOND / 10);
	assert_in_range(loads[1].served_ns, SECOND / 10 * 70 / 100, SECOND / 10);
}

static void check_shares(struct load *loads, unsigned count, unsigned percent)
{
	uint64_t sum = 0;

	run(loads, count, SECOND / 10);
	for (unsigned i = 0; i < count; i++)
		sum += loads[i].served_ns;
	for (unsigned i = 0; i < count; i++)
		assert_in_range(loads[i].served_ns * count * 100 / sum, percent, 200 - percent);
}

static void test_vms_that_want_everything_get_the_same(void **state)
{
	struct load deep[3] = {{500, 0, true}, {500, 0, true}, {500, 0, true}};
	struct load small_and_large[2] = {{300, 0, true}, {50000, 0, true}};
	struct load waiting[2] = {{3000, 500, false}, {3000, 0, false}};

	(void)state;
	check_shares(deep, 3, 85);
	check_shares(deep, 2, 85);
	check_shares(small_and_large, 2, 80);
	check_shares(waiting, 2, 85);
}

/* A deep queue that was worked off leaves no mark. */
static void test_a_burst_is_forgotten(void **state)
{
	struct turns t;
	uint64_t now = SECOND;

	(void)state;
	turns_init(&t, 2);
	assert_true(turns_is_quiet(&t, 0, now));
	for (unsigned i = 0; i < 100; i++, now += TURN_NS)
		turns_ended(&t, 0, now, now + TURN_NS, true);
	assert_true(turns_is_heavy(&t, 0));
	assert_false(turns_is_quiet(&t, 0, now));
	for (unsigned i = 0; i < 8; i++, now += TURN_NS)
		turns_ended(&t, 0, now, now + TURN_NS, false);
	assert_false(turns_is_heavy(&t, 0));
	assert_true(turns_is_quiet(&t, 0, now + TURNS_QUIET_NS));
}

/* A step of seconds (a machine that was stopped) is not paid for for minutes. */
static void test_debts_end(void **state)
{
	struct turns t, idle;
	uint64_t now = SECOND;

	(void)state;
	turns_init(&t, 2);
	turns_ended(&t, 1, now, now + 100, false);
	turns_ended(&t, 0, now, now + 10 * SECOND, true);
	now += 10 * SECOND;
	turns_begun(&t, 1, now);
	turns_ended(&t, 1, now, now + 100, false);
	now += 100;
	assert_false(turns_may_begin(&t, 0, now));
	/* Nobody waits any more. */
	idle = t;
	assert_true(turns_may_begin(&idle, 0, now + TURNS_ACTIVE_NS));
	/* Somebody still does. */
	now += TURNS_DEBT_MAX_NS * TURNS_HEAVY_PART;
	turns_ended(&t, 1, now - 100, now, false);
	assert_true(turns_may_begin(&t, 0, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_endless_work_hurts_only_itself),
		cmocka_unit_test(test_time_that_others_do_not_use_is_free),
		cmocka_unit_test(test_vms_that_want_everything_get_the_same),
		cmocka_unit_test(test_a_burst_is_forgotten),
		cmocka_unit_test(test_debts_end),
	};

	return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
