/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What strategies leave reachable on traces so small that it is known by hand,
 * with the strategies really running on emulated units.
 */
#include <errno.h>
#include <string.h>

#include "testing.h"

#include "cli/replay/run.h"

#define PAGE   4096.0
#define MS     UINT64_C(1000000)
#define BUFFER UINT64_C(0x3ab99686) /* as in a recorded trace: 54 bytes of a page */

static struct replay_steps steps;
static struct replay_memory memory;
static struct replay_result r;
static uint64_t mappings;

/* ------------------------------------------------------------ writing a trace */

static void begin(void)
{
	assert_int_equal(replay_steps_init(&steps), 0);
	mappings = 0;
}

static void add(const struct trace_step *step)
{
	assert_int_equal(replay_steps_add(&steps, step), 0);
}

/* Returns what unmap wants. */
static uint64_t map_for(unsigned device, uint64_t time_ns, uint64_t phys, uint64_t len,
			enum trace_direction direction, uint64_t list)
{
	add(&(struct trace_step){.kind = TRACE_MAP,
				 .direction = direction,
				 .time_ns = time_ns,
				 .mapping = ++mappings,
				 .device = device,
				 .phys = phys,
				 .len = len,
				 .list = list});
	return mappings;
}

static uint64_t map(uint64_t time_ns, uint64_t phys, uint64_t len)
{
	return map_for(0, time_ns, phys, len, TRACE_TO_DEVICE, 0);
}

static void unmap_of(unsigned device, uint64_t time_ns, uint64_t mapping, uint64_t list)
{
	add(&(struct trace_step){
		.kind = TRACE_UNMAP, .time_ns = time_ns, .mapping = mapping, .device = device, .list = list});
}

static void unmap(uint64_t time_ns, uint64_t mapping)
{
	unmap_of(0, time_ns, mapping, 0);
}

/* ----------------------------------------------------------------- running it */

static void end_trace(void)
{
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(replay_memory_init(&memory, &steps.blocks), 0);
}

static void run_with(const struct replay_options *options)
{
	char why[256] = "";
	int err = replay_run(&steps, &memory, options, &r, why, sizeof(why));

	if (err || r.why_not[0])
		fail_msg("%s: %d: %s%s", options->strategy, err, why, r.why_not);
}

static void run(const char *strategy)
{
	run_with(&(struct replay_options){.strategy = strategy});
}

static void finish(void)
{
	replay_memory_finish(&memory);
	replay_steps_finish(&steps);
}

static void check_number(const char *what, double got, double wanted)
{
	double difference = got > wanted ? got - wanted : wanted - got;

	if (difference > 1e-9 * (wanted > 1 ? wanted : 1))
		fail_msg("%s of %s is %.12g, not %.12g", what, r.strategy, got, wanted);
}

#define CHECK(column, wanted) check_number(#column, (double)r.column, wanted)

/* ---------------------------------------------------------------------- cases */

/* 54 bytes for 1 ms, and nothing for 9. */
static void small_buffer(void)
{
	begin();
	unmap(1 * MS, map(0, BUFFER, 54));
	unmap(10 * MS, map(10 * MS, 0x100000, 4096));
	end_trace();
}

static void test_single_use(void **state)
{
	(void)state;
	small_buffer();
	run("single-use");
	CHECK(maps, 2);
	CHECK(unmaps, 2);
	CHECK(refused, 0);
	CHECK(table_writes, 4);
	CHECK(page_invalidations, 2);
	CHECK(full_invalidations, 0);
	CHECK(invalidations, 2);
	CHECK(reuse_rate, 0);
	CHECK(peak_mapped_pages, 1);
	CHECK(mean_mapped_pages, 0.1);
	CHECK(peak_pinned_pages, 1);
	CHECK(stale_p99_us, 0);
	CHECK(stale_max_us, 0);
	CHECK(excess_byte_seconds, (PAGE - 54) * 1e-3);
	CHECK(excess_mean_bytes, (PAGE - 54) / 10);
	CHECK(bytes_copied, 0);
	CHECK(duration_s, 0.01);
	finish();
}

