/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers at power-on, masks, global commands, protected memory, sharing the page, reset. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x100000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

static const enum machine_registers kinds[] = {TRAPPED, POLLED, SIDECORE};

static void test_power_on(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	assert_int_equal(machine_get32(&m, VTD_VER), 0x10);
	assert_int_equal(machine_get32(&m, VTD_GSTS), 0);
	assert_int_equal(machine_get32(&m, VTD_GCMD), 0);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	assert_int_equal(machine_get32(&m, VTD_FECTL), VTD_ECTL_IM);
	assert_int_equal(machine_get32(&m, VTD_IECTL), VTD_ECTL_IM);
	assert_int_equal(machine_get64(&m, VTD_IQH), 0);
	assert_int_equal(machine_get64(&m, VTD_IQA), 0);
	assert_true(vi_field(m.driver.cap, VTD_CAP_NFR) + 1 >= 8);
	machine_finish(&m);
}

static uint64_t cap_of(const struct viommu_options *o, uint64_t *ret_ecap)
{
	struct machine m;
	uint64_t cap;

	machine_init(&m, TRAPPED, o);
	cap = m.driver.cap;
	*ret_ecap = m.driver.ecap;
	machine_finish(&m);
	return cap;
}

static void test_options_show_in_capabilities(void **state)
{
	uint64_t ecap, plain = cap_of(&(struct viommu_options){0}, &ecap);

	(void)state;
	assert_true(ecap & VTD_ECAP_PT && ecap & VTD_ECAP_QI);
	assert_false(plain & VTD_CAP_CM);
	assert_int_equal(vi_field(plain, VTD_CAP_SAGAW), VTD_SAGAW_39BIT | VTD_SAGAW_48BIT);
	assert_int_equal(vi_field(plain, VTD_CAP_SSLPS), 3);
	assert_true(cap_of(&(struct viommu_options){VTD_OPTIONS(.caching_mode = true)}, &ecap) & VTD_CAP_CM);
	assert_int_equal(vi_field(cap_of(&(struct viommu_options){VTD_OPTIONS(.no_1gib = true)}, &ecap),
				  VTD_CAP_SSLPS),
			 1);
	assert_int_equal(vi_field(cap_of(&(struct viommu_options){VTD_OPTIONS(.no_2mib = true)}, &ecap),
				  VTD_CAP_SSLPS),
			 0);
	assert_int_equal(vi_field(cap_of(&(struct viommu_options){VTD_OPTIONS(.only_39bit = true)}, &ecap),
				  VTD_CAP_SAGAW),
			 VTD_SAGAW_39BIT);
	assert_int_equal(vi_field(cap_of(&(struct viommu_options){VTD_OPTIONS(.only_39bit = true)}, &ecap),
				  VTD_CAP_MGAW),
			 38);
	assert_int_equal(vi_field(cap_of(&(struct viommu_options){VTD_OPTIONS(.fault_records = 255)}, &ecap),
				  VTD_CAP_NFR),
			 254);
	cap_of(&(struct viommu_options){VTD_OPTIONS(.no_pass_through = true)}, &ecap);
	assert_false(ecap & VTD_ECAP_PT);
}

/* Write all ones and all zeros to each word: what may not change does not. */
static void test_write_masks(void **state)
{
	static const struct {
		uint16_t offset;
		uint32_t writable;
	} words[] = {
		{VTD_VER, 0},
		{VTD_CAP, 0},
		{VTD_CAP + 4, 0},
		{VTD_ECAP, 0},
		{VTD_ECAP + 4, 0},
		{VTD_GSTS, 0},
		{VTD_RTADDR, 0xfffffc00},
		{VTD_RTADDR + 4, ~0u},
		{VTD_FSTS, 0},
		{VTD_FEDATA, ~0u},
		{VTD_FEADDR, ~3u},
		{VTD_FEUADDR, ~0u},
		{VTD_PLMBASE, ~0x1fffffu},
		{VTD_PLMLIMIT, ~0x1fffffu},
		{VTD_PHMBASE, ~0x1fffffu},
		{VTD_IQH, 0},
		{VTD_IQT, 0x7fff0},
		{VTD_IQA, 0xfffff007},
		{VTD_ICS, 0},
		{VTD_IEDATA, ~0u},
		{VTD_IEADDR, ~3u},
		{VTD_IQERCD, 0},
		{0x58, 0},
		{0xf0, 0}, /* IVA is write-only */
		{0xf4, 0},
		{0xf8, 0},
		{0x500, 0},
		{0xffc, 0},
	};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	for (size_t i = 0; i < VI_ARRAY_SIZE(words); i++) {
		uint32_t before = machine_get32(&m, words[i].offset);

		machine_set32(&m, words[i].offset, ~0u);
		assert_int_equal(machine_get32(&m, words[i].offset),
				 (before & ~words[i].writable) | words[i].writable);
		machine_set32(&m, words[i].offset, 0);
		assert_int_equal(machine_get32(&m, words[i].offset), before & ~words[i].writable);
	}
	machine_finish(&m);
}

