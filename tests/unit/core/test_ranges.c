/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges (core/ranges.h) under a model that has nothing else: accesses, the IOTLB,
 * invalidation, reach, states, and changes beside devices that are at work.
 */
#include "model_bed.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "core/state.h"

#define MOST 1024

static const vi_reason NOT_THERE = BED_REASON(VI_WALK_DENIED);

static void begin(struct bed *b, struct vi_ranges *ranges, unsigned iotlb_lg2)
{
	bed_begin(b, iotlb_lg2);
	vi_ranges_init(ranges, MOST);
	b->ranges = ranges;
	b->t.translator = vi_translator_of_ranges(ranges);
}

static void end(struct bed *b)
{
	struct vi_ranges *ranges = b->ranges;

	bed_end(b);
	vi_ranges_finish(ranges);
}

/* As a model does it, with the unit lock. */
static int map(struct bed *b, uint64_t first, uint64_t last, uint64_t address, unsigned rights)
{
	const struct vi_range range = {first, last, address, rights};
	int ret;

	vi_lock_take(&b->viommu->lock);
	ret = vi_ranges_add(b->ranges, &range);
	vi_lock_give(&b->viommu->lock);
	return ret;
}

static int64_t unmap(struct bed *b, uint64_t first, uint64_t last)
{
	int64_t ret;

	vi_lock_take(&b->viommu->lock);
	ret = vi_ranges_remove(b->ranges, first, last, UINT32_MAX);
	vi_lock_give(&b->viommu->lock);
	return ret;
}

/* ------------------------------------------------------------------- translation */

static void test_translates_and_faults(void **state)
{
	struct vi_ranges ranges;
	uint8_t byte;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	bed_expect_fault(&b, 0, NOT_THERE);
	assert_int_equal(map(&b, 16 * PAGE, 19 * PAGE - 1, 5 * PAGE, RW), 0);
	assert_int_equal(map(&b, 19 * PAGE, 20 * PAGE - 1, 2 * PAGE, VIOMMU_READ), 0);
	assert_int_equal(map(&b, 21 * PAGE, 22 * PAGE - 1, 3 * PAGE, VIOMMU_WRITE), 0);
	assert_int_equal(map(&b, 23 * PAGE, 24 * PAGE - 1, 3 * PAGE, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(bed_put(&b, 18 * PAGE + 5, (uint8_t)(7 + i)), 0);
		assert_int_equal(b.ram[7 * PAGE + 5], 7 + i);
	}
	assert_int_equal(bed_counter(&b, VI_COUNT_iotlb_hits), 2);
	assert_int_equal(bed_counter(&b, VI_COUNT_walk_reads), 0);
	b.ram[2 * PAGE] = 0x42;
	assert_int_equal(bed_get(&b, 19 * PAGE, &byte), 0);
	assert_int_equal(byte, 0x42);
	bed_expect_fault(&b, 19 * PAGE, NOT_THERE);
	assert_int_equal(bed_get(&b, 21 * PAGE, &byte), -EACCES);
	viommu_process(b.viommu, 64);
	assert_int_equal(bed_put(&b, 21 * PAGE, 1), 0);
	/* A read of nothing wants one right, whichever it is. */
	assert_int_equal(viommu_read(b.thread, b.device, 21 * PAGE, &byte, 0), 0);
	assert_int_equal(viommu_read(b.thread, b.device, 23 * PAGE, &byte, 0), -EACCES);
	viommu_process(b.viommu, 64);
	bed_expect_fault(&b, 16 * PAGE - 1, NOT_THERE);
	bed_expect_fault(&b, 20 * PAGE, NOT_THERE);
	end(&b);
}

/* The address is the model's to bound; what no gpa can be is refused as reserved bits are. */
static void test_addresses_beyond_all_memory(void **state)
{
	struct vi_ranges ranges;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 0, PAGE - 1, VI_BIT(52), RW), 0);
	bed_expect_fault(&b, 0, BED_REASON(VI_WALK_RESERVED));
	assert_int_equal(map(&b, PAGE, 2 * PAGE - 1, 0xfee00000, RW), 0);
	bed_expect_fault(&b, PAGE, BED_REASON_MESSAGE);
	end(&b);
}