/* It stays for 4 ms after the first ms. */
static void test_optimistic(void **state)
{
	(void)state;
	small_buffer();
	run("optimistic,limit-us=4000");
	CHECK(table_writes, 3); /* the second one is dead and there at the end */
	CHECK(invalidations, 1);
	CHECK(stale_p50_us, 0);
	CHECK(stale_p99_us, 4000);
	CHECK(stale_max_us, 4000);
	CHECK(mean_mapped_pages, 0.5);
	CHECK(excess_byte_seconds, (PAGE - 54) * 1e-3 + PAGE * 4e-3);
	finish();
}

static void test_optimistic_reuses(void **state)
{
	(void)state;
	begin();
	unmap(1 * MS, map(0, BUFFER, 54));
	unmap(4 * MS, map(3 * MS, BUFFER, 54));
	unmap(24 * MS, map(24 * MS, 0x100000, 4096));
	end_trace();
	run("optimistic,limit-us=10000");
	check_number("reuse", r.reuse_rate, 1.0 / 3);
	CHECK(invalidations, 1);
	CHECK(stale_p50_us, 2000); /* 2 ms, until it was mapped again, 10 ms, and 0 at the end */
	CHECK(stale_max_us, 10000);
	CHECK(excess_byte_seconds, (PAGE - 54) * 2e-3 + PAGE * 12e-3);
	finish();
}

static void test_persistent(void **state)
{
	(void)state;
	small_buffer();
	run("persistent");
	CHECK(invalidations, 0);
	CHECK(stale_max_us, 9000);
	CHECK(excess_byte_seconds, (PAGE - 54) * 1e-3 + PAGE * 9e-3);
	CHECK(peak_mapped_pages, 2);
	finish();
}

/* All of the memory that the trace is about: two pieces of 2 MiB. */
static void test_passthrough(void **state)
{
	(void)state;
	small_buffer();
	run("passthrough");
	CHECK(table_writes, 0);
	CHECK(invalidations, 0);
	CHECK(peak_mapped_pages, 0);
	CHECK(stale_max_us, 9000);
	CHECK(excess_byte_seconds, 2 * 2097152.0 * 10e-3 - 54 * 1e-3);
	finish();
}

/* Receive buffers of 1536 bytes, two in a page, one across two pages. */
static void shared_pages(void)
{
	uint64_t a, b, c;

	begin();
	a = map_for(0, 0, 0x5000, 1536, TRACE_FROM_DEVICE, 0);
	b = map_for(0, 0, 0x5600, 1536, TRACE_FROM_DEVICE, 0);
	c = map_for(0, 0, 0x5c00, 1536, TRACE_FROM_DEVICE, 0);
	unmap(1 * MS, a);
	unmap(3 * MS, b);
	unmap(4 * MS, c);
	end_trace();
}

static void test_buffers_that_share_pages(void **state)
{
	double excess =
		(2 * PAGE - 3 * 1536) * 1e-3 + (2 * PAGE - 2 * 1536) * 2e-3 + (2 * PAGE - 1536) * 1e-3;

	(void)state;
	shared_pages();
	run("single-use");
	CHECK(peak_mapped_pages, 4);
	CHECK(peak_pinned_pages, 2);
	CHECK(stale_max_us, 0);
	CHECK(excess_byte_seconds, excess);
	run("persistent");
	CHECK(excess_byte_seconds, excess);
	CHECK(stale_max_us, 0);
	finish();
}

/* The same bytes in two buffers are there once. */
static void test_buffers_that_share_bytes(void **state)
{
	uint64_t a, b;

	(void)state;
	begin();
	a = map(0, 0x5000, 100);
	b = map(1 * MS, 0x5032, 100);
	unmap(2 * MS, a);
	unmap(3 * MS, b);
	end_trace();
	run("single-use");
	CHECK(excess_byte_seconds, (PAGE - 100) * 1e-3 + (PAGE - 150) * 1e-3 + (PAGE - 100) * 1e-3);
	finish();
}

