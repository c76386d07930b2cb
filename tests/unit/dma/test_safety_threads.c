/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that never stops: it reads and writes at every address that it was
 * ever given, while a driver maps, unmaps and reuses, and a sidecore invalidates.
 * What lies in a buffer says whether it is the device's now. When unmap has
 * returned a secret is put there: the device must never read one, nor change it.
 *
 * Only for strategies that promise nothing is left, and for copy.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <viommu/dma.h>

#include "rig.h"
#include "testing.h"

#define MEMORY	UINT64_C(0x100000)
#define SHADOW	UINT64_C(0x400000)
#define BUFFERS 16
#define WORDS	8
#define ROUNDS	2500
#define PUBLIC	UINT64_C(0x1111111111111111)
#define DEVICE	UINT64_C(0x2222222222222222)
#define SECRET	UINT64_C(0x5555555555555555)

struct world {
	struct machine machine;
	struct viommu_backing deaf; /* the same without invalidations */
	struct viommu_dma *dma;
	struct viommu_dma_thread *thread;
	struct viommu_thread *device_thread;
	_Atomic uint64_t iova[BUFFERS]; /* the last one that the buffer had; 0: none */
	_Atomic bool stop;
	_Atomic unsigned secrets_read, reads, writes, changed;
};

static uint64_t now_ns(void *opaque)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t *buffer(struct world *w, unsigned i)
{
	return (uint64_t *)(void *)(w->machine.ram + MEMORY + i * PAGE);
}

/* --------------------------------------------------------------------- the device */

static void *misbehave(void *arg)
{
	struct world *w = arg;
	uint64_t word, mine = DEVICE;

	for (unsigned i = 0; !w->stop; i++) {
		uint64_t iova = atomic_load_explicit(&w->iova[i * 7 % BUFFERS], memory_order_acquire);

		if (i % 64 == 0)
			sched_yield();
		if (!iova)
			continue;
		iova += 8 * (i % WORDS);
		if (i % 3) {
			if (viommu_read(w->device_thread, w->machine.device, iova, &word, sizeof(word)))
				continue;
			w->reads++;
			w->secrets_read += word == SECRET;
		} else if (!viommu_write(w->device_thread, w->machine.device, iova, &mine, sizeof(mine))) {
			w->writes++;
		}
	}
	return NULL;
}

/* --------------------------------------------------------------------- the driver */

static void fill(struct world *w, unsigned i, uint64_t value)
{
	for (unsigned k = 0; k < WORDS; k++)
		buffer(w, i)[k] = value;
}

static void check_secret(struct world *w, unsigned i)
{
	for (unsigned k = 0; k < WORDS; k++)
		w->changed += buffer(w, i)[k] != SECRET;
}

/* Buffer by buffer the last secret is looked at, and then it is the device's for a moment. */
static void one_round(struct world *w, unsigned round)
{
	unsigned i = round * 5 % BUFFERS;
	struct viommu_dma_mapping m[2];

	if (round >= BUFFERS)
		check_secret(w, i);
	fill(w, i, PUBLIC);
	for (unsigned k = 0; k < 2; k++) {
		enum viommu_dma_direction direction = (enum viommu_dma_direction)(1 + (round + k) % 3);

		assert_int_equal(viommu_dma_map(w->thread, buffer(w, i), WORDS * 8, direction, 0, &m[k]), 0);
		atomic_store_explicit(&w->iova[i], m[k].iova, memory_order_release);
	}
	if (round % 4 == 0)
		sched_yield();
	assert_int_equal(viommu_dma_unmap(w->thread, &m[round % 2]), 0);
	assert_int_equal(viommu_dma_unmap(w->thread, &m[1 - round % 2]), 0);
	fill(w, i, SECRET);
}

static int no_invalidation(void *opaque, const struct viommu_backing_range *ranges, size_t count,
			   unsigned flags)
{
	return 0;
}

static int none_at_all(void *opaque)
{
	return 0;
}

static void start(struct world *w, const char *strategy, bool broken)
{
	static struct viommu_backing_ops ops;
	struct viommu_dma_options o = {.sz = sizeof(o), .strategy = strategy, .now_ns = now_ns};

	memset(w, 0, sizeof(*w));
	power_on(&w->machine, POLLED, false);
	o.shadow_host = w->machine.ram + SHADOW;
	o.shadow_len = 64 * PAGE;
	o.shadow_address = SHADOW;
	w->deaf = w->machine.backing;
	if (broken) {
		ops = *w->machine.backing.ops;
		ops.invalidate = no_invalidation;
		ops.invalidate_all = none_at_all;
		w->deaf.ops = &ops;
	}
	assert_int_equal(viommu_dma_open(&w->deaf, &o, NULL, 0, &w->dma), 0);
	assert_int_equal(viommu_dma_memory_add(w->dma, w->machine.ram + MEMORY, BUFFERS * PAGE, MEMORY), 0);
	assert_int_equal(viommu_dma_thread_create(w->dma, &w->thread), 0);
	assert_int_equal(viommu_thread_create(w->machine.unit, &w->device_thread), 0);
}

static void run(struct world *w, const char *strategy, bool broken)
{
	pthread_t device;

	start(w, strategy, broken);
	assert_int_equal(pthread_create(&device, NULL, misbehave, w), 0);
	/* As long as it takes for the device to have been there in earnest. */
	for (unsigned round = 0; round < ROUNDS || (w->reads < 500 && round < 100 * ROUNDS); round++)
		one_round(w, round);
	w->stop = true;
	pthread_join(device, NULL);
	for (unsigned i = 0; i < BUFFERS; i++)
		check_secret(w, i);
	viommu_thread_destroy(w->device_thread);
	assert_int_equal(viommu_dma_close(w->dma), 0);
	power_off(&w->machine);
}

static void expect_kept(const char *strategy)
{
	struct world w;

	run(&w, strategy, false);
	assert_true(w.reads > 0 && w.writes > 0);
	if (w.secrets_read || w.changed)
		fail_msg("%s: %u secrets were read, %u changed", strategy, w.secrets_read, w.changed);
}

static void single_use(void **test)
{
	expect_kept("single-use");
}

static void shared(void **test)
{
	expect_kept("shared");
}

static void contiguous(void **test)
{
	expect_kept("contiguous,chunk=4");
}

#ifndef __SANITIZE_THREAD__ /* which rightly says that this device races */
static void copy(void **test)
{
	expect_kept("copy");
}

static void it_would_see_a_missing_invalidation(void **test)
{
	struct world w;

	run(&w, "single-use", true);
	assert_true(w.secrets_read > 0);
	assert_true(w.changed > 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_use), cmocka_unit_test(shared),
		cmocka_unit_test(contiguous),
#ifndef __SANITIZE_THREAD__
		cmocka_unit_test(copy),	      cmocka_unit_test(it_would_see_a_missing_invalidation),
#endif
	};

	return cmocka_run_group_tests_name("dma safety, threads", tests, NULL, NULL);
}