/* Each page leads where the range says, and is cached in the largest size that may be. */
static void check_sizes(struct bed *b, uint64_t first, uint64_t last, uint64_t address, uint64_t iova,
			size_t room)
{
	assert_int_equal(map(b, first, last, address, RW), 0);
	for (unsigned i = 0; i < 2; i++) /* looked up, and cached */
		assert_int_equal(bed_room(b, iova), room);
	for (uint64_t at = first; at < last; at += PAGE / 2) {
		b->ram[address + (at - first)] = 0;
		assert_int_equal(bed_put(b, at, 1), 0);
		assert_int_equal(b->ram[address + (at - first)], 1);
	}
	bed_expect_fault(b, first - 1, NOT_THERE);
	bed_expect_fault(b, last + 1, NOT_THERE);
	assert_int_equal(unmap(b, first, last), 1);
	bed_invalidate(b, first, last);
	bed_expect_fault(b, iova, NOT_THERE);
}

static void test_odd_ranges_in_pages_of_classes(void **state)
{
	const uint64_t large = VI_BIT(21);
	struct vi_ranges ranges;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	/* A large page in the middle, small ones around it. */
	check_sizes(&b, 3 * large - PAGE, 4 * large + 3 * PAGE - 1, large - PAGE, 3 * large, large);
	check_sizes(&b, 3 * large - PAGE, 4 * large + 3 * PAGE - 1, large - PAGE, 3 * large - PAGE, PAGE);
	check_sizes(&b, 3 * large - PAGE, 4 * large + 3 * PAGE - 1, large - PAGE, 4 * large + 2 * PAGE, PAGE);
	/* Memory that is not aligned as the iova is; a page short at either end; all of a large page. */
	check_sizes(&b, 3 * large, 5 * large - 1, large + PAGE, 3 * large, PAGE);
	check_sizes(&b, 3 * large, 4 * large - PAGE - 1, large, 3 * large, PAGE);
	check_sizes(&b, 3 * large + PAGE, 4 * large - 1, large + PAGE, 4 * large - PAGE, PAGE);
	check_sizes(&b, 3 * large, 4 * large - 1, large, 3 * large, large);
	/* 16 KiB are four small pages. */
	check_sizes(&b, 3 * large, 3 * large + 4 * PAGE - 1, large, 3 * large, PAGE);
	end(&b);
}

/* The last range of all addresses: nothing wraps. */
static void test_ends_of_the_address_space(void **state)
{
	struct vi_ranges ranges;
	struct vi_range found;
	char text[128];
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	b.t.last = UINT64_MAX;
	assert_int_equal(map(&b, UINT64_MAX - PAGE + 1, UINT64_MAX, 0, VIOMMU_READ), 0);
	assert_true(vi_ranges_find_next(&ranges, UINT64_MAX, &found));
	assert_string_equal(bed_reach(&b, 1, text, sizeof(text)), "fffffffffffff000-ffffffffffffffff:0,1;");
	assert_int_equal(unmap(&b, 0, UINT64_MAX), 1);
	assert_int_equal(map(&b, 0, UINT64_MAX, 0, VIOMMU_READ), 0);
	assert_string_equal(bed_reach(&b, 1, text, sizeof(text)), "0-7fffff:0,1;");
	b.t.rights = VIOMMU_WRITE;
	assert_string_equal(bed_reach(&b, 1, text, sizeof(text)), "");
	end(&b);
}

/* -------------------------------------------------------------------- the set */

