/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved states: a unit that moves between any two steps of a driver goes on as
 * if nothing had happened, and a state that is damaged, foreign or forged is refused, or is one that the
 * guest could have made.
 */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32.h"
#include "bed.h"

#define MSI 0xfee01000

static void step_start(struct bed *b)
{
	assert_int_equal(vi_driver_amdvi_start(&b->driver), 0);
}

static void step_attach(struct bed *b)
{
	assert_int_equal(vi_driver_amdvi_table_init(&b->driver, &b->table, 3), 0);
	assert_int_equal(vi_driver_amdvi_attach(&b->driver, BED_RID, BED_DOMAIN, &b->table), 0);
}

static void step_map(struct bed *b)
{
	bed_map(b, BED_IOVA, BED_GPA, 8192, BED_RW);
	bed_expect_at(b, BED_IOVA, BED_GPA);
}

static void step_exclusion(struct bed *b)
{
	bed_set(b, AMDVI_EXCL_LIMIT, 8, BED_GPA);
	bed_set(b, AMDVI_EXCL_BASE, 8, BED_GPA | AMDVI_EXCL_EN | AMDVI_EXCL_ALLOW);
	bed_settle(b);
	bed_expect_at(b, BED_GPA, BED_GPA);
}

static void step_fault(struct bed *b)
{
	bed_expect_at(b, BED_GPA, BED_GPA);
	bed_set(b, AMDVI_MSI_ADDRESS, 4, MSI);
	bed_expect_read(b, BED_IOVA - 4096, -EACCES);
	bed_settle(b);
	assert_int_equal(b->msi_count, 0);
}

static void step_enable_interrupt(struct bed *b)
{
	vi_driver_amdvi_control(&b->driver, AMDVI_CONTROL_EVENT_INT_EN, true);
	assert_int_equal(b->msi_count, 1);
	assert_int_equal(b->msi[0].address, MSI);
}

static void step_take_event(struct bed *b)
{
	bed_expect_event(b,
			 bed_event(AMDVI_IO_PAGE_FAULT, 0) | BED_RID |
				 vi_to_field(AMDVI_EVENT_DOMAIN, BED_DOMAIN),
			 BED_IOVA - 4096);
	assert_true(bed_status(b) & AMDVI_STATUS_EVENT_INT);
	bed_set(b, BED_POINTER(STATUS), 4, AMDVI_STATUS_EVENT_INT);
	assert_false(bed_status(b) & AMDVI_STATUS_EVENT_INT);
}

static void step_second_event(struct bed *b)
{
	bed_expect_write(b, BED_IOVA - 4096, -EACCES);
	bed_expect_event(b,
			 bed_event(AMDVI_IO_PAGE_FAULT, AMDVI_EVENT_RW) | BED_RID |
				 vi_to_field(AMDVI_EVENT_DOMAIN, BED_DOMAIN),
			 BED_IOVA - 4096);
	assert_int_equal(b->msi_count, 2);
}

static void step_unmap(struct bed *b)
{
	bed_expect_read(b, BED_IOVA, 0);
	bed_unmap(b, BED_IOVA, 8192);
	bed_expect_read(b, BED_IOVA, -EACCES);
	bed_settle(b);
}

static void step_bad_command(struct bed *b)
{
	struct vi_driver_amdvi_event event;

	while (vi_driver_amdvi_next_event(&b->driver, &event))
		;
	vi_driver_amdvi_put(&b->driver, 0, 0);
	vi_driver_amdvi_ring(&b->driver);
	bed_settle(b);
	assert_false(bed_status(b) & AMDVI_STATUS_CMD_BUF_RUN);
	bed_expect_event(b, bed_event(AMDVI_ILLEGAL_COMMAND_ERROR, 0),
			 b->driver.commands + b->driver.tail - AMDVI_RING_ENTRY);
}

static void step_restart(struct bed *b)
{
	assert_false(bed_status(b) & AMDVI_STATUS_CMD_BUF_RUN);
	assert_int_equal(bed_get(b, BED_POINTER(CMD_HEAD), 4), b->driver.tail - AMDVI_RING_ENTRY);
	vi_driver_amdvi_restart_commands(&b->driver);
	assert_int_equal(vi_driver_amdvi_wait(&b->driver, 0), 0);
}

