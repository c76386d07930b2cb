/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that write as fast as they can, against a driver that maps a page, lets it be used, unmaps,
 * invalidates, and then takes the page back for itself: a stamp of a device that lands after completion was
 * seen is a stale write. And the narrowest races, made certain. INFLIGHT_TIMES in the environment multiplies
 * the rounds.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bed.h"

#define DEVICES	     2
#define PAGES	     4
#define WORDS	     512
#define LOOKS	     20
#define TURNS	     1000
#define LEAST_ROUNDS 20
#define SECONDS	     40 /* of each kind, at most */

struct device {
	struct bed *b;
	struct viommu_thread *thread;
	pthread_t runs;
	_Atomic bool *stop;
	bool pins;
	uint64_t stamp;
	_Atomic uint64_t landed; /* read by the driver */
};

/* A device that has memory lent to it: longer than a short guard. */
static int write_pinned(struct device *d, uint64_t iova)
{
	struct viommu_pin pin = {.revoke = NULL};
	int ret = viommu_pin(d->thread, d->b->device, iova, 8, VIOMMU_WRITE, &pin);

	if (ret)
		return ret;
	__atomic_store_n((uint64_t *)pin.span.host, d->stamp, __ATOMIC_SEQ_CST);
	sched_yield();
	__atomic_store_n((uint64_t *)pin.span.host, d->stamp, __ATOMIC_SEQ_CST);
	viommu_unpin(&pin);
	return 0;
}

static void *device_run(void *arg)
{
	struct device *d = arg;
	unsigned seed = (unsigned)d->stamp;

	while (!atomic_load(d->stop)) {
		uint64_t iova = BED_IOVA + (unsigned)rand_r(&seed) % PAGES * UINT64_C(4096) +
				(unsigned)rand_r(&seed) % WORDS * 8;
		int ret = d->pins ? write_pinned(d, iova)
				  : viommu_write(d->thread, d->b->device, iova, &d->stamp, 8);

		d->landed += ret == 0;
	}
	return NULL;
}

static uint64_t *word_of(struct bed *b, uint64_t gpa, unsigned i)
{
	return (uint64_t *)(void *)(b->ram + gpa + i * 8);
}

/* The page is the driver's own now: nobody else may write it. */
static unsigned stale_writes(struct bed *b, uint64_t gpa, uint64_t pattern)
{
	unsigned stale = 0;

	for (unsigned i = 0; i < WORDS; i++)
		__atomic_store_n(word_of(b, gpa, i), pattern, __ATOMIC_SEQ_CST);
	sched_yield(); /* a device that was interrupted before its store would have to come now */
	for (unsigned look = 0; look < LOOKS; look++)
		for (unsigned i = 0; i < WORDS; i++)
			stale += __atomic_load_n(word_of(b, gpa, i), __ATOMIC_SEQ_CST) != pattern;
	return stale;
}

static uint64_t landed(const struct device *devices)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < DEVICES; i++)
		n += atomic_load(&devices[i].landed);
	return n;
}

/* A mapping that no device got to use would prove nothing. */
static void let_it_be_used(struct bed *b, const struct device *devices)
{
	uint64_t before = landed(devices);

	for (unsigned i = 0; i < TURNS && landed(devices) - before < DEVICES; i++) {
		b->driver.regs.relax(b);
		sched_yield();
	}
}

static void take_events(struct bed *b)
{
	struct vi_driver_amdvi_event event;

	while (vi_driver_amdvi_next_event(&b->driver, &event))
		;
	vi_driver_amdvi_restart_events(&b->driver);
}

static unsigned drive(struct bed *b, const struct device *devices, unsigned rounds)
{
	time_t began = time(NULL);
	unsigned stale = 0;

	for (unsigned i = 0; i < rounds && stale == 0; i++) {
		uint64_t iova = BED_IOVA + i % PAGES * UINT64_C(4096), gpa = BED_GPA + i % 7 * UINT64_C(4096);

		if (i >= LEAST_ROUNDS && !getenv("INFLIGHT_TIMES") && time(NULL) - began >= SECONDS)
			break;
		bed_map(b, iova, gpa, 4096, BED_RW);
		let_it_be_used(b, devices);
		bed_unmap(b, iova, 4096);
		stale = stale_writes(b, gpa, i);
		if (i % 64 == 0)
			take_events(b);
	}
	return stale;
}

