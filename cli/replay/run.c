/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/replay/cost_observer.h"
#include "cli/replay/pass.h"
#include "cli/replay/reach_observer.h"
#include "os/clock.h"
#include "os/sentence.h"

#define COUNTERS_MOST 64
#define CHECK_SHADOW  (UINT64_C(16) << 20)

/* Rounds that are timed: a few unless they take more than a minute, and more where they are short. */
#define ROUNDS_MOST	COST_ROUNDS_MOST
#define ROUNDS_MS	300
#define ROUNDS_LEAST	3
#define ROUNDS_LEAST_MS 60000

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

static void take_reach(const struct replay_pass *p, const struct reach_observer *o, struct replay_result *r)
{
	const struct meter *m = o->meter;

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

/* Of one round. */
static void take_times(const struct cost_observer *o, struct replay_result *r)
{
	r->map_p50_ns = histogram_percentile(&o->times[REPLAY_MAP], 50);
	r->map_p99_ns = histogram_percentile(&o->times[REPLAY_MAP], 99);
	r->unmap_p50_ns = histogram_percentile(&o->times[REPLAY_UNMAP], 50);
	r->unmap_p99_ns = histogram_percentile(&o->times[REPLAY_UNMAP], 99);
}

/* Of all rounds. */
static void take_cost(const struct cost *c, struct replay_result *r)
{
	r->buffer_mean_ns = ratio(cost_ns(c), (double)r->maps);
	r->buffer_median_ns = ratio(cost_median_ns(c), (double)r->maps);
	r->rounds = c->rounds;
}

/* ------------------------------------------------------------------------ passes */

/* One strategy on one trace. */
struct run {
	const struct replay_steps *steps;
	struct replay_memory *memory;
	const struct replay_options *options;
	unsigned passes;      /* so far */
	struct counts counts; /* of the first */
	struct cost cost;     /* of the others */
	double least_ns;      /* of a round, so far */
	struct replay_result result;
	char *why;
	size_t why_size;
};

static int fail(struct run *r, int err)
{
	os_say(r->why, r->why_size, "%s cannot go on: %s", r->options->strategy, strerror(-err));
	return err;
}

static __attribute__((format(printf, 2, 3))) int report_this(struct run *r, const char *format, ...)
{
	char what[128];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	os_say(r->why, r->why_size, "%s %s; please report this", r->options->strategy, what);
	return -EPROTO;
}

/* Of opening: the strategy may not fit, which the user wants to see beside the others. */
static int not_possible(struct run *r, int err)
{
	os_say(r->result.why_not, sizeof(r->result.why_not), "%s", r->why);
	return err == -EINVAL ? err : 0;
}

static int cannot_set_up(struct run *r, int err)
{
	os_say(r->why, r->why_size, "the emulated IOMMU cannot be set up: %s", strerror(-err));
	return not_possible(r, err);
}

/* What is made of a pass that is open. */
typedef int (*pass_fn)(struct run *r, struct replay_pass *p, void *observer);

static int one_pass(struct run *r, struct replay_observer observer, pass_fn use)
{
	struct replay_pass p;
	int err = replay_pass_init(&p, r->steps, r->memory, r->options, observer, r->why, r->why_size), end;

	if (err) {
		replay_pass_finish(&p);
		return not_possible(r, err);
	}
	if (r->passes <= ROUNDS_LEAST) {
		p.progress_base = r->passes * r->steps->facts.steps;
		p.progress_of = (1 + ROUNDS_LEAST) * r->steps->facts.steps;
	}
	err = use(r, &p, observer.opaque);
	r->passes++;
	end = replay_pass_finish(&p);
	return err || !end ? err : fail(r, end);
}

/* ------------------------------------------------------- what devices can reach */

static int look(struct run *r, struct replay_pass *p, void *observer)
{
	struct reach_observer *o = observer;
	int err;

	r->result.reaches_all = reach_observer_sees_all(o);
	err = replay_pass_execute(p);
	if (!err)
		err = read_counts(p, &r->counts);
	if (err)
		return fail(r, err);
	if (reach_observer_settle(o))
		return report_this(r, "mapped or unmapped what it must not");
	take_reach(p, o, &r->result);
	take_counts(&r->counts, &r->result);
	return 0;
}

static int look_once(struct run *r)
{
	struct reach_observer o;
	int err = reach_observer_init(&o, r->steps, r->memory, replay_pass_shadow_size(r->steps));

	err = err ? cannot_set_up(r, err) : one_pass(r, reach_observer_of(&o), look);
	reach_observer_finish(&o);
	return err;
}

/* --------------------------------------------------------------- what calls cost */

static int measure(struct run *r, struct replay_pass *p, void *observer)
{
	struct cost_observer *o = observer;
	struct counts c;
	double ns;
	int err = replay_pass_execute(p);

	if (!err)
		err = read_counts(p, &c);
	if (err)
		return fail(r, err);
	if (o->unreachable)
		return report_this(r, "gave the device %llu buffers that it could not use",
				   (unsigned long long)o->unreachable);
	if (memcmp(c.values, r->counts.values, c.count * sizeof(c.values[0])))
		return report_this(r, "did not do the same twice");
	ns = cost_end_round(&r->cost);
	if (!r->result.rounds || ns < r->least_ns) {
		r->least_ns = ns;
		take_times(o, &r->result);
	}
	take_cost(&r->cost, &r->result);
	return 0;
}

static int measure_once(struct run *r)
{
	struct cost_observer o;
	int err = cost_observer_init(&o, r->steps, r->memory, r->options->registers,
				     replay_pass_shadow_size(r->steps), &r->cost);

	err = err ? cannot_set_up(r, err) : one_pass(r, cost_observer_of(&o), measure);
	cost_observer_finish(&o);
	return err;
}

static bool is_another_round_due(const struct run *r, int64_t began_ms, unsigned rounds)
{
	int64_t spent = os_now_ms() - began_ms;

	if (r->options->rounds)
		return rounds < r->options->rounds;
	if (rounds < ROUNDS_LEAST)
		return !rounds || spent < ROUNDS_LEAST_MS;
	return rounds < ROUNDS_MOST && spent < ROUNDS_MS;
}

static int measure_rounds(struct run *r)
{
	int64_t began_ms = os_now_ms();
	int err = 0;

	for (unsigned i = 0; !err && !*r->result.why_not && is_another_round_due(r, began_ms, i); i++)
		err = measure_once(r);
	cost_finish(&r->cost);
	return err;
}

int replay_run(const struct replay_steps *steps, struct replay_memory *memory,
	       const struct replay_options *options, struct replay_result *ret_result, char *why,
	       size_t why_size)
{
	struct run r = {
		.steps = steps,
		.memory = memory,
		.options = options,
		.result = {.strategy = options->strategy,
			   .registers = options->registers == REPLAY_SIDECORE ? "sidecore" : "trap"},
		.why = why,
		.why_size = why_size,
	};
	int err = look_once(&r);

	if (!err)
		err = measure_rounds(&r);
	*ret_result = r.result;
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
