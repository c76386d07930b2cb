/* SPDX-License-Identifier: BSD-3-Clause */
/* The command buffer: each command, what is illegal, sizes of ranges, wrap, completion. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bed.h"

#define BAD	   UINT64_C(0x30000000) /* no memory */
#define OP(opcode) ((uint64_t)(opcode) << 60)

static void test_head_follows_tail_around(void **state)
{
	static const enum bed_registers kinds[] = {BED_TRAPPED, BED_POLLED};

	(void)state;
	for (size_t k = 0; k < VI_ARRAY_SIZE(kinds); k++) {
		struct bed b;

		bed_start(&b, kinds[k], 3);
		for (unsigned i = 0; i < 1000; i++) {
			assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
			assert_int_equal(bed_get(&b, BED_POINTER(CMD_HEAD), 8), b.driver.tail);
		}
		bed_finish(&b);
	}
}

/* A full ring at once, as far as a ring can be full. */
static void test_batch(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	for (unsigned i = 0; i < VI_DRIVER_AMDVI_RING / AMDVI_RING_ENTRY - 2; i++)
		vi_driver_amdvi_put_domain(&b.driver, BED_DOMAIN);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	bed_finish(&b);
}

/* Rings of each length, 2^8 to 2^15 commands; a reserved length is taken for the least. */
static void test_all_lengths(void **state)
{
	(void)state;
	for (uint64_t len = 7; len <= 15; len++) {
		uint32_t entries = 1u << vi_max(len, 8);
		uint64_t base;
		struct bed b;

		bed_init(&b, BED_TRAPPED, NULL);
		assert_int_equal(vi_driver_amdvi_start(&b.driver), 0);
		vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, false);
		base = vi_driver_pages_alloc(&b.memory, entries / 256);
		bed_set(&b, AMDVI_CMD_BASE, 8, base | vi_to_field(AMDVI_RING_LEN, len));
		bed_set(&b, BED_POINTER(CMD_HEAD), 4, (entries - 1) * AMDVI_RING_ENTRY);
		bed_set(&b, BED_POINTER(CMD_TAIL), 4, (entries - 1) * AMDVI_RING_ENTRY);
		vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, true);
		for (uint64_t at = (entries - 1) * AMDVI_RING_ENTRY;; at = 0) {
			vi_driver_store64(&b.memory, base + at,
					  OP(AMDVI_COMPLETION_WAIT) | BED_GPA | AMDVI_WAIT_S);
			vi_driver_store64(&b.memory, base + at + 8, at + 1);
			if (at == 0)
				break;
		}
		bed_set(&b, BED_POINTER(CMD_TAIL), 4, AMDVI_RING_ENTRY);
		bed_settle(&b);
		assert_int_equal(bed_get(&b, BED_POINTER(CMD_HEAD), 4), AMDVI_RING_ENTRY);
		assert_int_equal(*(uint64_t *)(void *)(b.ram + BED_GPA), 1);
		bed_finish(&b);
	}
}

struct illegal {
	const char *name;
	uint64_t lo, hi;
};

static const struct illegal illegals[] = {
	{"opcode 0", 0, 0},
	{"opcode 9", OP(9), 0},
	{"opcode 15", OP(15), 0},
	{"prefetch without EFR.PreFSup", OP(AMDVI_PREFETCH_IOMMU_PAGES), 0},
	{"PPR completion without EFR.PPRSup", OP(AMDVI_COMPLETE_PPR_REQUEST), 0},
	{"wait, reserved 52", OP(AMDVI_COMPLETION_WAIT) | VI_BIT(52), 0},
	{"device table entry, reserved 16", OP(AMDVI_INVALIDATE_DEVTAB_ENTRY) | VI_BIT(16), 0},
	{"device table entry, reserved high", OP(AMDVI_INVALIDATE_DEVTAB_ENTRY), 1},
	{"pages, reserved 20", OP(AMDVI_INVALIDATE_IOMMU_PAGES) | VI_BIT(20), 0},
	{"pages, reserved 48", OP(AMDVI_INVALIDATE_IOMMU_PAGES) | VI_BIT(48), 0},
	{"pages, reserved 67", OP(AMDVI_INVALIDATE_IOMMU_PAGES), VI_BIT(3)},
	{"IOTLB pages, reserved 65", OP(AMDVI_INVALIDATE_IOTLB_PAGES), VI_BIT(1)},
	{"IOTLB pages, reserved 70", OP(AMDVI_INVALIDATE_IOTLB_PAGES), VI_BIT(6)},
	{"interrupt table, reserved 16", OP(AMDVI_INVALIDATE_INTERRUPT_TABLE) | VI_BIT(16), 0},
	{"interrupt table, reserved high", OP(AMDVI_INVALIDATE_INTERRUPT_TABLE), VI_BIT(63)},
	{"all, reserved low", OP(AMDVI_INVALIDATE_IOMMU_ALL) | 1, 0},
	{"all, reserved high", OP(AMDVI_INVALIDATE_IOMMU_ALL), 1},
};

