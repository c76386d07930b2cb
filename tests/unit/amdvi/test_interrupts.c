/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupt messages of devices: the device table entry's interrupt half, interrupt tables of both kinds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

#define ADDRESS	 UINT64_C(0xfee01000)
#define CTL(n)	 ((uint64_t)(n) << 60)
#define LEN(lg2) ((uint64_t)(lg2) << 1)
#define IV	 AMDVI_DTE_IV
#define I	 AMDVI_EVENT_I
#define REMAP_EN AMDVI_IRTE_REMAP_EN

static int send(struct bed *b, uint32_t data)
{
	return viommu_write(b->thread, b->device, ADDRESS, &data, 4);
}

static void expect_sent(struct bed *b, uint32_t data, uint64_t address, uint32_t sent)
{
	unsigned before = b->msi_count;

	assert_int_equal(send(b, data), 0);
	assert_int_equal(b->msi_count, before + 1);
	assert_int_equal(b->msi[before].rid, BED_RID);
	assert_int_equal(b->msi[before].address, address);
	assert_int_equal(b->msi[before].data, sent);
}

static void expect_refused(struct bed *b, uint32_t data, unsigned code, uint64_t flags, uint64_t address)
{
	unsigned before = b->msi_count;

	assert_int_equal(send(b, data), -EACCES);
	assert_int_equal(b->msi_count, before);
	bed_expect_event(b, bed_event(code, flags | I) | BED_RID, address);
}

static void set(struct bed *b, uint64_t word2, uint64_t word3)
{
	vi_driver_amdvi_set_interrupts(&b->driver, BED_RID, word2, word3);
	vi_driver_amdvi_put(&b->driver,
			    vi_to_field(AMDVI_CMD_OPCODE, AMDVI_INVALIDATE_INTERRUPT_TABLE) | BED_RID, 0);
	assert_int_equal(vi_driver_amdvi_wait(&b->driver, 0), 0);
}

/* Without IV all messages pass, whatever the half about memory says. */
static void test_without_iv_messages_pass(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	assert_int_equal(vi_driver_amdvi_detach(&b.driver, BED_RID, BED_DOMAIN), 0);
	set(&b, VI_BITS(63, 1), VI_BITS(63, 0));
	expect_sent(&b, 0x4041, ADDRESS, 0x4041);
	bed_finish(&b);
}

/* Fixed and arbitrated messages by IntCtl, others by their bits. */
static void test_int_ctl(void **state)
{
	static const struct {
		uint32_t mode;
		uint64_t pass;
	} others[] = {{4, AMDVI_DTE_NMI_PASS}, {5, AMDVI_DTE_INIT_PASS}, {7, AMDVI_DTE_EINT_PASS}};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	set(&b, IV | CTL(AMDVI_INT_CTL_FORWARD), 0);
	expect_sent(&b, 0x41, ADDRESS, 0x41);
	expect_sent(&b, 0x141, ADDRESS, 0x141);
	set(&b, IV | CTL(AMDVI_INT_CTL_ABORT), 0);
	expect_refused(&b, 0x41, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PE, ADDRESS);
	for (size_t i = 0; i < VI_ARRAY_SIZE(others); i++) {
		uint32_t data = others[i].mode << 8;

		set(&b, IV, 0);
		expect_refused(&b, data, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PE, ADDRESS);
		set(&b, IV | others[i].pass, 0);
		expect_sent(&b, data, ADDRESS, data);
	}
	set(&b, IV | AMDVI_DTE_IG, 0);
	assert_int_equal(send(&b, 0x41), -EACCES);
	bed_expect_no_event(&b);
	bed_finish(&b);
}

static void test_illegal_halves(void **state)
{
	static const uint64_t words[][2] = {
		{IV | CTL(3), 0}, {IV | CTL(2) | LEN(12), 0}, {IV | VI_BIT(52), 0}, {IV | VI_BIT(59), 0},
		{IV, 1},
	};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	for (size_t i = 0; i < VI_ARRAY_SIZE(words); i++) {
		set(&b, words[i][0], words[i][1]);
		expect_refused(&b, 0x41, AMDVI_ILLEGAL_DEV_TABLE_ENTRY, AMDVI_EVENT_RZ, ADDRESS);
	}
	bed_finish(&b);
}