/*
 * On a page that the guest writes directly, hardware's rules hold again after
 * some looks: read-only registers at the next one, the rest of the page a word at
 * each. What may be written stays.
 */
static void test_overwritten_registers_come_back(void **state)
{
	static const uint32_t kept[][2] = {{VTD_RTADDR, 0xfffffc00},
					   {VTD_FEADDR, ~3u},
					   {VTD_IQA, 0xfffff007},
					   {VTD_PLMBASE, 0xffe00000}};
	uint32_t *page, before[1024];
	struct machine m;
	uint64_t iro;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	page = m.page;
	iro = vi_field(m.driver.ecap, VTD_ECAP_IRO) * 16;
	memcpy(before, page, 4096);
	for (unsigned i = 0; i < 1024; i++)
		if (i * 4 != VTD_GCMD && i * 4 != VTD_IQT && i * 4 != VTD_CCMD + 4 && i * 4 != VTD_PMEN)
			page[i] = ~0u;
	viommu_process(m.viommu, 1);
	assert_int_equal(page[VTD_VER / 4], before[VTD_VER / 4]);
	for (unsigned offset = VTD_CAP; offset < VTD_GCMD; offset += 4)
		assert_int_equal(page[offset / 4], before[offset / 4]);
	assert_int_equal(page[VTD_GSTS / 4], before[VTD_GSTS / 4]);
	assert_int_equal(page[VTD_IQH / 4], before[VTD_IQH / 4]);
	assert_int_equal(page[VTD_IQERCD / 4], before[VTD_IQERCD / 4]);
	for (unsigned i = 0; i < 1024; i++)
		viommu_process(m.viommu, 1);
	for (size_t i = 0; i < VI_ARRAY_SIZE(kept); i++)
		assert_int_equal(page[kept[i][0] / 4], kept[i][1]);
	assert_int_equal(*(uint64_t *)(void *)(page + (iro + VTD_IVA) / 4), UINT64_MAX);
	/* A request beside the queue: complete, with nothing done. */
	assert_int_equal(*(uint64_t *)(void *)(page + (iro + VTD_IOTLB) / 4),
			 VTD_IOTLB_IIRG | VTD_IOTLB_DR | VTD_IOTLB_DW | VTD_IOTLB_DID);
	for (unsigned offset = 0xb8; offset < 4096; offset += 4)
		if (offset < iro || offset >= iro + 16)
			assert_int_equal(page[offset / 4], 0);
	machine_finish(&m);
}

/* SID and FM are write-only, bits that are reserved read as 0 (11.4.6.1). */
static uint64_t trapped_read(struct machine *m, uint64_t offset)
{
	uint64_t value;

	assert_int_equal(viommu_regs_read(m->viommu, offset, 8, &value), 0);
	return value;
}

/* Reserved bits that the guest has left on the page are not taken over by a trapped write, nor when it ends.
 */
