/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/strategies/loop.h"

#include <string.h>

#include <viommu/dma.h>

#include "bench/fail.h"
#include "bench/sample.h"
#include "bench/strategies/world.h"
#include "os/percentile.h"

#define SAMPLE_EVERY 16
#define SAMPLES	     200000
#define TIME_EVERY   1024 /* buffers; the clock, and what is due */
#define PAGE	     4096
#define PAUSES	     16 /* between two looks at the device */

/* A ring of a network card with buffers of 2 KiB, two on a page; a disk with a page cache. */
const struct workload workloads[] = {
	{"nic", "a network card: 1500 bytes, ring of 256", 1500, 256, 2048, 256},
	{"disk", "a disk: 4 KiB, depth 32", 4096, 32, 4096, 256},
};
const unsigned workload_count = sizeof(workloads) / sizeof(workloads[0]);

struct loop {
	const struct workload *load;
	struct world world;
	struct viommu_backing observer; /* when watched */
	struct viommu_dma *dma;
	struct viommu_dma_thread *thread;
	struct viommu_dma_mapping mapping[WORLD_ENTRIES];
	uint64_t posted, reaped;
	uint64_t clock_ns;
	struct sample map, unmap;

	bool watched;
	uint64_t looked_ns;
	double excess; /* byte-nanoseconds */
};

static uint64_t clock_of(void *opaque)
{
	return os_now_ns();
}

/* Does the device reach all memory under it, and so its ring? */
static bool passes_through(const char *strategy)
{
	return !strcmp(strategy, "passthrough") ||
	       !strncmp(strategy, "software-only", strlen("software-only"));
}

static void begin(struct loop *l, const struct workload *load, const char *strategy,
		  const struct world_kind *kind, bool watched)
{
	struct viommu_dma_options o = {
		.sz = sizeof(o), .strategy = strategy, .now_ns = clock_of, .first_iova = WORLD_FIRST};
	char why[200] = "cannot open an address space";
	int err;

	memset(l, 0, sizeof(*l));
	l->load = load;
	l->watched = watched;
	l->clock_ns = bench_clock_ns();
	world_init(&l->world, kind, !passes_through(strategy));
	o.shadow_host = l->world.ram + WORLD_SHADOW;
	o.shadow_len = WORLD_TABLES - WORLD_SHADOW;
	o.shadow_address = WORLD_SHADOW;
	if (watched && viommu_backing_observer_create(&l->world.backing, 48, &l->observer))
		bench_fail("no memory", 12);
	err = viommu_dma_open(watched ? &l->observer : &l->world.backing, &o, why, sizeof(why), &l->dma);
	if (!err)
		err = viommu_dma_memory_add(l->dma, l->world.ram + WORLD_MEMORY, WORLD_SIZE, WORLD_MEMORY);
	if (!err)
		err = viommu_dma_thread_create(l->dma, &l->thread);
	if (err)
		bench_fail(why, err);
	sample_init(&l->map, SAMPLES);
	sample_init(&l->unmap, SAMPLES);
}

static void end(struct loop *l)
{
	int err = viommu_dma_close(l->dma);

	if (err)
		bench_fail("the address space does not close", err);
	viommu_backing_observer_destroy(&l->observer);
	world_finish(&l->world);
	sample_finish(&l->map);
	sample_finish(&l->unmap);
}

static void add_time(struct loop *l, struct sample *s, uint64_t began)
{
	uint64_t ns = os_now_ns() - began;

	sample_add(s, ns > l->clock_ns ? ns - l->clock_ns : 0);
}

static void post_one(struct loop *l)
{
	const struct workload *load = l->load;
	unsigned i = l->posted % WORLD_ENTRIES;
	uint8_t *buffer = l->world.ram + WORLD_MEMORY + l->posted % load->pool * load->stride;
	bool timed = l->posted % SAMPLE_EVERY == 0;
	uint64_t began = timed ? os_now_ns() : 0;
	int err = viommu_dma_map(l->thread, buffer, load->len, VIOMMU_DMA_FROM_DEVICE, 0, &l->mapping[i]);

	if (timed)
		add_time(l, &l->map, began);
	if (err)
		bench_fail("a buffer cannot be mapped", err);
	*world_entry(&l->world, l->posted) =
		(struct world_entry){.iova = l->mapping[i].iova, .len = load->len};
	l->posted++;
}

static void reap_one(struct loop *l)
{
	bool timed = l->reaped % SAMPLE_EVERY == 0;
	uint64_t began = timed ? os_now_ns() : 0;
	int err = viommu_dma_unmap(l->thread, &l->mapping[l->reaped % WORLD_ENTRIES]);

	if (timed)
		add_time(l, &l->unmap, began);
	if (err)
		bench_fail("a buffer cannot be unmapped", err);
	l->reaped++;
}

