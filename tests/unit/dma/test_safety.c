/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The safety of each strategy, measured: random drivers on a real unit, a device
 * that tries every address it was ever given, and an oracle that knows the promise
 * and not the strategy. It fails on one access too many, and on a promise that
 * was never used, as then something else was tested.
 *
 * `test_safety N` runs N times as many steps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/dma.h>

#include "rig.h"
#include "safety_oracle.h"
#include "testing.h"

#define MEMORY	     UINT64_C(0x100000) /* gpa of what is mapped */
#define SHADOW	     UINT64_C(0x200000)
#define SHADOW_PAGES 512
#define LIVE_MAX     12
#define PAST_MAX     96 /* addresses that the device remembers */
#define STEPS	     1500
#define MS	     UINT64_C(1000000)

/* The thread sanitizer is slow, and there is one thread. */
#ifdef __SANITIZE_THREAD__
#define SEEDS 1
#else
#define SEEDS 3
#endif

static unsigned long times = 1;

static const struct oracle_promise promises[] = {
	{"passthrough", ORACLE_EVERYTHING, 0, 0},
	{"direct", ORACLE_KNOWN, 0, 0},
	{"single-use", ORACLE_NOTHING, 0, 0},
	{"shared", ORACLE_NOTHING, 0, 0},
	{"shared,slots=4", ORACLE_NOTHING, 0, 0},
	{"persistent", ORACLE_EVER, 0, 0},
	{"on-demand,quota=30", ORACLE_EVER, 0, 30},
	{"on-demand,quota=24,batch=1", ORACLE_EVER, 0, 24},
	{"deferred,entries=4,limit-us=1000", ORACLE_LIMITED, MS, 4 * 4},
	{"deferred,limit-us=1000", ORACLE_LIMITED, MS, 0},
	{"optimistic,limit-us=1000,quota=9", ORACLE_LIMITED, MS, 9},
	{"optimistic,limit-us=1000,quota=5,batch=1", ORACLE_LIMITED, MS, 5},
	{"optimistic,limit-us=1000", ORACLE_LIMITED, MS, 0},
	{"copy", ORACLE_SHADOW, 0, 0},
	{"contiguous", ORACLE_NOTHING, 0, 0},
	{"contiguous,chunk=3", ORACLE_NOTHING, 0, 0},
	{"software-only", ORACLE_EVERYTHING, 0, 0},
};

/* Something that keeps a backing from doing what it is asked. */
enum fault { NONE, NO_INVALIDATION, MORE_RIGHTS };

struct driver {
	struct machine machine;
	struct viommu_backing broken, observer;
	enum fault fault;
	struct viommu_dma *dma;
	struct viommu_dma_thread *thread[2];
	struct oracle oracle;
	uint64_t random;
	unsigned live_count, past_count;
	struct viommu_dma_mapping live[LIVE_MAX];
	uint64_t past[PAST_MAX];
	unsigned refused; /* maps, by a quota */
};

/* ------------------------------------------------------------- a backing that fails */

static int pass_map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct driver *d = opaque;
	struct viommu_backing_range wide[64];

	for (size_t i = 0; i < count; i++) {
		wide[i] = ranges[i];
		wide[i].access |= d->fault == MORE_RIGHTS ? 3 : 0;
	}
	return d->machine.backing.ops->map(d->machine.backing.opaque, wide, count);
}

static int pass_unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct driver *d = opaque;

	return d->machine.backing.ops->unmap(d->machine.backing.opaque, ranges, count);
}

static int pass_invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count,
			   unsigned flags)
{
	struct driver *d = opaque;

	if (d->fault == NO_INVALIDATION)
		return 0;
	return d->machine.backing.ops->invalidate(d->machine.backing.opaque, ranges, count, flags);
}

static int pass_invalidate_all(void *opaque)
{
	struct driver *d = opaque;

	return d->fault == NO_INVALIDATION
		       ? 0
		       : d->machine.backing.ops->invalidate_all(d->machine.backing.opaque);
}

static int pass_through(void *opaque, bool on)
{
	struct driver *d = opaque;

	return d->machine.backing.ops->pass_through(d->machine.backing.opaque, on);
}

static const struct viommu_backing_ops pass_on = {.sz = sizeof(pass_on),
						  .map = pass_map,
						  .unmap = pass_unmap,
						  .invalidate = pass_invalidate,
						  .invalidate_all = pass_invalidate_all,
						  .pass_through = pass_through};