static void test_dirty_reserved_bits_do_not_stay(void **state)
{
	uint64_t *iqa;
	struct machine m;

	(void)state;
	machine_init(&m, POLLED, NULL);
	iqa = (uint64_t *)(void *)((uint8_t *)m.page + VTD_IQA);
	for (unsigned i = 0; i < 3; i++) { /* a look may have come by and put them back */
		*iqa = 0xff8;
		assert_int_equal(viommu_regs_write(m.viommu, VTD_IQA, 8, 0x3001 + i * UINT64_C(4096)), 0);
		assert_int_equal(*iqa, 0x3001 + i * UINT64_C(4096));
		assert_int_equal(trapped_read(&m, VTD_IQA), 0x3001 + i * UINT64_C(4096));
	}
	for (unsigned i = 0; i < 3; i++) {
		*iqa |= 0xff8;
		assert_int_equal(viommu_regs_share(m.viommu, 0, NULL), 0);
		assert_int_equal(trapped_read(&m, VTD_IQA), 0x5001);
		assert_int_equal(viommu_regs_share(m.viommu, 0, m.page), 0);
	}
	machine_finish(&m);
}

static void test_context_command_reads_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++) {
		uint64_t command = VTD_CCMD_ICC | vi_to_field(VTD_CCMD_CIRG, VTD_GRANULARITY_SELECTIVE) |
				   vi_to_field(VTD_CCMD_FM, 3) | vi_to_field(VTD_CCMD_SID, 0x88) |
				   vi_to_field(VTD_CCMD_DID, 0x1234) | VI_BITS(58, 34);
		struct machine m;

		machine_start(&m, kinds[i], NULL, false);
		machine_set64(&m, VTD_CCMD, command);
		while (machine_get64(&m, VTD_CCMD) & VTD_CCMD_ICC)
			m.driver.regs.relax(&m);
		assert_int_equal(machine_get64(&m, VTD_CCMD),
				 vi_to_field(VTD_CCMD_CIRG, VTD_GRANULARITY_SELECTIVE) |
					 vi_to_field(VTD_CCMD_CAIG, VTD_GRANULARITY_SELECTIVE) |
					 vi_to_field(VTD_CCMD_DID, 0x1234));
		machine_finish(&m);
	}
}

static void test_iotlb_register_reads_back(void **state)
{
	uint64_t offset, kept = VTD_IOTLB_IIRG | VTD_IOTLB_DR | VTD_IOTLB_DW | VTD_IOTLB_DID, done;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, false);
	offset = vi_field(m.driver.ecap, VTD_ECAP_IRO) * 16 + VTD_IOTLB;
	done = machine_get64(&m, offset) & VTD_IOTLB_IAIG; /* of the last request: read-only */
	assert_int_equal(vi_field(done, VTD_IOTLB_IAIG), VTD_GRANULARITY_DOMAIN);
	machine_set64(&m, offset, ~VTD_IOTLB_IVT);
	assert_int_equal(machine_get64(&m, offset), kept | done);
	machine_finish(&m);
}

/* The first page alone, also where there are two. */
static void test_pages_that_can_be_polled(void **state)
{
	struct viommu_options records = {VTD_OPTIONS(.fault_records = 255)};
	struct viommu_regs_pages pages = {.sz = sizeof(pages)};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, &records);
	assert_int_equal(viommu_regs_size(m.viommu), 8192);
	assert_int_equal(viommu_regs_pollable(m.viommu, 0, &pages), 0);
	assert_int_equal(pages.offset, 0);
	assert_int_equal(pages.length, 4096);
	assert_true(pages.writable);
	assert_int_equal(viommu_regs_pollable(m.viommu, 1, &pages), -ENOENT);
	assert_int_equal(viommu_regs_share(m.viommu, 4096, NULL), -EINVAL);
	machine_finish(&m);
}

static void test_bad_accesses_are_the_programs(void **state)
{
	struct machine m;
	uint64_t value;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	assert_int_equal(viommu_regs_read(m.viommu, 0, 1, &value), -EINVAL);
	assert_int_equal(viommu_regs_read(m.viommu, 2, 4, &value), -EINVAL);
	assert_int_equal(viommu_regs_read(m.viommu, 4, 8, &value), -EINVAL);
	assert_int_equal(viommu_regs_read(m.viommu, viommu_regs_size(m.viommu), 4, &value), -EINVAL);
	assert_int_equal(viommu_regs_write(m.viommu, UINT64_MAX & ~UINT64_C(7), 8, 0), -EINVAL);
	assert_int_equal(viommu_regs_share(m.viommu, 0, (char *)m.ram + 8), -EINVAL);
	machine_finish(&m);
}

