/* SPDX-License-Identifier: BSD-3-Clause */
/* Every way to invalidate, with every granularity: what it must drop, what it may keep, when it is complete.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA	   UINT64_C(0x40000000)
#define GPA	   UINT64_C(0x200000)
#define RW	   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define OTHER	   UINT16_C(9) /* a second domain */
#define OTHER_IOVA IOVA

/* Two devices in two domains, one page each, both cached. */
struct pair {
	struct machine m;
	struct viommu_requester *other;
	struct vi_driver_page_table table;
};

#define OTHER_RID (MACHINE_RID + 1)

static int other_read(struct pair *p)
{
	uint8_t byte;

	return viommu_read(p->m.thread, p->other, OTHER_IOVA, &byte, 1);
}

static void pair_init(struct pair *p, enum machine_registers kind, bool queue)
{
	machine_start(&p->m, kind, NULL, queue);
	assert_int_equal(viommu_requester_add(p->m.viommu, OTHER_RID, &p->other), 0);
	assert_int_equal(vi_driver_vtd_table_init(&p->m.driver, &p->table, 3), 0);
	assert_int_equal(vi_driver_map(&p->table, OTHER_IOVA, GPA + 8192, 4096, RW), 0);
	assert_int_equal(vi_driver_vtd_attach(&p->m.driver, OTHER_RID, OTHER, &p->table), 0);
	machine_map(&p->m, IOVA, GPA, 4096, RW);
	machine_expect_read(&p->m, IOVA, 0);
	assert_int_equal(other_read(p), 0);
}

/* The tables lose both pages, without a word to the unit. */
static void take_both_away(struct pair *p)
{
	assert_int_equal(vi_driver_unmap(&p->m.table, IOVA, 4096), 4096);
	assert_int_equal(vi_driver_unmap(&p->table, OTHER_IOVA, 4096), 4096);
}

enum kept { GONE = -EACCES, KEPT = 0 };

struct granularity {
	unsigned granularity;
	uint16_t domain;
	uint64_t address;
	unsigned mask;
	enum kept first, second;
};

static const struct granularity granularities[] = {
	{VTD_GRANULARITY_GLOBAL, 0, 0, 0, GONE, GONE},
	{VTD_GRANULARITY_DOMAIN, MACHINE_DOMAIN, 0, 0, GONE, KEPT},
	{VTD_GRANULARITY_DOMAIN, OTHER, 0, 0, KEPT, GONE},
	{VTD_GRANULARITY_DOMAIN, 0x1234, 0, 0, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA, 0, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA - 4096, 0, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA + 4096, 0, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA + 4096, 1, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA + 0x1f000, 5, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, IOVA + 0x20000, 5, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, 0x7fffffff, 18, GONE, KEPT},
};

static void check_granularity(const struct granularity *g, enum machine_registers kind, bool queue)
{
	struct pair p;

	pair_init(&p, kind, queue);
	take_both_away(&p);
	machine_expect_read(&p.m, IOVA, KEPT); /* real caches: stale until told */
	assert_int_equal(other_read(&p), KEPT);
	assert_int_equal(
		vi_driver_vtd_flush_iotlb(&p.m.driver, g->granularity, g->domain, g->address, g->mask), 0);
	machine_expect_read(&p.m, IOVA, g->first);
	assert_int_equal(other_read(&p), g->second);
	machine_finish(&p.m);
}

static void test_iotlb_granularities(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(granularities); i++) {
		check_granularity(&granularities[i], TRAPPED, false);
		check_granularity(&granularities[i], TRAPPED, true);
		check_granularity(&granularities[i], POLLED, false);
		check_granularity(&granularities[i], POLLED, true);
		check_granularity(&granularities[i], SIDECORE, true);
	}
}

struct context_granularity {
	unsigned granularity;
	uint16_t domain, rid;
	unsigned function_mask;
	enum kept first, second; /* MACHINE_RID is function 0, OTHER_RID function 1 */
};

