/* SPDX-License-Identifier: BSD-3-Clause */
/* Every fault reason of legacy mode at its place, recording, overflow, pending bits, the fault event. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA  UINT64_C(0x8000000000) /* 2^39: a 3-level table does not reach it */
#define GPA   UINT64_C(0x200000)
#define HOLE  UINT64_C(0x80000000) /* no memory there */
#define RW    (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define ENTRY UINT64_C(0x88) /* of MACHINE_RID in its context table */

/* How one reason is provoked: spoil something in the tables of a machine that works. */
struct spoil {
	const char *name;
	uint8_t reason;
	bool unqualified; /* reported whatever FPD says */
	void (*spoil)(struct machine *m);
};

static uint64_t root_entry(struct machine *m)
{
	return m->driver.root;
}

static uint64_t context_entry(struct machine *m)
{
	return (vi_driver_load64(&m->memory, root_entry(m)) & VTD_ROOT_LO_CTP) +
	       ENTRY * VTD_CONTEXT_ENTRY_SIZE;
}

static void change(struct machine *m, uint64_t gpa, uint64_t clear, uint64_t set)
{
	vi_driver_store64(&m->memory, gpa, (vi_driver_load64(&m->memory, gpa) & ~clear) | set);
}

static void root_not_present(struct machine *m)
{
	change(m, root_entry(m), VTD_ROOT_LO_P, 0);
}

static void root_reserved_low(struct machine *m)
{
	change(m, root_entry(m), 0, VI_BIT(1));
}

static void root_reserved_high(struct machine *m)
{
	change(m, root_entry(m) + 8, 0, VI_BIT(0));
}

static void root_beyond_host_width(struct machine *m)
{
	change(m, root_entry(m), 0, VI_BIT(50));
}

static void root_table_in_hole(struct machine *m)
{
	vi_driver_vtd_write64(&m->driver, VTD_RTADDR, HOLE);
	assert_int_equal(vi_driver_vtd_command(&m->driver, VTD_GCMD_SRTP, true), 0);
}

static void context_table_in_hole(struct machine *m)
{
	change(m, root_entry(m), VTD_ROOT_LO_CTP, HOLE);
}

static void context_not_present(struct machine *m)
{
	change(m, context_entry(m), VTD_CONTEXT_LO_P, 0);
}

static void context_reserved_low(struct machine *m)
{
	change(m, context_entry(m), 0, VI_BIT(4));
}

static void context_reserved_high(struct machine *m)
{
	change(m, context_entry(m) + 8, 0, VI_BIT(24));
}

static void context_reserved_type(struct machine *m)
{
	change(m, context_entry(m), 0, vi_to_field(VTD_CONTEXT_LO_TT, 3));
}

static void context_device_tlb_type(struct machine *m)
{
	change(m, context_entry(m), VTD_CONTEXT_LO_TT, vi_to_field(VTD_CONTEXT_LO_TT, VTD_TT_DEVICE_TLB));
}

static void context_width_not_offered(struct machine *m)
{
	change(m, context_entry(m) + 8, VTD_CONTEXT_HI_AW, 3);
}

static void context_width_of_two_levels(struct machine *m)
{
	change(m, context_entry(m) + 8, VTD_CONTEXT_HI_AW, 0);
}

static void context_tables_beyond_host_width(struct machine *m)
{
	change(m, context_entry(m), 0, VI_BIT(51));
}

static void address_beyond_width(struct machine *m)
{
	change(m, context_entry(m) + 8, VTD_CONTEXT_HI_AW, VTD_AW_39BIT);
}

static void not_mapped(struct machine *m)
{
	assert_int_equal(vi_driver_unmap(&m->table, IOVA, 4096), 4096);
}

static void no_right_in_leaf(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 1), RW, 0);
}

static void no_right_in_table(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 3), RW, 0);
}

static void page_table_in_hole(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 2), VTD_SS_ADDR, HOLE);
}

static void top_table_in_hole(struct machine *m)
{
	change(m, context_entry(m), VTD_CONTEXT_LO_SSPTPTR, HOLE);
}

static void leaf_reserved(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 1), 0, VTD_SS_TM);
}

static void table_reserved(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 4), 0, VTD_SS_SNP);
}

static void leaf_beyond_host_width(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 1), 0, VI_BIT(47));
}

