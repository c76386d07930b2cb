/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu_reach(): what the tables allow, joined, in words of memory that exists. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

struct range {
	uint64_t first, last, gpa;
	unsigned access;
};

struct told {
	unsigned count, stop_after;
	struct range ranges[16];
};

static int tell(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct told *t = arg;

	if (t->count < VI_ARRAY_SIZE(t->ranges))
		t->ranges[t->count] = (struct range){first, last, gpa, access};
	return ++t->count == t->stop_after ? 42 : 0;
}

static void expect(struct machine *m, const struct range *ranges, unsigned count)
{
	struct told t = {0};

	assert_int_equal(viommu_reach(m->device, 1000000, tell, &t), 0);
	assert_int_equal(t.count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(t.ranges[i].first, ranges[i].first);
		assert_int_equal(t.ranges[i].last, ranges[i].last);
		assert_int_equal(t.ranges[i].gpa, ranges[i].gpa);
		assert_int_equal(t.ranges[i].access, ranges[i].access);
	}
}

static void test_states_of_the_unit(void **state)
{
	const struct range all[] = {{0, MACHINE_RAM_SIZE - 1, 0, 3},
				    {MACHINE_FAR, MACHINE_FAR + 8191, MACHINE_FAR, 3}};
	struct told t = {0};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	expect(&m, all, 2);
	assert_int_equal(vi_driver_vtd_start(&m.driver, true), 0);
	assert_int_equal(viommu_reach(m.device, 1000, tell, &t), -ENOENT);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	expect(&m, all, 2);
	machine_expect_fault(&m, 0, 0, false);
	machine_finish(&m);
}

static void test_ranges_are_joined(void **state)
{
	const struct range ranges[] = {
		{IOVA, IOVA + 3 * 4096 - 1, GPA, 3},
		{IOVA + 3 * 4096, IOVA + 4 * 4096 - 1, GPA + 3 * 4096, 1},
		{IOVA + 6 * 4096, IOVA + 7 * 4096 - 1, GPA, 2},
		{IOVA + (2u << 20), IOVA + (4u << 20) - 1, 0, 3},
	};
	struct told t = {.stop_after = 2};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	expect(&m, NULL, 0);
	machine_map(&m, IOVA, GPA, 3 * 4096, RW);
	machine_map(&m, IOVA + 3 * 4096, GPA + 3 * 4096, 4096, VI_PGTABLE_READ);
	machine_map(&m, IOVA + 5 * 4096, MACHINE_RAM_SIZE, 4096, RW); /* no memory there */
	machine_map(&m, IOVA + 6 * 4096, GPA, 4096, VI_PGTABLE_WRITE);
	machine_map(&m, IOVA + (2u << 20), 0, 2u << 20, RW);
	expect(&m, ranges, 4);
	assert_int_equal(viommu_reach(m.device, 1000000, tell, &t), 42);
	assert_int_equal(t.count, 2);
	machine_finish(&m);
}

/* A right that the memory does not have is none, whatever the tables say. */
static void test_rights_of_memory(void **state)
{
	static _Alignas(4096) uint8_t rom[4096];
	const uint64_t gpa = UINT64_C(0x80000000);
	const struct range ranges[] = {{IOVA, IOVA + 4095, gpa, 1}};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_add(m.viommu, gpa, sizeof(rom), rom, VIOMMU_MEM_READ), 0);
	machine_map(&m, IOVA, gpa, 4096, RW);
	machine_map(&m, IOVA + 8192, gpa, 4096, VI_PGTABLE_WRITE);
	expect(&m, ranges, 1);
	machine_finish(&m);
}

/* In pieces of any size it is the same; neighbours are joined here. */

struct pieces {
	struct range ranges[64];
	unsigned count, told; /* told: by the piece */
};

static int join(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct pieces *p = arg;
	struct range *r = p->count ? &p->ranges[p->count - 1] : NULL;

	p->told++;
	if (r && r->access == access && first == r->last + 1 && gpa == r->gpa + (first - r->first)) {
		r->last = last;
		return 0;
	}
	if (p->count < VI_ARRAY_SIZE(p->ranges))
		p->ranges[p->count] = (struct range){first, last, gpa, access};
	p->count++;
	return 0;
}

