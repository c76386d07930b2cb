/* SPDX-License-Identifier: BSD-3-Clause */
/* Device table entries: what they let pass, and where to; tables of each number of levels. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

#define V  AMDVI_DTE_V
#define TV AMDVI_DTE_TV
#define IR AMDVI_DTE_IR
#define IW AMDVI_DTE_IW

static void set_entry(struct bed *b, uint64_t word0, uint64_t word1)
{
	vi_driver_amdvi_set_entry(&b->driver, BED_RID, word0, word1);
	assert_int_equal(vi_driver_amdvi_flush_device(&b->driver, BED_RID), 0);
}

static uint64_t table_word(const struct bed *b)
{
	return b->table.table.root | vi_to_field(AMDVI_DTE_MODE, b->table.table.levels);
}

static void test_disabled_unit_translates_for_nobody(void **state)
{
	struct bed b;

	(void)state;
	bed_init(&b, BED_TRAPPED, NULL);
	bed_expect_at(&b, BED_GPA, BED_GPA);
	bed_finish(&b);
}

static void test_entry_that_is_not_valid_lets_pass(void **state)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	/* Without V nothing else in these words counts. */
	set_entry(&b, VI_BITS(63, 1), VI_BITS(63, 0));
	bed_expect_at(&b, BED_GPA, BED_GPA);
	assert_int_equal(viommu_requester_describe(b.device, &info), 0);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_PASS_THROUGH);
	bed_expect_no_event(&b);
	bed_finish(&b);
}

/* Mode 0: no translation, and the rights of the entry. */
static void test_mode_0_passes_by_rights(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 0);
	bed_expect_at(&b, BED_GPA, BED_GPA);
	bed_expect_write(&b, BED_GPA, 0);
	set_entry(&b, V | TV | IR, BED_DOMAIN);
	bed_expect_read(&b, BED_GPA, 0);
	bed_expect_write(&b, BED_GPA, -EACCES);
	set_entry(&b, V | TV | IW, BED_DOMAIN);
	bed_expect_read(&b, BED_GPA, -EACCES);
	bed_expect_write(&b, BED_GPA, 0);
	set_entry(&b, V | TV, BED_DOMAIN);
	bed_expect_read(&b, BED_GPA, -EACCES);
	bed_expect_write(&b, BED_GPA, -EACCES);
	bed_finish(&b);
}