/* The buffer stops there, and goes on when the guest has mended the command and enabled it again. */
static void check_illegal(const struct illegal *i, enum bed_registers kind)
{
	struct bed b;
	uint32_t at;

	bed_start(&b, kind, 3);
	b.patience = 1000;
	at = vi_driver_amdvi_put(&b.driver, i->lo, i->hi);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), -EIO);
	assert_false(bed_status(&b) & AMDVI_STATUS_CMD_BUF_RUN);
	assert_int_equal(bed_get(&b, BED_POINTER(CMD_HEAD), 4), at);
	bed_expect_event(&b, bed_event(AMDVI_ILLEGAL_COMMAND_ERROR, 0), b.driver.commands + at);
	assert_int_equal(b.guest_errors, 1);
	vi_driver_store64(&b.memory, b.driver.commands + at + 8, 0);
	vi_driver_store64(&b.memory, b.driver.commands + at, OP(AMDVI_INVALIDATE_IOMMU_ALL));
	bed_settle(&b);
	assert_int_equal(bed_get(&b, BED_POINTER(CMD_HEAD), 4), at);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, false);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, true);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	assert_true(bed_status(&b) & AMDVI_STATUS_CMD_BUF_RUN);
	bed_finish(&b);
}

static void test_illegal_commands_stop_the_buffer(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(illegals); i++) {
		printf("  %s\n", illegals[i].name);
		check_illegal(&illegals[i], BED_TRAPPED);
		check_illegal(&illegals[i], BED_POLLED);
	}
}

static void expect_hardware_error(struct bed *b, uint64_t address)
{
	bed_settle(b);
	assert_false(bed_status(b) & AMDVI_STATUS_CMD_BUF_RUN);
	bed_expect_event(b, bed_event(AMDVI_COMMAND_HARDWARE_ERROR, VI_BIT(57)), address);
}

static void test_buffer_not_in_memory(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, false);
	bed_set(&b, AMDVI_CMD_BASE, 8, BAD);
	vi_driver_amdvi_restart_commands(&b.driver);
	bed_set(&b, BED_POINTER(CMD_TAIL), 4, 32);
	expect_hardware_error(&b, BAD);
	bed_finish(&b);
}

static void test_store_not_in_memory(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_COMPLETION_WAIT) | AMDVI_WAIT_S | BAD, 1);
	vi_driver_amdvi_ring(&b.driver);
	expect_hardware_error(&b, BAD);
	bed_finish(&b);
}

/* S stores all 64 bits, and without S nothing is stored. */
static void test_completion_store(void **state)
{
	uint64_t value = UINT64_C(0x123456789abcdef0);
	uint64_t *word;
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	word = (uint64_t *)(void *)(b.ram + BED_GPA + 8);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_COMPLETION_WAIT) | (BED_GPA + 8), value);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_F), 0);
	assert_int_equal(*word, 0);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_COMPLETION_WAIT) | (BED_GPA + 8) | AMDVI_WAIT_S, value);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	assert_int_equal(*word, value);
	bed_finish(&b);
}

