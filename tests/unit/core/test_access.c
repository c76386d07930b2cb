/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies by IOVA: page by page, single words, interrupt messages, memory through callbacks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

/* Pages scattered in memory, contiguous to the device; each offset and length against a plain copy. */
static void test_copies_across_pages(void **state)
{
	static uint8_t plain[8 * 4096], got[8 * 4096];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 8; i++)
		machine_map(&m, IOVA + i * 4096u, GPA + (i * 5 % 8) * 8192u, 4096, RW);
	srandom(1);
	for (unsigned turn = 0; turn < 2000; turn++) {
		size_t offset = (size_t)random() % sizeof(plain),
		       len = 1 + (size_t)random() % (sizeof(plain) - offset);

		for (size_t i = 0; i < len; i++)
			plain[offset + i] = (uint8_t)random();
		assert_int_equal(machine_write(&m, IOVA + offset, plain + offset, len), 0);
		assert_int_equal(machine_read(&m, IOVA, got, sizeof(got)), 0);
		assert_memory_equal(got, plain, sizeof(plain));
	}
	for (unsigned i = 0; i < 8; i++)
		assert_memory_equal(m.ram + GPA + (i * 5 % 8) * 8192u, plain + i * 4096u, 4096);
	machine_finish(&m);
}

static void test_words(void **state)
{
	uint64_t value = UINT64_C(0x1122334455667788), got = 0;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 8192, RW);
	for (size_t len = 1; len <= 8; len++) {
		for (size_t at = 4088; at < 4096 + 8; at++) {
			memset(m.ram + GPA, 0, 8192);
			assert_int_equal(machine_write(&m, IOVA + at, &value, len), 0);
			assert_memory_equal(m.ram + GPA + at, &value, len);
			assert_int_equal(m.ram[GPA + at + len], 0);
			assert_int_equal(m.ram[GPA + at - 1], 0);
			got = 0;
			assert_int_equal(machine_read(&m, IOVA + at, &got, len), 0);
			assert_memory_equal(&got, &value, len);
		}
	}
	machine_finish(&m);
}

static void test_misuse(void **state)
{
	struct viommu_span span;
	uint8_t buf[16];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(machine_read(&m, UINT64_MAX - 3, buf, 8), -EINVAL);
	assert_int_equal(machine_write(&m, UINT64_MAX, buf, 2), -EINVAL);
	assert_int_equal(machine_write(&m, IOVA, buf, 0), 0);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 0, VIOMMU_READ, &span), -EINVAL);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1, VIOMMU_QUIET, &span), -EINVAL);
	viommu_exit(m.thread);
	machine_expect_fault(&m, 0, 0, false);
	machine_finish(&m);
}

/* Interrupt messages go past translation, in every state of the unit; nothing else may touch that range. */
static void test_interrupt_range(void **state)
{
	uint32_t data = 0x4021;
	uint8_t buf[8] = {0};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	for (unsigned translating = 0; translating < 2; translating++) {
		m.msi_count = 0;
		assert_int_equal(machine_write(&m, 0xfee01000, &data, 4), 0);
		assert_int_equal(m.msi_count, 1);
		assert_int_equal(m.msi[0].rid, MACHINE_RID);
		assert_int_equal(m.msi[0].address, 0xfee01000);
		assert_int_equal(m.msi[0].data, 0x4021);
		assert_int_equal(machine_write(&m, 0xfee01000, buf, 8), -EFAULT);
		assert_int_equal(machine_write(&m, 0xfee01002, buf, 4), -EFAULT);
		assert_int_equal(machine_read(&m, 0xfee00000, buf, 4), -EFAULT);
		assert_int_equal(machine_read(&m, 0xfeefffff, buf, 1), -EFAULT);
		assert_int_equal(m.msi_count, 1);
		if (!translating)
			assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	}
	machine_finish(&m);
}