static void test_rights_of_the_entry_bound_those_of_its_tables(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	set_entry(&b, table_word(&b) | V | TV | IR, BED_DOMAIN);
	bed_expect_read(&b, BED_IOVA, 0);
	bed_expect_write(&b, BED_IOVA, -EACCES);
	set_entry(&b, table_word(&b) | V | TV | IW, BED_DOMAIN);
	bed_expect_write(&b, BED_IOVA, 0);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

/* The highest page of tables of so many levels, and the first one. */
static void test_every_mode(void **state)
{
	(void)state;
	for (unsigned levels = 1; levels <= 6; levels++) {
		uint64_t last = VI_BITS(vi_min(12 + 9 * levels, 64) - 1, 12);
		struct viommu_requester_info info = {.sz = sizeof(info)};
		struct bed b;

		bed_start(&b, BED_TRAPPED, levels);
		bed_map(&b, 0, BED_GPA, 4096, BED_RW);
		bed_map(&b, last, BED_GPA + 8192, 4096, BED_RW);
		bed_expect_at(&b, 5, BED_GPA + 5);
		bed_expect_at(&b, last + 7, BED_GPA + 8192 + 7);
		bed_expect_read(&b, 4096, -EACCES);
		if (levels < 6)
			bed_expect_read(&b, last + 4096, -EACCES);
		bed_unmap(&b, last, 4096);
		bed_expect_read(&b, last, -EACCES);
		assert_int_equal(viommu_requester_describe(b.device, &info), 0);
		assert_int_equal(info.translation, VIOMMU_TRANSLATION_PAGED);
		assert_int_equal(info.levels, levels);
		assert_int_equal(info.table, b.table.table.root);
		assert_int_equal(info.domain_id, BED_DOMAIN);
		assert_int_equal(info.entry_count, 1);
		assert_string_equal(info.entries[0].name, "device table entry");
		assert_int_equal(info.entries[0].words[1], BED_DOMAIN);
		bed_finish(&b);
	}
}

static void revoke(struct viommu_pin *pin)
{
	bool *asked = pin->opaque;

	*asked = true;
}

struct range {
	uint64_t first, last, gpa;
	unsigned access;
};

struct ranges {
	struct range list[8];
	unsigned count;
};

static int take_range(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct ranges *r = arg;

	assert_true(r->count < VI_ARRAY_SIZE(r->list));
	r->list[r->count++] = (struct range){first, last, gpa, access};
	return 0;
}

static void expect_range(const struct range *r, uint64_t first, uint64_t last, uint64_t gpa)
{
	assert_int_equal(r->first, first);
	assert_int_equal(r->last, last);
	assert_int_equal(r->gpa, gpa);
	assert_int_equal(r->access, VIOMMU_READ | VIOMMU_WRITE);
}

/* Linux with iommu.forcedac=1 gives out addresses from the top of the 64 bits down. */
static void test_addresses_at_the_top_of_64_bits(void **state)
{
	uint64_t top = UINT64_MAX - 2 * 4096 + 1;
	struct ranges r = {.count = 0};
	bool asked = false;
	struct viommu_pin pin = {.revoke = revoke, .opaque = &asked};
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 6);
	bed_map(&b, top, BED_GPA, 8192, BED_RW);
	/* The same bits as far as the tags of the IOTLB go. */
	bed_map(&b, top & VI_BITS(51, 0), BED_GPA + 65536, 8192, BED_RW);
	for (unsigned i = 0; i < 2; i++) {
		bed_expect_at(&b, top + 5000, BED_GPA + 5000);
		bed_expect_at(&b, (top & VI_BITS(51, 0)) + 5000, BED_GPA + 65536 + 5000);
	}
	assert_int_equal(viommu_reach(b.device, 1000000, take_range, &r), 0);
	assert_int_equal(r.count, 2);
	expect_range(&r.list[1], top, UINT64_MAX, BED_GPA);
	assert_int_equal(viommu_pin(b.thread, b.device, top, 4096, VIOMMU_WRITE, &pin), 0);
	b.patience = 50;
	assert_int_equal(vi_driver_unmap(&b.table, top, 8192), 8192);
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, top, UINT64_MAX), -ETIMEDOUT);
	assert_true(asked);
	viommu_unpin(&pin);
	bed_settle(&b);
	bed_expect_read(&b, top, -EACCES);
	bed_finish(&b);
}

static uint64_t sized_leaf(uint64_t gpa, unsigned size_lg2)
{
	return gpa | ((VI_BIT(size_lg2 - 1) - 1) & AMDVI_PTE_ADDR) | AMDVI_PTE_PR | AMDVI_PTE_IR |
	       AMDVI_PTE_IW | vi_to_field(AMDVI_PTE_NEXT_LEVEL, AMDVI_NEXT_LEVEL_SIZED_PAGE);
}