static void large_page_misaligned(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 2), VTD_SS_ADDR, VTD_SS_PS | (GPA + 4096));
}

static void leaf_in_interrupt_range(struct machine *m)
{
	change(m, vi_driver_entry_gpa(&m->table, IOVA, 1), VTD_SS_ADDR, 0xfee01000);
}

static const struct spoil spoils[] = {
	{"root entry not present", VTD_FR_ROOT_NOT_PRESENT, true, root_not_present},
	{"context entry not present", VTD_FR_CONTEXT_NOT_PRESENT, false, context_not_present},
	{"reserved translation type", VTD_FR_CONTEXT_INVALID, false, context_reserved_type},
	{"device-TLB type not offered", VTD_FR_CONTEXT_INVALID, false, context_device_tlb_type},
	{"address width not offered", VTD_FR_CONTEXT_INVALID, false, context_width_not_offered},
	{"address width not offered", VTD_FR_CONTEXT_INVALID, false, context_width_of_two_levels},
	{"page tables beyond host width", VTD_FR_CONTEXT_RESERVED, false, context_tables_beyond_host_width},
	{"address beyond the context's width", VTD_FR_BEYOND_MGAW, false, address_beyond_width},
	{"not mapped", VTD_FR_WRITE, false, not_mapped},
	{"leaf without rights", VTD_FR_WRITE, false, no_right_in_leaf},
	{"table without rights", VTD_FR_WRITE, false, no_right_in_table},
	{"page table in a hole", VTD_FR_TABLE_ACCESS, false, page_table_in_hole},
	{"top table in a hole", VTD_FR_CONTEXT_INVALID, false, top_table_in_hole},
	{"root table in a hole", VTD_FR_ROOT_TABLE_ACCESS, true, root_table_in_hole},
	{"context table in a hole", VTD_FR_CONTEXT_TABLE_ACCESS, true, context_table_in_hole},
	{"root entry reserved low", VTD_FR_ROOT_RESERVED, true, root_reserved_low},
	{"root entry reserved high", VTD_FR_ROOT_RESERVED, true, root_reserved_high},
	{"root entry beyond host width", VTD_FR_ROOT_RESERVED, true, root_beyond_host_width},
	{"context entry reserved low", VTD_FR_CONTEXT_RESERVED, false, context_reserved_low},
	{"context entry reserved high", VTD_FR_CONTEXT_RESERVED, false, context_reserved_high},
	{"leaf reserved bit", VTD_FR_PTE_RESERVED, false, leaf_reserved},
	{"table reserved bit", VTD_FR_PTE_RESERVED, false, table_reserved},
	{"leaf beyond host width", VTD_FR_PTE_RESERVED, false, leaf_beyond_host_width},
	{"large page misaligned", VTD_FR_PTE_RESERVED, false, large_page_misaligned},
	{"leaf in the interrupt range", VTD_FR_INTERRUPT_ADDRESS, false, leaf_in_interrupt_range},
};

static void flush_all(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_flush_contexts(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
}

static void expect_reason(const struct spoil *s, bool fpd)
{
	bool silent = fpd && !s->unqualified;
	uint8_t read_reason = s->reason == VTD_FR_WRITE ? VTD_FR_READ : s->reason;
	struct machine m;

	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_write(&m, IOVA + 5, 0);
	if (fpd)
		change(&m, context_entry(&m), 0, VTD_CONTEXT_LO_FPD);
	s->spoil(&m);
	flush_all(&m);
	m.ram[GPA + 5] = 0x11;
	machine_expect_write(&m, IOVA + 5, -EACCES);
	machine_expect_fault(&m, silent ? 0 : s->reason, IOVA + 5, true);
	machine_expect_read(&m, IOVA + 5, -EACCES);
	machine_expect_fault(&m, silent ? 0 : read_reason, IOVA + 5, false);
	assert_int_equal(m.ram[GPA + 5], 0x11);
	machine_finish(&m);
}

static void test_every_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(spoils); i++) {
		printf("  %s\n", spoils[i].name);
		expect_reason(&spoils[i], false);
	}
}

static void test_fpd_hides_qualified_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(spoils); i++) {
		printf("  %s\n", spoils[i].name);
		expect_reason(&spoils[i], true);
	}
}