static void test_memory_through_callbacks(void **state)
{
	uint8_t out[4096], in[4096];
	struct viommu_span span;
	struct machine m;

	(void)state;
	memset(out, 0x77, sizeof(out));
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, MACHINE_FAR, 8192, RW);
	assert_int_equal(machine_write(&m, IOVA + 100, out, sizeof(out)), 0);
	assert_int_equal(atomic_load(&m.callback_writes), 2);
	assert_memory_equal(m.far + 100, out, sizeof(out));
	assert_int_equal(machine_read(&m, IOVA + 100, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 4096, VIOMMU_READ, &span), 0);
	assert_null(span.host);
	assert_int_equal(span.gpa, MACHINE_FAR);
	viommu_exit(m.thread);
	/* Tables there are out of reach without table_read. */
	vi_driver_store64(&m.memory, vi_driver_entry_gpa(&m.table, IOVA, 2),
			  MACHINE_FAR | VTD_SS_R | VTD_SS_W);
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_expect_fault(&m, VTD_FR_TABLE_ACCESS, IOVA, false);
	machine_finish(&m);
}

/* A mapping to a hole is no fault of the IOMMU; memory that is read-only stays so. */
static void test_holes_and_read_only_memory(void **state)
{
	static _Alignas(4096) uint8_t rom[4096] = {1, 2, 3};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, UINT64_C(0xf0000000), sizeof(rom), rom, VIOMMU_MEM_READ),
			 0);
	machine_map(&m, IOVA, UINT64_C(0xf0000000), 8192, RW);
	for (unsigned i = 0; i < 2; i++) {
		machine_expect_read(&m, IOVA, 0);
		machine_expect_write(&m, IOVA, -EFAULT);
		machine_expect_read(&m, IOVA + 4096, -EFAULT);
	}
	assert_int_equal(rom[0], 1);
	machine_expect_fault(&m, 0, 0, false);
	machine_finish(&m);
}

static void set_far(struct machine *m, unsigned flags)
{
	assert_true(viommu_mem_remove(m->viommu, MACHINE_FAR, sizeof(m->far)) >= 0);
	assert_int_equal(viommu_mem_add(m->viommu, MACHINE_FAR, sizeof(m->far), NULL, flags), 0);
}

/* A region without the right, in each way that leads to it: nothing translates; walked; cached; by callbacks.
 */
static void test_rights_of_regions(void **state)
{
	static _Alignas(4096) uint8_t rom[4096] = {1};
	uint64_t gpa = UINT64_C(0x80000000);
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	assert_int_equal(viommu_mem_add(m.viommu, gpa, sizeof(rom), rom, VIOMMU_MEM_READ), 0);
	set_far(&m, VIOMMU_MEM_READ);
	for (unsigned translated = 0; translated < 2; translated++) {
		for (unsigned i = 0; i < 3; i++) {
			machine_expect_write(&m, gpa, -EFAULT);
			machine_expect_read(&m, gpa, 0);
			machine_expect_write(&m, MACHINE_FAR, -EFAULT);
			machine_expect_read(&m, MACHINE_FAR, 0);
		}
		if (translated)
			break;
		assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
		assert_int_equal(vi_driver_vtd_table_init(&m.driver, &m.table, 4), 0);
		/* A large page that is more than the region has no host address of its own. */
		machine_map(&m, gpa, gpa, 2u << 20, RW);
		machine_map(&m, MACHINE_FAR, MACHINE_FAR, 4096, RW);
		assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, &m.table), 0);
	}
	assert_int_equal(rom[0], 1);
	assert_int_equal(atomic_load(&m.callback_writes), 0);
	set_far(&m, VIOMMU_MEM_WRITE);
	machine_expect_write(&m, MACHINE_FAR, 0);
	machine_expect_read(&m, MACHINE_FAR, -EFAULT);
	machine_finish(&m);
}

