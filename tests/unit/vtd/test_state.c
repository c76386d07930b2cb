/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved states: a unit that moves between any two steps of a driver goes on as
 * if nothing had happened, and a state that is damaged or foreign is refused.
 */
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/crc32.h"
#include "base/endian.h"
#include "machine.h"
#include "vtd/vtd.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

static void step_root(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_set_root(&m->driver), 0);
}

static void step_queue(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_enable_queue(&m->driver, 1), 0);
}

static void step_flush(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_flush_contexts(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
}

static void step_translate(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_enable_translation(&m->driver, true), 0);
}

static void step_attach(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_table_init(&m->driver, &m->table, 4), 0);
	assert_int_equal(vi_driver_vtd_attach(&m->driver, MACHINE_RID, MACHINE_DOMAIN, &m->table), 0);
}

static void step_map(struct machine *m)
{
	machine_map(m, IOVA, GPA, 8192, RW);
	machine_expect_write(m, IOVA, 0);
}

static void step_event(struct machine *m)
{
	machine_set32(m, VTD_FEDATA, 0x31);
	machine_set32(m, VTD_FEADDR, 0xfee00000);
	machine_expect_read(m, IOVA - 4096, -EACCES); /* masked: stays pending */
	machine_settle(m);
	assert_int_equal(m->msi_count, 0);
}

static void step_second_fault(struct machine *m)
{
	machine_expect_write(m, IOVA - 4096, -EACCES);
	machine_settle(m);
}

static void step_unmask(struct machine *m)
{
	machine_set32(m, VTD_FECTL, 0);
	assert_int_equal(m->msi_count, 1);
}

static void step_first_record(struct machine *m)
{
	struct vi_driver_vtd_fault fault;

	assert_true(vi_driver_vtd_next_fault(&m->driver, &fault));
	assert_int_equal(fault.reason, VTD_FR_READ);
}

static void step_second_record(struct machine *m)
{
	machine_expect_fault(m, VTD_FR_WRITE, IOVA - 4096, true);
}

static void step_unmap(struct machine *m)
{
	machine_unmap(m, IOVA, 8192);
	machine_expect_read(m, IOVA, -EACCES);
	machine_settle(m);
}

static void step_bad_descriptor(struct machine *m)
{
	vi_driver_vtd_submit(&m->driver, 15, 0);
	machine_settle(m);
	assert_true(machine_get32(m, VTD_FSTS) & VTD_FSTS_IQE);
}

static void step_mend_descriptor(struct machine *m)
{
	uint64_t head = machine_get64(m, VTD_IQH);

	assert_int_equal(vi_field(machine_get64(m, VTD_IQERCD), VTD_IQERCD_IQEI), VTD_IQEI_TYPE);
	vi_driver_store64(&m->memory, m->driver.queue + head,
			  VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, 1));
	machine_set32(m, VTD_FSTS, VTD_FSTS_IQE);
	assert_int_equal(vi_driver_vtd_wait(&m->driver, 0), 0);
}

static void step_queue_off(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_disable_queue(&m->driver), 0);
}

static void step_translation_off(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_enable_translation(&m->driver, false), 0);
	machine_expect_read(m, GPA, 0);
}

static void (*const steps[])(struct machine *m) = {
	step_root,	     step_queue,
	step_flush,	     step_translate,
	step_attach,	     step_map,
	step_event,	     step_second_fault,
	step_unmask,	     step_first_record,
	step_second_record,  step_unmap,
	step_bad_descriptor, step_mend_descriptor,
	step_queue_off,	     step_translation_off,
};

static void *save(struct machine *m, size_t *ret_size)
{
	int64_t size = viommu_save(m->viommu, NULL, 0);
	void *state;

	assert_true(size > 4096);
	state = malloc((size_t)size);
	assert_non_null(state);
	assert_int_equal(viommu_save(m->viommu, state, (size_t)size - 1), -ENOSPC);
	assert_int_equal(viommu_save(m->viommu, state, (size_t)size), size);
	*ret_size = (size_t)size;
	return state;
}

