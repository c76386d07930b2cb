/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted for each domain, also while devices move from one to another. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define GPA	   UINT64_C(0x200000)
#define OTHER_RID  0x0090
#define OTHER	   9 /* a second domain */
#define MANY	   64
#define TOLD_APART (64 + 1) /* at rest, and the one that the device is in */

static const struct viommu_counter_info *table(size_t *ret_count)
{
	const struct viommu_counter_info *infos = viommu_counters_describe(ret_count);

	assert_true(*ret_count < MANY);
	return infos;
}

static uint64_t of_domain(struct machine *m, uint32_t domain, const char *name)
{
	uint64_t values[MANY];
	size_t count;
	const struct viommu_counter_info *infos = table(&count);
	int64_t n = viommu_domain_counters_read(m->viommu, domain, values, MANY);

	assert_true(n > 0);
	for (int64_t i = 0; i < n; i++)
		if (!strcmp(infos[i].name, name))
			return values[i];
	fail_msg("%s is not counted for domains", name);
	return 0;
}

/* All domains, the rest and none add up to what the unit counted. */
static void expect_sums(struct machine *m)
{
	uint64_t sums[MANY] = {0}, values[MANY];
	uint16_t ids[1024];
	size_t count, domains = viommu_domains_list(m->viommu, ids, VI_ARRAY_SIZE(ids));
	const struct viommu_counter_info *infos = table(&count);

	assert_true(domains <= VI_ARRAY_SIZE(ids));
	for (size_t d = 0; d < domains + 2; d++) {
		uint32_t id = d < domains ? ids[d] : VIOMMU_DOMAIN_REST + (uint32_t)(d - domains);
		int64_t n = viommu_domain_counters_read(m->viommu, id, values, MANY);

		for (int64_t i = 0; i < n; i++)
			sums[i] += values[i];
	}
	for (size_t i = 0; i < count; i++)
		if (infos[i].flags & VIOMMU_COUNTER_OF_DOMAIN)
			assert_int_equal(sums[i], machine_counter(m, infos[i].name));
}

static void attach(struct machine *m, uint16_t domain, const struct vi_driver_page_table *t)
{
	assert_int_equal(vi_driver_vtd_attach(&m->driver, MACHINE_RID, domain, t), 0);
}

static void test_each_domain_has_its_own(void **state)
{
	struct viommu_requester *other;
	uint8_t bytes[16];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	assert_int_equal(viommu_requester_add(m.viommu, OTHER_RID, &other), 0);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, OTHER_RID, OTHER, &m.table), 0);
	assert_int_equal(machine_read(&m, 0x1000, bytes, 16), 0);
	assert_int_equal(machine_write(&m, 0x1000, bytes, 4), 0);
	assert_int_equal(viommu_read(m.thread, other, 0x1000, bytes, 8), 0);
	assert_int_equal(viommu_read(m.thread, other, 0x9000, bytes, 8), -EACCES);
	machine_unmap(&m, 0x1000, 4096);

	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "bytes_read"), 16);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "bytes_written"), 4);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "iotlb_misses"), 1);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "iotlb_hits"), 1);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "walk_reads"), 4);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "iotlb_page_invalidations"), 1);
	assert_int_equal(of_domain(&m, OTHER, "bytes_read"), 8);
	assert_int_equal(of_domain(&m, OTHER, "walks"), 2);
	assert_int_equal(of_domain(&m, OTHER, "blocked"), 1);
	assert_int_equal(of_domain(&m, OTHER, "iotlb_page_invalidations"), 0);
	expect_sums(&m);
	viommu_requester_remove(other);
	assert_int_equal(of_domain(&m, OTHER, "bytes_read"), 8);
	expect_sums(&m);
	machine_finish(&m);
}

/* Off, refused before a domain is known, and passed through: the last has a domain. */
static void test_without_tables(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	attach(&m, OTHER, NULL);
	machine_expect_read(&m, GPA, 0);
	assert_int_equal(of_domain(&m, OTHER, "bytes_read"), 1);
	assert_int_equal(vi_driver_vtd_detach(&m.driver, MACHINE_RID, OTHER), 0);
	machine_expect_read(&m, GPA, -EACCES);
	assert_int_equal(of_domain(&m, VIOMMU_DOMAIN_NONE, "blocked"), 1);
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, false), 0);
	machine_expect_read(&m, GPA, 0);
	assert_int_equal(of_domain(&m, VIOMMU_DOMAIN_NONE, "bytes_read"), 1);
	/* Memory that a callback reaches is charged like any other. */
	machine_expect_read(&m, MACHINE_FAR, 0);
	assert_int_equal(of_domain(&m, VIOMMU_DOMAIN_NONE, "bytes_read"), 2);
	expect_sums(&m);
	machine_finish(&m);
}

