/* SPDX-License-Identifier: BSD-3-Clause */
/* What the IOTLB keeps and drops: both lines of a set, ranges to their last page, wipes, contexts of two
 * widths. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define PAGE UINT64_C(4096)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

static void map_pages(struct machine *m, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		machine_map(m, IOVA + i * PAGE, GPA + i * PAGE, PAGE, RW);
	for (unsigned i = 0; i < count; i++)
		machine_expect_read(m, IOVA + i * PAGE, 0);
}

static int flush_pages(struct machine *m, uint64_t iova, unsigned mask)
{
	return vi_driver_vtd_flush_iotlb(&m->driver, VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, iova, mask);
}

/* A table that is full: whichever line of its set a page lies in, its invalidation finds it. */
static void test_each_line_of_a_set(void **state)
{
	struct viommu_options o = {.iotlb_lg2 = 6};
	struct machine m;
	uint64_t misses;

	(void)state;
	machine_start(&m, TRAPPED, &o, true);
	map_pages(&m, 64);
	misses = machine_counter(&m, "iotlb_misses");
	for (unsigned i = 0; i < 64; i++)
		machine_expect_read(&m, IOVA + i * PAGE, 0);
	assert_int_equal(machine_counter(&m, "iotlb_misses"), misses);
	for (unsigned i = 0; i < 64; i++) {
		machine_unmap(&m, IOVA + i * PAGE, PAGE);
		machine_expect_read(&m, IOVA + i * PAGE, -EACCES);
	}
	machine_finish(&m);
}

/* All pages of a range go, the first and the last of them, and the neighbours stay. */
static void test_ranges_to_their_ends(void **state)
{
	(void)state;
	for (unsigned mask = 0; mask <= 6; mask++) {
		unsigned count = 1u << mask, first = 64;
		struct machine m;

		machine_start(&m, TRAPPED, NULL, true);
		map_pages(&m, 192);
		assert_int_equal(vi_driver_unmap(&m.table, IOVA, 192 * PAGE), 192 * PAGE);
		assert_int_equal(flush_pages(&m, IOVA + first * PAGE, mask), 0);
		machine_expect_read(&m, IOVA + (first - 1) * PAGE, 0); /* stale, as nothing was said of it */
		machine_expect_read(&m, IOVA + (first + count) * PAGE, 0);
		for (unsigned i = first; i < first + count; i++)
			machine_expect_read(&m, IOVA + i * PAGE, -EACCES);
		machine_finish(&m);
	}
}

static void drop_domain(struct machine *m)
{
	vi_driver_vtd_submit(&m->driver,
			     VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_DOMAIN) |
				     vi_to_field(VTD_QI_IOTLB_DID, MACHINE_DOMAIN),
			     0);
}

/*
 * Tags are used anew after a wipe: what was cached under the first tag must not
 * be found when the domain gets that tag again. And the wipe waits until nobody
 * is inside who could look with an old tag.
 */
static void test_wipe(void **state)
{
	struct viommu_thread *inside;
	struct machine m;
	uint8_t byte;

	(void)state;
	machine_start(&m, TRAPPED, &(struct viommu_options){.iotlb_lg2 = 8}, true);
	assert_int_equal(viommu_thread_create(m.viommu, &inside), 0);
	machine_map(&m, IOVA, GPA, PAGE, RW);
	m.ram[GPA] = 1;
	m.ram[GPA + PAGE] = 2;
	assert_int_equal(machine_read(&m, IOVA, &byte, 1), 0);
	assert_int_equal(byte, 1);
	assert_int_equal(vi_driver_unmap(&m.table, IOVA, PAGE), PAGE);
	machine_map(&m, IOVA, GPA + PAGE, PAGE, RW);
	machine_map(&m, IOVA + 4 * PAGE, GPA, PAGE, RW);
	viommu_enter(inside);
	for (unsigned i = 0; i < (1u << 20) + 100; i++)
		drop_domain(&m);
	assert_true(viommu_process(m.viommu, 64) & VIOMMU_PROCESS_PENDING);
	viommu_exit(inside);
	machine_settle(&m);
	assert_int_equal(viommu_process(m.viommu, 64), 0);
	machine_expect_read(&m, IOVA + 4 * PAGE, 0); /* from here on pages of this size are looked for */
	assert_int_equal(machine_read(&m, IOVA, &byte, 1), 0);
	assert_int_equal(byte, 2);
	viommu_thread_destroy(inside);
	machine_finish(&m);
}

/* Two devices share a domain, and so what is cached; each is bounded by the width of its own context. */
static void test_two_widths_of_one_domain(void **state)
{
	uint64_t high = UINT64_C(1) << 39;
	struct vi_driver_page_table narrow;
	struct viommu_requester *other;
	struct machine m;
	uint8_t byte;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_add(m.viommu, MACHINE_RID + 1, &other), 0);
	assert_int_equal(vi_driver_vtd_table_init(&m.driver, &narrow, 3), 0);
	assert_int_equal(vi_driver_map(&narrow, IOVA, GPA, PAGE, RW), 0);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID + 1, MACHINE_DOMAIN, &narrow), 0);
	machine_map(&m, high, GPA + PAGE, PAGE, RW);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(viommu_read(m.thread, other, IOVA, &byte, 1), 0);
		machine_expect_read(&m, high, 0);
		assert_int_equal(viommu_read(m.thread, other, high, &byte, 1), -EACCES);
	}
	machine_finish(&m);
}

/* A gigabyte that lies in one piece of host memory is cached with it; what the device gets ends before
 * 0xfee00000. */
static void test_cached_gigabyte_ends_before_messages(void **state)
{
	uint64_t size = UINT64_C(1) << 30, gpa = UINT64_C(1) << 38, iova = UINT64_C(0xc0000000), hits;
	struct viommu_span span;
	struct machine m;
	void *host = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)state;
	assert_true(host != MAP_FAILED);
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, gpa, size, host, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	machine_map(&m, iova, gpa, size, RW);
	for (unsigned i = 0; i < 3; i++) {
		hits = machine_counter(&m, "iotlb_hits");
		viommu_enter(m.thread);
		assert_int_equal(viommu_translate(m.thread, m.device, 0xfedff000, 8192, VIOMMU_READ, &span),
				 0);
		viommu_exit(m.thread);
		assert_int_equal(span.len, 4096);
		assert_int_equal(machine_counter(&m, "iotlb_hits") - hits, i > 0);
	}
	machine_finish(&m);
	munmap(host, size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_line_of_a_set),
		cmocka_unit_test(test_ranges_to_their_ends),
		cmocka_unit_test(test_two_widths_of_one_domain),
		cmocka_unit_test(test_cached_gigabyte_ends_before_messages),
		cmocka_unit_test(test_wipe),
	};

	return cmocka_run_group_tests_name("core iotlb", tests, NULL, NULL);
}
