/* SPDX-License-Identifier: BSD-3-Clause */
/* The invalidation queue: wrap, wait with status and interrupt, every bad descriptor, tails, recovery. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x100000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

static void test_head_follows_tail_around(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
		assert_int_equal(machine_get64(&m, VTD_IQH), m.driver.tail);
	}
	machine_finish(&m);
}

static void test_all_queue_sizes(void **state)
{
	(void)state;
	for (unsigned lg2 = 0; lg2 <= 7; lg2++) {
		struct machine m;

		machine_init(&m, POLLED, NULL);
		assert_int_equal(vi_driver_vtd_enable_queue(&m.driver, lg2), 0);
		for (unsigned i = 0; i < (256u << lg2) + 3; i++)
			assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
		assert_int_equal(machine_get64(&m, VTD_IQH), 3 * VTD_QI_SIZE);
		machine_finish(&m);
	}
}

/* A full ring of descriptors at once, as far as a ring can be full. */
static void test_batch(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	vi_driver_vtd_wait(&m.driver, 0);
	for (unsigned i = 0; i < 254; i++) {
		uint64_t at = m.driver.queue + m.driver.tail;

		vi_driver_store64(&m.memory, at, VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, 1));
		vi_driver_store64(&m.memory, at + 8, 0);
		m.driver.tail = (m.driver.tail + VTD_QI_SIZE) % m.driver.queue_size;
	}
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	machine_finish(&m);
}

static void test_wait_without_status(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | vi_to_field(VTD_QI_WAIT_DATA, 0x1234), m.driver.status);
	machine_settle(&m);
	assert_int_equal(machine_get64(&m, VTD_IQH), m.driver.tail);
	assert_int_not_equal(vi_driver_load32(&m.memory, m.driver.status), 0x1234);
	machine_finish(&m);
}

static void check_wait_interrupt(enum machine_registers kind)
{
	struct machine m;

	machine_start(&m, kind, NULL, true);
	machine_set32(&m, VTD_IEDATA, 0x41);
	machine_set32(&m, VTD_IEADDR, 0xfee00000);
	/* Masked: pending. */
	assert_int_equal(vi_driver_vtd_wait(&m.driver, VTD_QI_WAIT_IF), 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 0);
	assert_int_equal(machine_get32(&m, VTD_ICS) & 0xff, VTD_ICS_IWC);
	assert_int_equal(machine_get32(&m, VTD_IECTL), VTD_ECTL_IM | VTD_ECTL_IP);
	machine_set32(&m, VTD_IECTL, 0);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(m.msi[0].data, 0x41);
	/* While IWC stands there is no other one. */
	assert_int_equal(vi_driver_vtd_wait(&m.driver, VTD_QI_WAIT_IF), 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 1);
	machine_set32(&m, VTD_ICS, VTD_ICS_IWC);
	assert_int_equal(machine_get32(&m, VTD_ICS), 0);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, VTD_QI_WAIT_IF), 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 2);
	/* Clearing IWC takes a pending one away. */
	machine_set32(&m, VTD_ICS, VTD_ICS_IWC);
	machine_set32(&m, VTD_IECTL, VTD_ECTL_IM);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, VTD_QI_WAIT_IF), 0);
	machine_set32(&m, VTD_ICS, VTD_ICS_IWC);
	machine_set32(&m, VTD_IECTL, 0);
	assert_int_equal(m.msi_count, 2);
	machine_finish(&m);
}

static void test_wait_interrupt(void **state)
{
	(void)state;
	check_wait_interrupt(TRAPPED);
	check_wait_interrupt(POLLED);
}

struct bad {
	const char *name;
	uint64_t lo, hi;
	unsigned iqei;
};

#define CC    (VTD_QI_CONTEXT_CACHE | (1u << 4))
#define IOTLB (VTD_QI_IOTLB | (1u << 4))

static const struct bad bads[] = {
	{"type 0", 0, 0, VTD_IQEI_TYPE},
	{"device-TLB without ECAP.DT", VTD_QI_DEVICE_TLB, 0, VTD_IQEI_TYPE},
	{"interrupt entry cache without ECAP.IR", VTD_QI_INTERRUPT_ENTRY_CACHE, 0, VTD_IQEI_TYPE},
	{"PASID types", 6, 0, VTD_IQEI_TYPE},
	{"type 15", 15, 0, VTD_IQEI_TYPE},
	{"high type bits", VTD_QI_WAIT | VI_BIT(9), 0, VTD_IQEI_TYPE},
	{"context cache granularity 0", VTD_QI_CONTEXT_CACHE, 0, VTD_IQEI_RESERVED},
	{"context cache reserved 6", CC | VI_BIT(6), 0, VTD_IQEI_RESERVED},
	{"context cache reserved 12", CC | VI_BIT(12), 0, VTD_IQEI_RESERVED},
	{"context cache reserved 50", CC | VI_BIT(50), 0, VTD_IQEI_RESERVED},
	{"context cache reserved high", CC, 1, VTD_IQEI_RESERVED},
	{"IOTLB granularity 0", VTD_QI_IOTLB, 0, VTD_IQEI_RESERVED},
	{"IOTLB reserved 8", IOTLB | VI_BIT(8), 0, VTD_IQEI_RESERVED},
	{"IOTLB reserved 32", IOTLB | VI_BIT(32), 0, VTD_IQEI_RESERVED},
	{"IOTLB reserved high", IOTLB, VI_BIT(7), VTD_IQEI_RESERVED},
	{"IOTLB mask beyond MAMV", VTD_QI_IOTLB | 3 << 4, 19, VTD_IQEI_RESERVED},
	{"wait reserved 7", VTD_QI_WAIT | VI_BIT(7), 0, VTD_IQEI_RESERVED},
	{"wait reserved 12", VTD_QI_WAIT | VI_BIT(12), 0, VTD_IQEI_RESERVED},
	{"wait status not aligned", VTD_QI_WAIT | VTD_QI_WAIT_SW, GPA + 1, VTD_IQEI_RESERVED},
	{"wait reserved high without a status", VTD_QI_WAIT, 2, VTD_IQEI_RESERVED},
};