/* As another process would: a unit that knows nothing but the memory and the state. */
static void move(struct machine *m)
{
	size_t size;
	void *state = save(m, &size);

	machine_replace_unit(m);
	assert_int_equal(viommu_restore(m->viommu, state, size), 0);
	machine_settle(m);
	assert_int_equal(machine_counter(m, "queue_descriptors"), 0); /* nothing is done twice */
	free(state);
}

static void run(enum machine_registers kind, size_t moved_before)
{
	struct machine m;

	machine_init(&m, kind, NULL);
	for (size_t i = 0; i < VI_ARRAY_SIZE(steps); i++) {
		if (i == moved_before || moved_before == VI_ARRAY_SIZE(steps))
			move(&m);
		steps[i](&m);
	}
	machine_finish(&m);
}

static void test_moved_between_any_two_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i <= VI_ARRAY_SIZE(steps); i++) {
		run(TRAPPED, i);
		run(POLLED, i);
	}
}

/* A guest can make a queue that never ends; saving takes nothing from it. */
static void test_what_waits_in_the_queue_stays_there(void **state)
{
	struct machine m;
	uint64_t head;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	head = machine_get64(&m, VTD_IQH);
	for (unsigned i = 0; i < 3; i++)
		vi_driver_vtd_put_domain(&m.driver, MACHINE_DOMAIN);
	vi_driver_vtd_ring(&m.driver);
	bytes = save(&m, &size);
	assert_int_equal(machine_get64(&m, VTD_IQH), head);
	machine_replace_unit(&m);
	assert_int_equal(viommu_restore(m.viommu, bytes, size), 0);
	assert_int_equal(machine_get64(&m, VTD_IQH), head);
	machine_settle(&m);
	assert_int_equal(machine_get64(&m, VTD_IQH), machine_get64(&m, VTD_IQT));
	assert_int_not_equal(machine_get64(&m, VTD_IQH), head);
	free(bytes);
	machine_finish(&m);
}

static void test_any_changed_byte_is_refused(void **state)
{
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	bytes = save(&m, &size);
	for (size_t i = 0; i < size; i++) {
		bytes[i] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(viommu_restore(m.viommu, bytes, size), -EBADMSG);
		bytes[i] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t i = 0; i < size; i += 7)
		assert_int_equal(viommu_restore(m.viommu, bytes, i), -EBADMSG);
	machine_expect_read(&m, IOVA, 0); /* and nothing has changed */
	assert_int_equal(viommu_restore(m.viommu, bytes, size), 0);
	machine_expect_read(&m, IOVA, 0);
	free(bytes);
	machine_finish(&m);
}

/* ------------------------------------------------------------------ forgeries */

enum { PLAIN, QUEUE, TRANSLATION, PROTECTION, KINDS };

#define HEADER 32 /* in front of the numbers, which have 8 bytes each */

/* Do the registers say that GPA is in the low region, which is one granule or none? */
static bool protects(struct machine *m)
{
	return (machine_get32(m, VTD_PMEN) & VTD_PMEN_PRS) && machine_get32(m, VTD_PLMBASE) <= GPA &&
	       machine_get32(m, VTD_PLMLIMIT) >= GPA;
}

static uint8_t *state_with(unsigned what, size_t *ret_size)
{
	struct machine m;
	uint8_t *bytes;

	machine_init(&m, POLLED, NULL);
	if (what == QUEUE || what == TRANSLATION) {
		step_root(&m);
		step_queue(&m);
	}
	if (what == TRANSLATION)
		step_translate(&m);
	if (what == PROTECTION) {
		machine_set32(&m, VTD_PLMBASE, (uint32_t)GPA);
		machine_set32(&m, VTD_PLMLIMIT, (uint32_t)GPA);
		machine_set32(&m, VTD_PMEN, VTD_PMEN_EPM);
		machine_settle(&m);
		assert_true(protects(&m));
	}
	bytes = save(&m, ret_size);
	machine_finish(&m);
	return bytes;
}