/* Each device has addresses of its own, so what one may reach is too much for the other. */
static void test_two_devices(void **state)
{
	uint64_t a, b;

	(void)state;
	begin();
	a = map_for(7, 0, 0x5000, 1000, TRACE_TO_DEVICE, 0);
	b = map_for(3, 1 * MS, 0x5000, 1000, TRACE_FROM_DEVICE, 0);
	unmap_of(7, 2 * MS, a, 0);
	unmap_of(3, 3 * MS, b, 0);
	end_trace();
	run("shared");
	CHECK(excess_byte_seconds, 2 * (PAGE - 1000) * 2e-3);
	CHECK(peak_mapped_pages, 2);
	CHECK(peak_pinned_pages, 2);
	CHECK(invalidations, 2);
	finish();
}

/* A list is one call: as many invalidations, one wait. */
static void test_list(void **state)
{
	uint64_t entries[5];

	(void)state;
	begin();
	for (unsigned i = 0; i < 5; i++)
		entries[i] = map_for(0, 0, 0x10000 + i * 0x2000, 4096, TRACE_TO_DEVICE, 1);
	for (unsigned i = 0; i < 5; i++)
		unmap_of(0, 1 * MS, entries[i], 1);
	end_trace();
	run("single-use");
	CHECK(maps, 5);
	CHECK(page_invalidations, 5);
	CHECK(invalidation_waits, 1);
	CHECK(excess_byte_seconds, 0);
	finish();
}

/* What lives at the end of the recording lived until then. */
static void test_never_unmapped(void **state)
{
	(void)state;
	begin();
	map(0, 0x5000, 96);
	unmap(8 * MS, map(2 * MS, 0x7000, 4096));
	end_trace();
	run("single-use");
	CHECK(unmaps, 1);
	CHECK(invalidations, 1);
	CHECK(table_writes, 3);
	CHECK(excess_byte_seconds, 4000 * 8e-3);
	finish();
}

/* A buffer across two pieces of memory is in one piece here, too. */
static void test_across_pieces(void **state)
{
	uint64_t a, b;

	(void)state;
	begin();
	a = map(0, 0x1ff000, 0x3000);
	b = map(1 * MS, UINT64_C(0x7001ff123), 0x1000);
	unmap(2 * MS, a);
	unmap(3 * MS, b);
	end_trace();
	assert_int_equal(memory.size, 4 << 21);
	run("single-use");
	CHECK(refused, 0);
	CHECK(peak_mapped_pages, 5);
	CHECK(excess_byte_seconds, PAGE * 2e-3);
	finish();
}

/* A device of 32 bits reaches memory above 4 GiB only through an IOMMU. */
static void test_narrow_device(void **state)
{
	(void)state;
	begin();
	unmap(2 * MS, map(0, UINT64_C(0x700000000), 4096));
	unmap(2 * MS, map(0, UINT64_C(0x70000000), 4096));
	end_trace();
	run_with(&(struct replay_options){.strategy = "single-use", .width = 32});
	CHECK(maps, 2);
	CHECK(refused, 0);
	run_with(&(struct replay_options){.strategy = "passthrough", .width = 32});
	CHECK(maps, 1);
	CHECK(refused, 1);
	CHECK(unmaps, 1);
	finish();
}