static void test_what_may_be_added(void **state)
{
	struct vi_ranges ranges;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 1, PAGE, 0, RW), -EINVAL);
	assert_int_equal(map(&b, 0, PAGE, 0, RW), -EINVAL);
	assert_int_equal(map(&b, 0, PAGE - 1, 8, RW), -EINVAL);
	assert_int_equal(map(&b, PAGE, PAGE - 1, 0, RW), -EINVAL);
	assert_int_equal(map(&b, 0, 2 * PAGE - 1, UINT64_MAX - PAGE + 1, RW), -EINVAL);
	assert_int_equal(map(&b, 0, PAGE - 1, 0, 4), -EINVAL);
	assert_int_equal(map(&b, 4 * PAGE, 6 * PAGE - 1, 0, RW), 0);
	assert_int_equal(map(&b, 5 * PAGE, 7 * PAGE - 1, 0, RW), -EEXIST);
	assert_int_equal(map(&b, 0, 5 * PAGE - 1, 0, RW), -EEXIST);
	assert_int_equal(map(&b, 0, UINT64_MAX, 0, RW), -EEXIST);
	assert_int_equal(map(&b, 6 * PAGE, 7 * PAGE - 1, 0, RW), 0);
	assert_int_equal(map(&b, 3 * PAGE, 4 * PAGE - 1, 0, RW), 0);
	for (unsigned i = 3; i < MOST; i++)
		assert_int_equal(map(&b, (100 + i) * PAGE, (101 + i) * PAGE - 1, 0, RW), 0);
	assert_int_equal(map(&b, 0, PAGE - 1, 0, RW), -ENOSPC);
	assert_int_equal(unmap(&b, 3 * PAGE, 4 * PAGE - 1), 1);
	assert_int_equal(map(&b, 0, PAGE - 1, 0, RW), 0);
	assert_int_equal(map(&b, PAGE, 2 * PAGE - 1, 0, RW), -ENOSPC);
	end(&b);
}

static void test_what_may_be_removed(void **state)
{
	struct vi_ranges ranges;
	struct vi_range found;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(map(&b, 2 * i * PAGE, (2 * i + 2) * PAGE - 1, i * PAGE, RW), 0);
	assert_int_equal(unmap(&b, PAGE, 6 * PAGE - 1), -ERANGE);
	assert_int_equal(unmap(&b, 0, 5 * PAGE - 1), -ERANGE);
	assert_int_equal(unmap(&b, 1, 1), -ERANGE);
	assert_int_equal(ranges.count, 8);
	assert_int_equal(unmap(&b, 2 * PAGE, 6 * PAGE - 1), 2);
	assert_int_equal(unmap(&b, 2 * PAGE, 6 * PAGE - 1), 0);
	assert_true(vi_ranges_find_next(&ranges, 2 * PAGE, &found));
	assert_int_equal(found.first, 6 * PAGE);
	/* In pieces, each as long as is asked for. */
	assert_int_equal(vi_ranges_remove(&ranges, 0, UINT64_MAX, 4), 4);
	assert_int_equal(ranges.count, 2);
	assert_int_equal(vi_ranges_remove(&ranges, 0, UINT64_MAX, 4), 2);
	assert_false(vi_ranges_find_next(&ranges, 0, &found));
	end(&b);
}

/* ----------------------------------------------------------------- invalidation */

/* What is cached is used until the model invalidates; other ranges stay cached then. */
static void test_invalidation(void **state)
{
	struct vi_ranges ranges;
	uint64_t walks;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 0, 5 * PAGE - 1, 0, RW), 0);
	assert_int_equal(map(&b, 8 * PAGE, 11 * PAGE - 1, 16 * PAGE, RW), 0);
	/* As large as a large page, but not aligned in memory. */
	assert_int_equal(map(&b, VI_BIT(21), VI_BIT(22) - 1, VI_BIT(21) + PAGE, RW), 0);
	assert_int_equal(bed_put(&b, VI_BIT(21), 1), 0);
	for (unsigned i = 0; i < 11; i++)
		if (i < 5 || i >= 8)
			assert_int_equal(bed_put(&b, i * PAGE, 1), 0);
	assert_int_equal(unmap(&b, 0, 5 * PAGE - 1), 1);
	assert_int_equal(map(&b, 0, 5 * PAGE - 1, 32 * PAGE, RW), 0);
	assert_int_equal(bed_put(&b, 4 * PAGE, 7), 0);
	assert_int_equal(b.ram[4 * PAGE], 7);
	bed_invalidate(&b, 0, 5 * PAGE - 1);
	walks = bed_counter(&b, VI_COUNT_walks);
	for (unsigned i = 8; i < 11; i++)
		assert_int_equal(bed_put(&b, i * PAGE, 1), 0);
	assert_int_equal(bed_put(&b, VI_BIT(21), 1), 0);
	assert_int_equal(bed_counter(&b, VI_COUNT_walks), walks);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(bed_put(&b, i * PAGE, 9), 0);
		assert_int_equal(b.ram[(32 + i) * PAGE], 9);
	}
	assert_int_equal(b.ram[4 * PAGE], 7);
	end(&b);
}

