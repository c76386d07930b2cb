/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted for a device, for the unit, and how long drains took. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define GPA	  UINT64_C(0x200000)
#define OTHER_RID 0x0090 /* no context entry leads from it */
#define MANY	  64

static size_t place(const char *name)
{
	const struct viommu_counter_info *info;
	size_t count;

	info = viommu_counters_describe(&count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			return i;
	fail_msg("there is no counter %s", name);
	return 0;
}

static uint64_t of_device(struct viommu_requester *r, const char *name)
{
	uint64_t values[MANY];
	size_t count = viommu_requester_counters_read(r, values, MANY), i = place(name);

	assert_true(i < count && count < MANY);
	return values[i];
}

static void test_each_device_has_its_own(void **state)
{
	struct viommu_requester *other;
	uint8_t byte;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	assert_int_equal(viommu_requester_add(m.viommu, OTHER_RID, &other), 0);
	machine_expect_read(&m, 0x1000, 0);
	machine_expect_read(&m, 0x1001, 0);
	machine_expect_write(&m, 0x1002, 0);
	assert_int_equal(viommu_read(m.thread, other, 0x1000, &byte, 1), -EACCES);
	assert_int_equal(of_device(m.device, "iotlb_hits"), 2);
	assert_int_equal(of_device(m.device, "iotlb_misses"), 1);
	assert_int_equal(of_device(m.device, "bytes_read"), 2);
	assert_int_equal(of_device(m.device, "bytes_written"), 1);
	assert_int_equal(of_device(m.device, "blocked"), 0);
	assert_int_equal(of_device(other, "iotlb_hits"), 0);
	assert_int_equal(of_device(other, "blocked"), 1);
	assert_int_equal(machine_counter(&m, "iotlb_hits"), 2);
	assert_int_equal(machine_counter(&m, "blocked"), 1);
	machine_finish(&m);
}

/* Nothing is lost when a device or a thread goes, and a new one begins where it should. */
static void test_what_went_stays_counted(void **state)
{
	struct viommu_requester *other;
	uint8_t byte;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_add(m.viommu, OTHER_RID, &other), 0);
	assert_int_equal(viommu_read(m.thread, other, 0x1000, &byte, 1), -EACCES);
	viommu_thread_destroy(m.thread);
	assert_int_equal(of_device(other, "blocked"), 1);
	assert_int_equal(viommu_thread_create(m.viommu, &m.thread), 0);
	assert_int_equal(viommu_read(m.thread, other, 0x1000, &byte, 1), -EACCES);
	assert_int_equal(of_device(other, "blocked"), 2);
	viommu_requester_remove(other);
	assert_int_equal(machine_counter(&m, "blocked"), 2);
	assert_int_equal(viommu_requester_add(m.viommu, OTHER_RID, &other), 0);
	assert_int_equal(of_device(other, "blocked"), 0);
	assert_int_equal(machine_counter(&m, "blocked"), 2);
	machine_finish(&m);
}

static void test_as_many_as_fit(void **state)
{
	uint64_t values[MANY], guard = UINT64_C(0x1122334455667788);
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (size_t i = 0; i < MANY; i++)
		values[i] = guard;
	assert_int_equal(viommu_requester_counters_read(m.device, values, 1), 1);
	assert_int_equal(viommu_drain_times_read(m.viommu, values, 1), 1);
	assert_int_equal(viommu_counters_read(m.viommu, values, 1), 1);
	assert_true(values[1] == guard);
	assert_int_equal(viommu_requester_counters_read(m.device, values, 0), 0);
	assert_int_equal(viommu_drain_times_read(m.viommu, values, MANY), VIOMMU_DRAIN_BUCKETS);
	assert_true(values[VIOMMU_DRAIN_BUCKETS] == guard);
	machine_finish(&m);
}

/* A clock that goes on by `step` whenever it is looked at. */
struct clock {
	uint64_t now, step;
};

static uint64_t tick(void *opaque)
{
	struct clock *c = opaque;

	return c->now += c->step;
}

/* Taking a device out drains: one that takes as long as the clock says. */
static void drain(struct viommu *v, struct clock *c, uint64_t ns)
{
	struct viommu_requester *r;

	c->step = ns;
	assert_int_equal(viommu_requester_add(v, 1, &r), 0);
	viommu_requester_remove(r);
}

/* Devices and domains have the first of the table, so all that have a flag stand in front of those without
 * it. */
static void test_order(void **state)
{
	static const unsigned flags[] = {VIOMMU_COUNTER_OF_DEVICE,
					 VIOMMU_COUNTER_OF_DEVICE | VIOMMU_COUNTER_OF_DOMAIN};
	uint64_t values[MANY];
	struct machine m;
	const struct viommu_counter_info *info;
	size_t count, of_device = 0, of_domain = 0;

	(void)state;
	info = viommu_counters_describe(&count);
	for (size_t i = 0; i < count; i++) {
		of_device += info[i].flags & flags[0] ? 1 : 0;
		of_domain += info[i].flags & flags[1] ? 1 : 0;
		for (size_t j = 0; i && j < VI_ARRAY_SIZE(flags); j++)
			assert_true(!(info[i].flags & flags[j]) || info[i - 1].flags & flags[j]);
	}
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_counters_read(m.device, values, MANY), of_device);
	assert_int_equal(viommu_domain_counters_read(m.viommu, VIOMMU_DOMAIN_REST, values, MANY), of_domain);
	machine_finish(&m);
}

static void test_drain_times(void **state)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops), .now_ns = tick};
	struct viommu_options o = {.sz = sizeof(o)};
	static const uint64_t lasted[] = {
		0, 1, 2, 3, 4, 1000, 1024, 1025, UINT64_C(1) << 30, UINT64_C(1) << 40};
	static const unsigned bucket[] = {0, 0, 1, 2, 2, 10, 10, 11, 30, 31};
	uint64_t counts[VIOMMU_DRAIN_BUCKETS], expected[VIOMMU_DRAIN_BUCKETS] = {0};
	struct clock c = {0};
	struct viommu *v;

	(void)state;
	assert_int_equal(viommu_create(&ops, &c, &o, &v), 0);
	for (size_t i = 0; i < VI_ARRAY_SIZE(lasted); i++) {
		drain(v, &c, lasted[i]);
		expected[bucket[i]]++;
	}
	assert_int_equal(viommu_drain_times_read(v, counts, VIOMMU_DRAIN_BUCKETS), VIOMMU_DRAIN_BUCKETS);
	assert_memory_equal(counts, expected, sizeof(counts));
	viommu_destroy(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_device_has_its_own),
		cmocka_unit_test(test_what_went_stays_counted),
		cmocka_unit_test(test_as_many_as_fit),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_drain_times),
	};

	return cmocka_run_group_tests_name("core counters", tests, NULL, NULL);
}