/* The queue stops in such a mode too, so contexts are invalidated by registers. Legacy mode again ends it. */
static void test_translation_table_mode(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, false);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_write(&m, IOVA, 0);
	for (unsigned mode = 1; mode < 4; mode++) {
		machine_set64(&m, VTD_RTADDR, m.driver.root | vi_to_field(VTD_RTADDR_TTM, mode));
		assert_int_equal(machine_get64(&m, VTD_RTADDR),
				 m.driver.root | vi_to_field(VTD_RTADDR_TTM, mode));
		assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_SRTP, true), 0);
		flush_all(&m);
		machine_expect_write(&m, IOVA, -EACCES);
		machine_expect_fault(&m, VTD_FR_ROOT_TABLE_MODE, IOVA, true);
	}
	assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0);
	flush_all(&m);
	machine_expect_write(&m, IOVA, 0);
	machine_finish(&m);
}

/* 7.1.3: an entry that lacks the right is refused for that, whatever else is wrong with it. */
static void test_the_right_comes_before_reserved_bits(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, VI_PGTABLE_READ);
	leaf_reserved(&m);
	machine_expect_write(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_WRITE, IOVA, true);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_PTE_RESERVED, IOVA, false);
	table_reserved(&m);
	change(&m, vi_driver_entry_gpa(&m.table, IOVA, 4), VTD_SS_R, 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_READ, IOVA, false);
	machine_expect_write(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_PTE_RESERVED, IOVA, true);
	machine_finish(&m);
}

/* ---------------------------------------------------------- the interrupt range */

#define WINDOW_FIRST                                                                                         \
	UINT64_C(0xfec00000) /* memory that covers the interrupt range, as a careless VMM's does */
#define WINDOW_SIZE UINT64_C(0x400000)
#define MESSAGES    UINT64_C(0xfee00000)

static void expect_blocked_message(struct machine *m, uint64_t iova)
{
	struct viommu_pin pin = {0};

	machine_expect_write(m, iova, -EACCES);
	machine_expect_fault(m, VTD_FR_INTERRUPT_ADDRESS, iova, true);
	machine_expect_read(m, iova, -EACCES);
	machine_expect_fault(m, VTD_FR_INTERRUPT_ADDRESS, iova, false);
	assert_int_equal(machine_read(m, iova, NULL, 0), -EACCES);
	machine_expect_fault(m, VTD_FR_INTERRUPT_ADDRESS, iova, false);
	assert_int_equal(viommu_pin(m->thread, m->device, iova, 4, VIOMMU_WRITE, &pin), -EACCES);
	machine_expect_fault(m, VTD_FR_INTERRUPT_ADDRESS, iova, true);
}

/* Each page size, with the memory behind it by pointer or by callback; twice, the second time cached. */
static void check_window(uint8_t *host, uint64_t size)
{
	uint64_t first = MESSAGES & ~(size - 1), before = MESSAGES - first, after = before + 0x100000;
	uint8_t bytes[64];
	struct machine m;

	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, WINDOW_FIRST, WINDOW_SIZE, host,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	machine_map(&m, IOVA, first, size, RW);
	for (unsigned i = 0; i < 2; i++) {
		expect_blocked_message(&m, IOVA + before);
		expect_blocked_message(&m, IOVA + vi_min(after, size) - 1);
		if (after < size) {
			machine_expect_write(&m, IOVA + after, 0);
			machine_expect_read(&m, IOVA + after, 0);
		}
		if (before > 0) {
			machine_expect_write(&m, IOVA + before - 1, 0);
			/* What crosses is done up to there. */
			assert_int_equal(machine_write(&m, IOVA + before - 32, bytes, 64), -EACCES);
			machine_expect_fault(&m, VTD_FR_INTERRUPT_ADDRESS, IOVA + before, true);
		}
	}
	assert_int_equal(m.window_writes, 0);
	if (host)
		for (uint64_t i = 0; i < 0x100000; i++)
			assert_int_equal(host[MESSAGES - WINDOW_FIRST + i], 0xcc);
	machine_finish(&m);
}