/* The right checksum for what the bytes are now. */
static void seal(uint8_t *bytes, size_t size)
{
	uint32_t crc = htole32(vi_crc32c(0, bytes, size - sizeof(crc)));

	memcpy(bytes + size - sizeof(crc), &crc, sizeof(crc));
}

/* What a header tells of the unit and of the length is checked, not believed. */
static void test_sealed_headers_are_refused(void **state)
{
	static const struct {
		unsigned offset;
		int64_t change;
		int result;
	} changes[] = {
		{8, 1, -ENOTSUP},  {16, 1, -ENOTSUP},  {16, -1, -ENOTSUP},
		{24, 8, -EBADMSG}, {24, -8, -EBADMSG}, {24, INT64_C(1) << 40, -EBADMSG},
	};
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	bytes = save(&m, &size);
	for (size_t i = 0; i < VI_ARRAY_SIZE(changes); i++) {
		uint64_t before, changed;

		memcpy(&before, bytes + changes[i].offset, 8);
		changed = htole64(le64toh(before) + (uint64_t)changes[i].change);
		memcpy(bytes + changes[i].offset, &changed, 8);
		seal(bytes, size);
		assert_int_equal(viommu_restore(m.viommu, bytes, size), changes[i].result);
		memcpy(bytes + changes[i].offset, &before, 8);
	}
	/* Numbers that are missing, or too many, with a right checksum. */
	bytes = realloc(bytes, size + 8);
	assert_non_null(bytes);
	memset(bytes + size, 0, 8);
	seal(bytes, size - 8);
	assert_int_equal(viommu_restore(m.viommu, bytes, size - 8), -EBADMSG);
	seal(bytes, size + 8);
	assert_int_equal(viommu_restore(m.viommu, bytes, size + 8), -EBADMSG);
	free(bytes);
	machine_finish(&m);
}

/* Numbers of the queue, behind those of the page. */
enum { QUEUE_SIZE = 10, QUEUE_HEAD = 11 };

static uint8_t *number(uint8_t *bytes, unsigned index)
{
	return bytes + HEADER + 2 * 8 + VTD_PAGE_SIZE + index * 8;
}

/* A queue has a power of two of bytes, and its head is at a descriptor in it. */
static void test_impossible_queues_are_refused(void **state)
{
	static const struct {
		unsigned index;
		uint64_t value;
		int result;
	} changes[] = {
		{QUEUE_HEAD, 16, 0},   {QUEUE_HEAD, 8, -EBADMSG},	 {QUEUE_HEAD, 4096, -EBADMSG},
		{QUEUE_SIZE, 8192, 0}, {QUEUE_SIZE, 3 * 4096, -EBADMSG}, {QUEUE_SIZE, 2048, -EBADMSG},
	};
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	bytes = save(&m, &size);
	assert_int_equal(vi_load_le64(number(bytes, QUEUE_SIZE)), 4096);
	for (size_t i = 0; i < VI_ARRAY_SIZE(changes); i++) {
		uint64_t before = vi_load_le64(number(bytes, changes[i].index));

		vi_store_le64(number(bytes, changes[i].index), changes[i].value);
		seal(bytes, size);
		assert_int_equal(viommu_restore(m.viommu, bytes, size), changes[i].result);
		vi_store_le64(number(bytes, changes[i].index), before);
	}
	free(bytes);
	machine_finish(&m);
}