static void expect_same_in_pieces(struct machine *m)
{
	struct pieces whole = {0};

	assert_int_equal(viommu_reach(m->device, 1000000, join, &whole), 0);
	assert_true(whole.count < VI_ARRAY_SIZE(whole.ranges));
	for (uint64_t budget = 1; budget < 40; budget += 1 + budget / 4) {
		struct pieces p = {0};
		uint64_t iova = 0;
		int ret = 1;

		for (unsigned i = 0; ret == 1; i++) {
			assert_true(i < 10000);
			p.told = 0;
			ret = viommu_reach_some(m->device, &iova, budget, join, &p);
			assert_true(p.told <= budget + 1);
		}
		assert_int_equal(ret, 0);
		assert_int_equal(p.count, whole.count);
		for (unsigned i = 0; i < whole.count; i++) {
			assert_int_equal(p.ranges[i].first, whole.ranges[i].first);
			assert_int_equal(p.ranges[i].last, whole.ranges[i].last);
			assert_int_equal(p.ranges[i].gpa, whole.ranges[i].gpa);
			assert_int_equal(p.ranges[i].access, whole.ranges[i].access);
		}
	}
}

static void test_pieces(void **state)
{
	uint64_t iova = 0;
	struct told t = {0};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	expect_same_in_pieces(&m);
	assert_int_equal(viommu_reach_some(m.device, &iova, 0, tell, &t), -EINVAL);
	machine_set32(&m, VTD_PLMBASE, 0x200000);
	machine_set32(&m, VTD_PLMLIMIT, 0x400000);
	machine_set64(&m, VTD_PHMBASE, UINT64_C(0x8000000000));
	machine_set64(&m, VTD_PHMLIMIT, UINT64_C(0x8000000000));
	machine_set32(&m, VTD_PMEN, VTD_PMEN_EPM);
	expect_same_in_pieces(&m);
	machine_finish(&m);

	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 3 * 4096, RW);
	machine_map(&m, IOVA + 3 * 4096, GPA + 3 * 4096, 4096, VI_PGTABLE_READ);
	machine_map(&m, IOVA + 6 * 4096, GPA, 4096, VI_PGTABLE_WRITE);
	machine_map(&m, IOVA + (2u << 20), 0, 2u << 20, RW);
	expect_same_in_pieces(&m);
	machine_finish(&m);
}

#define HOLES 600

/* Pages times regions: no more is looked at than was granted, by a piece or in all. */
static void test_many_regions_behind_many_pages(void **state)
{
	static uint8_t memory[4096];
	struct told t = {0};
	uint64_t iova = 0;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < HOLES; i++)
		assert_int_equal(viommu_mem_add(m.viommu, UINT64_C(0x3c0000000) + i * 8192, sizeof(memory),
						memory, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
				 0);
	for (unsigned i = 0; i < 64; i++)
		machine_map(&m, UINT64_C(0x8000000000) + ((uint64_t)i << 30), UINT64_C(0x3c0000000), 1u << 30,
			    RW);
	assert_int_equal(viommu_reach_some(m.device, &iova, 1000, tell, &t), 1);
	assert_in_range(t.count, HOLES, 1000);
	assert_int_equal(viommu_reach_some(m.device, &iova, 1000, tell, &t), 1);
	assert_in_range(t.count, 2 * HOLES, 2000);
	t.count = 0;
	assert_int_equal(viommu_reach(m.device, 5000, tell, &t), -E2BIG);
	assert_in_range(t.count, 4000, 5000);
	t.count = 0;
	assert_int_equal(viommu_reach(m.device, 1000000, tell, &t), 0);
	assert_int_equal(t.count, 64 * HOLES);
	machine_finish(&m);
}

struct blocker {
	struct machine *m;
	unsigned told;
};