static void test_tables_that_lead_to_messages(void **state)
{
	uint8_t *host = malloc(WINDOW_SIZE);

	(void)state;
	assert_non_null(host);
	for (unsigned level = 1; level <= 3; level++) {
		memset(host, 0xcc, WINDOW_SIZE);
		check_window(host, vi_pgtable_page_size(&vi_pgtable_vtd_second_stage, level));
		check_window(NULL, vi_pgtable_page_size(&vi_pgtable_vtd_second_stage, level));
	}
	free(host);
}

/* The address of a fault is not cached: a table that is mended needs no invalidation, as CAP.CM is 0. */
static void test_a_blocked_message_is_not_cached(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, MESSAGES, 4096, RW);
	expect_blocked_message(&m, IOVA);
	change(&m, vi_driver_entry_gpa(&m.table, IOVA, 1), VTD_SS_ADDR, GPA);
	machine_expect_write(&m, IOVA, 0);
	assert_int_equal(m.ram[GPA], 0x5a);
	machine_finish(&m);
}

/* Nothing translates, or the device is passed through: memory that is registered there is none. */
static void test_no_memory_in_the_interrupt_range(void **state)
{
	struct machine m;
	uint8_t bytes[64];

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, WINDOW_FIRST, WINDOW_SIZE, NULL,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		machine_expect_write(&m, MESSAGES, -EFAULT);
		machine_expect_read(&m, MESSAGES, -EFAULT);
		machine_expect_write(&m, MESSAGES + 0xfffff, -EFAULT);
		machine_expect_write(&m, MESSAGES - 1, 0);
		machine_expect_write(&m, MESSAGES + 0x100000, 0);
		assert_int_equal(machine_write(&m, MESSAGES - 32, bytes, 64), -EFAULT);
		machine_expect_fault(&m, 0, 0, false);
		assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, false), 0);
	}
	assert_int_equal(m.window_writes, 0);
	machine_finish(&m);
}

static void test_ats_requests_are_blocked(void **state)
{
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1, VIOMMU_READ | VIOMMU_TRANSLATED,
					  &span),
			 -EACCES);
	viommu_exit(m.thread);
	machine_expect_fault(&m, VTD_FR_TT_BLOCKED, IOVA, false);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1,
					  VIOMMU_READ | VIOMMU_TRANSLATION_REQUEST, &span),
			 -EACCES);
	viommu_exit(m.thread);
	machine_expect_fault(&m, VTD_FR_TT_BLOCKED, IOVA, false);
	machine_finish(&m);
}

static void test_quiet_translation_records_nothing(void **state)
{
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1, VIOMMU_READ | VIOMMU_QUIET, &span),
			 -EACCES);
	viommu_exit(m.thread);
	machine_expect_fault(&m, 0, 0, false);
	machine_finish(&m);
}

static void test_beyond_mgaw(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_expect_read(&m, UINT64_C(1) << 48, -EACCES);
	machine_expect_fault(&m, VTD_FR_BEYOND_MGAW, UINT64_C(1) << 48, false);
	machine_expect_read(&m, (UINT64_C(1) << 48) - 1, -EACCES);
	machine_expect_fault(&m, VTD_FR_READ, (UINT64_C(1) << 48) - 1, false);
	machine_finish(&m);
}

/* Passed through, an address is the host's: reason 4 above its width, whatever AW the entry names. */
static void check_pass_through_width(const struct viommu_options *o, uint64_t last)
{
	struct machine m;

	machine_start(&m, TRAPPED, o, true);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	machine_expect_read(&m, last, -EFAULT);
	machine_expect_fault(&m, 0, 0, false);
	machine_expect_read(&m, last + 1, -EACCES);
	machine_expect_fault(&m, VTD_FR_BEYOND_MGAW, last + 1, false);
	machine_expect_write(&m, last + 1, -EACCES);
	machine_expect_fault(&m, VTD_FR_BEYOND_MGAW, last + 1, true);
	machine_finish(&m);
}

static void test_pass_through_beyond_host_width(void **state)
{
	(void)state;
	check_pass_through_width(NULL, VI_BITS(45, 0));
	check_pass_through_width(&(struct viommu_options){VTD_OPTIONS(.only_39bit = true)}, VI_BITS(45, 0));
	check_pass_through_width(&(struct viommu_options){.host_address_width = 52}, VI_BITS(51, 0));
}

