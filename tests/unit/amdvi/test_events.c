/* SPDX-License-Identifier: BSD-3-Clause */
/* The event log: each code with its flags, what keeps events from it, overflow and restart. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

#define VALID (AMDVI_DTE_V | AMDVI_DTE_TV)
#define BOTH  (AMDVI_DTE_IR | AMDVI_DTE_IW)
#define PR    AMDVI_EVENT_PR
#define PE    AMDVI_EVENT_PE
#define RZ    AMDVI_EVENT_RZ
#define RW    AMDVI_EVENT_RW
#define BAD   UINT64_C(0x30000000) /* no memory */

/* `pte` spoils the entry of level 1 for BED_IOVA, `directory` that of level 2. */
struct fault {
	const char *name;
	uint64_t word0, word1; /* of the device table entry, beside valid ones */
	uint64_t pte, directory;
	bool no_table, no_valid, write;
	uint64_t iova;
	unsigned code;
	uint64_t flags;
	bool without_domain;
	uint64_t address; /* 0: iova */
};

#define PTE	    (AMDVI_PTE_PR | AMDVI_PTE_IR | AMDVI_PTE_IW)
#define NEXT(level) ((uint64_t)(level) << 9)

static const struct fault faults[] = {
	{.name = "page not present, read", .iova = BED_IOVA + 4096, .code = AMDVI_IO_PAGE_FAULT},
	{.name = "page not present, write",
	 .iova = BED_IOVA + 4096,
	 .write = true,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = RW},
	{.name = "entry grants no reading",
	 .pte = AMDVI_PTE_PR | AMDVI_PTE_IW | BED_GPA,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | PE},
	{.name = "entry grants no writing",
	 .pte = AMDVI_PTE_PR | AMDVI_PTE_IR | BED_GPA,
	 .write = true,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | PE | RW},
	{.name = "directory grants no writing",
	 .directory = AMDVI_PTE_PR | AMDVI_PTE_IR,
	 .write = true,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | PE | RW},
	{.name = "entry with reserved bits",
	 .pte = PTE | VI_BIT(52) | BED_GPA,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | RZ},
	{.name = "next level not below",
	 .pte = PTE | NEXT(1) | BED_GPA,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR},
	{.name = "page size not of the level",
	 .pte = PTE | NEXT(7) | VI_BITS(29, 12),
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR},
	{.name = "address beyond the levels", .iova = VI_BIT(39), .code = AMDVI_IO_PAGE_FAULT},
	{.name = "page leads to messages",
	 .pte = PTE | 0xfee00000,
	 .write = true,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | PE | RW},
	{.name = "table not in memory",
	 .directory = PTE | NEXT(1) | BAD,
	 .write = true,
	 .code = AMDVI_PAGE_TAB_HARDWARE_ERROR,
	 .flags = VI_BIT(57) | RW,
	 .address = BAD},
	{.name = "translation not valid", .no_valid = true, .code = AMDVI_IO_PAGE_FAULT},
	{.name = "mode 0 without rights",
	 .no_table = true,
	 .word0 = VALID | AMDVI_DTE_IW,
	 .code = AMDVI_IO_PAGE_FAULT,
	 .flags = PR | PE},
	{.name = "mode 7",
	 .no_table = true,
	 .word0 = VALID | BOTH | NEXT(7) | BED_GPA,
	 .write = true,
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RW,
	 .without_domain = true},
	{.name = "reserved bit 2",
	 .word0 = VI_BIT(2),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
	{.name = "HAD without EFR.HASup",
	 .word0 = VI_BIT(7),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
	{.name = "PPR without EFR.EPHSup",
	 .word0 = VI_BIT(52),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
	{.name = "reserved bit 63",
	 .word0 = VI_BIT(63),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
	{.name = "reserved bit 106",
	 .word1 = VI_BIT(42),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
	{.name = "IoCtl 3",
	 .word1 = VI_BITS(36, 35),
	 .code = AMDVI_ILLEGAL_DEV_TABLE_ENTRY,
	 .flags = RZ,
	 .without_domain = true},
};

static void spoil(struct bed *b, const struct fault *f)
{
	uint64_t word0 = f->word0;

	bed_map(b, BED_IOVA, BED_GPA, 4096, BED_RW);
	if (f->pte)
		vi_driver_store64(&b->memory, vi_driver_entry_gpa(&b->table, BED_IOVA, 1), f->pte);
	if (f->directory) {
		uint64_t at = vi_driver_entry_gpa(&b->table, BED_IOVA, 2),
			 old = vi_driver_load64(&b->memory, at);

		vi_driver_store64(&b->memory, at,
				  f->directory & AMDVI_PTE_NEXT_LEVEL
					  ? f->directory
					  : f->directory | (old & VI_BITS(51, 9)));
	}
	if (!f->no_table && !f->no_valid)
		word0 |= VALID | BOTH | b->table.table.root | vi_to_field(AMDVI_DTE_MODE, 3);
	vi_driver_amdvi_set_entry(&b->driver, BED_RID, word0 | AMDVI_DTE_V, f->word1 | BED_DOMAIN);
	assert_int_equal(vi_driver_amdvi_flush_device(&b->driver, BED_RID), 0);
}

static void check(const struct fault *f, enum bed_registers kind)
{
	uint64_t iova = f->iova ? f->iova : BED_IOVA + 8;
	struct bed b;

	bed_start(&b, kind, 3);
	spoil(&b, f);
	if (f->write)
		bed_expect_write(&b, iova, -EACCES);
	else
		bed_expect_read(&b, iova, -EACCES);
	bed_expect_event(&b,
			 bed_event(f->code, f->flags) | BED_RID |
				 (f->without_domain ? 0 : vi_to_field(AMDVI_EVENT_DOMAIN, BED_DOMAIN)),
			 f->address ? f->address : iova);
	assert_true(bed_status(&b) & AMDVI_STATUS_EVENT_INT);
	assert_int_equal(b.guest_errors, 1);
	bed_finish(&b);
}

static void test_each_refusal_has_its_event(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(faults); i++) {
		printf("  %s\n", faults[i].name);
		check(&faults[i], BED_TRAPPED);
		check(&faults[i], BED_POLLED);
	}
}

/* QEMU's log has the device and function without the bus. */
static void test_event_has_the_bus_number(void **state)
{
	struct viommu_requester *far;
	struct bed b;
	uint8_t byte;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	assert_int_equal(viommu_requester_add(b.viommu, 0xc1a5, &far), 0);
	assert_int_equal(viommu_read(b.thread, far, BED_IOVA, &byte, 1), -EACCES);
	/* And it is beyond the table, which has entries for bus 0. */
	bed_expect_event(&b, bed_event(AMDVI_IO_PAGE_FAULT, 0) | 0xc1a5, BED_IOVA);
	bed_finish(&b);
}

static void test_device_table_not_in_memory(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_set(&b, AMDVI_DEV_TAB_BASE, 8, BAD | 1);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	bed_expect_write(&b, BED_IOVA, -EACCES);
	bed_expect_event(&b, bed_event(AMDVI_DEV_TAB_HARDWARE_ERROR, VI_BIT(57) | RW) | BED_RID,
			 BAD + BED_RID * AMDVI_DTE_SIZE);
	bed_finish(&b);
}

static void test_requests_of_ats(void **state)
{
	struct viommu_span span;
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, BED_IOVA, 1, VIOMMU_READ | VIOMMU_TRANSLATED,
					  &span),
			 -EACCES);
	viommu_exit(b.thread);
	bed_expect_event(&b, bed_event(AMDVI_INVALID_DEVICE_REQUEST, VI_BIT(57)) | BED_RID, BED_IOVA);
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, BED_IOVA, 1,
					  VIOMMU_READ | VIOMMU_TRANSLATION_REQUEST, &span),
			 -EACCES);
	viommu_exit(b.thread);
	bed_expect_event(&b, bed_event(AMDVI_INVALID_DEVICE_REQUEST, AMDVI_EVENT_TR) | BED_RID, BED_IOVA);
	bed_finish(&b);
}