static void check_completion_interrupt(enum bed_registers kind)
{
	struct bed b;

	bed_start(&b, kind, 3);
	bed_set(&b, AMDVI_MSI_DATA, 4, 0x51);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_I), 0);
	assert_true(bed_status(&b) & AMDVI_STATUS_COM_WAIT_INT);
	assert_int_equal(b.msi_count, 0);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_COM_WAIT_INT_EN, true);
	assert_int_equal(b.msi_count, 1);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_I), 0);
	bed_settle(&b);
	assert_int_equal(b.msi_count, 1);
	bed_set(&b, BED_POINTER(STATUS), 4, AMDVI_STATUS_COM_WAIT_INT);
	assert_false(bed_status(&b) & AMDVI_STATUS_COM_WAIT_INT);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_I), 0);
	assert_int_equal(b.msi_count, 2);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, AMDVI_WAIT_I), 0);
	/* On a polled page the driver may have cleared it unseen. */
	for (unsigned i = 0; i < 5000; i++)
		viommu_process(b.viommu, 16);
	assert_int_equal(b.msi_count, kind == BED_POLLED ? 3 : 2);
	bed_finish(&b);
}

static void test_completion_interrupt(void **state)
{
	(void)state;
	check_completion_interrupt(BED_TRAPPED);
	check_completion_interrupt(BED_POLLED);
}

/* What was mapped stays in the IOTLB until a command says otherwise, and no longer. */
static void test_pages_are_stale_until_told(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4 * 4096, BED_RW);
	for (unsigned i = 0; i < 4; i++)
		bed_expect_read(&b, BED_IOVA + i * 4096, 0);
	assert_int_equal(vi_driver_unmap(&b.table, BED_IOVA, 4 * 4096), 4 * 4096);
	bed_expect_read(&b, BED_IOVA, 0);
	assert_int_equal(vi_driver_amdvi_flush_domain(&b.driver, BED_DOMAIN + 1), 0);
	bed_expect_read(&b, BED_IOVA, 0);
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA + 4096, BED_IOVA + 8191),
			 0);
	bed_expect_read(&b, BED_IOVA, 0);
	bed_expect_read(&b, BED_IOVA + 4096, -EACCES);
	bed_expect_read(&b, BED_IOVA + 8192, 0);
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA + 8192,
						     BED_IOVA + 4 * 4096 - 1),
			 0);
	bed_expect_read(&b, BED_IOVA, 0);
	bed_expect_read(&b, BED_IOVA + 8192, -EACCES);
	bed_expect_read(&b, BED_IOVA + 3 * 4096, -EACCES);
	assert_int_equal(vi_driver_amdvi_flush_domain(&b.driver, BED_DOMAIN), 0);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

/* Each size that S and the address can say: the pages at its ends go, those beside them stay. */
static void test_every_size(void **state)
{
	(void)state;
	for (unsigned lg2 = 12; lg2 <= 40; lg2++) {
		uint64_t size = VI_BIT(lg2), first = VI_BIT(41), last = first + size - 1;
		const uint64_t at[] = {first - 4096, first, last, last + 1};
		struct bed b;

		bed_start(&b, BED_TRAPPED, 4);
		for (unsigned i = 0; i < 4; i++) {
			(void)vi_driver_map(&b.table, vi_align_down(at[i], 4096), BED_GPA, 4096, BED_RW);
			bed_expect_read(&b, at[i], 0);
		}
		for (unsigned i = 0; i < 4; i++)
			(void)vi_driver_unmap(&b.table, vi_align_down(at[i], 4096), 4096);
		assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, first, last), 0);
		bed_expect_read(&b, first, -EACCES);
		bed_expect_read(&b, last, -EACCES);
		if (lg2 < 18) { /* a larger range drops the domain */
			bed_expect_read(&b, first - 4096, 0);
			bed_expect_read(&b, last + 1, 0);
		}
		bed_finish(&b);
	}
}