/* All bits of a number: taken only where the guest can have made every value. */
static void test_numbers_out_of_range_are_refused(void **state)
{
	const size_t capabilities_and_page = 2 * 8 + VTD_PAGE_SIZE;
	const unsigned bounds = 4, records = 2 * VTD_MAX_FAULT_RECORDS;
	unsigned taken = 0, refused = 0;
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	bytes = save(&m, &size);
	for (size_t at = HEADER + capabilities_and_page; at + 12 <= size; at += 8) {
		uint8_t before[8];
		int err;

		memcpy(before, bytes + at, 8);
		memset(bytes + at, 0xff, 8);
		seal(bytes, size);
		err = viommu_restore(m.viommu, bytes, size);
		assert_true(!err || err == -EBADMSG);
		taken += !err;
		refused += err != 0;
		memcpy(bytes + at, before, 8);
	}
	assert_int_equal(taken, bounds + records);
	assert_true(refused >= 12);
	free(bytes);
	machine_finish(&m);
}

/* What was cached before is no part of a state: the guest that comes has its own tables. */
static void test_restoring_drops_what_was_cached(void **state)
{
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	bytes = save(&m, &size);
	machine_expect_read(&m, IOVA, 0);
	assert_int_equal(vi_driver_unmap(&m.table, IOVA, 4096), 4096);
	machine_expect_read(&m, IOVA, 0); /* cached */
	assert_int_equal(viommu_restore(m.viommu, bytes, size), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	free(bytes);
	machine_finish(&m);
}

/* What the guest is told is what its device finds: nothing is mapped, and the page at GPA may be protected.
 */
static void expect_what_is_told(struct machine *m)
{
	uint32_t status = machine_get32(m, VTD_GSTS);
	uint8_t byte;

	machine_settle(m);
	assert_int_equal(machine_read(m, GPA, &byte, 1), status & VTD_GSTS_TES || protects(m) ? -EACCES : 0);
	assert_int_equal(machine_read(m, IOVA, &byte, 1) == -EACCES, (status & VTD_GSTS_TES) != 0);
	machine_settle(m);
	assert_int_equal(machine_get32(m, VTD_GSTS), status);
	assert_int_equal(machine_get32(m, VTD_VER), VTD_VER_1_0);
	assert_true(machine_get64(m, VTD_CAP) && machine_get64(m, VTD_ECAP));
}

/* One number at a time from the state of a unit that does something else; which is taken, or refused. */
static unsigned mix(const uint8_t *one, const uint8_t *other, size_t size)
{
	unsigned taken = 0;

	for (size_t at = HEADER; at + 12 <= size; at += 8) {
		struct machine m;
		uint8_t *forged;
		int err;

		if (!memcmp(one + at, other + at, 8))
			continue;
		forged = malloc(size);
		assert_non_null(forged);
		memcpy(forged, one, size);
		memcpy(forged + at, other + at, 8);
		seal(forged, size);
		machine_init(&m, POLLED, NULL);
		err = viommu_restore(m.viommu, forged, size);
		assert_true(!err || err == -EBADMSG);
		taken += !err;
		expect_what_is_told(&m);
		machine_finish(&m);
		free(forged);
	}
	return taken;
}

static void test_forged_status_is_no_other_than_what_is_done(void **state)
{
	uint8_t *states[KINDS];
	unsigned taken = 0;
	size_t size;

	(void)state;
	for (unsigned i = 0; i < KINDS; i++)
		states[i] = state_with(i, &size);
	for (unsigned i = 0; i < KINDS * KINDS; i++)
		taken += mix(states[i / KINDS], states[i % KINDS], size);
	assert_true(taken > 20); /* else nothing was tried */
	for (unsigned i = 0; i < KINDS; i++)
		free(states[i]);
}

/* What a guest may write, and find again after it has moved: all other words are as they were. */
static const struct {
	uint16_t offset;
	uint32_t bits;
} plain[] = {
	{VTD_RTADDR, 0xfffffc00u},
	{VTD_RTADDR + 4, ~0u},
	{VTD_CCMD, ~0u},
	{VTD_CCMD + 4, 0x78000000u}, /* of the last request: what was asked for, and the answer */
	{VTD_FEDATA, ~0u},
	{VTD_FEADDR, ~3u},
	{VTD_FEUADDR, ~0u},
	{VTD_PLMBASE, 0xffe00000u},
	{VTD_PLMLIMIT, 0xffe00000u},
	{VTD_PHMBASE, 0xffe00000u},
	{VTD_PHMBASE + 4, ~0u},
	{VTD_PHMLIMIT, 0xffe00000u},
	{VTD_PHMLIMIT + 4, ~0u},
	{VTD_IQT, 0x7fff0u},
	{VTD_IQA, 0xfffff007u},
	{VTD_IQA + 4, ~0u},
	{VTD_IEDATA, ~0u},
	{VTD_IEADDR, ~3u},
	{VTD_IEUADDR, ~0u},
	{VTD_IRO_OFFSET + VTD_IVA, ~0u},
	{VTD_IRO_OFFSET + VTD_IVA + 4, ~0u},
	{VTD_IRO_OFFSET + VTD_IOTLB + 4, 0x3603ffffu}, /* as CCMD */
};

static uint32_t plain_bits(unsigned offset)
{
	for (size_t i = 0; i < VI_ARRAY_SIZE(plain); i++)
		if (plain[i].offset == offset)
			return plain[i].bits;
	return 0;
}

/* Each word that the unit shows has something to show: status, both events, an error, protected memory. */
static void fill_registers(struct machine *m)
{
	machine_start(m, POLLED, NULL, true);
	machine_set32(m, VTD_PLMBASE, (uint32_t)GPA);
	machine_set32(m, VTD_PLMLIMIT, (uint32_t)GPA);
	machine_set32(m, VTD_PMEN, VTD_PMEN_EPM);
	machine_expect_read(m, IOVA, -EACCES);
	vi_driver_vtd_submit(&m->driver, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
	step_bad_descriptor(m);
}

static const uint16_t filled[] = {VTD_VER,   VTD_CAP, VTD_CAP + 4, VTD_ECAP,  VTD_GCMD,	  VTD_GSTS, VTD_FSTS,
				  VTD_FECTL, VTD_IQH, VTD_ICS,	   VTD_IECTL, VTD_IQERCD, VTD_PMEN};

/* Bits that hold a number, another one after each look, while there is something to clear. */
static uint32_t number_bits(unsigned offset)
{
	return offset == VTD_FSTS || offset == VTD_ICS ? 0x7fff0000 : 0;
}

/* Whatever a state says of the page: words that the guest cannot write follow from the unit. */
static void test_forged_pages_come_right(void **state)
{
	const unsigned page = HEADER + 2 * 8; /* CAP and ECAP come first */
	uint32_t before[VTD_PAGE_SIZE / 4], now;
	struct machine m;
	uint8_t *bytes;
	size_t size;

	(void)state;
	fill_registers(&m);
	bytes = save(&m, &size);
	memcpy(before, m.page, sizeof(before));
	assert_memory_equal(bytes + page, before, sizeof(before));
	for (size_t i = 0; i < VI_ARRAY_SIZE(filled); i++)
		assert_int_not_equal(before[filled[i] / 4], 0);
	for (unsigned i = 0; i < VTD_PAGE_SIZE; i++)
		bytes[page + i] ^= 0xff;
	seal(bytes, size);
	assert_int_equal(viommu_restore(m.viommu, bytes, size), 0);
	for (unsigned offset = 0; offset < VTD_PAGE_SIZE; offset += 4) {
		memcpy(&now, (uint8_t *)m.page + offset, sizeof(now));
		if ((now ^ before[offset / 4] ^ plain_bits(offset)) & ~number_bits(offset))
			fail_msg("register 0x%x is 0x%x, was 0x%x", offset, now, before[offset / 4]);
	}
	free(bytes);
	machine_finish(&m);
}

/*
 * The next command, posted on the page while accesses in flight keep the last
 * one from its end, is carried out before the unit is saved.
 */
static void test_a_command_that_waits_for_its_turn(void **state)
{
	struct viommu_pin pin = {.revoke = NULL};
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA, 1, VIOMMU_WRITE, &pin), 0);
	machine_set32(&m, VTD_GCMD, VTD_GCMD_QIE);
	machine_set32(&m, VTD_GCMD, VTD_GCMD_QIE | VTD_GCMD_TE);
	assert_true(machine_get32(&m, VTD_GSTS) & VTD_GSTS_TES); /* not off yet */
	viommu_unpin(&pin);
	move(&m);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_TES | VTD_GSTS_QIES | VTD_GSTS_RTPS);
		machine_expect_read(&m, IOVA, 0);
		machine_expect_read(&m, IOVA + 4096, -EACCES);
		assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0); /* and the next is seen once */
		machine_settle(&m);
	}
	machine_finish(&m);
}