static void step_off(struct bed *b)
{
	vi_driver_amdvi_control(&b->driver, AMDVI_CONTROL_IOMMU_EN, false);
	bed_expect_at(b, BED_GPA + 4096, BED_GPA + 4096);
}

static void (*const steps[])(struct bed *b) = {
	step_start,	 step_attach,	    step_map,	step_exclusion,	  step_fault,	step_enable_interrupt,
	step_take_event, step_second_event, step_unmap, step_bad_command, step_restart, step_off,
};

static void *save(struct bed *b, size_t *ret_size)
{
	int64_t size = viommu_save(b->viommu, NULL, 0);
	void *state;

	assert_true(size > 8192);
	state = malloc((size_t)size);
	assert_non_null(state);
	assert_int_equal(viommu_save(b->viommu, state, (size_t)size - 1), -ENOSPC);
	assert_int_equal(viommu_save(b->viommu, state, (size_t)size), size);
	*ret_size = (size_t)size;
	return state;
}

/* As another process would: a unit that knows nothing but the memory and the state. */
static void move(struct bed *b)
{
	size_t size;
	void *state = save(b, &size);

	bed_replace_unit(b);
	assert_int_equal(viommu_restore(b->viommu, state, size), 0);
	bed_settle(b);
	assert_int_equal(bed_counter(b, "queue_descriptors"), 0); /* nothing is done twice */
	free(state);
}

static void run(enum bed_registers kind, size_t moved_before)
{
	struct bed b;

	bed_init(&b, kind, NULL);
	for (size_t i = 0; i < VI_ARRAY_SIZE(steps); i++) {
		if (i == moved_before || moved_before == VI_ARRAY_SIZE(steps))
			move(&b);
		steps[i](&b);
	}
	bed_finish(&b);
}

static void test_moved_between_any_two_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i <= VI_ARRAY_SIZE(steps); i++) {
		run(BED_TRAPPED, i);
		run(BED_POLLED, i);
	}
}

/* A guest can make a buffer that never ends; saving takes nothing from it. */
static void test_what_waits_in_the_buffer_stays_there(void **state)
{
	uint8_t *bytes;
	uint32_t head;
	size_t size;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	head = b.driver.tail;
	for (unsigned i = 0; i < 3; i++)
		vi_driver_amdvi_put_domain(&b.driver, BED_DOMAIN);
	vi_driver_amdvi_ring(&b.driver);
	bytes = save(&b, &size);
	bed_replace_unit(&b);
	assert_int_equal(viommu_restore(b.viommu, bytes, size), 0);
	assert_int_equal(vi_driver_amdvi_read(&b.driver, BED_POINTER(CMD_HEAD), 4), head);
	bed_settle(&b);
	assert_int_equal(vi_driver_amdvi_read(&b.driver, BED_POINTER(CMD_HEAD), 4), b.driver.tail);
	free(bytes);
	bed_finish(&b);
}

static void test_any_changed_byte_is_refused(void **state)
{
	uint8_t *bytes;
	size_t size;
	struct bed b;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bed_map(&b, BED_IOVA, BED_GPA, 4096, BED_RW);
	bytes = save(&b, &size);
	for (size_t i = 0; i < size; i += 3) {
		bytes[i] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(viommu_restore(b.viommu, bytes, size), -EBADMSG);
		bytes[i] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t i = 0; i < size; i += 7)
		assert_int_equal(viommu_restore(b.viommu, bytes, i), -EBADMSG);
	bed_expect_read(&b, BED_IOVA, 0); /* and nothing has changed */
	assert_int_equal(viommu_restore(b.viommu, bytes, size), 0);
	bed_expect_read(&b, BED_IOVA, 0);
	free(bytes);
	bed_finish(&b);
}

static void test_other_features_are_refused(void **state)
{
	struct bed b, other;
	uint8_t *bytes;
	size_t size;

	(void)state;
	bed_start(&b, BED_TRAPPED, 3);
	bytes = save(&b, &size);
	bed_init(&other, BED_TRAPPED, &(struct viommu_amdvi_options){.only_4_levels = true});
	assert_int_equal(viommu_restore(other.viommu, bytes, size), -ENOTSUP);
	free(bytes);
	bed_finish(&other);
	bed_finish(&b);
}