/* 7.2.1: translation off, and the next fault goes to record 0 again. */
static void test_translation_off_resets_the_next_record(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 3; i++) {
		machine_expect_read(&m, IOVA, -EACCES);
		machine_expect_fault(&m, VTD_FR_READ, IOVA, false);
	}
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, false), 0);
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, true), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_true(machine_get64(&m, machine_fault_record(&m, 0) + VTD_FRCD_HI) & VTD_FRCD_HI_F);
	assert_int_equal(vi_field(machine_get32(&m, VTD_FSTS), VTD_FSTS_FRI), 0);
	machine_finish(&m);
}

/* An access that crosses into a page without rights: what comes before may have happened, nothing after. */
static void test_fault_in_the_middle(void **state)
{
	uint8_t buf[3 * 4096];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_map(&m, IOVA + 4096, GPA + 4096, 4096, VI_PGTABLE_READ);
	machine_map(&m, IOVA + 8192, GPA + 8192, 4096, RW);
	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(machine_write(&m, IOVA, buf, sizeof(buf)), -EACCES);
	machine_expect_fault(&m, VTD_FR_WRITE, IOVA + 4096, true);
	assert_int_equal(m.ram[GPA], 0xee);
	assert_int_equal(m.ram[GPA + 4096], 0);
	assert_int_equal(m.ram[GPA + 8192], 0);
	machine_finish(&m);
}

static void program_fault_event(struct machine *m)
{
	machine_set32(m, VTD_FEDATA, 0x4031);
	machine_set32(m, VTD_FEADDR, 0xfee01004);
	machine_set32(m, VTD_FEUADDR, 0x1);
	machine_set32(m, VTD_FECTL, 0);
}

static void test_fault_event(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	program_fault_event(&m);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(m.msi[0].rid, 0);
	assert_int_equal(m.msi[0].address, UINT64_C(0x1fee01004));
	assert_int_equal(m.msi[0].data, 0x4031);
	/* While a status is pending there is no second event. */
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(machine_get32(&m, VTD_FECTL), 0);
	/* Cleared in between: a new one. */
	machine_set32(&m, machine_fault_record(&m, 0) + 12, 0x80000000u);
	machine_set32(&m, machine_fault_record(&m, 1) + 12, 0x80000000u);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 2);
	machine_finish(&m);
}

static void test_masked_fault_event_is_pending(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	program_fault_event(&m);
	machine_set32(&m, VTD_FECTL, VTD_ECTL_IM);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 0);
	assert_int_equal(machine_get32(&m, VTD_FECTL), VTD_ECTL_IM | VTD_ECTL_IP);
	machine_set32(&m, VTD_FECTL, 0);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(machine_get32(&m, VTD_FECTL), 0);
	machine_finish(&m);
}

/* Software that clears the status takes the pending event away. */
static void test_pending_event_is_cancelled(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	program_fault_event(&m);
	machine_set32(&m, VTD_FECTL, VTD_ECTL_IM);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	machine_set32(&m, machine_fault_record(&m, 0) + 12, 0x80000000u);
	assert_int_equal(machine_get32(&m, VTD_FECTL), VTD_ECTL_IM);
	machine_set32(&m, VTD_FECTL, 0);
	assert_int_equal(m.msi_count, 0);
	machine_finish(&m);
}

static void cause_faults(struct machine *m, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		machine_expect_read(m, IOVA + i * UINT64_C(4096), -EACCES);
	machine_settle(m);
}

static void test_overflow(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 8)};
	struct vi_driver_vtd_fault fault;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, &o, true);
	cause_faults(&m, 11);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PFO | VTD_FSTS_PPF);
	assert_int_equal(machine_counter(&m, "faults_recorded"), 8);
	assert_int_equal(machine_counter(&m, "faults_lost"), 3);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(vi_driver_vtd_next_fault(&m.driver, &fault));
		assert_int_equal(fault.address, IOVA + i * UINT64_C(4096));
	}
	/* PFO is sticky, and nothing is recorded until it is cleared. */
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PFO);
	cause_faults(&m, 1);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PFO);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	cause_faults(&m, 1);
	assert_int_equal(machine_get32(&m, VTD_FSTS) & 0xff, VTD_FSTS_PPF);
	machine_finish(&m);
}