static void run_commands(enum machine_registers kind)
{
	struct machine m;

	machine_init(&m, kind, NULL);
	assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS);
	/* The same one-shot command again is carried out again. */
	assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0);
	for (unsigned i = 0; i < 1000000 && machine_counter(&m, "commands") < 2; i++)
		m.driver.regs.relax(&m);
	assert_int_equal(machine_counter(&m, "commands"), 2);
	assert_int_equal(vi_driver_vtd_enable_queue(&m.driver, 0), 0);
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, true), 0);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS | VTD_GSTS_QIES | VTD_GSTS_TES);
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, false), 0);
	assert_int_equal(vi_driver_vtd_disable_queue(&m.driver), 0);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS);
	machine_finish(&m);
}

static void test_global_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		run_commands(kinds[i]);
}

static void test_commands_of_absent_features_do_nothing(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	/* SFL, EAFL, WBF, IRE, SIRTP, CFI and the reserved bits. */
	machine_set32(&m, VTD_GCMD, 0x3b800000u | 0x7fffffu);
	assert_int_equal(machine_get32(&m, VTD_GSTS), 0);
	machine_finish(&m);
}

/* Several fields in one write: root pointer, then queue, then translation. */
static void test_commands_at_once(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	machine_set64(&m, VTD_RTADDR, MACHINE_TABLES);
	machine_set64(&m, VTD_IQA, MACHINE_TABLES + 4096);
	machine_set32(&m, VTD_GCMD, VTD_GCMD_SRTP | VTD_GCMD_QIE | VTD_GCMD_TE);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS | VTD_GSTS_QIES | VTD_GSTS_TES);
	machine_expect_read(&m, 0, -EACCES);
	machine_expect_fault(&m, VTD_FR_ROOT_NOT_PRESENT, 0, false);
	machine_set32(&m, VTD_GCMD, 0);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS);
	machine_expect_read(&m, 0, 0);
	machine_finish(&m);
}

/* RTADDR counts when SRTP latches it, not when it is written. */
static void test_root_pointer_is_latched(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_set64(&m, VTD_RTADDR, MACHINE_TABLES + MACHINE_RAM_SIZE);
	assert_int_equal(vi_driver_vtd_flush_contexts(&m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	machine_expect_read(&m, IOVA, 0);
	machine_finish(&m);
}

/* Before translation is on, and in pass-through, device addresses are physical; no page of RAM is out of
 * reach. */
static void test_untranslated_and_pass_through(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	m.ram[GPA] = 42;
	machine_expect_read(&m, GPA, 0);
	machine_expect_read(&m, MACHINE_RAM_SIZE, -EFAULT);
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	machine_expect_read(&m, GPA, -EACCES);
	machine_expect_fault(&m, VTD_FR_ROOT_NOT_PRESENT, GPA, false);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	machine_expect_read(&m, GPA, 0);
	machine_expect_read(&m, MACHINE_RAM_SIZE - 1, 0);
	machine_expect_read(&m, MACHINE_RAM_SIZE, -EFAULT);
	machine_expect_read(&m, UINT64_C(1) << 48, -EACCES);
	machine_expect_fault(&m, VTD_FR_BEYOND_MGAW, UINT64_C(1) << 48, false);
	machine_finish(&m);
}

/* A device that was at work until translation came on has its context cached since the last invalidation. */
static void test_translation_on_holds_for_who_was_at_work(void **state)
{
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0);
	assert_int_equal(vi_driver_vtd_flush_contexts(&m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	machine_expect_read(&m, GPA, 0);
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, true), 0);
	machine_expect_read(&m, GPA, -EACCES);
	machine_finish(&m);
}

static void test_pass_through_not_offered(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.no_pass_through = true)};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, &o);
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	machine_expect_read(&m, GPA, -EACCES);
	machine_expect_fault(&m, VTD_FR_CONTEXT_INVALID, GPA, false);
	machine_finish(&m);
}