static void test_small_entries(void **state)
{
	uint64_t table,
		entry = REMAP_EN | vi_to_field(AMDVI_IRTE_DEST, 0x12) | vi_to_field(AMDVI_IRTE_VECTOR, 0x34);
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	table = vi_driver_page_alloc(&b.memory);
	set(&b, IV | CTL(AMDVI_INT_CTL_REMAP) | LEN(9) | table, 0);
	vi_driver_store32(&b.memory, table + 5 * 4, (uint32_t)entry);
	expect_sent(&b, 5, 0xfee12000, 0x34);
	vi_driver_store32(&b.memory, table + 5 * 4,
			  (uint32_t)(entry | AMDVI_IRTE_DM | vi_to_field(AMDVI_IRTE_INT_TYPE, 1)));
	expect_sent(&b, 5, 0xfee12004, 0x134);
	expect_refused(&b, 6, AMDVI_IO_PAGE_FAULT, 0, ADDRESS); /* not enabled */
	vi_driver_store32(&b.memory, table + 6 * 4, (uint32_t)AMDVI_IRTE_SUP_IOPF);
	assert_int_equal(send(&b, 6), -EACCES);
	bed_expect_no_event(&b);
	vi_driver_store32(&b.memory, table + 6 * 4, (uint32_t)(entry | AMDVI_IRTE_GUEST_MODE));
	expect_refused(&b, 6, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PR | AMDVI_EVENT_RZ, ADDRESS);
	vi_driver_store32(&b.memory, table + 6 * 4, (uint32_t)(entry | vi_to_field(AMDVI_IRTE_INT_TYPE, 2)));
	expect_refused(&b, 6, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PR | AMDVI_EVENT_RZ, ADDRESS);
	vi_driver_store32(&b.memory, table + 6 * 4, (uint32_t)(entry | VI_BIT(24)));
	expect_refused(&b, 6, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PR | AMDVI_EVENT_RZ, ADDRESS);
	vi_driver_store32(&b.memory, table + 512 * 4, (uint32_t)entry);
	expect_refused(&b, 512, AMDVI_IO_PAGE_FAULT, 0, ADDRESS); /* beyond the table */
	set(&b, IV | CTL(AMDVI_INT_CTL_REMAP) | LEN(9) | 0x30000000, 0);
	expect_refused(&b, 6, AMDVI_PAGE_TAB_HARDWARE_ERROR, VI_BIT(57), 0);
	bed_finish(&b);
}

static void test_large_entries(void **state)
{
	uint64_t table,
		lo = REMAP_EN | vi_to_field(AMDVI_IRTE128_DEST_LO, 0x345678),
		hi = vi_to_field(AMDVI_IRTE128_DEST_HI, 0x12) | vi_to_field(AMDVI_IRTE128_VECTOR, 0x91);
	struct bed b;

	(void)state;
	bed_init(&b, BED_TRAPPED, &(struct viommu_amdvi_options){.x2apic = true});
	assert_int_equal(vi_driver_amdvi_start(&b.driver), 0);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_GA_EN, true);
	table = vi_driver_pages_alloc(&b.memory, 2);
	set(&b, IV | CTL(AMDVI_INT_CTL_REMAP) | LEN(9) | table, 0);
	vi_driver_store64(&b.memory, table + 7 * 16, lo);
	vi_driver_store64(&b.memory, table + 7 * 16 + 8, hi);
	expect_sent(&b, 7, 0xfee78000, 0x91);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_XT_EN, true);
	expect_sent(&b, 7, UINT64_C(0x12345600fee78000), 0x91);
	vi_driver_store64(&b.memory, table + 7 * 16 + 8, hi | VI_BIT(8));
	expect_refused(&b, 7, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PR | AMDVI_EVENT_RZ, ADDRESS);
	vi_driver_store64(&b.memory, table + 7 * 16 + 8, hi);
	vi_driver_store64(&b.memory, table + 7 * 16, lo | AMDVI_IRTE_GUEST_MODE);
	expect_refused(&b, 7, AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_PR | AMDVI_EVENT_RZ, ADDRESS);
	bed_finish(&b);
}

static void test_device_table_not_in_memory(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_set(&b, AMDVI_DEV_TAB_BASE, 8, 0x30000000 | 1);
	expect_refused(&b, 0x41, AMDVI_DEV_TAB_HARDWARE_ERROR, VI_BIT(57),
		       0x30000000 + BED_RID * AMDVI_DTE_SIZE);
	bed_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_iv_messages_pass),
		cmocka_unit_test(test_int_ctl),
		cmocka_unit_test(test_illegal_halves),
		cmocka_unit_test(test_small_entries),
		cmocka_unit_test(test_large_entries),
		cmocka_unit_test(test_device_table_not_in_memory),
	};

	return cmocka_run_group_tests_name("amdvi interrupts", tests, NULL, NULL);
}