/* FRI names the record of the first pending fault, and the ring goes on where it was. */
static void test_fault_record_index(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 8)};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, &o, true);
	for (unsigned i = 0; i < 20; i++) {
		cause_faults(&m, 1);
		assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF | (i % 8) << 8);
		machine_expect_fault(&m, VTD_FR_READ, IOVA, false);
	}
	machine_finish(&m);
}

static void test_record_is_read_only_but_for_f(void **state)
{
	uint64_t at, hi;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	cause_faults(&m, 1);
	at = machine_fault_record(&m, 0);
	hi = machine_get64(&m, at + 8);
	machine_set64(&m, at, 0x1234567890);
	machine_set32(&m, at + 8, 0xffffffff);
	machine_set32(&m, at + 12, 0x7fffffff);
	assert_int_equal(machine_get64(&m, at), IOVA);
	assert_int_equal(machine_get64(&m, at + 8), hi);
	machine_set64(&m, at + 8, UINT64_C(1) << 63);
	assert_int_equal(machine_get64(&m, at + 8), hi & ~(UINT64_C(1) << 63));
	machine_finish(&m);
}

/* 2^20 faults: bounded memory, counted, and the unit still works. */
static void test_flood(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < (1u << 20); i++)
		machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(machine_counter(&m, "blocked"), 1u << 20);
	assert_int_equal(machine_counter(&m, "faults_recorded"), 16);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_read(&m, IOVA, 0);
	machine_finish(&m);
}

/* The IOTLB must not swallow the fault of a right that a cached entry lacks. */
static void test_permission_miss_on_cached_entry(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, VI_PGTABLE_READ);
	machine_expect_read(&m, IOVA, 0);
	machine_expect_read(&m, IOVA, 0);
	machine_expect_write(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_WRITE, IOVA, true);
	machine_finish(&m);
}

static void test_zero_length_read(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, VI_PGTABLE_WRITE);
	assert_true(m.driver.cap & VTD_CAP_ZLR);
	assert_int_equal(machine_read(&m, IOVA, NULL, 0), 0);
	assert_int_equal(machine_read(&m, IOVA + 4096, NULL, 0), -EACCES);
	machine_expect_fault(&m, VTD_FR_READ, IOVA + 4096, false);
	machine_finish(&m);
}

/* Faults that a small budget left over are announced, and steps keep to the budget. */
static void test_budget_of_faults(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 10; i++)
		machine_expect_read(&m, IOVA + i * UINT64_C(4096), -EACCES);
	assert_int_equal(viommu_process(m.viommu, 4), 2 | VIOMMU_PROCESS_PENDING);
	machine_settle(&m);
	assert_int_equal(machine_counter(&m, "faults_recorded"), 10);
	machine_finish(&m);
}

/* What a device did before the reset is not told after it. */
static void test_reset_forgets_faults(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_expect_read(&m, IOVA, -EACCES);
	viommu_reset(m.viommu);
	machine_settle(&m);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_reason),
		cmocka_unit_test(test_fpd_hides_qualified_faults),
		cmocka_unit_test(test_translation_table_mode),
		cmocka_unit_test(test_the_right_comes_before_reserved_bits),
		cmocka_unit_test(test_tables_that_lead_to_messages),
		cmocka_unit_test(test_a_blocked_message_is_not_cached),
		cmocka_unit_test(test_no_memory_in_the_interrupt_range),
		cmocka_unit_test(test_pass_through_beyond_host_width),
		cmocka_unit_test(test_translation_off_resets_the_next_record),
		cmocka_unit_test(test_ats_requests_are_blocked),
		cmocka_unit_test(test_quiet_translation_records_nothing),
		cmocka_unit_test(test_beyond_mgaw),
		cmocka_unit_test(test_fault_in_the_middle),
		cmocka_unit_test(test_fault_event),
		cmocka_unit_test(test_masked_fault_event_is_pending),
		cmocka_unit_test(test_pending_event_is_cancelled),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_fault_record_index),
		cmocka_unit_test(test_record_is_read_only_but_for_f),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_permission_miss_on_cached_entry),
		cmocka_unit_test(test_zero_length_read),
		cmocka_unit_test(test_budget_of_faults),
		cmocka_unit_test(test_reset_forgets_faults),
	};

	return cmocka_run_group_tests_name("vtd faults", tests, NULL, NULL);
}