/* ------------------------------------------------------------------ forgeries */

#define HEADER 32 /* in front of the numbers, which have 8 bytes each */

/* The right checksum for what the bytes are now. */
static void seal(uint8_t *bytes, size_t size)
{
	uint32_t crc = htole32(vi_crc32c(0, bytes, size - sizeof(crc)));

	memcpy(bytes + size - sizeof(crc), &crc, sizeof(crc));
}

static uint64_t get(const uint8_t *bytes, size_t index)
{
	uint64_t word;

	memcpy(&word, bytes + HEADER + index * 8, 8);
	return le64toh(word);
}

static void put(uint8_t *bytes, size_t index, uint64_t value)
{
	uint64_t word = htole64(value);

	memcpy(bytes + HEADER + index * 8, &word, 8);
}

/* Whoever runs a unit with the state finds one that does what its registers say. */
static void expect_sane(struct bed *b)
{
	uint32_t status = bed_status(b);
	uint64_t control = bed_get(b, AMDVI_CONTROL, 8);
	bool on = control & AMDVI_CONTROL_IOMMU_EN;
	uint8_t byte;

	assert_int_equal(
		status & ~(AMDVI_STATUS_RW1C | AMDVI_STATUS_CMD_BUF_RUN | AMDVI_STATUS_EVENT_LOG_RUN), 0);
	assert_true(!(status & AMDVI_STATUS_CMD_BUF_RUN) || (on && control & AMDVI_CONTROL_CMD_BUF_EN));
	assert_true(!(status & AMDVI_STATUS_EVENT_LOG_RUN) || (on && control & AMDVI_CONTROL_EVENT_LOG_EN));
	assert_false(control & AMDVI_CONTROL_XT_EN);
	assert_int_equal(bed_get(b, AMDVI_EFR, 8), b->driver.efr);
	for (unsigned i = 0; i < 4; i++) {
		(void)viommu_read(b->thread, b->device, BED_IOVA + i * 4096, &byte, 1);
		(void)viommu_write(b->thread, b->device, BED_GPA + i * 4096, &byte, 1);
		(void)viommu_process(b->viommu, 64);
	}
}

static void check_forgery(uint8_t *bytes, size_t size)
{
	struct bed b;
	int ret;

	bed_init(&b, BED_POLLED, NULL);
	seal(bytes, size);
	ret = viommu_restore(b.viommu, bytes, size);
	assert_true(ret == 0 || ret == -EBADMSG || ret == -ENOTSUP);
	expect_sane(&b);
	bed_finish(&b);
}

/* Each number as no unit would have written it. */
static void test_forged_numbers(void **state)
{
	static const uint64_t values[] = {
		0, 1, 2, 0x10, 0xff0, 0x1000, 0x1004, 0x7fff0, UINT64_C(1) << 63, UINT64_MAX};
	uint8_t *bytes;
	size_t size, count;
	struct bed b;

	(void)state;
	bed_start(&b, BED_POLLED, 3);
	bed_expect_read(&b, BED_IOVA, -EACCES);
	bytes = save(&b, &size);
	bed_finish(&b);
	count = (size - HEADER - 4) / 8;
	for (size_t i = 0; i < count; i++) {
		uint64_t before = get(bytes, i);
		/* Of pages, those words where registers are. */
		bool plain = i > 0 && i < 1 + 1024 && (i - 1) % 512 >= 64;

		for (size_t k = 0; k < VI_ARRAY_SIZE(values) && !plain; k++) {
			put(bytes, i, values[k]);
			check_forgery(bytes, size);
		}
		put(bytes, i, before);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moved_between_any_two_steps),
		cmocka_unit_test(test_what_waits_in_the_buffer_stays_there),
		cmocka_unit_test(test_any_changed_byte_is_refused),
		cmocka_unit_test(test_other_features_are_refused),
		cmocka_unit_test(test_forged_numbers),
	};

	return cmocka_run_group_tests_name("amdvi state", tests, NULL, NULL);
}