static const struct context_granularity context_granularities[] = {
	{VTD_GRANULARITY_GLOBAL, 0, 0, 0, GONE, GONE},
	{VTD_GRANULARITY_DOMAIN, MACHINE_DOMAIN, 0, 0, GONE, KEPT},
	{VTD_GRANULARITY_DOMAIN, OTHER, 0, 0, KEPT, GONE},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID, 0, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, OTHER, OTHER_RID, 0, KEPT, GONE},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID, 1, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID + 4, 1, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID + 4, 0, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID + 6, 2, GONE, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID, 3, GONE, GONE},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, MACHINE_RID + 8, 3, KEPT, KEPT},
	{VTD_GRANULARITY_SELECTIVE, MACHINE_DOMAIN, 0xff00, 3, KEPT, KEPT},
};

static void check_context_granularity(const struct context_granularity *g, bool queue)
{
	struct pair p;

	pair_init(&p, TRAPPED, queue);
	assert_int_equal(vi_driver_vtd_set_context(&p.m.driver, MACHINE_RID, 0, 0), 0);
	assert_int_equal(vi_driver_vtd_set_context(&p.m.driver, OTHER_RID, 0, 0), 0);
	machine_expect_read(&p.m, IOVA, KEPT);
	assert_int_equal(other_read(&p), KEPT);
	assert_int_equal(vi_driver_vtd_flush_contexts(&p.m.driver, g->granularity, g->domain, g->rid,
						      g->function_mask),
			 0);
	machine_expect_read(&p.m, IOVA, g->first);
	assert_int_equal(other_read(&p), g->second);
	machine_finish(&p.m);
}

static void test_context_granularities(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(context_granularities); i++) {
		check_context_granularity(&context_granularities[i], false);
		check_context_granularity(&context_granularities[i], true);
	}
}

/* The actual granularity tells what was done; 0: nothing, the request was not valid. */
static void test_register_granularity_report(void **state)
{
	struct machine m;
	uint64_t iro;

	(void)state;
	machine_start(&m, TRAPPED, NULL, false);
	iro = vi_field(m.driver.ecap, VTD_ECAP_IRO) * 16;
	for (uint64_t g = 0; g < 4; g++) {
		machine_set64(&m, VTD_CCMD, VTD_CCMD_ICC | vi_to_field(VTD_CCMD_CIRG, g));
		assert_int_equal(vi_field(machine_get64(&m, VTD_CCMD), VTD_CCMD_CAIG), g);
		assert_false(machine_get64(&m, VTD_CCMD) & VTD_CCMD_ICC);
		machine_set64(&m, iro + VTD_IOTLB, VTD_IOTLB_IVT | vi_to_field(VTD_IOTLB_IIRG, g));
		assert_int_equal(vi_field(machine_get64(&m, iro + VTD_IOTLB), VTD_IOTLB_IAIG), g);
		assert_false(machine_get64(&m, iro + VTD_IOTLB) & VTD_IOTLB_IVT);
	}
	/* More pages than CAP.MAMV. */
	machine_set64(&m, iro + VTD_IVA, 19);
	machine_set64(&m, iro + VTD_IOTLB, VTD_IOTLB_IVT | vi_to_field(VTD_IOTLB_IIRG, 3));
	assert_int_equal(vi_field(machine_get64(&m, iro + VTD_IOTLB), VTD_IOTLB_IAIG), 0);
	/* With the queue enabled the registers are out of use. */
	assert_int_equal(vi_driver_vtd_enable_queue(&m.driver, 0), 0);
	machine_set64(&m, VTD_CCMD, VTD_CCMD_ICC | vi_to_field(VTD_CCMD_CIRG, 1));
	assert_int_equal(vi_field(machine_get64(&m, VTD_CCMD), VTD_CCMD_CAIG), 0);
	assert_false(machine_get64(&m, VTD_CCMD) & VTD_CCMD_ICC);
	machine_set64(&m, iro + VTD_IOTLB, VTD_IOTLB_IVT | vi_to_field(VTD_IOTLB_IIRG, 1));
	assert_int_equal(vi_field(machine_get64(&m, iro + VTD_IOTLB), VTD_IOTLB_IAIG), 0);
	assert_false(machine_get64(&m, iro + VTD_IOTLB) & VTD_IOTLB_IVT);
	machine_finish(&m);
}