static void test_other_units_refuse_it(void **state)
{
	const struct viommu_options others[] = {{VTD_OPTIONS(.only_39bit = true)},
						{VTD_OPTIONS(.caching_mode = true)},
						{VTD_OPTIONS(.no_pass_through = true)},
						{VTD_OPTIONS(.fault_records = 9)}};
	struct machine m, other;
	void *bytes;
	size_t size;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	bytes = save(&m, &size);
	for (size_t i = 0; i < VI_ARRAY_SIZE(others); i++) {
		machine_init(&other, TRAPPED, &others[i]);
		assert_int_equal(viommu_restore(other.viommu, bytes, size), -ENOTSUP);
		assert_int_equal(machine_get32(&other, VTD_GSTS), 0);
		machine_finish(&other);
	}
	free(bytes);
	machine_finish(&m);
}

/* The next place after `from` that holds these eight bytes; the state is made of such numbers. */
static uint8_t *find(uint8_t *from, uint8_t *end, uint64_t value)
{
	for (; from + sizeof(value) <= end; from++)
		if (memcmp(from, &value, sizeof(value)) == 0)
			return from;
	fail_msg("the state does not hold the record");
	return NULL;
}

static int restore_forged(struct machine *m, uint8_t *bytes, size_t size)
{
	seal(bytes, size);
	return viommu_restore(m->viommu, bytes, size);
}