/* What the device could reach since the last look, beyond the buffers that it was given. */
static void look(struct loop *l)
{
	uint64_t now = os_now_ns();
	struct viommu_backing_work work;
	double reachable, live = (double)(l->posted - l->reaped) * l->load->len;

	viommu_backing_observer_work(&l->observer, &work);
	reachable = (double)work.reachable_pages * PAGE;
	/* Pass-through is not in the observer's counts. */
	if (viommu_backing_observer_reach(&l->observer, WORLD_MEMORY + WORLD_SIZE - PAGE) &&
	    !work.reachable_pages)
		reachable = (double)WORLD_RAM;
	if (l->looked_ns && reachable > live)
		l->excess += (reachable - live) * (double)(now - l->looked_ns);
	l->looked_ns = now;
}

/*
 * Interrupts are moderated: a quarter of the ring is done. Looking again and
 * again would take the word away from the device that counts in it.
 */
static uint64_t await_work(struct loop *l)
{
	uint64_t done;

	while ((done = world_done(&l->world)) - l->reaped < l->load->depth / 4 && l->posted != l->reaped)
		for (unsigned i = 0; i < PAUSES; i++)
			world_relax();
	return done;
}

/* As a driver's interrupt handler: what is done goes, and the ring is filled again. */
static void turn(struct loop *l)
{
	uint64_t done = await_work(l), before = l->posted;

	while (l->reaped != done)
		reap_one(l);
	while (l->posted - l->reaped < l->load->depth)
		post_one(l);
	if (l->posted != before)
		world_post(&l->world, l->posted);
	if (l->watched)
		look(l);
}

static void run(struct loop *l, uint64_t ns)
{
	uint64_t stop_ns = os_now_ns() + ns, looked = 0, next;

	for (;;) {
		turn(l);
		if (l->world.failed)
			bench_fail("the device could not use a buffer that is mapped", 13);
		if (l->posted - looked < TIME_EVERY && l->posted != looked)
			continue;
		looked = l->posted;
		viommu_dma_process(l->dma, &next);
		if (os_now_ns() >= stop_ns)
			return;
	}
}

static void drain(struct loop *l)
{
	while (l->reaped != l->posted) {
		while (l->reaped == world_done(&l->world))
			;
		reap_one(l);
	}
}

/* Time stamp counter ticks a nanosecond; 0: there is none. */
static double cycles_per_ns(void)
{
#if defined(__x86_64__)
	static double rate;
	uint64_t ns = os_now_ns(), cycles = __builtin_ia32_rdtsc();

	while (!rate && os_now_ns() - ns < 20000000)
		;
	if (!rate)
		rate = (double)(__builtin_ia32_rdtsc() - cycles) / (double)(os_now_ns() - ns);
	return rate;
#else
	return 0;
#endif
}

void loop_measure(const struct workload *load, const char *strategy, const struct world_kind *kind,
		  uint64_t ns, struct figures *ret_figures)
{
	static struct loop l;
	uint64_t began, ops;

	begin(&l, load, strategy, kind, false);
	run(&l, ns / 10); /* caches and rings fill */
	l.map.count = l.unmap.count = 0;
	ops = l.reaped;
	began = os_now_ns();
	run(&l, ns);
	ret_figures->ops_per_s = (double)(l.reaped - ops) * 1e9 / (double)(os_now_ns() - began);
	drain(&l);
	ret_figures->map_p50_ns = (double)sample_percentile(&l.map, 50);
	ret_figures->unmap_p50_ns = (double)sample_percentile(&l.unmap, 50);
	ret_figures->unmap_p50_cycles = ret_figures->unmap_p50_ns * cycles_per_ns();
	end(&l);
}

/* ----------------------------------------------------------------------- watched */

static uint64_t counter(const uint64_t *values, const char *name)
{
	size_t count;
	const struct viommu_dma_counter_info *info = viommu_dma_counters_describe(&count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			return values[i];
	bench_fail(name, 2);
}

static void read_counters(struct loop *l, struct figures *f)
{
	uint64_t values[64];

	viommu_dma_counters_read(l->dma, values, 64);
	f->maps = counter(values, "maps");
	f->reused = counter(values, "reused");
	f->invalidations = counter(values, "page_invalidations") + counter(values, "full_invalidations");
	f->peak_mapped_pages = counter(values, "mapped_pages_peak");
	f->bytes_copied = counter(values, "bytes_copied");
}

void loop_watch(const struct workload *load, const char *strategy, const struct world_kind *kind, uint64_t ns,
		struct figures *io_figures)
{
	static struct loop l;
	uint64_t values[64], counts[VIOMMU_DMA_STALE_BUCKETS], most;

	begin(&l, load, strategy, kind, true);
	run(&l, ns);
	drain(&l);
	read_counters(&l, io_figures);
	io_figures->excess_byte_seconds = l.excess / 1e9;
	viommu_dma_flush(l.dma); /* so that what is dead now has its time, too */
	viommu_dma_counters_read(l.dma, values, 64);
	viommu_dma_stale_times_read(l.dma, counts, VIOMMU_DMA_STALE_BUCKETS);
	most = counter(values, "stale_ns_max");
	io_figures->stale_max_us = (double)most / 1e3;
	io_figures->stale_p99_us =
		(double)os_percentile_of_powers(counts, VIOMMU_DMA_STALE_BUCKETS, 99, most) / 1e3;
	end(&l);
}