/* The course of time: its average is the average. */
static void test_series(void **state)
{
	double sum = 0, excess = 0;
	uint64_t most = 0, large = 0;

	(void)state;
	begin();
	for (unsigned i = 0; i < 1000; i++) {
		if (i == 500)
			large = map(i * MS, 0x4000, 4000);
		unmap(i * MS + i * 300, map(i * MS, 0x5000 + i * 4096, 96));
	}
	unmap(1000 * MS, large);
	end_trace();
	run("single-use");
	assert_in_range(r.series.count, REPLAY_POINTS - 1, REPLAY_POINTS);
	for (unsigned i = 0; i < r.series.count; i++) {
		double begins = (double)i * (double)r.series.point_ns, length = (double)r.series.point_ns;

		if (begins + length > 1e9)
			length = 1e9 - begins;
		sum += r.series.points[i].mapped_pages * length / 1e9;
		excess += r.series.points[i].excess_bytes * length / 1e9;
		if (r.series.points[i].most_mapped_pages > most)
			most = r.series.points[i].most_mapped_pages;
	}
	CHECK(mean_mapped_pages, sum);
	CHECK(excess_byte_seconds, excess);
	CHECK(peak_mapped_pages, most);
	assert_true(r.mean_mapped_pages > 0.4);
	finish();
}

/* Registers that are trapped change times, and nothing else. */
static void test_trapped(void **state)
{
	double without;

	(void)state;
	small_buffer();
	run_with(&(struct replay_options){.strategy = "passthrough", .registers = REPLAY_TRAP});
	without = r.buffer_mean_ns;
	run_with(&(struct replay_options){.strategy = "single-use", .registers = REPLAY_TRAP});
	assert_string_equal(r.registers, "trap");
	CHECK(invalidations, 2);
	assert_true(r.unmap_p50_ns > 0);
	assert_in_range(r.rounds, 3, 8);
	/* Who accesses a register waits for another thread; passthrough does not. */
	assert_true(without > 0);
	assert_true(r.buffer_mean_ns > 2 * without);
	finish();
}

static void note_progress(void *arg, uint64_t done, uint64_t of)
{
	uint64_t *before = arg;

	assert_in_range(done, *before, of);
	*before = done;
}

/* It never goes back, however many rounds are timed. */
static void test_progress(void **state)
{
	uint64_t done = 0;

	(void)state;
	begin();
	for (unsigned i = 0; i < 10000; i++)
		unmap(i * MS, map(i * MS, 0x5000, 96));
	end_trace();
	run_with(
		&(struct replay_options){.strategy = "passthrough", .progress = note_progress, .arg = &done});
	assert_true(done > 0);
	finish();
}

/* All that there are, on a driver with a ring that is filled and emptied. */
static void test_every_strategy(void **state)
{
	uint64_t ring[64] = {0};
	struct chance c = {5};

	(void)state;
	begin();
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t *place = &ring[i % 64], now = i * 20000;

		if (*place)
			unmap(now, *place);
		*place = map_for(0, now, 0x100000 + chance_below(&c, 512) * 2048, chance_between(&c, 1, 3000),
				 (enum trace_direction)chance_between(&c, 1, 3), 0);
	}
	end_trace();
	for (size_t i = 0; viommu_dma_strategy_describe(i); i++) {
		run(viommu_dma_strategy_describe(i)->name);
		CHECK(maps, 5000);
		CHECK(unmaps, 5000 - 64);
		CHECK(refused, 0);
	}
	finish();
}

static void test_strategies_are_checked(void **state)
{
	char why[256];

	(void)state;
	assert_int_equal(replay_check_strategy("strict", why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "strict"));
	assert_int_equal(replay_check_strategy("optimistic,quota=x", why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "quota"));
	for (size_t i = 0; viommu_dma_strategy_describe(i); i++)
		assert_int_equal(
			replay_check_strategy(viommu_dma_strategy_describe(i)->name, why, sizeof(why)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_use),
		cmocka_unit_test(test_optimistic),
		cmocka_unit_test(test_optimistic_reuses),
		cmocka_unit_test(test_persistent),
		cmocka_unit_test(test_passthrough),
		cmocka_unit_test(test_buffers_that_share_pages),
		cmocka_unit_test(test_buffers_that_share_bytes),
		cmocka_unit_test(test_two_devices),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_never_unmapped),
		cmocka_unit_test(test_across_pieces),
		cmocka_unit_test(test_narrow_device),
		cmocka_unit_test(test_series),
		cmocka_unit_test(test_trapped),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_every_strategy),
		cmocka_unit_test(test_strategies_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