/* Addresses without a bit that is 0, and with bit 63 alone: all of the domain. */
static void test_all_of_a_domain(void **state)
{
	static const uint64_t all[] = {VI_BITS(62, 12), VI_BITS(63, 12)};
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	for (size_t i = 0; i < VI_ARRAY_SIZE(all); i++) {
		bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
		bed_expect_read(&b, BED_IOVA, 0);
		assert_int_equal(vi_driver_unmap(&b.table, BED_IOVA, 4096), 4096);
		vi_driver_amdvi_put(&b.driver,
				    OP(AMDVI_INVALIDATE_IOMMU_PAGES) |
					    vi_to_field(AMDVI_PAGES_DOMAIN, BED_DOMAIN),
				    all[i] | AMDVI_PAGES_S);
		assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
		bed_expect_read(&b, BED_IOVA, -EACCES);
	}
	bed_finish(&b);
}

static void test_all_of_the_unit(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	bed_expect_read(&b, BED_IOVA, 0);
	vi_driver_amdvi_set_entry(&b.driver, BED_RID, AMDVI_DTE_V | AMDVI_DTE_TV, 0);
	assert_int_equal(vi_driver_unmap(&b.table, BED_IOVA, 4096), 4096);
	bed_expect_read(&b, BED_IOVA, 0);
	assert_int_equal(vi_driver_amdvi_flush_all(&b.driver), 0);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

/* A device that is not there does not answer; with a limit that is told, without one it is not waited for. */
static void test_iotlb_pages_and_timeout(void **state)
{
	struct bed b;
	uint32_t at;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_INVALIDATE_IOTLB_PAGES) | BED_RID,
			    AMDVI_PAGES_ALL | AMDVI_PAGES_S);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_INVALIDATE_IOTLB_PAGES) | 0x123, BED_IOVA);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	bed_expect_no_event(&b);
	vi_driver_amdvi_control(&b.driver, vi_to_field(AMDVI_CONTROL_INV_TIMEOUT, 3), true);
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_INVALIDATE_IOTLB_PAGES) | BED_RID, BED_IOVA);
	at = vi_driver_amdvi_put(&b.driver, OP(AMDVI_INVALIDATE_IOTLB_PAGES) | 0x123, BED_IOVA);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	bed_expect_event(&b, bed_event(AMDVI_IOTLB_INV_TIMEOUT, 0) | 0x123, b.driver.commands + at);
	bed_finish(&b);
}

/* Completion is seen after an access that began before is over, and other commands are done meanwhile. */
static void test_completion_waits_for_accesses(void **state)
{
	struct viommu_span span;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, BED_IOVA, 1, VIOMMU_READ, &span), 0);
	assert_int_equal(vi_driver_unmap(&b.table, BED_IOVA, 4096), 4096);
	b.patience = 50;
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA, BED_IOVA + 4095),
			 -ETIMEDOUT);
	assert_true(viommu_process(b.viommu, 16) & VIOMMU_PROCESS_PENDING);
	/* The guest puts another one in its place: the one that was fetched counts. */
	vi_driver_store64(&b.memory, b.driver.commands + (b.driver.tail - 16), 0);
	viommu_exit(b.thread);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bed_finish(&b);
}

static void revoke(struct viommu_pin *pin)
{
	bool *asked = pin->opaque;

	*asked = true;
}

static void test_completion_waits_for_pins(void **state)
{
	bool asked = false;
	struct viommu_pin pin = {.revoke = revoke, .opaque = &asked};
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 8192, BED_RW);
	assert_int_equal(viommu_pin(b.thread, b.device, BED_IOVA, 4096, VIOMMU_WRITE, &pin), 0);
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA + 4096, BED_IOVA + 8191),
			 0);
	assert_false(asked);
	/* An interrupt table is no pin's concern. */
	vi_driver_amdvi_put(&b.driver, OP(AMDVI_INVALIDATE_INTERRUPT_TABLE) | BED_RID, 0);
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
	assert_false(asked);
	b.patience = 50;
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA, BED_IOVA + 4095),
			 -ETIMEDOUT);
	assert_true(asked);
	viommu_unpin(&pin);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	bed_finish(&b);
}

