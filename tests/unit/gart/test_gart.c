/* SPDX-License-Identifier: BSD-3-Clause */
/* The GART, driven by the guest's half, and what it is not: protection. */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "core/unit.h"
#include "driver/gart.h"
#include "machine.h"
#include "spec/gart.h"

#define RAM_SIZE   (UINT64_C(8) << 20)
#define HIGH	   (UINT64_C(6) << 32) /* where the other half of memory is */
#define TABLES	   (UINT64_C(4) << 20)
#define TABLE_SIZE (UINT64_C(1) << 20)
#define APERTURE   UINT64_C(0x40000000)
#define SIZE_LG2   25
#define LAST	   (APERTURE + (UINT64_C(1) << SIZE_LG2) - 1)
#define PAGE	   UINT64_C(4096)
#define RID	   0x0088
#define BUSY	   0x1234567890abcdefull

struct bed {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *low, *high;
	struct vi_driver_memory memory;
	struct vi_driver_gart gart;
	char told[128]; /* the last error of the guest */
};

static uint64_t read_register(void *arg, uint64_t offset, unsigned size)
{
	struct bed *b = arg;
	uint64_t value = 0;

	assert_int_equal(viommu_regs_read(b->viommu, offset, size, &value), 0);
	return value;
}

static void write_register(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct bed *b = arg;

	assert_int_equal(viommu_regs_write(b->viommu, offset, size, value), 0);
}

static bool relax(void *arg)
{
	struct bed *b = arg;

	viommu_process(b->viommu, 64);
	return true;
}

static void on_guest_error(void *opaque, const struct viommu_guest_event *event)
{
	struct bed *b = opaque;

	snprintf(b->told, sizeof(b->told), "%s", event->text);
}

static void make_unit(struct bed *b)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops), .guest_error = on_guest_error};
	const struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_GART};

	assert_int_equal(viommu_create(&ops, b, &options, &b->viommu), 0);
	assert_int_equal(viommu_mem_add(b->viommu, 0, RAM_SIZE, b->low, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(
		viommu_mem_add(b->viommu, HIGH, RAM_SIZE, b->high, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	assert_int_equal(viommu_requester_add(b->viommu, RID, &b->device), 0);
	assert_int_equal(viommu_thread_create(b->viommu, &b->thread), 0);
}

static void begin_off(struct bed *b)
{
	*b = (struct bed){.low = calloc(1, RAM_SIZE), .high = calloc(1, RAM_SIZE)};
	assert_true(b->low && b->high);
	make_unit(b);
	vi_driver_memory_init(&b->memory, TABLES, b->low + TABLES, TABLE_SIZE);
}

static void begin(struct bed *b)
{
	const struct vi_driver_regs regs = {read_register, write_register, relax, b};

	begin_off(b);
	assert_int_equal(vi_driver_gart_start(&b->gart, &regs, &b->memory, APERTURE, SIZE_LG2), 0);
}

static void end(struct bed *b)
{
	viommu_destroy(b->viommu);
	free(b->low);
	free(b->high);
}

static uint64_t map(struct bed *b, uint64_t gpa, uint64_t size)
{
	uint64_t iova = 0;

	assert_int_equal(vi_driver_gart_map(&b->gart, gpa, size, &iova), 0);
	return iova;
}

static void put(struct bed *b, uint64_t iova, uint64_t value, int result)
{
	assert_int_equal(viommu_write(b->thread, b->device, iova, &value, sizeof(value)), result);
}

static uint64_t word(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void settle(struct bed *b)
{
	while (viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING)
		continue;
}

static uint64_t entry_gpa(const struct bed *b, uint64_t iova)
{
	return b->gart.table + (iova - APERTURE) / PAGE * GART_PTE_SIZE;
}

static uint32_t cache_control(struct bed *b)
{
	return (uint32_t)read_register(b, GART_CACHE_CONTROL, 4);
}

/* ---------------------------------------------------------------- what it does */

static void test_device_with_32_bits_reaches_all_memory(void **state)
{
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH + 5 * PAGE, 3 * PAGE);
	assert_in_range(iova, APERTURE, LAST);
	assert_true(iova + 3 * PAGE - 1 <= UINT32_MAX);
	put(&b, iova + 2 * PAGE + 8, BUSY, 0);
	assert_true(word(b.high + 7 * PAGE + 8) == BUSY);
	/* Over the edge of two pages, in one access. */
	put(&b, iova + PAGE - 4, BUSY, 0);
	assert_true(word(b.high + 6 * PAGE - 4) == BUSY);
	end(&b);
}

static void test_elsewhere_addresses_stay(void **state)
{
	const uint64_t outside[] = {0, PAGE, RAM_SIZE - 8, HIGH, HIGH + RAM_SIZE - 8};
	struct bed b;

	(void)state;
	begin(&b);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(outside); i++) {
		const uint8_t *at = outside[i] >= HIGH ? b.high + (outside[i] - HIGH) : b.low + outside[i];

		if (outside[i] - TABLES < TABLE_SIZE)
			continue;
		put(&b, outside[i], BUSY + i, 0);
		assert_true(word(at) == BUSY + i);
	}
	put(&b, APERTURE - 8, 1, -EFAULT); /* no memory there, and nobody's fault */
	put(&b, LAST + 1, 1, -EFAULT);
	assert_string_equal(b.told, "");
	/* And what is cached of them covers nothing of the aperture. */
	put(&b, map(&b, HIGH + PAGE, PAGE), BUSY, 0);
	assert_true(word(b.high + PAGE) == BUSY);
	end(&b);
}

static void test_switched_off_it_is_not_there(void **state)
{
	const uint32_t off[] = {0, GART_CONTROL_EN | GART_CONTROL_DIS_IO,
				GART_CONTROL_EN | GART_CONTROL_SIZE};
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH, PAGE);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(off); i++) {
		write_register(&b, GART_CONTROL, 4, GART_CONTROL_EN);
		put(&b, iova, BUSY + i, 0);
		write_register(&b, GART_CONTROL, 4, off[i]);
		put(&b, iova, 1, -EFAULT);
		assert_true(word(b.high) == BUSY + i);
	}
	end(&b);
}