/* A register written as two halves, as a 32-bit guest does. */
static void test_halves(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, false);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_read(&m, IOVA, 0);
	assert_int_equal(vi_driver_vtd_set_context(&m.driver, MACHINE_RID, 0, 0), 0);
	machine_set32(&m, VTD_CCMD, MACHINE_RID << 16 | MACHINE_DOMAIN);
	machine_set32(&m, VTD_CCMD + 4, (uint32_t)((VTD_CCMD_ICC | vi_to_field(VTD_CCMD_CIRG, 3)) >> 32));
	machine_expect_read(&m, IOVA, -EACCES);
	machine_finish(&m);
}

static const struct {
	uint64_t size;
	unsigned level;
} pages[] = {{UINT64_C(4096), 1}, {UINT64_C(2) << 20, 2}, {UINT64_C(1) << 30, 3}};

/* A large page is one entry, and any 4 KiB in it takes all of it away. */
static void test_large_pages(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(pages); i++) {
		uint64_t last = IOVA + vi_min(pages[i].size, MACHINE_RAM_SIZE) - 1;
		struct machine m;
		uint64_t misses;

		machine_start(&m, TRAPPED, NULL, true);
		machine_map(&m, IOVA, 0, pages[i].size, RW);
		assert_true(vi_driver_entry_gpa(&m.table, IOVA, pages[i].level));
		machine_expect_read(&m, IOVA, 0);
		misses = machine_counter(&m, "iotlb_misses");
		machine_expect_read(&m, last, 0);
		assert_int_equal(machine_counter(&m, "iotlb_misses"), misses);
		assert_int_equal(vi_driver_unmap(&m.table, IOVA, pages[i].size), pages[i].size);
		machine_expect_read(&m, IOVA, 0);
		assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, VTD_GRANULARITY_SELECTIVE,
							   MACHINE_DOMAIN, last & ~UINT64_C(0xfff), 0),
				 0);
		machine_expect_read(&m, IOVA, -EACCES);
		machine_finish(&m);
	}
}

/* Domain-wide invalidation is O(1) by a new tag; so many that the tags come round. */
static void test_tags_come_round(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, &(struct viommu_options){.iotlb_lg2 = 8}, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	for (unsigned i = 0; i < (1u << 20) + 100; i++) {
		if (i % 4096 == 0)
			machine_expect_read(&m, IOVA, 0);
		vi_driver_vtd_submit(&m.driver,
				     VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_DOMAIN) |
					     vi_to_field(VTD_QI_IOTLB_DID, MACHINE_DOMAIN),
				     0);
	}
	machine_settle(&m);
	machine_expect_read(&m, IOVA, 0);
	assert_int_equal(vi_driver_unmap(&m.table, IOVA, 4096), 4096);
	machine_expect_read(&m, IOVA, 0); /* and it caches again */
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, VTD_GRANULARITY_DOMAIN, MACHINE_DOMAIN, 0, 0),
			 0);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_finish(&m);
}

/* Both devices of one domain share entries; rights that the guest widened are found without invalidation. */
static void test_domain_is_shared(void **state)
{
	struct viommu_requester *second;
	uint64_t misses;
	struct machine m;
	uint8_t byte;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_add(m.viommu, OTHER_RID, &second), 0);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, OTHER_RID, MACHINE_DOMAIN, &m.table), 0);
	machine_map(&m, IOVA, GPA, 4096, VI_PGTABLE_READ);
	machine_expect_read(&m, IOVA, 0);
	misses = machine_counter(&m, "iotlb_misses");
	assert_int_equal(viommu_read(m.thread, second, IOVA, &byte, 1), 0);
	assert_int_equal(machine_counter(&m, "iotlb_misses"), misses);
	vi_driver_store64(&m.memory, vi_driver_entry_gpa(&m.table, IOVA, 1), GPA | VTD_SS_R | VTD_SS_W);
	machine_expect_write(&m, IOVA, 0);
	machine_finish(&m);
}