/* ----------------------------------------------------------------------- the driver */

static uint64_t now_ns(void *opaque)
{
	struct driver *d = opaque;

	return d->oracle.now_ns;
}

static uint64_t random_below(struct driver *d, uint64_t n)
{
	d->random = d->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (d->random >> 33) % n;
}

static void start(struct driver *d, const char *strategy, const struct oracle_promise *promise,
		  enum fault fault, uint64_t seed)
{
	struct viommu_dma_options o = {.sz = sizeof(o), .strategy = strategy, .now_ns = now_ns, .opaque = d};
	char why[128] = "";

	memset(d, 0, sizeof(*d));
	d->fault = fault;
	d->random = seed;
	oracle_init(&d->oracle, promise);
	d->oracle.now_ns = MS;
	power_on(&d->machine, QUEUE, false);
	d->broken = (struct viommu_backing){.ops = &pass_on,
					    .opaque = d,
					    .address_width = d->machine.backing.address_width};
	assert_int_equal(viommu_backing_observer_create(&d->broken, 48, &d->observer), 0);
	o.shadow_host = d->machine.ram + SHADOW;
	o.shadow_len = SHADOW_PAGES * PAGE;
	o.shadow_address = SHADOW;
	if (viommu_dma_open(&d->observer, &o, why, sizeof(why), &d->dma))
		fail_msg("%s: %s", strategy, why);
	assert_int_equal(viommu_dma_memory_add(d->dma, d->machine.ram + MEMORY, ORACLE_PAGES * PAGE, MEMORY),
			 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(viommu_dma_thread_create(d->dma, &d->thread[i]), 0);
}

static unsigned first_page(const struct driver *d, const struct viommu_dma_mapping *m)
{
	return (unsigned)(((uint8_t *)m->host - d->machine.ram - MEMORY) / PAGE);
}

static unsigned last_page(const struct driver *d, const struct viommu_dma_mapping *m)
{
	return (unsigned)(((uint8_t *)m->host + m->len - 1 - d->machine.ram - MEMORY) / PAGE);
}

/* Few pages and few buffers, so that they come again. */
static struct iovec some_buffer(struct driver *d)
{
	unsigned page = (unsigned)random_below(d, ORACLE_PAGES - 3);
	uint64_t offset = random_below(d, 3) ? 0 : random_below(d, PAGE);
	uint64_t len =
		random_below(d, 3) ? 1 + random_below(d, PAGE - offset) : 1 + random_below(d, 2 * PAGE);