/* A 2 MiB page over several regions and a hole, at addresses of the host that continue nowhere. */
static void test_large_page_over_regions(void **state)
{
	static _Alignas(4096) uint8_t a[4096], b[8192];
	uint64_t base = UINT64_C(0x80000000);
	uint8_t buf[8192];
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, base, sizeof(a), a, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	assert_int_equal(
		viommu_mem_add(m.viommu, base + 4096, sizeof(b), b, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	machine_map(&m, IOVA, base, 2u << 20, RW);
	memset(buf, 9, sizeof(buf));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(machine_write(&m, IOVA + 2048, buf, sizeof(buf)), 0);
		assert_int_equal(a[2047], 0);
		assert_int_equal(a[4095], 9);
		assert_int_equal(b[0], 9);
		assert_int_equal(b[6143], 9);
		assert_int_equal(b[6144], 0);
		assert_int_equal(machine_write(&m, IOVA + 8192, buf, sizeof(buf)), -EFAULT);
		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
	}
	machine_finish(&m);
}

/* More pages than the IOTLB holds, twice round, still right; then a working set that fits only hits. */
static void test_iotlb_capacity(void **state)
{
	struct viommu_options o = {.iotlb_lg2 = 6};
	uint64_t misses;
	struct machine m;
	uint32_t value;

	(void)state;
	machine_start(&m, TRAPPED, &o, true);
	for (uint32_t i = 0; i < 1024; i++) {
		machine_map(&m, IOVA + i * UINT64_C(4096), GPA + i * UINT64_C(4096), 4096, RW);
		memcpy(m.ram + GPA + i * UINT64_C(4096), &i, 4);
	}
	for (unsigned turn = 0; turn < 2; turn++) {
		for (uint32_t i = 0; i < 1024; i++) {
			assert_int_equal(machine_read(&m, IOVA + i * UINT64_C(4096), &value, 4), 0);
			assert_int_equal(value, i);
		}
	}
	for (unsigned turn = 0; turn < 3; turn++) {
		misses = machine_counter(&m, "iotlb_misses");
		for (uint32_t i = 0; i < 32; i++)
			machine_expect_read(&m, IOVA + i * UINT64_C(4096), 0);
	}
	assert_int_equal(machine_counter(&m, "iotlb_misses"), misses);
	machine_finish(&m);
}

/* A word over the edge of two regions, which need not be aligned: every byte goes where it belongs. */
static void test_words_over_region_edges(void **state)
{
	uint64_t base = UINT64_C(0x80000000), value = UINT64_C(0x1122334455667788), got;
	static uint8_t a[16], b[16];
	struct machine m;

	(void)state;
	for (unsigned edge = 1; edge < 8; edge++) {
		machine_init(&m, TRAPPED, NULL);
		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		assert_int_equal(viommu_mem_add(m.viommu, base, edge, a, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
				 0);
		assert_int_equal(
			viommu_mem_add(m.viommu, base + edge, 16, b, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
		assert_int_equal(machine_write(&m, base, &value, 8), 0);
		assert_memory_equal(a, &value, edge);
		assert_memory_equal(b, (uint8_t *)&value + edge, 8 - edge);
		got = 0;
		assert_int_equal(machine_read(&m, base, &got, 8), 0);
		assert_int_equal(got, value);
		machine_finish(&m);
	}
}

/* A large page over the interrupt range does not lead a device's data through it. */
static void test_interrupt_range_ends_an_access(void **state)
{
	static uint8_t buf[8192];
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, UINT64_C(0xc0000000), 0, UINT64_C(1) << 30, RW);
	for (unsigned i = 0; i < 2; i++) { /* walked, then cached */
		viommu_enter(m.thread);
		assert_int_equal(viommu_translate(m.thread, m.device, 0xc0000000, 64, VIOMMU_READ, &span), 0);
		viommu_exit(m.thread);
	}
	assert_int_equal(viommu_mem_add(m.viommu, UINT64_C(0x3edff000), 8192, buf,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	for (unsigned i = 0; i < 2; i++) {
		viommu_enter(m.thread);
		assert_int_equal(viommu_translate(m.thread, m.device, 0xfedff000, 8192, VIOMMU_READ, &span),
				 0);
		assert_int_equal(span.len, 4096);
		viommu_exit(m.thread);
		assert_int_equal(machine_write(&m, 0xfedff000, buf, sizeof(buf)), -EFAULT);
	}
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies_across_pages),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_interrupt_range),
		cmocka_unit_test(test_memory_through_callbacks),
		cmocka_unit_test(test_holes_and_read_only_memory),
		cmocka_unit_test(test_rights_of_regions),
		cmocka_unit_test(test_large_page_over_regions),
		cmocka_unit_test(test_iotlb_capacity),
		cmocka_unit_test(test_words_over_region_edges),
		cmocka_unit_test(test_interrupt_range_ends_an_access),
	};

	return cmocka_run_group_tests_name("core access", tests, NULL, NULL);
}