/* ------------------------------------------------------------------------ reach */

static void test_reach(void **state)
{
	struct vi_ranges ranges;
	char text[256];
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 4 * PAGE, 7 * PAGE - 1, 16 * PAGE, RW), 0);
	assert_int_equal(map(&b, 7 * PAGE, 8 * PAGE - 1, 19 * PAGE, RW), 0);
	assert_int_equal(map(&b, 8 * PAGE, 9 * PAGE - 1, 20 * PAGE, VIOMMU_READ), 0);
	assert_int_equal(map(&b, 9 * PAGE, 10 * PAGE - 1, 21 * PAGE, 0), 0);
	assert_int_equal(map(&b, 10 * PAGE, 11 * PAGE - 1, RAM_SIZE, RW), 0);
	assert_int_equal(map(&b, 11 * PAGE, 13 * PAGE - 1, RAM_SIZE - PAGE, RW), 0);
	assert_string_equal(bed_reach(&b, 0, text, sizeof(text)),
			    "4000-7fff:10000,3;8000-8fff:14000,1;b000-bfff:7ff000,3;");
	assert_string_equal(bed_reach(&b, 1, text, sizeof(text)),
			    "4000-6fff:10000,3;7000-7fff:13000,3;8000-8fff:14000,1;b000-bfff:7ff000,3;");
	assert_int_equal(unmap(&b, 0, UINT64_MAX), 6);
	assert_string_equal(bed_reach(&b, 0, text, sizeof(text)), "");
	end(&b);
}

/* ----------------------------------------------------------------------- states */

static void test_states(void **state)
{
	uint8_t bytes[512], damaged[512];
	struct vi_ranges ranges;
	struct bed b;
	int64_t size;

	(void)state;
	begin(&b, &ranges, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(map(&b, 3 * i * PAGE, (3 * i + 2) * PAGE - 1, 64 * i * PAGE, i), 0);
	size = viommu_save(b.viommu, bytes, sizeof(bytes));
	assert_int_equal(size, 32 + 8 * (1 + 4 * 4) + 4);
	assert_int_equal(unmap(&b, 0, UINT64_MAX), 4);
	assert_int_equal(map(&b, 9 * PAGE, 11 * PAGE - 1, 0, RW), 0);
	assert_int_equal(bed_put(&b, 9 * PAGE, 1), 0); /* cached, which the state is not */
	assert_int_equal(b.ram[0], 1);
	assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)size), 0);
	assert_int_equal(ranges.count, 4);
	assert_int_equal(bed_put(&b, 9 * PAGE, 2), 0);
	assert_int_equal(b.ram[0], 1);
	assert_int_equal(b.ram[192 * PAGE], 2);
	bed_expect_fault(&b, 3 * PAGE, NOT_THERE);
	assert_int_equal(viommu_save(b.viommu, damaged, sizeof(damaged)), size);
	assert_memory_equal(bytes, damaged, (size_t)size);
	assert_int_equal(unmap(&b, 0, UINT64_MAX), 4);
	assert_int_equal(viommu_save(b.viommu, bytes, sizeof(bytes)), 32 + 8 + 4);
	end(&b);
}

