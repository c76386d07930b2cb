/* SPDX-License-Identifier: BSD-3-Clause */
/* Translation: hits in a small and a large working set, two threads, under invalidation, and the walk. */
#include <stdio.h>
#include <unistd.h>

#include "bench/micro.h"
#include "bench/rig.h"
#include "bench/sample.h"

#define ROUNDS	       7
#define TURNS	       2000000
#define SMALL	       64
#define WALK_IOTLB_LG2 6 /* 64 entries: with 65,536 pages nearly each translation walks */

struct reader {
	struct rig *rig;
	uint32_t pages;
	uint64_t turns;
	double ns; /* for one translation */
};

/* One guarded translation for a 64-byte read after another. */
static void *read_pages(void *arg)
{
	struct reader *a = arg;
	struct viommu_thread *thread;
	struct viommu_span span = {.len = 0};
	uint64_t refused = 0, started;
	uint32_t page = 0;

	if (viommu_thread_create(a->rig->viommu, &thread) != 0)
		bench_fail("cannot make a device thread", 11);
	started = os_now_ns();
	for (uint64_t i = 0; i < a->turns; i++) {
		viommu_enter(thread);
		refused += viommu_translate(thread, a->rig->device, RIG_IOVA + page * UINT64_C(4096), 64,
					    VIOMMU_READ, &span) != 0;
		viommu_exit(thread);
		page = rig_next(page, a->pages);
	}
	a->ns = (double)(os_now_ns() - started) / (double)a->turns;
	viommu_thread_destroy(thread);
	if (refused)
		bench_fail("a translation was refused", 13);
	return NULL;
}

static double measure(struct rig *r, uint32_t pages)
{
	double ns[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct reader a = {.rig = r, .pages = pages, .turns = TURNS};

		read_pages(&a);
		ns[i] = a.ns;
	}
	return median_of(ns, ROUNDS);
}

/* Translations per second of two threads at once over those of one, in one round each. */
static double measure_scaling(struct rig *r)
{
	double scaling[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct reader one = {.rig = r, .pages = SMALL, .turns = TURNS}, a = one, b = one;
		pthread_t thread;

		read_pages(&one);
		if (pthread_create(&thread, NULL, read_pages, &a) != 0)
			bench_fail("cannot start a thread", 11);
		read_pages(&b);
		pthread_join(thread, NULL);
		scaling[i] = one.ns / a.ns + one.ns / b.ns;
	}
	return median_of(scaling, ROUNDS);
}

struct invalidator {
	struct rig *rig;
	_Atomic bool *stop;
	uint64_t done, ns;
};

#define INVALIDATIONS_PER_SECOND 100000

/* Pages that no reader uses, at a fixed rate; between two it sleeps on the clock. */
static void *invalidate_pages(void *arg)
{
	struct invalidator *a = arg;
	uint64_t started = os_now_ns();

	while (!atomic_load_explicit(a->stop, memory_order_relaxed)) {
		uint64_t iova = RIG_IOVA + (SMALL + a->done % (RIG_PAGES - SMALL)) * UINT64_C(4096);

		while (os_now_ns() - started < a->done * (1000000000u / INVALIDATIONS_PER_SECOND))
			if (atomic_load_explicit(a->stop, memory_order_relaxed))
				break;
		vi_driver_vtd_flush_range(&a->rig->driver, RIG_DOMAIN, iova, iova + 4095);
		a->done++;
	}
	a->ns = os_now_ns() - started;
	return NULL;
}

static double measure_under_invalidation(struct rig *r, double *ret_rate)
{
	_Atomic bool stop = false;
	struct invalidator a = {.rig = r, .stop = &stop};
	pthread_t thread;
	double ns;

	if (pthread_create(&thread, NULL, invalidate_pages, &a) != 0)
		bench_fail("cannot start a thread", 11);
	ns = measure(r, SMALL);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	*ret_rate = (double)a.done * 1e9 / (double)a.ns;
	return ns;
}

void bench_translate(void)
{
	struct rig r;
	double rate;

	report_progress("translations that hit the IOTLB");
	rig_init(&r, 0, false);
	report_number("translate_hit_64_ns", measure(&r, SMALL), "ns", "hit, guarded, 64 pages at random");
	report_number("translate_hit_65536_ns", measure(&r, RIG_PAGES), "ns",
		      "hit, guarded, 65,536 pages at random");
	report_number("translate_hit_2threads_scaling", measure_scaling(&r), "x", "two threads over one");
	report_number("translate_hit_under_invalidation_ns", measure_under_invalidation(&r, &rate), "ns",
		      "hit while another thread invalidates");
	report_number("translate_invalidations_per_s", rate, "/s", "  at this rate");
	rig_finish(&r);
	report_progress("translations that walk the tables");
	rig_init(&r, WALK_IOTLB_LG2, false);
	report_number("walk_4level_ns", measure(&r, RIG_PAGES), "ns",
		      "4-level walk and IOTLB fill, 65,536 pages at random");
	report_number("walk_4level_warm_ns", measure(&r, 1024), "ns",
		      "the same, 1,024 pages, tables in the cache");
	rig_finish(&r);
}