/* 64 KiB in 16 equal entries, as Linux maps the buffers of an NVMe controller; and 16 MiB. */
static void test_leaves_of_sizes_between_levels(void **state)
{
	static const unsigned sizes[] = {13, 16, 20, 24};
	struct bed b;

	(void)state;
	for (size_t k = 0; k < VI_ARRAY_SIZE(sizes); k++) {
		unsigned level = sizes[k] < 21 ? 1 : 2;
		uint64_t size = VI_BIT(sizes[k]), step = level == 1 ? 4096 : VI_BIT(21), gpa = VI_BIT(24);

		bed_start(&b, BED_TRAPPED, 3);
		bed_map(&b, BED_IOVA, gpa, size, BED_RW);
		for (uint64_t at = 0; at < size; at += step)
			vi_driver_store64(&b.memory, vi_driver_entry_gpa(&b.table, BED_IOVA + at, level),
					  sized_leaf(gpa, sizes[k]));
		assert_int_equal(vi_driver_amdvi_flush_domain(&b.driver, BED_DOMAIN), 0);
		bed_expect_at(&b, BED_IOVA + size / 2 + 3, gpa + size / 2 + 3);
		bed_expect_at(&b, BED_IOVA + size - 1, gpa + size - 1);
		bed_expect_read(&b, BED_IOVA + size, -EACCES);
		/* One page of it is invalidated: all of it is. */
		for (uint64_t at = 0; at < size; at += step)
			vi_driver_store64(&b.memory, vi_driver_entry_gpa(&b.table, BED_IOVA + at, level), 0);
		bed_expect_read(&b, BED_IOVA + size - 1, 0);
		assert_int_equal(
			vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA, BED_IOVA + 4095), 0);
		bed_expect_read(&b, BED_IOVA + size - 1, -EACCES);
		bed_finish(&b);
	}
}

static void enable_exclusion(struct bed *b, uint64_t first, uint64_t last, uint64_t bits)
{
	bed_set(b, AMDVI_EXCL_LIMIT, 8, last);
	bed_set(b, AMDVI_EXCL_BASE, 8, first | bits);
	bed_settle(b);
}

static void expect_exempt(struct bed *b)
{
	bed_expect_at(b, BED_GPA, BED_GPA);
	bed_expect_write(b, BED_GPA, 0);
	bed_expect_at(b, BED_GPA + 8191, BED_GPA + 8191);
	bed_expect_read(b, BED_GPA - 1, -EACCES);
	bed_expect_read(b, BED_GPA + 8192, -EACCES);
}

/* Neither translated nor checked; QEMU reads the registers and does nothing with them. */
static void test_exclusion_range_is_exempt(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA + 65536, 4096, BED_RW);
	bed_expect_read(&b, BED_GPA, -EACCES);
	enable_exclusion(&b, BED_GPA, BED_GPA + 4096, AMDVI_EXCL_EN);
	bed_expect_read(&b, BED_GPA, -EACCES); /* neither EX nor Allow */
	enable_exclusion(&b, BED_GPA, BED_GPA + 4096, AMDVI_EXCL_EN | AMDVI_EXCL_ALLOW);
	expect_exempt(&b);
	bed_expect_at(&b, BED_IOVA, BED_GPA + 65536);
	enable_exclusion(&b, BED_GPA, BED_GPA + 4096, AMDVI_EXCL_EN);
	bed_expect_read(&b, BED_GPA, -EACCES);
	set_entry(&b, table_word(&b) | V | TV | IR | IW, BED_DOMAIN | AMDVI_DTE_EX);
	expect_exempt(&b);
	set_entry(&b, table_word(&b) | V | TV, BED_DOMAIN | AMDVI_DTE_EX); /* no rights elsewhere */
	expect_exempt(&b);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	set_entry(&b, V, BED_DOMAIN | AMDVI_DTE_EX); /* no translation elsewhere */
	expect_exempt(&b);
	set_entry(&b, V | TV | IR, BED_DOMAIN | AMDVI_DTE_EX); /* mode 0 */
	bed_expect_write(&b, BED_GPA, 0);
	bed_expect_write(&b, BED_GPA + 8192, -EACCES);
	bed_expect_at(&b, BED_GPA + 8192, BED_GPA + 8192);
	enable_exclusion(&b, 0, 0, 0);
	bed_expect_write(&b, BED_GPA, -EACCES);
	bed_finish(&b);
}