/* Records are there twice, on the page and in the model. The model counts, and a fault has a reason. */
static void test_forged_fault_records(void **state)
{
	uint8_t *bytes, *on_page, *in_model;
	uint64_t hi, forged;
	struct machine m;
	size_t size;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	hi = machine_get64(&m, machine_fault_record(&m, 0) + 8);
	bytes = save(&m, &size);
	on_page = find(bytes, bytes + size, hi);
	in_model = find(on_page + 8, bytes + size, hi);
	forged = hi & ~(UINT64_C(1) << 63);
	memcpy(on_page, &forged, sizeof(forged));
	assert_int_equal(restore_forged(&m, bytes, size), 0);
	assert_int_equal(machine_get64(&m, machine_fault_record(&m, 0) + 8), hi);
	machine_expect_fault(&m, VTD_FR_READ, IOVA, false);
	forged = hi & ~(UINT64_C(0xff) << 32);
	memcpy(in_model, &forged, sizeof(forged));
	assert_int_equal(restore_forged(&m, bytes, size), -EBADMSG);
	free(bytes);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moved_between_any_two_steps),
		cmocka_unit_test(test_what_waits_in_the_queue_stays_there),
		cmocka_unit_test(test_any_changed_byte_is_refused),
		cmocka_unit_test(test_other_units_refuse_it),
		cmocka_unit_test(test_sealed_headers_are_refused),
		cmocka_unit_test(test_impossible_queues_are_refused),
		cmocka_unit_test(test_numbers_out_of_range_are_refused),
		cmocka_unit_test(test_restoring_drops_what_was_cached),
		cmocka_unit_test(test_forged_status_is_no_other_than_what_is_done),
		cmocka_unit_test(test_forged_pages_come_right),
		cmocka_unit_test(test_a_command_that_waits_for_its_turn),
		cmocka_unit_test(test_forged_fault_records),
	};

	return cmocka_run_group_tests_name("vtd state", tests, NULL, NULL);
}
