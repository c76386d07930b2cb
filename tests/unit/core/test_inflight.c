/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight DMA against invalidation (inflight.h), in numbers and in the
 * narrowest races. INFLIGHT_TIMES in the environment multiplies the rounds.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inflight.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

#define SECONDS 40 /* of each kind, at most */

static void run(enum machine_registers kind, bool queue, unsigned rounds, unsigned pinning)
{
	const char *times = getenv("INFLIGHT_TIMES");
	struct inflight i = {.registers = kind, .queue = queue, .devices = 2, .pinning = pinning};
	struct inflight_result r;

	i.seconds = times ? 0 : SECONDS; /* a machine that does something else, too */
	i.rounds = rounds * (times ? (unsigned)strtoul(times, NULL, 10) : 1);
	inflight_run(&i, &r);
	assert_int_equal(r.stale, 0);
	assert_true(r.landed > 0); /* the devices were there */
}

static void test_trapped(void **state)
{
	(void)state;
	run(TRAPPED, true, 1000, 0);
}

static void test_register_based(void **state)
{
	(void)state;
	run(TRAPPED, false, 1000, 0);
}

static void test_sidecore(void **state)
{
	(void)state;
	run(SIDECORE, true, 200, 0);
}

static void test_pinned(void **state)
{
	(void)state;
	run(TRAPPED, true, 200, 1);
}

/*
 * The narrowest race, made certain: the guest changes an entry and invalidates
 * it between the moment a walk has read the entry and the moment the walk ends.
 * What the walk found must not stay in a cache.
 */
struct interloper {
	pthread_t thread;
	_Atomic bool go, posted;
	bool contexts;
	unsigned loads, last_load; /* of the entry; a context entry is read low, high, low again */
};

static struct interloper interloper;

static void *invalidate_meanwhile(void *arg)
{
	struct machine *m = arg;

	while (!atomic_load(&interloper.go))
		sched_yield();
	/* Not present: the first half of a context entry is enough, and it was read for the last time. */
	memset(m->far + (interloper.contexts ? (MACHINE_RID & 0xff) * VTD_CONTEXT_ENTRY_SIZE : 0), 0, 8);
	m->patience = 50; /* it cannot complete while the walk lasts */
	if (interloper.contexts)
		assert_int_equal(vi_driver_vtd_flush_contexts(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0),
				 -ETIMEDOUT);
	else
		assert_int_equal(vi_driver_vtd_flush_range(&m->driver, MACHINE_DOMAIN, IOVA, IOVA + 4095),
				 -ETIMEDOUT);
	atomic_store(&interloper.posted, true);
	return NULL;
}

static void pause_walk(struct machine *m, uint64_t gpa)
{
	(void)m;
	(void)gpa;
	if (++interloper.loads != interloper.last_load)
		return;
	atomic_store(&interloper.go, true);
	while (!atomic_load(&interloper.posted))
		sched_yield();
}

static void go_on(struct machine *m, uint64_t gpa)
{
	(void)m;
	(void)gpa;
}

static void run_interloper(bool contexts)
{
	struct machine m;

	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	/* The table that the walk reads last moves to memory that is read through a callback. */
	if (contexts) {
		uint64_t table = vi_driver_load64(&m.memory, m.driver.root) & VTD_ROOT_LO_CTP;

		memcpy(m.far, m.ram + table, 4096);
		vi_driver_store64(&m.memory, m.driver.root, MACHINE_FAR | VTD_ROOT_LO_P);
	} else {
		memcpy(m.far, m.ram + (vi_driver_entry_gpa(&m.table, IOVA, 1) & ~UINT64_C(4095)), 4096);
		vi_driver_store64(&m.memory, vi_driver_entry_gpa(&m.table, IOVA, 2),
				  MACHINE_FAR | VTD_SS_R | VTD_SS_W);
	}
	interloper = (struct interloper){.contexts = contexts, .last_load = contexts ? 3 : 1};
	m.during_table_read = pause_walk;
	assert_int_equal(pthread_create(&interloper.thread, NULL, invalidate_meanwhile, &m), 0);
	machine_expect_read(&m, IOVA, 0); /* old, but it began before the invalidation was complete */
	pthread_join(interloper.thread, NULL);
	machine_settle(&m);
	assert_int_equal(vi_driver_load32(&m.memory, m.driver.status), m.driver.sequence);
	m.during_table_read = go_on;
	machine_expect_read(&m, IOVA, -EACCES);
	machine_finish(&m);
}

static void test_walk_that_an_invalidation_overtakes(void **state)
{
	(void)state;
	run_interloper(false);
}

static void test_context_that_an_invalidation_overtakes(void **state)
{
	(void)state;
	run_interloper(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk_that_an_invalidation_overtakes),
		cmocka_unit_test(test_context_that_an_invalidation_overtakes),
		cmocka_unit_test(test_trapped),
		cmocka_unit_test(test_register_based),
		cmocka_unit_test(test_sidecore),
		cmocka_unit_test(test_pinned),
	};

	return cmocka_run_group_tests_name("core inflight", tests, NULL, NULL);
}