/* The queue stops there; the guest mends the descriptor, clears IQE, and it goes on. */
static void check_bad(const struct bad *b, enum machine_registers kind)
{
	struct machine m;
	uint32_t at;

	machine_start(&m, kind, NULL, true);
	machine_set32(&m, VTD_FEDATA, 0x31);
	machine_set32(&m, VTD_FEADDR, 0xfee00000);
	machine_set32(&m, VTD_FECTL, 0);
	at = vi_driver_vtd_submit(&m.driver, b->lo, b->hi);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), -EIO);
	assert_int_equal(machine_get32(&m, VTD_FSTS) & 0xff, VTD_FSTS_IQE);
	assert_int_equal(machine_get64(&m, VTD_IQH), at * VTD_QI_SIZE);
	assert_int_equal(vi_field(machine_get64(&m, VTD_IQERCD), VTD_IQERCD_IQEI), b->iqei);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(m.guest_errors, 1);
	vi_driver_store64(&m.memory, m.driver.queue + at * VTD_QI_SIZE + 8, 0);
	vi_driver_store64(&m.memory, m.driver.queue + at * VTD_QI_SIZE, CC);
	machine_settle(&m);
	assert_int_equal(machine_get64(&m, VTD_IQH), at * VTD_QI_SIZE);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_IQE);
	assert_int_equal(vi_driver_load32(&m.memory, m.driver.status), m.driver.sequence);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	assert_int_equal(machine_get64(&m, VTD_IQERCD), 0);
	machine_finish(&m);
}

static void test_bad_descriptors(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(bads); i++) {
		printf("  %s\n", bads[i].name);
		check_bad(&bads[i], TRAPPED);
		check_bad(&bads[i], POLLED);
	}
}

static void expect_stop(struct machine *m, unsigned iqei)
{
	machine_settle(m);
	assert_int_equal(machine_get32(m, VTD_FSTS) & 0xff, VTD_FSTS_IQE);
	assert_int_equal(vi_field(machine_get64(m, VTD_IQERCD), VTD_IQERCD_IQEI), iqei);
	assert_int_equal(machine_counter(m, "queue_errors"), 1);
}

static void test_tail_beyond_queue(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_set64(&m, VTD_IQT, 4096);
	expect_stop(&m, VTD_IQEI_TAIL);
	/* A good tail and IQE cleared: on it goes. */
	machine_set64(&m, VTD_IQT, m.driver.tail);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_IQE);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	machine_finish(&m);
}

static void test_queue_in_a_hole(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	machine_set64(&m, VTD_IQA, MACHINE_RAM_SIZE);
	machine_set32(&m, VTD_GCMD, VTD_GCMD_QIE);
	machine_set64(&m, VTD_IQT, VTD_QI_SIZE);
	expect_stop(&m, VTD_IQEI_FETCH);
	machine_finish(&m);
}

/* Without scalable mode IQA.DW is a reserved bit: it reads as 0, and descriptors have 128 bits. */
static void test_wide_descriptors_need_scalable_mode(void **state)
{
	static const enum machine_registers kinds[] = {TRAPPED, POLLED};

	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++) {
		struct machine m;

		machine_start(&m, kinds[i], NULL, true);
		assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_QIE, false), 0);
		machine_set64(&m, VTD_IQT, 0);
		machine_set64(&m, VTD_IQA, m.driver.queue | VTD_IQA_DW);
		assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_QIE, true), 0);
		m.driver.tail = 0;
		assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
		assert_int_equal(machine_get64(&m, VTD_IQH), VTD_QI_SIZE);
		for (unsigned look = 0; look < 4096 / 4; look++)
			viommu_process(m.viommu, 1);
		assert_int_equal(machine_get64(&m, VTD_IQA), m.driver.queue);
		machine_finish(&m);
	}
}

/* RTADDR.TTM that is not offered: nothing is fetched from then on. */
static void test_translation_mode_that_is_not_offered(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_set64(&m, VTD_RTADDR, m.driver.root | vi_to_field(VTD_RTADDR_TTM, 1));
	assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_SRTP, true), 0);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), -EIO);
	expect_stop(&m, VTD_IQEI_TTM);
	machine_finish(&m);
}