/* Translation that is switched off is off when the next completion is seen. */
static void test_completion_waits_for_what_registers_changed(void **state)
{
	struct viommu_span span;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, BED_IOVA, 1, VIOMMU_READ | VIOMMU_QUIET, &span),
			 -EACCES);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_IOMMU_EN, false);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_IOMMU_EN, true);
	b.patience = 50;
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), -ETIMEDOUT);
	viommu_exit(b.thread);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	bed_finish(&b);
}

/* A buffer that is disabled in the middle of a wait never completes it; the next one waits for the same. */
static void test_disable_while_waiting(void **state)
{
	struct viommu_span span;
	uint64_t before;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	before = b.driver.sequence;
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, BED_IOVA, 1, VIOMMU_READ, &span), 0);
	b.patience = 50;
	assert_int_equal(vi_driver_amdvi_flush_range(&b.driver, BED_DOMAIN, BED_IOVA, BED_IOVA + 4095),
			 -ETIMEDOUT);
	vi_driver_amdvi_restart_commands(&b.driver);
	b.patience = 50;
	assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), -ETIMEDOUT);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), before);
	viommu_exit(b.thread);
	bed_settle(&b);
	assert_int_equal(vi_driver_load64(&b.memory, b.driver.status), b.driver.sequence);
	bed_finish(&b);
}

/* A tail that is no multiple of an entry, or beyond the ring, keeps nobody from working. */
static void test_hostile_tail(void **state)
{
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	for (unsigned i = 0; i < VI_DRIVER_AMDVI_RING / AMDVI_RING_ENTRY; i++)
		vi_driver_amdvi_put_domain(&b.driver, BED_DOMAIN);
	bed_set(&b, BED_POINTER(CMD_TAIL), 4, 0x7fff0);
	for (unsigned i = 0; i < 10; i++) {
		int ret = viommu_process(b.viommu, 16);

		assert_true(ret & VIOMMU_PROCESS_PENDING);
		assert_true((ret & ~VIOMMU_PROCESS_PENDING) <= 17);
	}
	bed_expect_read(&b, BED_IOVA, -EACCES);
	vi_driver_amdvi_control(&b.driver, AMDVI_CONTROL_CMD_BUF_EN, false);
	assert_int_equal(viommu_process(b.viommu, 16) & VIOMMU_PROCESS_PENDING, 0);
	bed_finish(&b);
}

/* While the buffer runs its head is the unit's. */
static void test_head_is_read_only_while_running(void **state)
{
	static const enum bed_registers kinds[] = {BED_TRAPPED, BED_POLLED};

	(void)state;
	for (size_t k = 0; k < VI_ARRAY_SIZE(kinds); k++) {
		struct bed b;

		bed_start(&b, kinds[k], 3);
		bed_set(&b, BED_POINTER(CMD_HEAD), 4, 0x100);
		bed_set(&b, BED_POINTER(EVT_TAIL), 4, 0x100);
		assert_int_equal(bed_get(&b, BED_POINTER(CMD_HEAD), 4), b.driver.tail);
		assert_int_equal(bed_get(&b, BED_POINTER(EVT_TAIL), 4), 0);
		assert_int_equal(vi_driver_amdvi_wait(&b.driver, 0), 0);
		bed_finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head_follows_tail_around),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_all_lengths),
		cmocka_unit_test(test_illegal_commands_stop_the_buffer),
		cmocka_unit_test(test_buffer_not_in_memory),
		cmocka_unit_test(test_store_not_in_memory),
		cmocka_unit_test(test_completion_store),
		cmocka_unit_test(test_completion_interrupt),
		cmocka_unit_test(test_pages_are_stale_until_told),
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_all_of_a_domain),
		cmocka_unit_test(test_all_of_the_unit),
		cmocka_unit_test(test_iotlb_pages_and_timeout),
		cmocka_unit_test(test_completion_waits_for_accesses),
		cmocka_unit_test(test_completion_waits_for_pins),
		cmocka_unit_test(test_completion_waits_for_what_registers_changed),
		cmocka_unit_test(test_disable_while_waiting),
		cmocka_unit_test(test_hostile_tail),
		cmocka_unit_test(test_head_is_read_only_while_running),
	};

	return cmocka_run_group_tests_name("amdvi commands", tests, NULL, NULL);
}