static void test_cached_until_the_flush(void **state)
{
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH, PAGE);
	put(&b, iova, 1, 0);
	vi_driver_store32(&b.memory, entry_gpa(&b, iova), (uint32_t)(2 * PAGE) | GART_PTE_VALID);
	put(&b, iova, 2, 0);
	assert_true(word(b.high) == 2);
	assert_int_equal(vi_driver_gart_flush(&b.gart), 0);
	put(&b, iova, 3, 0);
	assert_true(word(b.high) == 2 && word(b.low + 2 * PAGE) == 3);
	end(&b);
}

static void test_flush_waits_for_what_is_in_flight(void **state)
{
	struct viommu_span span;
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH, PAGE);
	put(&b, iova, 1, 0);
	vi_driver_store32(&b.memory, entry_gpa(&b, iova), (uint32_t)(2 * PAGE) | GART_PTE_VALID);
	viommu_enter(b.thread);
	assert_int_equal(viommu_translate(b.thread, b.device, iova, 8, VIOMMU_WRITE, &span), 0);
	for (unsigned again = 0; again < 2; again++) {
		write_register(&b, GART_CACHE_CONTROL, 4, GART_CACHE_INV);
		assert_int_equal(viommu_process(b.viommu, 64), VIOMMU_PROCESS_PENDING);
		assert_true(cache_control(&b) & GART_CACHE_INV);
	}
	viommu_exit(b.thread);
	settle(&b);
	assert_false(cache_control(&b) & GART_CACHE_INV);
	/* Now nothing is left of what was cached, though the section kept its context from being freed. */
	put(&b, iova, 2, 0);
	assert_true(word(b.high) == 1 && word(b.low + 2 * PAGE) == 2);
	end(&b);
}

/* --------------------------------------------------------------- what is wrong */

static void expect_refusal(struct bed *b, uint64_t iova, const char *words)
{
	write_register(b, GART_CACHE_CONTROL, 4, GART_CACHE_PTE_ERR);
	assert_int_equal(cache_control(b), 0);
	put(b, iova, 1, -EACCES);
	settle(b);
	assert_non_null(strstr(b->told, words));
	assert_int_equal(cache_control(b), GART_CACHE_PTE_ERR);
}

static void test_what_is_wrong_is_told(void **state)
{
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH, 2 * PAGE);
	assert_int_equal(vi_driver_gart_unmap(&b.gart, iova, PAGE), 0);
	expect_refusal(&b, iova, "not valid");
	put(&b, iova + PAGE, 1, 0);
	vi_driver_store32(&b.memory, entry_gpa(&b, iova), UINT32_C(0xfee00000) | GART_PTE_VALID);
	expect_refusal(&b, iova, "interrupt messages");
	write_register(&b, GART_TABLE_BASE, 4, GART_TABLE_BASE_ADDR);
	expect_refusal(&b, iova, "not in memory");
	expect_refusal(&b, VI_BIT(46), "host address width");
	end(&b);
}