/* A large page that reaches into the range is cached without what lies in it. */
static void test_exclusion_range_in_a_large_page(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_GPA, BED_GPA * 4, BED_GPA, BED_RW);
	enable_exclusion(&b, BED_GPA + 0x10000, BED_GPA + 0x11000, AMDVI_EXCL_EN | AMDVI_EXCL_ALLOW);
	for (unsigned i = 0; i < 2; i++) {
		bed_expect_at(&b, BED_GPA + 0xf123, BED_GPA * 4 + 0xf123);
		bed_expect_at(&b, BED_GPA + 0x10123, BED_GPA + 0x10123);
		bed_expect_at(&b, BED_GPA + 0x12123, BED_GPA * 4 + 0x12123);
	}
	bed_finish(&b);
}

/* Beyond the levels of the tables there is the range, and nothing that tables of fewer levels alias. */
static void test_exclusion_range_beyond_the_levels(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 1);
	bed_map(&b, 0, BED_GPA + 65536, 4096, BED_RW);
	enable_exclusion(&b, BED_GPA + 4096, BED_GPA + 4096, AMDVI_EXCL_EN | AMDVI_EXCL_ALLOW);
	bed_expect_at(&b, BED_GPA + 4096, BED_GPA + 4096);
	bed_expect_read(&b, BED_GPA, -EACCES);
	bed_finish(&b);
}

static void test_reach_tells_tables_and_exclusion(void **state)
{
	struct ranges r = {.count = 0};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_GPA, BED_GPA * 4, BED_GPA, BED_RW);
	enable_exclusion(&b, BED_GPA + 0x10000, BED_GPA + 0x11000, AMDVI_EXCL_EN | AMDVI_EXCL_ALLOW);
	assert_int_equal(viommu_reach(b.device, 100000, take_range, &r), 0);
	assert_int_equal(r.count, 3);
	expect_range(&r.list[0], BED_GPA, BED_GPA + 0xffff, BED_GPA * 4);
	expect_range(&r.list[1], BED_GPA + 0x10000, BED_GPA + 0x11fff, BED_GPA + 0x10000);
	expect_range(&r.list[2], BED_GPA + 0x12000, BED_GPA * 2 - 1, BED_GPA * 4 + 0x12000);
	bed_finish(&b);
}

/* A device of each segment finds its entry there. */
static void test_segments(void **state)
{
	(void)state;
	for (unsigned lg2 = 0; lg2 <= 3; lg2++) {
		struct bed b;

		bed_init(&b, BED_TRAPPED, NULL);
		assert_int_equal(vi_driver_amdvi_start(&b.driver), 0);
		for (unsigned i = 1; i < 1u << lg2; i++)
			bed_set(&b, AMDVI_DEV_TAB_SEGMENT(i), 8, vi_driver_page_alloc(&b.memory));
		vi_driver_amdvi_control(&b.driver, vi_to_field(AMDVI_CONTROL_DEV_TAB_SEG_EN, lg2), true);
		for (unsigned i = 0; i < 1u << lg2; i++) {
			uint16_t rid = (uint16_t)(i << (16 - lg2) | 0x11);
			uint64_t base = bed_get(&b, i ? AMDVI_DEV_TAB_SEGMENT(i) : AMDVI_DEV_TAB_BASE, 8) &
					AMDVI_DEV_TAB_ADDR;
			struct viommu_requester_info info = {.sz = sizeof(info)};
			struct viommu_requester *r;

			assert_int_equal(viommu_requester_add(b.viommu, rid, &r), 0);
			vi_driver_store64(&b.memory, base + 0x11 * AMDVI_DTE_SIZE + 8, 100 + i);
			vi_driver_store64(&b.memory, base + 0x11 * AMDVI_DTE_SIZE, V | TV | IR);
			assert_int_equal(viommu_requester_describe(r, &info), 0);
			assert_int_equal(info.domain_id, 100 + i);
			assert_int_equal(info.entries[0].gpa, base + 0x11 * AMDVI_DTE_SIZE);
		}
		bed_finish(&b);
	}
}