/* The guest takes the device's context entry away while its tables are read. */
static int tell_and_block(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct blocker *b = arg;
	uint64_t root = b->m->driver.root + (MACHINE_RID >> 8) * UINT64_C(16);
	uint64_t contexts = vi_driver_load64(&b->m->memory, root) & VTD_ROOT_LO_CTP;

	(void)first;
	(void)last;
	(void)gpa;
	(void)access;
	vi_driver_store64(&b->m->memory, contexts + (MACHINE_RID & 0xff) * VTD_CONTEXT_ENTRY_SIZE, 0);
	b->told++;
	return 0;
}

/* What was told before is not taken back by "blocked entirely". */
static void test_blocked_in_the_middle(void **state)
{
	struct machine m;
	struct blocker b = {.m = &m};

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 20; i++) /* each has a table of its own, whose entries are steps */
		machine_map(&m, IOVA + i * (UINT64_C(2) << 20), GPA, 4096, RW);
	assert_int_equal(viommu_reach(m.device, 1000000, tell_and_block, &b), -E2BIG);
	assert_in_range(b.told, 1, 19);
	b.told = 0;
	assert_int_equal(viommu_reach(m.device, 1000000, tell_and_block, &b), -ENOENT);
	assert_int_equal(b.told, 0);
	machine_finish(&m);
}

/* Tables that lead to themselves describe 2^36 pages: bounded, and what is told is right. */
static void test_self_reference_is_bounded(void **state)
{
	struct told t = {0};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 512; i++)
		vi_driver_store64(&m.memory, m.table.table.root + i * 8,
				  m.table.table.root | VTD_SS_R | VTD_SS_W);
	assert_int_equal(viommu_reach(m.device, 100000, tell, &t), -E2BIG);
	assert_true(t.count > 0);
	machine_finish(&m);
}

/* Protected memory is out of reach while nothing translates. */
static void test_protected_memory(void **state)
{
	const struct range ranges[] = {{0, 0x1fffff, 0, 3},
				       {0x600000, MACHINE_RAM_SIZE - 1, 0x600000, 3},
				       {MACHINE_FAR, MACHINE_FAR + 8191, MACHINE_FAR, 3}};
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	machine_set32(&m, VTD_PLMBASE, 0x200000);
	machine_set32(&m, VTD_PLMLIMIT, 0x400000);
	machine_set64(&m, VTD_PHMBASE, UINT64_C(0x8000000000));
	machine_set64(&m, VTD_PHMLIMIT, UINT64_C(0x8000000000));
	machine_set32(&m, VTD_PMEN, VTD_PMEN_EPM);
	expect(&m, ranges, 3);
	machine_finish(&m);
}

/* The interrupt range is no memory, though a large page covers it. */
static void test_interrupt_range(void **state)
{
	static uint8_t memory[3 << 20];
	const struct range ranges[] = {{0xfed00000, 0xfedfffff, 0x3ed00000, 3},
				       {0xfef00000, 0xfeffffff, 0x3ef00000, 3}};
	struct told t = {0};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_mem_remove(m.viommu, 0, MACHINE_TABLES), MACHINE_TABLES);
	assert_int_equal(viommu_mem_add(m.viommu, 0x3ed00000, sizeof(memory), memory,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	machine_map(&m, UINT64_C(0xc0000000), 0, UINT64_C(1) << 30, RW);
	assert_int_equal(viommu_reach(m.device, 1000000, tell, &t), 0);
	assert_true(t.count >= 2);
	/* The tables' own memory comes first: the last two are what was added. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(t.ranges[t.count - 2 + i].first, ranges[i].first);
		assert_int_equal(t.ranges[t.count - 2 + i].last, ranges[i].last);
		assert_int_equal(t.ranges[t.count - 2 + i].gpa, ranges[i].gpa);
	}
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states_of_the_unit),
		cmocka_unit_test(test_ranges_are_joined),
		cmocka_unit_test(test_blocked_in_the_middle),
		cmocka_unit_test(test_self_reference_is_bounded),
		cmocka_unit_test(test_protected_memory),
		cmocka_unit_test(test_interrupt_range),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_many_regions_behind_many_pages),
		cmocka_unit_test(test_rights_of_memory),
	};

	return cmocka_run_group_tests_name("core reach", tests, NULL, NULL);
}