/* An invalidation must not complete while an access that began before it is under way. */
static void check_barrier(enum machine_registers kind, bool queue)
{
	struct viommu_span span;
	struct machine m;

	machine_start(&m, kind, NULL, queue);
	machine_map(&m, IOVA, GPA, 4096, RW);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 4096, VIOMMU_WRITE, &span), 0);
	assert_ptr_equal(span.host, m.ram + GPA);
	m.patience = 2000;
	assert_int_equal(vi_driver_unmap(&m.table, IOVA, 4096), 4096);
	assert_int_equal(vi_driver_vtd_flush_range(&m.driver, MACHINE_DOMAIN, IOVA, IOVA + 4095), -ETIMEDOUT);
	viommu_exit(m.thread);
	m.patience = 0;
	if (queue)
		while (vi_driver_load32(&m.memory, m.driver.status) != m.driver.sequence)
			m.driver.regs.relax(&m);
	else
		machine_settle(&m);
	machine_expect_read(&m, IOVA, -EACCES);
	assert_true(machine_counter(&m, "drains_deferred") > 0);
	machine_finish(&m);
}

static void test_invalidation_is_a_barrier(void **state)
{
	(void)state;
	check_barrier(TRAPPED, true);
	check_barrier(TRAPPED, false);
	check_barrier(POLLED, true);
	check_barrier(POLLED, false);
	check_barrier(SIDECORE, true);
}

/* Switching translation on and off is one too. */
static void test_translation_enable_is_a_barrier(void **state)
{
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	assert_int_equal(vi_driver_vtd_set_root(&m.driver), 0);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, GPA, 1, VIOMMU_READ, &span), 0);
	m.patience = 100;
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, true), -ETIMEDOUT);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS);
	/* A command that comes meanwhile is carried out after it. */
	machine_set32(&m, VTD_GCMD, 0);
	viommu_exit(m.thread);
	machine_settle(&m);
	assert_int_equal(machine_get32(&m, VTD_GSTS), VTD_GSTS_RTPS);
	machine_expect_read(&m, GPA, 0);
	machine_finish(&m);
}

/* Other requests of the guest are served while one drain lasts. */
static void test_drain_blocks_nothing_else(void **state)
{
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1, VIOMMU_READ, &span), 0);
	m.patience = 100;
	assert_int_equal(vi_driver_vtd_flush_range(&m.driver, MACHINE_DOMAIN, IOVA, IOVA + 4095), -ETIMEDOUT);
	machine_set32(&m, VTD_FEDATA, 5);
	assert_int_equal(machine_get32(&m, VTD_FEDATA), 5);
	assert_true(viommu_process(m.viommu, 8) & VIOMMU_PROCESS_PENDING);
	viommu_exit(m.thread);
	machine_settle(&m);
	assert_int_equal(vi_driver_load32(&m.memory, m.driver.status), m.driver.sequence);
	machine_finish(&m);
}

/* Switching the queue off while a wait is pending does not lose the barrier: QIES stays until it holds. */
static void test_queue_disable_is_a_barrier(void **state)
{
	struct viommu_span span;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, IOVA, 1, VIOMMU_READ, &span), 0);
	m.patience = 100;
	assert_int_equal(vi_driver_vtd_flush_range(&m.driver, MACHINE_DOMAIN, IOVA, IOVA + 4095), -ETIMEDOUT);
	m.patience = 100;
	assert_int_equal(vi_driver_vtd_disable_queue(&m.driver), -ETIMEDOUT);
	viommu_exit(m.thread);
	machine_settle(&m);
	assert_false(machine_get32(&m, VTD_GSTS) & VTD_GSTS_QIES);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iotlb_granularities),
		cmocka_unit_test(test_context_granularities),
		cmocka_unit_test(test_register_granularity_report),
		cmocka_unit_test(test_halves),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_tags_come_round),
		cmocka_unit_test(test_domain_is_shared),
		cmocka_unit_test(test_invalidation_is_a_barrier),
		cmocka_unit_test(test_translation_enable_is_a_barrier),
		cmocka_unit_test(test_drain_blocks_nothing_else),
		cmocka_unit_test(test_queue_disable_is_a_barrier),
	};

	return cmocka_run_group_tests_name("vtd invalidation", tests, NULL, NULL);
}