static void test_driver_refuses(void **state)
{
	const struct vi_driver_regs regs = {read_register, write_register, relax, NULL};
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	assert_int_equal(vi_driver_gart_map(&b.gart, VI_BIT(40) - PAGE, 2 * PAGE, &iova), -EINVAL);
	assert_int_equal(vi_driver_gart_map(&b.gart, 8, PAGE, &iova), -EINVAL);
	assert_int_equal(vi_driver_gart_map(&b.gart, 0, VI_BIT(SIZE_LG2) + PAGE, &iova), -ENOSPC);
	iova = map(&b, HIGH, VI_BIT(SIZE_LG2) - PAGE);
	assert_int_equal(vi_driver_gart_map(&b.gart, 0, 2 * PAGE, &iova), -ENOSPC);
	assert_int_equal(map(&b, 0, PAGE), LAST + 1 - PAGE);
	put(&b, LAST - 7, BUSY, 0); /* the last page is one, too */
	assert_true(word(b.low + PAGE - 8) == BUSY);
	put(&b, APERTURE, BUSY, 0);
	assert_true(word(b.high) == BUSY);
	assert_int_equal(vi_driver_gart_unmap(&b.gart, APERTURE + 3 * PAGE, 2 * PAGE), 0);
	assert_int_equal(vi_driver_gart_unmap(&b.gart, LAST + 1, PAGE), -EINVAL);
	assert_int_equal(vi_driver_gart_unmap(&b.gart, LAST + 1 - PAGE, 2 * PAGE), -EINVAL);
	assert_int_equal(map(&b, 0, 2 * PAGE), APERTURE + 3 * PAGE);
	assert_int_equal(vi_driver_gart_start(&b.gart, &regs, &b.memory, APERTURE, 24), -EINVAL);
	assert_int_equal(vi_driver_gart_start(&b.gart, &regs, &b.memory, APERTURE, 32), -EINVAL);
	assert_int_equal(vi_driver_gart_start(&b.gart, &regs, &b.memory, APERTURE + PAGE, 25), -EINVAL);
	assert_int_equal(vi_driver_gart_start(&b.gart, &regs, &b.memory, VI_BIT(32), 25), -EINVAL);
	assert_int_equal(vi_driver_gart_start(&b.gart, &regs, &b.memory, APERTURE, 30), -ENOMEM);
	end(&b);
}

/* --------------------------------------------------------------- what is shown */

static void test_registers(void **state)
{
	struct bed b;
	uint8_t *page;

	(void)state;
	begin_off(&b);
	assert_int_equal(viommu_regs_size(b.viommu), 4096);
	for (unsigned offset = 0; offset < 4096; offset += 4)
		write_register(&b, offset, 4, UINT32_MAX);
	settle(&b);
	assert_int_equal(read_register(&b, GART_CONTROL, 4), 0x7f);
	assert_int_equal(read_register(&b, GART_APERTURE_BASE, 4), 0x7fff);
	assert_int_equal(read_register(&b, GART_TABLE_BASE, 4), 0xfffffff0);
	assert_int_equal(read_register(&b, GART_CACHE_CONTROL, 4), 0);
	assert_int_equal(read_register(&b, 0, 4) | read_register(&b, 0xa0, 4), 0);
	write_register(&b, GART_TABLE_BASE, 8, 0x50);
	assert_int_equal(read_register(&b, GART_TABLE_BASE, 8), 0x50);
	viommu_reset(b.viommu);
	assert_int_equal(read_register(&b, GART_CONTROL, 8) | read_register(&b, GART_TABLE_BASE, 8), 0);
	page = aligned_alloc(4096, 4096);
	assert_int_equal(viommu_regs_share(b.viommu, 0, page), -ENOTSUP);
	free(page);
	end(&b);
}

struct told {
	struct {
		uint64_t first, last, gpa;
	} ranges[8];
	unsigned count;
};

static int note(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct told *t = arg;

	assert_int_equal(access, VIOMMU_READ | VIOMMU_WRITE);
	assert_in_range(t->count, 0, VI_ARRAY_SIZE(t->ranges) - 1);
	t->ranges[t->count].first = first;
	t->ranges[t->count].last = last;
	t->ranges[t->count++].gpa = gpa;
	return 0;
}