/* Without guest translation an access with a PASID has no address space. */
static void test_pasid(void **state)
{
	struct viommu_requester *r;
	struct bed b;
	uint8_t byte;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	assert_int_equal(viommu_requester_pasid_add(b.device, 0x54321, &r), 0);
	assert_int_equal(viommu_read(b.thread, r, BED_IOVA, &byte, 1), -EACCES);
	bed_expect_event(&b,
			 bed_event(AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_GN) | BED_RID |
				 vi_to_field(AMDVI_EVENT_PASID_HI, 5) |
				 vi_to_field(AMDVI_EVENT_DOMAIN, 0x4321),
			 BED_IOVA);
	bed_finish(&b);
}

static void set_entry(struct bed *b, uint64_t word1)
{
	vi_driver_amdvi_set_entry(&b->driver, BED_RID,
				  VALID | BOTH | b->table.table.root | vi_to_field(AMDVI_DTE_MODE, 3),
				  BED_DOMAIN | word1);
	assert_int_equal(vi_driver_amdvi_flush_device(&b->driver, BED_RID), 0);
}

static void expect_page_fault(struct bed *b, uint64_t iova)
{
	bed_expect_event(b,
			 bed_event(AMDVI_IO_PAGE_FAULT, 0) | BED_RID |
				 vi_to_field(AMDVI_EVENT_DOMAIN, BED_DOMAIN),
			 iova);
}