static void run_protected_memory(enum machine_registers kind)
{
	struct machine m;
	uint8_t byte;

	machine_init(&m, kind, NULL);
	vi_driver_vtd_write32(&m.driver, VTD_PLMBASE, 0x200000);
	vi_driver_vtd_write32(&m.driver, VTD_PLMLIMIT, 0x400000);
	vi_driver_vtd_write64(&m.driver, VTD_PHMBASE, 0x1000000);
	vi_driver_vtd_write64(&m.driver, VTD_PHMLIMIT, 0x1000000);
	machine_expect_read(&m, 0x200000, 0);
	vi_driver_vtd_write32(&m.driver, VTD_PMEN, VTD_PMEN_EPM);
	while (!(machine_get32(&m, VTD_PMEN) & VTD_PMEN_PRS))
		m.driver.regs.relax(&m);
	machine_expect_read(&m, 0x1fffff, 0);
	machine_expect_read(&m, 0x200000, -EACCES);
	machine_expect_write(&m, 0x5fffff, -EACCES);
	machine_expect_read(&m, 0x600000, 0);
	machine_expect_read(&m, 0x1000000, -EACCES);
	machine_expect_read(&m, 0x1200000, 0);
	machine_expect_fault(&m, 0, 0, false);
	vi_driver_vtd_write32(&m.driver, VTD_PMEN, 0);
	/* On a polled page the write itself hides PRS: what counts is that the protection ends. */
	for (unsigned i = 0; i < 100000 && machine_read(&m, 0x200000, &byte, 1) != 0; i++)
		m.driver.regs.relax(&m);
	machine_expect_read(&m, 0x200000, 0);
	assert_int_equal(machine_get32(&m, VTD_PMEN), 0);
	machine_finish(&m);
}

static void test_protected_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		run_protected_memory(kinds[i]);
}

/* Registers keep what they hold when the page comes and goes. */
static void test_sharing_keeps_registers(void **state)
{
	_Alignas(4096) static uint8_t page[4096];
	struct machine m;
	uint64_t value;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_set32(&m, VTD_FEDATA, 0x77);
	assert_int_equal(viommu_regs_share(m.viommu, 0, page), 0);
	assert_int_equal(*(uint32_t *)(void *)(page + VTD_FEDATA), 0x77);
	assert_int_equal(*(uint32_t *)(void *)(page + VTD_GSTS), machine_get32(&m, VTD_GSTS));
	*(uint32_t *)(void *)(page + VTD_FEDATA) = 0x78;
	assert_int_equal(viommu_regs_read(m.viommu, VTD_FEDATA, 4, &value), 0);
	assert_int_equal(value, 0x78);
	assert_int_equal(viommu_regs_share(m.viommu, 0, NULL), 0);
	assert_int_equal(machine_get32(&m, VTD_FEDATA), 0x78);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_read(&m, IOVA, 0);
	machine_finish(&m);
}

/*
 * A guest that shares the page and traps on the next one: what it wrote to the
 * page comes before what it then reads or writes there, whoever looks first.
 */
static void test_trapped_access_comes_after_the_page(void **state)
{
	uint64_t iro, value;
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	iro = vi_field(m.driver.ecap, VTD_ECAP_IRO) * 16;
	vi_driver_vtd_write32(&m.driver, VTD_GCMD, VTD_GCMD_TE); /* the queue off */
	assert_int_equal(viommu_regs_read(m.viommu, iro + VTD_IOTLB, 8, &value), 0);
	assert_false(machine_get32(&m, VTD_GSTS) & VTD_GSTS_QIES);
	vi_driver_vtd_write32(&m.driver, VTD_GCMD, VTD_GCMD_TE | VTD_GCMD_QIE);
	machine_settle(&m);
	assert_true(machine_get32(&m, VTD_GSTS) & VTD_GSTS_QIES);
	vi_driver_vtd_write32(&m.driver, VTD_GCMD, VTD_GCMD_TE);
	assert_int_equal(viommu_regs_write(m.viommu, iro + VTD_IOTLB, 8,
					   VTD_IOTLB_IVT | vi_to_field(VTD_IOTLB_IIRG, 1)),
			 0);
	machine_settle(&m);
	assert_int_equal(vi_field(machine_get64(&m, iro + VTD_IOTLB), VTD_IOTLB_IAIG), 1);
	machine_finish(&m);
}

/* Write 1 to clear on the polled page, with the bits that are set and with more. */
static void test_polled_write_one_to_clear(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct vi_driver_vtd_fault fault;
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, &o, true);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_true(vi_driver_vtd_next_fault(&m.driver, &fault));
	machine_settle(&m);
	assert_int_equal(machine_get32(&m, VTD_FSTS) & 0xff, VTD_FSTS_PFO);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	/* What Linux writes when nothing is set. */
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO | VTD_FSTS_PPF | 0x80);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
	/* PPF follows the records; writing 1 to it does nothing. */
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PPF);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
	machine_finish(&m);
}