/* Numbers that are no set: nothing of them is taken over. */
static void refuse(const struct vi_model_ops *model, struct bed *b, const uint64_t *numbers, size_t count)
{
	uint8_t bytes[256];

	memcpy(bytes, numbers, 8 * count);
	assert_int_equal(model->restore(b, bytes, 8 * count), -EBADMSG);
	assert_int_equal(b->ranges->count, 1);
	assert_int_equal(bed_put(b, 0, 1), 0);
}

static void test_states_that_are_none(void **state)
{
	const uint64_t short_one[] = {1, 0, PAGE - 1}, long_one[] = {1, 0, PAGE - 1, 0, 3, 0},
		       overlap[] = {2, 0, 2 * PAGE - 1, 0, 3, PAGE, 3 * PAGE - 1, 0, 3},
		       odd[] = {2, 8 * PAGE, 9 * PAGE - 1, 0, 3, 0, PAGE, 0, 3},
		       rights[] = {1, 0, PAGE - 1, 0, 4}, many[] = {MOST + 1, 0, PAGE - 1, 0, 3},
		       endless[] = {MOST, 0, PAGE - 1, 0, 3};
	struct vi_ranges ranges;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 0, PAGE - 1, 0, RW), 0);
	refuse(b.viommu->model, &b, short_one, 0);
	refuse(b.viommu->model, &b, short_one, VI_ARRAY_SIZE(short_one));
	refuse(b.viommu->model, &b, long_one, VI_ARRAY_SIZE(long_one));
	refuse(b.viommu->model, &b, overlap, VI_ARRAY_SIZE(overlap));
	refuse(b.viommu->model, &b, odd, VI_ARRAY_SIZE(odd));
	refuse(b.viommu->model, &b, rights, VI_ARRAY_SIZE(rights));
	refuse(b.viommu->model, &b, many, VI_ARRAY_SIZE(many));
	refuse(b.viommu->model, &b, endless, VI_ARRAY_SIZE(endless));
	end(&b);
}

/* ------------------------------------------------------------- beside devices */

struct device {
	struct bed *bed;
	_Atomic bool *stop;
	pthread_t thread;
	_Atomic bool began; /* the first access is behind it */
	uint64_t landed, blocked, wrong;
};

/* Returns when all of them are at work, so that few changes are enough. */
static void start(struct bed *b, struct device *d, _Atomic bool *stop, void *(*run)(void *arg))
{
	atomic_store(stop, false);
	for (unsigned i = 0; i < BED_THREADS; i++) {
		d[i] = (struct device){.bed = b, .stop = stop};
		assert_int_equal(pthread_create(&d[i].thread, NULL, run, &d[i]), 0);
	}
	for (unsigned i = 0; i < BED_THREADS; i++)
		while (!atomic_load(&d[i].began))
			sched_yield();
}

static void stop_all(struct device *d, _Atomic bool *stop, struct device *ret_sum)
{
	*ret_sum = (struct device){.bed = d[0].bed};
	atomic_store(stop, true);
	for (unsigned i = 0; i < BED_THREADS; i++) {
		pthread_join(d[i].thread, NULL);
		ret_sum->landed += d[i].landed;
		ret_sum->blocked += d[i].blocked;
		ret_sum->wrong += d[i].wrong;
	}
}

#define FIXED	   256 /* ranges that stay, at even pages; one at an odd page comes and goes beside each */
#define FIXED_SPAN (2 * FIXED * PAGE)

/* Nothing of what stays may be refused, nor lead elsewhere. */
static void *look_at_what_stays(void *arg)
{
	struct device *d = arg;
	struct viommu_thread *t;
	uint64_t page = 0;

	if (viommu_thread_create(d->bed->viommu, &t)) {
		d->began = true;
		return NULL;
	}
	while (!atomic_load_explicit(d->stop, memory_order_relaxed)) {
		struct viommu_span span;

		page = (page + 94) % (2 * FIXED); /* few of them are in the IOTLB */
		viommu_enter(t);
		if (viommu_translate(t, d->bed->device, page * PAGE, 8, VIOMMU_WRITE, &span))
			d->blocked++;
		else if (span.gpa != page * PAGE)
			d->wrong++;
		else
			d->landed++;
		viommu_exit(t);
		atomic_store_explicit(&d->began, true, memory_order_relaxed);
	}
	viommu_thread_destroy(t);
	return NULL;
}

