/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cli/replay/pass.h"

#define COUNTERS_MOST  64
#define CHECK_SHADOW   (UINT64_C(16) << 20)
#define ROUNDS_MOST    5
#define ROUNDS_SECONDS 1

/* What the address spaces counted in one pass. */
struct counts {
	uint64_t values[COUNTERS_MOST];
	size_t count;
};

static uint64_t count_of(const struct counts *c, const char *name)
{
	size_t count;
	const struct viommu_dma_counter_info *info = viommu_dma_counters_describe(&count);

	for (size_t i = 0; i < count && i < c->count; i++)
		if (!strcmp(info[i].name, name))
			return c->values[i];
	return 0;
}

static int read_counts(struct replay_pass *p, struct counts *c)
{
	viommu_dma_counters_describe(&c->count);
	if (c->count > COUNTERS_MOST)
		c->count = COUNTERS_MOST;
	return replay_pass_counters(p, c->values, c->count);
}

/* --------------------------------------------------------- what the passes found */

static double microseconds(uint64_t ns)
{
	return (double)ns / 1e3;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void take_exposure(const struct replay_pass *p, struct replay_result *r)
{
	const struct meter *m = p->meter;

	r->maps = p->maps;
	r->unmaps = p->unmaps;
	r->refused = p->refused;
	r->peak_mapped_pages = m->mapped.most;
	r->mean_mapped_pages = meter_mean(m, &m->mapped);
	r->peak_pinned_pages = m->pinned.most;
	r->mean_pinned_pages = meter_mean(m, &m->pinned);
	r->stale_p50_us = microseconds(histogram_percentile(&m->stale, 50));
	r->stale_p99_us = microseconds(histogram_percentile(&m->stale, 99));
	r->stale_max_us = microseconds(m->stale.most);
	r->excess_byte_seconds = m->excess.total / 1e9;
	r->excess_mean_bytes = meter_mean(m, &m->excess);
	r->duration_s = (double)p->steps->facts.last_ns / 1e9;
	r->series = m->series;
	r->reaches_all = p->reaches_all;
}

static void take_counts(const struct counts *c, struct replay_result *r)
{
	r->table_writes = count_of(c, "table_writes");
	r->page_invalidations = count_of(c, "page_invalidations");
	r->full_invalidations = count_of(c, "full_invalidations");
	r->invalidations = r->page_invalidations + r->full_invalidations;
	r->invalidation_waits = count_of(c, "invalidation_waits");
	r->reuse_rate = ratio((double)count_of(c, "reused"), (double)count_of(c, "maps"));
	r->bytes_copied = count_of(c, "bytes_copied");
}

static void take_times(const struct replay_pass *p, struct replay_result *r)
{
	uint64_t sum = 0;

	r->map_p50_ns = histogram_percentile(&p->times[REPLAY_TIMED_MAP], 50);
	r->map_p99_ns = histogram_percentile(&p->times[REPLAY_TIMED_MAP], 99);
	r->unmap_p50_ns = histogram_percentile(&p->times[REPLAY_TIMED_UNMAP], 50);
	r->unmap_p99_ns = histogram_percentile(&p->times[REPLAY_TIMED_UNMAP], 99);
	for (unsigned i = 0; i < REPLAY_TIMED; i++)
		sum += p->times[i].sum;
	r->buffer_mean_ns = ratio((double)sum, (double)p->maps);
}

/* -------------------------------------------------------------------- two passes */

static int fail(char *why, size_t why_size, const struct replay_options *o, int err)
{
	snprintf(why, why_size, "%s cannot go on: %s", o->strategy, strerror(-err));
	return err;
}

static int finish(struct replay_pass *p, int err, char *why, size_t why_size)
{
	const struct replay_options *options = p->options;
	int end = replay_pass_finish(p);

	return err || !end ? err : fail(why, why_size, options, end);
}

static bool broke_rules(const struct replay_pass *p)
{
	for (unsigned i = 0; i < p->steps->facts.devices; i++)
		if (p->devices[i].exposure.broken_rules)
			return true;
	return false;
}

static int look(struct replay_pass *p, struct counts *c, struct replay_result *r, char *why, size_t why_size)
{
	int err = replay_pass_execute(p);

	if (!err)
		err = read_counts(p, c);
	if (err)
		return fail(why, why_size, p->options, err);
	for (unsigned i = 0; i < p->steps->facts.devices; i++)
		exposure_settle(&p->devices[i].exposure);
	if (broke_rules(p)) {
		snprintf(why, why_size, "%s mapped or unmapped what it must not; please report this",
			 p->options->strategy);
		return -EPROTO;
	}
	take_exposure(p, r);
	take_counts(c, r);
	return 0;
}

static int measure(struct replay_pass *p, const struct counts *before, struct replay_result *r, char *why,
		   size_t why_size)
{
	struct counts c;
	int err = replay_pass_execute(p);

	if (!err)
		err = read_counts(p, &c);
	if (err)
		return fail(why, why_size, p->options, err);
	if (p->unreachable) {
		snprintf(why, why_size,
			 "%s: the device could not use %llu buffers that it was given; please report this",
			 p->options->strategy, (unsigned long long)p->unreachable);
		return -EPROTO;
	}
	if (memcmp(c.values, before->values, c.count * sizeof(c.values[0]))) {
		snprintf(why, why_size, "%s did not do the same twice; please report this",
			 p->options->strategy);
		return -EPROTO;
	}
	take_times(p, r);
	return 0;
}

/* Of opening: the strategy may not fit, which the user wants to see beside the others. */
static int not_possible(int err, const char *why, struct replay_result *r)
{
	snprintf(r->why_not, sizeof(r->why_not), "%s", why);
	return err == -EINVAL ? err : 0;
}

static bool is_time_left(const struct timespec *began, unsigned rounds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return rounds < ROUNDS_MOST && now.tv_sec - began->tv_sec < ROUNDS_SECONDS;
}

static int one_pass(const struct replay_steps *steps, struct replay_memory *memory,
		    const struct replay_options *options, bool is_timed, struct counts *c,
		    struct replay_result *r, char *why, size_t why_size)
{
	struct replay_pass p;
	int err = replay_pass_init(&p, steps, memory, options, is_timed, why, why_size);

	if (err) {
		replay_pass_finish(&p);
		return not_possible(err, why, r);
	}
	err = is_timed ? measure(&p, c, r, why, why_size) : look(&p, c, r, why, why_size);
	return finish(&p, err, why, why_size);
}

/* Others use the machine, too: of a few rounds, if they are short, the quietest counts. */
int replay_run(const struct replay_steps *steps, struct replay_memory *memory,
	       const struct replay_options *options, struct replay_result *ret_result, char *why,
	       size_t why_size)
{
	struct replay_result r = {
		.strategy = options->strategy,
		.registers = options->registers == REPLAY_SIDECORE ? "sidecore" : "trap",
	};
	struct timespec began;
	struct counts c;
	int err = one_pass(steps, memory, options, false, &c, &r, why, why_size);

	*ret_result = r;
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (unsigned i = 0; !err && !*r.why_not && (!i || is_time_left(&began, i)); i++) {
		err = one_pass(steps, memory, options, true, &c, &r, why, why_size);
		if (!i || r.buffer_mean_ns < ret_result->buffer_mean_ns)
			*ret_result = r;
	}
	return err;
}

static uint64_t no_time(void *opaque)
{
	(void)opaque;
	return 0;
}

/* Opened once where nothing costs anything, with shadow memory in case it is one that copies. */
int replay_check_strategy(const char *strategy, char *why, size_t why_size)
{
	struct viommu_dma_options options = {.sz = sizeof(options),
					     .strategy = strategy,
					     .now_ns = no_time,
					     .shadow_len = CHECK_SHADOW,
					     .shadow_address = REPLAY_SHADOW};
	struct viommu_backing nothing;
	struct viommu_dma *dma;
	int err = viommu_backing_observer_create(NULL, 48, &nothing);

	if (err)
		return err;
	options.shadow_host = replay_reserve(CHECK_SHADOW);
	err = options.shadow_host ? viommu_dma_open(&nothing, &options, why, why_size, &dma) : -ENOMEM;
	if (!err)
		viommu_dma_close(dma);
	if (options.shadow_host)
		munmap(options.shadow_host, CHECK_SHADOW);
	viommu_backing_observer_destroy(&nothing);
	return err == -EINVAL && *why ? err : 0;
}