/*
 * Linux 6.12 writes the second word of an entry before the first. A device that is at work meanwhile is
 * translated by the old tables under the new domain, and what is cached so must not outlive the invalidation
 * of the entry, though nobody invalidates the new domain.
 */
static void test_entry_written_in_two_halves(void **state)
{
	struct vi_driver_page_table other;
	struct viommu_requester *second;
	uint64_t entry;
	struct bed b;
	uint8_t byte;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	entry = b.driver.device_table + BED_RID * AMDVI_DTE_SIZE;
	assert_int_equal(vi_driver_amdvi_table_init(&b.driver, &other, 3), 0);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	assert_int_equal(vi_driver_map(&other, BED_IOVA, BED_GPA + 4096, 4096, BED_RW), 0);
	/* The new domain has a device already, so that its translations are kept. */
	assert_int_equal(viommu_requester_add(b.viommu, BED_RID + 8, &second), 0);
	assert_int_equal(vi_driver_amdvi_attach(&b.driver, BED_RID + 8, BED_DOMAIN + 1, &other), 0);
	assert_int_equal(viommu_read(b.thread, second, BED_IOVA + 4096, &byte, 1), -EACCES);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	vi_driver_store64(&b.memory, entry + 8, BED_DOMAIN + 1);
	bed_expect_at(&b, BED_IOVA, BED_GPA); /* cached for domain 8 */
	vi_driver_store64(&b.memory, entry,
			  other.table.root | vi_to_field(AMDVI_DTE_MODE, 3) | V | TV | IR | IW);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	bed_expect_at(&b, BED_IOVA, BED_GPA + 4096);
	bed_finish(&b);
}

/* Until it is told, the unit goes by what it has cached. */
static void test_entry_is_stale_until_told(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	bed_expect_read(&b, BED_IOVA, 0);
	vi_driver_amdvi_set_entry(&b.driver, BED_RID, V | TV, 0);
	bed_expect_read(&b, BED_IOVA, 0);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID + 1), 0);
	bed_expect_read(&b, BED_IOVA, 0);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

/* Switching translation off, and on again, leaves nothing cached. */
static void test_disable_and_enable(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	bed_expect_at(&b, BED_IOVA, BED_GPA);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_IOMMU_EN, false);
	bed_expect_at(&b, BED_GPA, BED_GPA);
	assert_int_equal(bed_status(&b), 0);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_IOMMU_EN, true);
	bed_expect_at(&b, BED_IOVA, BED_GPA);
	bed_expect_read(&b, BED_GPA, -EACCES);
	bed_settle(&b);
	assert_int_equal(bed_status(&b),
			 AMDVI_STATUS_CMD_BUF_RUN | AMDVI_STATUS_EVENT_LOG_RUN | AMDVI_STATUS_EVENT_INT);
	bed_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disabled_unit_translates_for_nobody),
		cmocka_unit_test(test_entry_that_is_not_valid_lets_pass),
		cmocka_unit_test(test_mode_0_passes_by_rights),
		cmocka_unit_test(test_rights_of_the_entry_bound_those_of_its_tables),
		cmocka_unit_test(test_every_mode),
		cmocka_unit_test(test_addresses_at_the_top_of_64_bits),
		cmocka_unit_test(test_leaves_of_sizes_between_levels),
		cmocka_unit_test(test_exclusion_range_is_exempt),
		cmocka_unit_test(test_exclusion_range_in_a_large_page),
		cmocka_unit_test(test_exclusion_range_beyond_the_levels),
		cmocka_unit_test(test_reach_tells_tables_and_exclusion),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_entry_written_in_two_halves),
		cmocka_unit_test(test_entry_is_stale_until_told),
		cmocka_unit_test(test_disable_and_enable),
	};

	return cmocka_run_group_tests_name("amdvi device table", tests, NULL, NULL);
}