static void test_by_callback(void **state)
{
	struct machine m;
	uint8_t bytes[32];

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, MACHINE_FAR, 4096, 3);
	assert_int_equal(machine_read(&m, 0x1000, bytes, 32), 0);
	assert_int_equal(of_domain(&m, MACHINE_DOMAIN, "bytes_read"), 32);
	expect_sums(&m);
	machine_finish(&m);
}

/* A guest has 65,536 domains, we keep some of them apart, and lose nothing. */
static void test_bounded(void **state)
{
	uint64_t value;
	uint16_t ids[8];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	for (unsigned d = 0; d < 1000; d++) {
		attach(&m, (uint16_t)(d * 65), &m.table);
		machine_expect_read(&m, 0x1000, 0);
	}
	assert_int_equal(viommu_domains_list(m.viommu, ids, VI_ARRAY_SIZE(ids)), TOLD_APART);
	assert_int_equal(viommu_domain_counters_read(m.viommu, 0, &value, 1), -ENOENT);
	assert_int_equal(viommu_domain_counters_read(m.viommu, 0x10002, &value, 1), -EINVAL);
	assert_int_equal(of_domain(&m, 999 * 65, "bytes_read"), 1);
	assert_int_equal(of_domain(&m, 998 * 65, "bytes_read"), 1);
	assert_int_equal(of_domain(&m, VIOMMU_DOMAIN_REST, "bytes_read"), 1000 - TOLD_APART);
	expect_sums(&m);
	/* One of them comes back: it goes on counting where it was. */
	attach(&m, 990 * 65, &m.table);
	machine_expect_read(&m, 0x1000, 0);
	assert_int_equal(of_domain(&m, 990 * 65, "bytes_read"), 2);
	expect_sums(&m);
	machine_finish(&m);
}

/* ------------------------------------------------ a device that is moved about */

#define MOVES 300

struct mover {
	struct machine *m;
	_Atomic bool stop;
	uint64_t seen[2]; /* reads that found the page of the first and of the second domain */
};

static void *read_on(void *arg)
{
	struct mover *mover = arg;
	uint64_t word;

	while (!atomic_load(&mover->stop)) {
		if (machine_read(mover->m, 0x1000, &word, sizeof(word)) == 0)
			mover->seen[word]++;
	}
	return NULL;
}

/*
 * The same address leads to another page in each domain, so the device sees
 * whose tables it went by. What a domain is charged with may not be more.
 */
static void test_moved_while_it_reads(void **state)
{
	static const uint64_t first = 0, second = 1;
	struct vi_driver_page_table other;
	struct mover mover = {0};
	uint64_t charged[2], none;
	pthread_t thread;
	struct machine m;

	(void)state;
	machine_start(&m, SIDECORE, NULL, true);
	mover.m = &m;
	memcpy(m.ram + GPA, &first, sizeof(first));
	memcpy(m.ram + GPA + 4096, &second, sizeof(second));
	machine_map(&m, 0x1000, GPA, 4096, 1);
	assert_int_equal(vi_driver_vtd_table_init(&m.driver, &other, 4), 0);
	assert_int_equal(vi_driver_map(&other, 0x1000, GPA + 4096, 4096, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &mover), 0);
	for (unsigned i = 0; i < MOVES; i++) {
		uint64_t before = machine_counter(&m, "iotlb_hits");

		attach(&m, i % 2 ? MACHINE_DOMAIN : OTHER, i % 2 ? &m.table : &other);
		while (machine_counter(&m, "iotlb_hits") < before + 3)
			sched_yield();
	}
	atomic_store(&mover.stop, true);
	pthread_join(thread, NULL);
	charged[0] = of_domain(&m, MACHINE_DOMAIN, "bytes_read");
	charged[1] = of_domain(&m, OTHER, "bytes_read");
	none = of_domain(&m, VIOMMU_DOMAIN_NONE, "bytes_read");
	expect_sums(&m);
	assert_int_equal(charged[0] + charged[1] + none, 8 * (mover.seen[0] + mover.seen[1]));
	assert_true(charged[0] <= 8 * mover.seen[0] && charged[1] <= 8 * mover.seen[1]);
	assert_true(charged[0] >= 8 * MOVES && charged[1] >= 8 * MOVES);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_domain_has_its_own),
		cmocka_unit_test(test_without_tables),
		cmocka_unit_test(test_by_callback),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_moved_while_it_reads),
	};

	return cmocka_run_group_tests_name("core domains", tests, NULL, NULL);
}