static void test_what_stays_is_found_beside_changes(void **state)
{
	struct device devices[BED_THREADS], sum;
	struct vi_ranges ranges;
	_Atomic bool stop;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 6);
	for (unsigned i = 0; i < FIXED; i++)
		assert_int_equal(map(&b, 2 * i * PAGE, (2 * i + 1) * PAGE - 1, 2 * i * PAGE, RW), 0);
	start(&b, devices, &stop, look_at_what_stays);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < FIXED; i++)
			assert_int_equal(map(&b, (2 * i + 1) * PAGE, (2 * i + 2) * PAGE - 1, 0, RW), 0);
		for (unsigned i = 0; i < FIXED; i++)
			assert_int_equal(unmap(&b, (2 * i + 1) * PAGE, (2 * i + 2) * PAGE - 1), 1);
		bed_invalidate(&b, 0, FIXED_SPAN - 1);
	}
	stop_all(devices, &stop, &sum);
	assert_true(sum.landed > 0);
	assert_int_equal(sum.blocked, 0);
	assert_int_equal(sum.wrong, 0);
	end(&b);
}

/* One word, as fast as may be. */
static void *write_on(void *arg)
{
	const uint64_t stamp = 1;
	struct device *d = arg;
	struct viommu_thread *t;

	if (viommu_thread_create(d->bed->viommu, &t)) {
		d->began = true;
		return NULL;
	}
	while (!atomic_load_explicit(d->stop, memory_order_relaxed)) {
		if (viommu_write(t, d->bed->device, 0, &stamp, sizeof(stamp)))
			d->blocked++;
		else
			d->landed++;
		atomic_store_explicit(&d->began, true, memory_order_relaxed);
	}
	viommu_thread_destroy(t);
	return NULL;
}

/* Another page for the same iova; what comes to the old one afterwards is stale. Returns how much does. */
static unsigned move(struct bed *b, uint64_t from, uint64_t to)
{
	uint64_t *word = (uint64_t *)(void *)(b->ram + from);
	unsigned stale = 0;

	assert_int_equal(unmap(b, 0, PAGE - 1), 1);
	assert_int_equal(map(b, 0, PAGE - 1, to, RW), 0);
	bed_invalidate(b, 0, PAGE - 1);
	__atomic_store_n(word, 0, __ATOMIC_RELAXED);
	for (unsigned looks = 0; looks < 8; looks++) {
		sched_yield();
		stale += __atomic_load_n(word, __ATOMIC_RELAXED) != 0;
	}
	return stale;
}

static void test_nothing_stale_after_a_move(void **state)
{
	struct device devices[BED_THREADS], sum;
	struct vi_ranges ranges;
	unsigned stale = 0;
	_Atomic bool stop;
	struct bed b;

	(void)state;
	begin(&b, &ranges, 0);
	assert_int_equal(map(&b, 0, PAGE - 1, 0, RW), 0);
	start(&b, devices, &stop, write_on);
	for (unsigned round = 0; round < 16; round++) {
		stale += move(&b, 0, PAGE);
		stale += move(&b, PAGE, 0);
	}
	stop_all(devices, &stop, &sum);
	assert_int_equal(stale, 0);
	assert_true(sum.landed > 0);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translates_and_faults),
		cmocka_unit_test(test_addresses_beyond_all_memory),
		cmocka_unit_test(test_odd_ranges_in_pages_of_classes),
		cmocka_unit_test(test_ends_of_the_address_space),
		cmocka_unit_test(test_what_may_be_added),
		cmocka_unit_test(test_what_may_be_removed),
		cmocka_unit_test(test_invalidation),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_states_that_are_none),
		cmocka_unit_test(test_what_stays_is_found_beside_changes),
		cmocka_unit_test(test_nothing_stale_after_a_move),
	};

	return cmocka_run_group_tests_name("core ranges", tests, NULL, NULL);
}