/* A guest that scribbles over read-only registers of its page changes what it sees, not what the unit does.
 */
static void test_scribbling_hurts_only_the_guest(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, VI_PGTABLE_READ);
	memset((uint8_t *)m.page + VTD_CAP, 0xff, 16);
	memset((uint8_t *)m.page + VTD_GSTS, 0, 4);
	memset((uint8_t *)m.page + VTD_IQH, 0x10, 8);
	machine_settle(&m);
	machine_expect_read(&m, IOVA, 0);
	machine_expect_write(&m, IOVA, -EACCES);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	machine_finish(&m);
}

static void test_reset_is_power_on(void **state)
{
	uint64_t before[4096 / 8];
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(before); i++)
		before[i] = machine_get64(&m, i * 8);
	machine_set32(&m, VTD_FEDATA, 0x77);
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_set64(&m, VTD_IQT, 0x7fff0); /* and the queue stops */
	viommu_reset(m.viommu);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(before); i++)
		assert_int_equal(machine_get64(&m, i * 8), before[i]);
	machine_expect_read(&m, IOVA, 0);
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	machine_finish(&m);
}

#define STATE_MOST 65536

/* A unit that was reset has nothing of what it was: faults, queue, registers. */
static void test_reset_leaves_nothing(void **state)
{
	static uint8_t new[STATE_MOST], after[STATE_MOST];
	struct machine m;
	int64_t size;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	size = viommu_save(m.viommu, new, sizeof(new));
	assert_in_range(size, 4096, sizeof(new));
	machine_finish(&m);
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 3; i++)
		machine_expect_read(&m, GPA + i * 4096, -EACCES);
	machine_settle(&m);
	vi_driver_vtd_submit(&m.driver, 15, 0);
	machine_settle(&m);
	machine_set32(&m, VTD_FEDATA, 0x31);
	viommu_reset(m.viommu);
	assert_int_equal(viommu_save(m.viommu, after, sizeof(after)), size);
	assert_memory_equal(after, new, (size_t)size);
	machine_finish(&m);
}

static void test_reset_keeps_the_page_shared(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	viommu_reset(m.viommu);
	assert_int_equal(machine_get32(&m, VTD_GSTS), 0);
	m.driver = (struct vi_driver_vtd){
		.regs = m.driver.regs, .memory = &m.memory, .cap = m.driver.cap, .ecap = m.driver.ecap};
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_on),
		cmocka_unit_test(test_options_show_in_capabilities),
		cmocka_unit_test(test_write_masks),
		cmocka_unit_test(test_overwritten_registers_come_back),
		cmocka_unit_test(test_dirty_reserved_bits_do_not_stay),
		cmocka_unit_test(test_context_command_reads_back),
		cmocka_unit_test(test_iotlb_register_reads_back),
		cmocka_unit_test(test_pages_that_can_be_polled),
		cmocka_unit_test(test_bad_accesses_are_the_programs),
		cmocka_unit_test(test_global_commands),
		cmocka_unit_test(test_commands_of_absent_features_do_nothing),
		cmocka_unit_test(test_commands_at_once),
		cmocka_unit_test(test_root_pointer_is_latched),
		cmocka_unit_test(test_untranslated_and_pass_through),
		cmocka_unit_test(test_translation_on_holds_for_who_was_at_work),
		cmocka_unit_test(test_pass_through_not_offered),
		cmocka_unit_test(test_protected_memory),
		cmocka_unit_test(test_sharing_keeps_registers),
		cmocka_unit_test(test_trapped_access_comes_after_the_page),
		cmocka_unit_test(test_polled_write_one_to_clear),
		cmocka_unit_test(test_scribbling_hurts_only_the_guest),
		cmocka_unit_test(test_reset_is_power_on),
		cmocka_unit_test(test_reset_leaves_nothing),
		cmocka_unit_test(test_reset_keeps_the_page_shared),
	};

	return cmocka_run_group_tests_name("vtd registers", tests, NULL, NULL);
}