/* SA: page faults of the device are told to nobody, other events are. */
static void test_suppress_all(void **state)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	set_entry(&b, AMDVI_DTE_SA);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_expect_no_event(&b);
	assert_int_equal(viommu_requester_describe(b.device, &info), 0);
	assert_true(info.faults_silent);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	vi_driver_store64(&b.memory, vi_driver_entry_gpa(&b.table, BED_IOVA, 2), PTE | NEXT(1) | BAD);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_expect_event(&b,
			 bed_event(AMDVI_PAGE_TAB_HARDWARE_ERROR, VI_BIT(57)) | BED_RID |
				 vi_to_field(AMDVI_EVENT_DOMAIN, BED_DOMAIN),
			 BAD);
	bed_finish(&b);
}

/* SE: the first one is told, until the entry is invalidated. */
static void test_suppress_further_ones(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	set_entry(&b, AMDVI_DTE_SE);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	expect_page_fault(&b, BED_IOVA);
	bed_expect_read(&b, BED_IOVA + 4096, -EACCES);
	bed_expect_no_event(&b);
	assert_int_equal(vi_driver_amdvi_flush_device(&b.driver, BED_RID), 0);
	bed_expect_read(&b, BED_IOVA + 4096, -EACCES);
	expect_page_fault(&b, BED_IOVA + 4096);
	assert_int_equal(vi_driver_amdvi_flush_all(&b.driver), 0);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	expect_page_fault(&b, BED_IOVA);
	set_entry(&b, 0);
	for (unsigned i = 0; i < 2; i++) {
		bed_expect_read(&b, BED_IOVA, -EACCES);
		expect_page_fault(&b, BED_IOVA);
	}
	bed_finish(&b);
}

static unsigned count_events(struct bed *b)
{
	struct vi_driver_amdvi_event event;
	unsigned n = 0;

	while (vi_driver_amdvi_next_event(&b->driver, &event)) {
		assert_int_equal(vi_field(event.lo, AMDVI_EVENT_CODE), AMDVI_IO_PAGE_FAULT);
		n++;
	}
	return n;
}

static void fault_often(struct bed *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bed_expect_read(b, BED_IOVA, -EACCES);
		bed_settle(b);
	}
}

/* A full log stops and says so, and goes on after the driver has restarted it. */
static void check_overflow(enum bed_registers kind)
{
	unsigned most = VI_DRIVER_AMDVI_RING / AMDVI_RING_ENTRY - 1;
	struct bed b;

	bed_start(&b, kind, 3);
	bed_set(&b, AMDVI_MSI_ADDRESS, 4, 0xfee00000);
	bed_set(&b, AMDVI_MSI_DATA, 4, 0x41);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_EVENT_INT_EN, true);
	fault_often(&b, most);
	assert_int_equal(bed_status(&b) & (AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_LOG_RUN),
			 AMDVI_STATUS_EVENT_LOG_RUN);
	assert_int_equal(b.msi_count, 1);
	fault_often(&b, 3);
	assert_int_equal(bed_status(&b) & (AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_LOG_RUN),
			 AMDVI_STATUS_EVENT_OVERFLOW);
	assert_int_equal(b.msi_count, 2);
	assert_int_equal(bed_counter(&b, "faults_recorded"), most);
	assert_int_equal(bed_counter(&b, "faults_lost"), 3);
	assert_int_equal(count_events(&b), most);
	fault_often(&b, 1);
	assert_int_equal(count_events(&b), 0);
	vi_driver_amdvi_restart_events(&b.driver);
	assert_int_equal(bed_status(&b) & (AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_LOG_RUN),
			 AMDVI_STATUS_EVENT_LOG_RUN);
	fault_often(&b, 2);
	assert_int_equal(count_events(&b), 2);
	bed_finish(&b);
}

static void test_overflow_and_restart(void **state)
{
	(void)state;
	check_overflow(BED_TRAPPED);
	check_overflow(BED_POLLED);
}

static void test_log_goes_round(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	for (unsigned i = 0; i < 1000; i++) {
		bed_expect_read(&b, BED_IOVA + i * 8, -EACCES);
		expect_page_fault(&b, BED_IOVA + i * 8);
	}
	bed_finish(&b);
}

