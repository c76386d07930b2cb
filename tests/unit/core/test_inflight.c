/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight DMA against invalidation. Device threads write their stamp through
 * IOVAs while a driver maps a page, lets it be used, unmaps, invalidates, and
 * then takes the page back for itself: it fills the page with a pattern and
 * looks again and again. One stamp that lands after the invalidation was seen
 * to be complete fails the test.
 *
 * The words are written one at a time and atomically on both sides, so that
 * ThreadSanitizer sees only races of ours.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define DEVICES 2
#define SLOTS	4
#define IOVA	UINT64_C(0x40000000)
#define GPA	UINT64_C(0x200000)
#define RW	(VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define LOOKS	20

struct device {
	struct machine *m;
	struct viommu_thread *thread;
	_Atomic bool *stop;
	uint64_t stamp;
	uint64_t landed, blocked;
};

static void *device_run(void *arg)
{
	struct device *d = arg;
	unsigned seed = (unsigned)d->stamp;

	while (!atomic_load(d->stop)) {
		uint64_t iova = IOVA + (unsigned)rand_r(&seed) % SLOTS * UINT64_C(4096) +
				(unsigned)rand_r(&seed) % 512 * 8;
		int ret = viommu_write(d->thread, d->m->device, iova, &d->stamp, 8);

		d->landed += ret == 0;
		d->blocked += ret == -EACCES;
	}
	return NULL;
}

static uint64_t *word_of(struct machine *m, uint64_t gpa, unsigned i)
{
	return (uint64_t *)(void *)(m->ram + gpa + i * 8);
}

/* The page is the driver's own now: nobody else may write it. */
static unsigned stale_writes(struct machine *m, uint64_t gpa, uint64_t pattern)
{
	unsigned stale = 0;

	for (unsigned i = 0; i < 512; i++)
		__atomic_store_n(word_of(m, gpa, i), pattern, __ATOMIC_SEQ_CST);
	for (unsigned look = 0; look < LOOKS; look++)
		for (unsigned i = 0; i < 512; i++)
			stale += __atomic_load_n(word_of(m, gpa, i), __ATOMIC_SEQ_CST) != pattern;
	return stale;
}

static void drain_faults(struct machine *m)
{
	struct vi_driver_vtd_fault fault;

	while (vi_driver_vtd_next_fault(&m->driver, &fault))
		;
	vi_driver_vtd_write32(&m->driver, VTD_FSTS, VTD_FSTS_PFO);
}

static void run(enum machine_registers kind, bool queue, unsigned rounds)
{
	struct device devices[DEVICES];
	pthread_t threads[DEVICES];
	_Atomic bool stop = false;
	uint64_t landed = 0, blocked = 0;
	unsigned stale = 0;
	struct machine m;

	machine_start(&m, kind, &(struct viommu_options){.iotlb_lg2 = 8}, queue);
	for (unsigned i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){.m = &m, .stop = &stop, .stamp = 0xd0d0 + i};
		assert_int_equal(viommu_thread_create(m.viommu, &devices[i].thread), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, device_run, &devices[i]), 0);
	}
	for (unsigned round = 0; round < rounds && stale == 0; round++) {
		uint64_t iova = IOVA + round % SLOTS * UINT64_C(4096), gpa = GPA + round % 7 * UINT64_C(4096);

		machine_map(&m, iova, gpa, 4096, RW);
		for (unsigned i = 0; i < 20; i++)
			m.driver.regs.relax(&m);
		machine_unmap(&m, iova, 4096);
		stale = stale_writes(&m, gpa, round);
		if (round % 64 == 0)
			drain_faults(&m);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < DEVICES; i++) {
		pthread_join(threads[i], NULL);
		landed += devices[i].landed;
		blocked += devices[i].blocked;
		viommu_thread_destroy(devices[i].thread);
	}
	print_message("%u rounds: %lu writes landed, %lu were blocked, %lu drains deferred\n", rounds,
		      (unsigned long)landed, (unsigned long)blocked,
		      (unsigned long)machine_counter(&m, "drains_deferred"));
	assert_int_equal(stale, 0);
	assert_true(landed > 0); /* the devices were there */
	machine_finish(&m);
}

static void test_trapped(void **state)
{
	(void)state;
	run(TRAPPED, true, 1000);
}

static void test_register_based(void **state)
{
	(void)state;
	run(TRAPPED, false, 1000);
}

static void test_sidecore(void **state)
{
	(void)state;
	run(SIDECORE, true, 200);
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
};

static struct interloper interloper;

static void *invalidate_meanwhile(void *arg)
{
	struct machine *m = arg;

	while (!atomic_load(&interloper.go))
		sched_yield();
	/* Not present: the first half of a context entry is enough, and it was read already. */
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
	interloper = (struct interloper){.contexts = contexts};
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
	};

	return cmocka_run_group_tests_name("core inflight", tests, NULL, NULL);
}