	if (random_below(d, 2))
		page %= 8;
	return (struct iovec){d->machine.ram + MEMORY + page * PAGE + offset, len};
}

static void remember(struct driver *d, const struct viommu_dma_mapping *m)
{
	d->past[d->past_count++ % PAST_MAX] = m->iova;
	oracle_map(&d->oracle, first_page(d, m), last_page(d, m), m->direction);
}

static void map_some(struct driver *d)
{
	struct iovec buffers[4];
	size_t count = random_below(d, 3) ? 1 : 1 + random_below(d, 4);
	enum viommu_dma_direction direction = (enum viommu_dma_direction)(1 + random_below(d, 3));
	struct viommu_dma_thread *t = d->thread[random_below(d, 2)];
	int err;

	if (d->live_count + count > LIVE_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		buffers[i] = some_buffer(d);
	err = viommu_dma_map_list(t, buffers, count, direction, random_below(d, 2) ? 32 : 0,
				  &d->live[d->live_count]);
	if (err == -EDQUOT) {
		d->refused++;
		return;
	}
	assert_int_equal(err, 0);
	for (size_t i = 0; i < count; i++)
		remember(d, &d->live[d->live_count++]);
}

static void unmap_some(struct driver *d)
{
	size_t count, first;

	if (!d->live_count)
		return;
	first = random_below(d, d->live_count);
	count = random_below(d, 3) ? 1 : 1 + random_below(d, d->live_count - first);
	assert_int_equal(viommu_dma_unmap_list(d->thread[random_below(d, 2)], &d->live[first], count), 0);
	for (size_t i = first; i < first + count; i++)
		oracle_unmap(&d->oracle, first_page(d, &d->live[i]), last_page(d, &d->live[i]),
			     d->live[i].direction);
	memmove(&d->live[first], &d->live[first + count],
		(d->live_count - first - count) * sizeof(d->live[0]));
	d->live_count -= (unsigned)count;
}

static void pass_time(struct driver *d)
{
	uint64_t next;

	d->oracle.now_ns += random_below(d, 8) ? random_below(d, MS / 3) : random_below(d, 3 * MS);
	assert_int_equal(viommu_dma_process(d->dma, &next), 0);
}

static void flush(struct driver *d)
{
	if (!random_below(d, 4))
		assert_int_equal(viommu_dma_flush(d->dma), 0);
}

/* ----------------------------------------------------------------------- the device */

/* Where the device gets with this address; false: nowhere. */
static bool device_gets(struct driver *d, uint64_t iova, unsigned rights, uint64_t *ret_gpa)
{
	struct viommu_span span;
	int err;

	viommu_enter(d->machine.thread);
	err = viommu_translate(d->machine.thread, d->machine.device, iova, 1, rights | VIOMMU_QUIET, &span);
	if (!err)
		*ret_gpa = span.gpa;
	viommu_exit(d->machine.thread);
	return !err;
}

static void try_address(struct driver *d, uint64_t iova, unsigned rights)
{
	uint64_t gpa;

	if (!device_gets(d, iova, rights, &gpa))
		return;
	if (gpa - MEMORY < ORACLE_PAGES * PAGE)
		oracle_reaches(&d->oracle, (unsigned)((gpa - MEMORY) / PAGE), rights, "the device");
	else if (d->oracle.promise->kind == ORACLE_SHADOW && gpa - SHADOW < SHADOW_PAGES * PAGE)
		d->oracle.stale_seen++;
	else if (d->oracle.promise->kind != ORACLE_EVERYTHING)
		oracle_complain(&d->oracle, "the device gets to %#llx", (unsigned long long)gpa);
}

/* What the driver has mapped works, from the first byte to the last. */
static void expect_use(struct driver *d, const struct viommu_dma_mapping *m)
{
	uint64_t wanted = (uint64_t)((uint8_t *)m->host - d->machine.ram), gpa;

	for (uint64_t at = 0;; at = at + PAGE < m->len ? at + PAGE : m->len - 1) {
		for (unsigned right = 1; right < 3; right++) {
			if (!(m->direction & right))
				continue;
			if (!device_gets(d, m->iova + at, right, &gpa))
				oracle_complain(&d->oracle, "a mapped buffer is not reachable");
			else if (d->oracle.promise->kind != ORACLE_SHADOW && gpa != wanted + at)
				oracle_complain(&d->oracle, "a mapped buffer leads elsewhere");
		}
		if (at == m->len - 1)
			break;
	}
}

static void look(struct driver *d)
{
	unsigned rights[ORACLE_PAGES];
	unsigned past = d->past_count < PAST_MAX ? d->past_count : PAST_MAX;

	for (unsigned p = 0; p < ORACLE_PAGES; p++)
		rights[p] = viommu_backing_observer_reach(&d->observer, MEMORY + p * PAGE);
	oracle_reaches_all(&d->oracle, rights, "the tables");
	for (unsigned i = 0; i < d->live_count; i++)
		expect_use(d, &d->live[i]);
	for (unsigned i = 0; i < past; i++) {
		try_address(d, d->past[i], VIOMMU_READ);
		try_address(d, d->past[i], VIOMMU_WRITE);
	}
}

/* -------------------------------------------------------------------------- a run */

static void end(struct driver *d)
{
	struct viommu_backing_work work;

	if (d->live_count)
		assert_int_equal(viommu_dma_unmap_list(d->thread[0], d->live, d->live_count), 0);
	assert_int_equal(viommu_dma_close(d->dma), 0);
	viommu_backing_observer_work(&d->observer, &work);
	assert_int_equal(work.broken_rules, 0);
	assert_int_equal(work.mapped_pages + work.stale_pages, 0);
	viommu_backing_observer_destroy(&d->observer);
	power_off(&d->machine);
}

static void run(struct driver *d, const char *strategy, const struct oracle_promise *promise,
		enum fault fault, uint64_t seed)
{
	static void (*const steps[])(struct driver * d) = {map_some, map_some,	unmap_some, unmap_some,
							   map_some, pass_time, unmap_some, flush};

	start(d, strategy, promise, fault, seed);
	for (unsigned long i = 0; i < STEPS * times && !*d->oracle.wrong; i++) {
		steps[random_below(d, sizeof(steps) / sizeof(steps[0]))](d);
		look(d);
	}
	end(d);
}

/* The promise was used: the limit nearly reached, or else something weaker could be promised. */
static void expect_sharp(const struct driver *d, const struct oracle_promise *p)
{
	const struct oracle *o = &d->oracle;

	switch (p->kind) {
	case ORACLE_NOTHING:
		assert_int_equal(o->stale_seen, 0);
		break;
	case ORACLE_LIMITED:
		assert_in_range(o->longest_ns, p->limit_ns * 9 / 10, p->limit_ns - 1);
		if (p->pages)
			assert_in_range(o->most_dead_pages, p->pages / 2, p->pages);
		break;
	default:
		assert_true(o->stale_seen > 0);
		break;
	}
}

static void each_promise_is_kept(void **test)
{
	struct driver d;

	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
		for (uint64_t seed = 1; seed <= SEEDS; seed++) {
			run(&d, promises[i].strategy, &promises[i], NONE, seed);
			if (*d.oracle.wrong)
				fail_msg("seed %llu: %s", (unsigned long long)seed, d.oracle.wrong);
			expect_sharp(&d, &promises[i]);
		}
	}
}

static void each_strategy_has_a_promise(void **test)
{
	const struct viommu_dma_strategy_info *info;

	for (size_t i = 0; (info = viommu_dma_strategy_describe(i)); i++) {
		size_t len = strlen(info->name), k = 0;

		while (k < sizeof(promises) / sizeof(promises[0]) &&
		       (strncmp(promises[k].strategy, info->name, len) ||
			(promises[k].strategy[len] && promises[k].strategy[len] != ',')))
			k++;
		if (k == sizeof(promises) / sizeof(promises[0]))
			fail_msg("nothing is known of the promise of %s", info->name);
	}
}

/* ------------------------------------------------------ what the oracle would see */

static void expect_wrong(const char *strategy, const struct oracle_promise *promise, enum fault fault)
{
	struct driver d;

	run(&d, strategy, promise, fault, 7);
	if (!*d.oracle.wrong)
		fail_msg("%s, and the oracle sees nothing", strategy);
}

static void it_sees_a_missing_invalidation(void **test)
{
	static const struct oracle_promise strict = {"", ORACLE_NOTHING, 0, 0};
	static const struct oracle_promise limited = {"", ORACLE_LIMITED, MS, 0};

	expect_wrong("single-use", &strict, NO_INVALIDATION);
	expect_wrong("shared", &strict, NO_INVALIDATION);
	expect_wrong("contiguous", &strict, NO_INVALIDATION);
	expect_wrong("deferred,limit-us=1000", &limited, NO_INVALIDATION);
	expect_wrong("optimistic,limit-us=1000", &limited, NO_INVALIDATION);
}

static void it_sees_rights_that_nobody_gave(void **test)
{
	static const struct oracle_promise strict = {"", ORACLE_NOTHING, 0, 0},
					   ever = {"", ORACLE_EVER, 0, 0};

	expect_wrong("single-use", &strict, MORE_RIGHTS);
	expect_wrong("persistent", &ever, MORE_RIGHTS);
}

static void it_sees_a_promise_that_is_too_strong(void **test)
{
	static const struct oracle_promise strict = {"", ORACLE_NOTHING, 0, 0},
					   shadow = {"", ORACLE_SHADOW, 0, 0},
					   sooner = {"", ORACLE_LIMITED, MS, 0},
					   fewer = {"", ORACLE_LIMITED, MS, 5},
					   ever = {"", ORACLE_EVER, 0, 0}, less = {"", ORACLE_EVER, 0, 20};

	expect_wrong("deferred", &strict, NONE);
	expect_wrong("optimistic", &strict, NONE);
	expect_wrong("single-use", &shadow, NONE);
	expect_wrong("deferred,limit-us=1200", &sooner, NONE);
	expect_wrong("optimistic,limit-us=1200", &sooner, NONE);
	expect_wrong("optimistic,limit-us=1000,quota=7", &fewer, NONE);
	expect_wrong("persistent", &sooner, NONE);
	expect_wrong("direct", &ever, NONE);
	expect_wrong("on-demand,quota=30", &less, NONE);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_strategy_has_a_promise),
		cmocka_unit_test(each_promise_is_kept),
		cmocka_unit_test(it_sees_a_missing_invalidation),
		cmocka_unit_test(it_sees_rights_that_nobody_gave),
		cmocka_unit_test(it_sees_a_promise_that_is_too_strong),
	};

	if (argc > 1)
		times = strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests_name("dma safety", tests, NULL, NULL);
}