/* Off and on again begins at 0. */
static void test_disable_and_enable(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	assert_int_equal(vi_driver_vtd_disable_queue(&m.driver), 0);
	assert_int_equal(machine_get64(&m, VTD_IQH), 0);
	assert_int_equal(vi_driver_vtd_enable_queue(&m.driver, 1), 0);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	assert_int_equal(machine_get64(&m, VTD_IQH), VTD_QI_SIZE);
	machine_finish(&m);
}

/* A status address where no memory is hurts only the guest that asked for it. */
static void test_status_in_a_hole(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_set32(&m, VTD_IECTL, 0);
	vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | VTD_QI_WAIT_SW | VTD_QI_WAIT_IF, MACHINE_RAM_SIZE);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(m.guest_errors, 1); /* and the host hears of it */
	machine_finish(&m);
}

/* Nor is the interrupt range memory, whatever the VMM registered there. */
static void test_status_in_the_interrupt_range(void **state)
{
	uint8_t *host = calloc(1, 0x100000);
	struct machine m;

	(void)state;
	assert_non_null(host);
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, VI_MESSAGE_FIRST, 0x100000, host,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | VTD_QI_WAIT_SW | vi_to_field(VTD_QI_WAIT_DATA, 0x4031),
			     VI_MESSAGE_FIRST + 0x1000);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	assert_int_equal(host[0x1000], 0);
	assert_int_equal(m.guest_errors, 1);
	machine_finish(&m);
	free(host);
}

/* A queue that never runs dry: each call does its budget and no more, and can be switched off. */
static void test_endless_queue(void **state)
{
	struct machine m;
	int ret;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	for (unsigned i = 0; i < 256; i++) {
		vi_driver_store64(&m.memory, m.driver.queue + i * VTD_QI_SIZE, CC);
		vi_driver_store64(&m.memory, m.driver.queue + i * VTD_QI_SIZE + 8, 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t head = machine_get64(&m, VTD_IQH);

		vi_driver_vtd_write64(&m.driver, VTD_IQT, (head + 4080) % 4096);
		ret = viommu_process(m.viommu, 10);
		assert_true(ret & VIOMMU_PROCESS_PENDING);
		assert_true((ret & ~VIOMMU_PROCESS_PENDING) <= 11);
	}
	assert_int_equal(vi_driver_vtd_disable_queue(&m.driver), 0);
	machine_finish(&m);
}

/*
 * While a wait descriptor waits, the guest puts another in its place: the one
 * that was fetched counts, and the unit neither stops nor breaks.
 */
static void test_wait_is_fetched_once(void **state)
{
	struct viommu_pin pin = {.revoke = NULL};
	struct machine m;
	uint32_t at;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA, 64, VIOMMU_READ, &pin), 0);
	m.patience = 20;
	at = m.driver.tail + VTD_QI_SIZE;
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), -ETIMEDOUT);
	vi_driver_store64(&m.memory, m.driver.queue + at, IOTLB);
	vi_driver_store64(&m.memory, m.driver.queue + at + 8, 0);
	assert_true(viommu_process(m.viommu, 16) & VIOMMU_PROCESS_PENDING);
	assert_int_not_equal(vi_driver_load32(&m.memory, m.driver.status), m.driver.sequence);
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_int_equal(vi_driver_load32(&m.memory, m.driver.status), m.driver.sequence);
	assert_int_equal(machine_get64(&m, VTD_IQH), m.driver.tail);
	m.patience = 0;
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	machine_finish(&m);
}

/* The guest clears IWC and posts the next interrupting wait before anybody looks: it gets its interrupt. */
static void test_polled_wait_interrupts_in_a_row(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	vi_driver_vtd_write32(&m.driver, VTD_IECTL, 0);
	machine_settle(&m);
	vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 1);
	for (unsigned i = 2; i < 10; i++) {
		vi_driver_vtd_write32(&m.driver, VTD_ICS, VTD_ICS_IWC);
		vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
		machine_settle(&m);
		assert_int_equal(m.msi_count, i);
	}
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head_follows_tail_around),
		cmocka_unit_test(test_all_queue_sizes),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_wait_without_status),
		cmocka_unit_test(test_wait_interrupt),
		cmocka_unit_test(test_bad_descriptors),
		cmocka_unit_test(test_tail_beyond_queue),
		cmocka_unit_test(test_queue_in_a_hole),
		cmocka_unit_test(test_wide_descriptors_need_scalable_mode),
		cmocka_unit_test(test_translation_mode_that_is_not_offered),
		cmocka_unit_test(test_disable_and_enable),
		cmocka_unit_test(test_status_in_a_hole),
		cmocka_unit_test(test_status_in_the_interrupt_range),
		cmocka_unit_test(test_endless_queue),
		cmocka_unit_test(test_wait_is_fetched_once),
		cmocka_unit_test(test_polled_wait_interrupts_in_a_row),
	};

	return cmocka_run_group_tests_name("vtd queue", tests, NULL, NULL);
}