/* One message while the bit stands; another one after it was cleared. */
static void test_interrupt(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_set(&b, AMDVI_MSI_ADDRESS, 4, 0xfee01000);
	bed_set(&b, AMDVI_MSI_DATA, 4, 0x41);
	fault_often(&b, 1);
	assert_int_equal(b.msi_count, 0);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_EVENT_INT_EN, true); /* it waits for that */
	assert_int_equal(b.msi_count, 1);
	assert_int_equal(b.msi[0].rid, 0);
	assert_int_equal(b.msi[0].address, 0xfee01000);
	assert_int_equal(b.msi[0].data, 0x41);
	fault_often(&b, 1);
	assert_int_equal(b.msi_count, 1);
	bed_set(&b, BED_POINTER(STATUS), 4, AMDVI_STATUS_EVENT_INT);
	assert_false(bed_status(&b) & AMDVI_STATUS_EVENT_INT);
	fault_often(&b, 1);
	assert_int_equal(b.msi_count, 2);
	bed_finish(&b);
}

/* A driver whose clear of the status was not seen, and who waits for the next message, gets it. */
static void test_polled_interrupt_comes_again(void **state)
{
	uint32_t *status;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_EVENT_INT_EN, true);
	fault_often(&b, 1);
	assert_int_equal(b.msi_count, 1);
	assert_int_equal(count_events(&b), 1);
	/* The driver writes back what it reads, between two looks: no trace. */
	status = (uint32_t *)(void *)((uint8_t *)b.page + AMDVI_STATUS);
	__atomic_store_n(status, __atomic_load_n(status, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	fault_often(&b, 1);
	assert_int_equal(b.msi_count, 1);
	for (unsigned i = 0; i < 5000 && b.msi_count < 2; i++)
		viommu_process(b.viommu, 16);
	assert_int_equal(b.msi_count, 2);
	assert_int_equal(count_events(&b), 1);
	for (unsigned i = 0; i < 5000; i++)
		viommu_process(b.viommu, 16);
	assert_int_equal(b.msi_count, 2);
	bed_finish(&b);
}

/* IntCapXT: destination, mode and vector of the message; without a vector it waits for one. */
static void test_x2apic_interrupt(void **state)
{
	struct bed b;

	(void)state;
	bed_init(&b, BED_TRAPPED, &(struct viommu_amdvi_options){.x2apic = true});
	assert_int_equal(vi_driver_amdvi_start(&b.driver), 0);
	assert_true(b.driver.efr & AMDVI_EFR_XT_SUP);
	vi_driver_amdvi_control(&b.driver,
				AMDVI_CONTROL_INT_CAP_XT_EN | AMDVI_CONTROL_EVENT_INT_EN |
					AMDVI_CONTROL_COM_WAIT_INT_EN,
				true);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_I), 0);
	assert_int_equal(b.msi_count, 0);
	bed_set(&b, AMDVI_XT_INTERRUPT, 8,
		vi_to_field(AMDVI_XT_DEST_LO, 0x345678) | vi_to_field(AMDVI_XT_DEST_HI, 0x12) |
			vi_to_field(AMDVI_XT_VECTOR, 0x31) | AMDVI_XT_DEST_MODE);
	assert_int_equal(b.msi_count, 1);
	assert_int_equal(b.msi[0].address, UINT64_C(0x12345600fee78004));
	assert_int_equal(b.msi[0].data, 0x31);
	bed_finish(&b);
	bed_init(&b, BED_TRAPPED, NULL);
	assert_false(b.driver.efr & AMDVI_EFR_XT_SUP);
	bed_set(&b, AMDVI_CONTROL, 8, AMDVI_CONTROL_INT_CAP_XT_EN | AMDVI_CONTROL_XT_EN);
	assert_int_equal(bed_get(&b, AMDVI_CONTROL, 8), 0);
	bed_finish(&b);
}

/* A log that is not memory loses what it is given, and nothing else happens. */
static void test_log_not_in_memory(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_EVENT_LOG_EN, false);
	bed_set(&b, AMDVI_EVT_BASE, 8, BAD);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_EVENT_LOG_EN, true);
	fault_often(&b, 2);
	assert_int_equal(bed_counter(&b, "faults_lost"), 2);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	bed_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_refusal_has_its_event),
		cmocka_unit_test(test_event_has_the_bus_number),
		cmocka_unit_test(test_device_table_not_in_memory),
		cmocka_unit_test(test_requests_of_ats),
		cmocka_unit_test(test_pasid),
		cmocka_unit_test(test_suppress_all),
		cmocka_unit_test(test_suppress_further_ones),
		cmocka_unit_test(test_overflow_and_restart),
		cmocka_unit_test(test_log_goes_round),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_polled_interrupt_comes_again),
		cmocka_unit_test(test_x2apic_interrupt),
		cmocka_unit_test(test_log_not_in_memory),
	};

	return cmocka_run_group_tests_name("amdvi events", tests, NULL, NULL);
}
