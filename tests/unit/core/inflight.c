/* SPDX-License-Identifier: BSD-3-Clause */
#include "inflight.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define MOST_DEVICES 8
#define PAGES	     4
#define IOVA	     UINT64_C(0x40000000)
#define GPA	     UINT64_C(0x200000)
#define WORDS	     512
#define LOOKS	     20
#define TURNS	     1000
#define LEAST_ROUNDS 20

struct device {
	struct machine *m;
	struct viommu_thread *thread;
	pthread_t runs;
	_Atomic bool *stop;
	bool pins;
	uint64_t stamp, blocked;
	_Atomic uint64_t landed; /* read by the driver */
};

/* A device that has memory lent to it, as one whose data the kernel moves: longer than a short guard. */
static int write_pinned(struct device *d, uint64_t iova)
{
	struct viommu_pin pin = {.revoke = NULL};
	int ret = viommu_pin(d->thread, d->m->device, iova, 8, VIOMMU_WRITE, &pin);

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
		uint64_t iova = IOVA + (unsigned)rand_r(&seed) % PAGES * UINT64_C(4096) +
				(unsigned)rand_r(&seed) % WORDS * 8;
		int ret = d->pins ? write_pinned(d, iova)
				  : viommu_write(d->thread, d->m->device, iova, &d->stamp, 8);

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

	for (unsigned i = 0; i < WORDS; i++)
		__atomic_store_n(word_of(m, gpa, i), pattern, __ATOMIC_SEQ_CST);
	sched_yield(); /* a device that was interrupted before its store would have to come now */
	for (unsigned look = 0; look < LOOKS; look++)
		for (unsigned i = 0; i < WORDS; i++)
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

static uint64_t landed(const struct device *devices, unsigned count)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < count; i++)
		n += atomic_load(&devices[i].landed);
	return n;
}

/* A mapping that no device got to use would prove nothing. */
static void let_it_be_used(struct machine *m, const struct device *devices, unsigned count)
{
	uint64_t before = landed(devices, count);

	for (unsigned i = 0; i < TURNS && landed(devices, count) - before < count; i++) {
		m->driver.regs.relax(m);
		sched_yield();
	}
}

static bool is_enough(const struct inflight *i, unsigned round, time_t began)
{
	return round >= i->rounds ||
	       (i->seconds && round >= LEAST_ROUNDS && time(NULL) - began >= (time_t)i->seconds);
}

static unsigned drive(struct machine *m, const struct device *devices, const struct inflight *i)
{
	time_t began = time(NULL);
	unsigned stale = 0, count = i->devices;

	for (unsigned round = 0; !is_enough(i, round, began) && stale == 0; round++) {
		uint64_t iova = IOVA + round % PAGES * UINT64_C(4096), gpa = GPA + round % 7 * UINT64_C(4096);

		machine_map(m, iova, gpa, 4096, VI_PGTABLE_READ | VI_PGTABLE_WRITE);
		let_it_be_used(m, devices, count);
		machine_unmap(m, iova, 4096);
		stale = stale_writes(m, gpa, round);
		if (round % 64 == 0)
			drain_faults(m);
	}
	return stale;
}

static void start_device(struct machine *m, struct device *d, _Atomic bool *stop, unsigned i, bool pins)
{
	*d = (struct device){.m = m, .stop = stop, .stamp = 0xd0d0 + i, .pins = pins};
	assert_int_equal(viommu_thread_create(m->viommu, &d->thread), 0);
	assert_int_equal(pthread_create(&d->runs, NULL, device_run, d), 0);
}

void inflight_run(const struct inflight *i, struct inflight_result *ret)
{
	struct device devices[MOST_DEVICES];
	_Atomic bool stop = false;
	struct machine m;

	*ret = (struct inflight_result){0};
	assert_true(i->devices <= MOST_DEVICES);
	machine_start(&m, i->registers, &(struct viommu_options){.iotlb_lg2 = 8}, i->queue);
	for (unsigned k = 0; k < i->devices; k++)
		start_device(&m, &devices[k], &stop, k, k < i->pinning);
	ret->stale = drive(&m, devices, i);
	atomic_store(&stop, true);
	for (unsigned k = 0; k < i->devices; k++) {
		pthread_join(devices[k].runs, NULL);
		ret->blocked += devices[k].blocked;
		viommu_thread_destroy(devices[k].thread);
	}
	ret->landed = landed(devices, i->devices);
	print_message(
		"at most %u rounds: %u stale, %lu writes landed, %lu were blocked, %lu drains deferred\n",
		i->rounds, ret->stale, (unsigned long)ret->landed, (unsigned long)ret->blocked,
		(unsigned long)machine_counter(&m, "drains_deferred"));
	machine_finish(&m);
}