static void test_described_and_reached(void **state)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct told t = {.count = 0};
	struct bed b;
	uint64_t iova;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH + PAGE, 2 * PAGE);
	assert_int_equal(viommu_requester_describe(b.device, &info), 0);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_APERTURE);
	assert_int_equal(info.aperture_first, APERTURE);
	assert_int_equal(info.aperture_last, LAST);
	assert_int_equal(info.table, b.gart.table);
	assert_int_equal(viommu_reach(b.device, 1000, note, &t), -E2BIG); /* 8192 entries */
	t.count = 0;
	assert_int_equal(viommu_reach(b.device, 10000, note, &t), 0);
	assert_int_equal(t.count, 3);
	assert_true(t.ranges[0].first == 0 && t.ranges[0].last == RAM_SIZE - 1 && t.ranges[0].gpa == 0);
	assert_true(t.ranges[1].first == iova && t.ranges[1].last == iova + 2 * PAGE - 1 &&
		    t.ranges[1].gpa == HIGH + PAGE);
	assert_true(t.ranges[2].first == HIGH && t.ranges[2].last == HIGH + RAM_SIZE - 1 &&
		    t.ranges[2].gpa == HIGH);
	write_register(&b, GART_CONTROL, 4, 0);
	assert_int_equal(viommu_requester_describe(b.device, &info), 0);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_OFF);
	end(&b);
}

static void test_saved_and_restored(void **state)
{
	uint8_t bytes[256];
	struct bed b;
	uint64_t iova;
	int64_t size;

	(void)state;
	begin(&b);
	iova = map(&b, HIGH, PAGE);
	expect_refusal(&b, iova + PAGE, "not valid");
	size = viommu_save(b.viommu, bytes, sizeof(bytes));
	assert_in_range(size, 1, sizeof(bytes));
	viommu_destroy(b.viommu);
	make_unit(&b);
	put(&b, iova, BUSY, -EFAULT);
	bytes[size / 2] ^= 1;
	assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)size), -EBADMSG);
	bytes[size / 2] ^= 1;
	assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)size), 0);
	put(&b, iova, BUSY, 0);
	assert_true(word(b.high) == BUSY);
	assert_int_equal(cache_control(&b), GART_CACHE_PTE_ERR);
	end(&b);
}

/* With a right checksum: a number that no register can hold, and one too few. */
static void test_forged_states_are_refused(void **state)
{
	uint64_t numbers[4] = {htole64(GART_CONTROL_EN), 0, 0, 0};
	const uint8_t *bytes = (const uint8_t *)numbers;
	struct bed b;

	(void)state;
	begin_off(&b);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(numbers); i++) {
		uint64_t kept = numbers[i];

		numbers[i] = htole64(VI_BIT(32));
		assert_int_equal(vi_gart_model.restore(b.viommu->model_state, bytes, sizeof(numbers)),
				 -EBADMSG);
		numbers[i] = kept;
	}
	assert_int_equal(vi_gart_model.restore(b.viommu->model_state, bytes, sizeof(numbers) - 8), -EBADMSG);
	assert_int_equal(read_register(&b, GART_CONTROL, 4), 0);
	assert_int_equal(vi_gart_model.restore(b.viommu->model_state, bytes, sizeof(numbers)), 0);
	assert_int_equal(read_register(&b, GART_CONTROL, 4), GART_CONTROL_EN);
	end(&b);
}

/* ----------------------------------------------------------------- the contrast */

#define SECRET_GPA (UINT64_C(3) << 20)

/* What a device that was given one page reads from where another's secret lies. */
static int read_the_secret(struct viommu_thread *t, struct viommu_requester *device, uint64_t *ret_secret)
{
	*ret_secret = 0;
	return viommu_read(t, device, SECRET_GPA, ret_secret, sizeof(*ret_secret));
}

static void test_same_rogue_access_behind_vtd_and_gart(void **state)
{
	const uint64_t secret = BUSY;
	struct machine m;
	struct bed b;
	uint64_t got;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, PAGE, 2 * PAGE, PAGE, VI_PGTABLE_READ | VI_PGTABLE_WRITE);
	memcpy(m.ram + SECRET_GPA, &secret, sizeof(secret));
	assert_int_equal(read_the_secret(m.thread, m.device, &got), -EACCES);
	assert_true(got == 0);
	machine_finish(&m);

	begin(&b);
	map(&b, 2 * PAGE, PAGE);
	memcpy(b.low + SECRET_GPA, &secret, sizeof(secret));
	assert_int_equal(read_the_secret(b.thread, b.device, &got), 0);
	assert_true(got == secret);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device_with_32_bits_reaches_all_memory),
		cmocka_unit_test(test_elsewhere_addresses_stay),
		cmocka_unit_test(test_switched_off_it_is_not_there),
		cmocka_unit_test(test_cached_until_the_flush),
		cmocka_unit_test(test_flush_waits_for_what_is_in_flight),
		cmocka_unit_test(test_what_is_wrong_is_told),
		cmocka_unit_test(test_driver_refuses),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_described_and_reached),
		cmocka_unit_test(test_saved_and_restored),
		cmocka_unit_test(test_forged_states_are_refused),
		cmocka_unit_test(test_same_rogue_access_behind_vtd_and_gart),
	};

	return cmocka_run_group_tests_name("gart", tests, NULL, NULL);
}