static void run(enum bed_registers kind, unsigned rounds, unsigned pinning)
{
	const char *times = getenv("INFLIGHT_TIMES");
	struct device devices[DEVICES];
	_Atomic bool stop = false;
	struct bed b;

	bed_start(&b, kind, 3);
	for (unsigned i = 0; i < DEVICES; i++) {
		devices[i] =
			(struct device){.b = &b, .stop = &stop, .stamp = 0xd0d0 + i, .pins = i < pinning};
		assert_int_equal(viommu_thread_create(b.viommu, &devices[i].thread), 0);
		assert_int_equal(pthread_create(&devices[i].runs, NULL, device_run, &devices[i]), 0);
	}
	assert_int_equal(drive(&b, devices, rounds * (times ? (unsigned)strtoul(times, NULL, 10) : 1)), 0);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < DEVICES; i++) {
		pthread_join(devices[i].runs, NULL);
		viommu_thread_destroy(devices[i].thread);
	}
	assert_true(landed(devices) > 0); /* the devices were there */
	bed_finish(&b);
}

static void test_trapped(void **state)
{
	(void)state;
	run(BED_TRAPPED, 1000, 0);
}

static void test_sidecore(void **state)
{
	(void)state;
	run(BED_SIDECORE, 200, 0);
}

static void test_pinned(void **state)
{
	(void)state;
	run(BED_TRAPPED, 200, 1);
}

/*
 * The guest changes an entry and invalidates it between the moment a walk has read the entry and the moment
 * the walk ends. What the walk found must not stay in a cache.
 */
struct interloper {
	pthread_t thread;
	_Atomic bool go, posted;
	bool of_device;
	unsigned loads, last_load;
};

static struct interloper interloper;

static void *invalidate_meanwhile(void *arg)
{
	struct bed *b = arg;

	while (!atomic_load(&interloper.go))
		sched_yield();
	b->patience = 50; /* it cannot complete while the walk lasts */
	if (interloper.of_device) {
		*(uint64_t *)(void *)(b->far + BED_RID * AMDVI_DTE_SIZE) = AMDVI_DTE_V | AMDVI_DTE_TV;
		assert_int_equal(vi_driver_amdvi_flush_device(&b->driver, BED_RID), -ETIMEDOUT);
	} else {
		memset(b->far, 0, 8);
		assert_int_equal(vi_driver_amdvi_flush_range(&b->driver, BED_DOMAIN, BED_IOVA,
							     BED_IOVA + 4095),
				 -ETIMEDOUT);
	}
	atomic_store(&interloper.posted, true);
	return NULL;
}

static void pause_walk(struct bed *b, uint64_t gpa)
{
	(void)b;
	(void)gpa;
	if (++interloper.loads != interloper.last_load)
		return;
	atomic_store(&interloper.go, true);
	while (!atomic_load(&interloper.posted))
		sched_yield();
}

static void go_on(struct bed *b, uint64_t gpa)
{
	(void)b;
	(void)gpa;
}

/* The table that is read last moves to memory that is read through a callback. */
static void move_table(struct bed *b, bool of_device)
{
	if (of_device) {
		memcpy(b->far, b->ram + b->driver.device_table, 8192);
		vi_driver_amdvi_write(&b->driver, AMDVI_DEV_TAB_BASE, 8, BED_FAR | 1);
		return;
	}
	memcpy(b->far, b->ram + (vi_driver_entry_gpa(&b->table, BED_IOVA, 1) & ~UINT64_C(4095)), 4096);
	vi_driver_store64(&b->memory, vi_driver_entry_gpa(&b->table, BED_IOVA, 2),
			  BED_FAR | AMDVI_PTE_PR | AMDVI_PTE_IR | AMDVI_PTE_IW |
				  vi_to_field(AMDVI_PTE_NEXT_LEVEL, 1));
}

static void run_interloper(bool of_device)
{
	struct bed b;

	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	move_table(&b, of_device);
	interloper = (struct interloper){.of_device = of_device, .last_load = of_device ? 3 : 1};
	b.during_table_read = go_on;
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	b.during_table_read = pause_walk;
	assert_int_equal(pthread_create(&interloper.thread, NULL, invalidate_meanwhile, &b), 0);
	bed_expect_read(&b, BED_IOVA, 0); /* old, but it began before the invalidation was complete */
	pthread_join(interloper.thread, NULL);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	b.during_table_read = go_on;
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

static void test_walk_that_an_invalidation_overtakes(void **state)
{
	(void)state;
	run_interloper(false);
}

static void test_entry_that_an_invalidation_overtakes(void **state)
{
	(void)state;
	run_interloper(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk_that_an_invalidation_overtakes),
		cmocka_unit_test(test_entry_that_an_invalidation_overtakes),
		cmocka_unit_test(test_trapped),
		cmocka_unit_test(test_sidecore),
		cmocka_unit_test(test_pinned),
	};

	return cmocka_run_group_tests_name("amdvi barrier", tests, NULL, NULL);
}
