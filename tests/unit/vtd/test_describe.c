/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu_requester_describe(): what the tables say, in all states they can be in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define GPA	     UINT64_C(0x200000)
#define CONTEXT_HI_4 (vi_to_field(VTD_CONTEXT_HI_AW, VTD_AW_48BIT) | vi_to_field(VTD_CONTEXT_HI_DID, 9))

static struct viommu_requester_info describe(struct machine *m)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	assert_int_equal(viommu_requester_describe(m->device, &info), 0);
	assert_int_equal(info.sz, sizeof(info));
	assert_int_equal(info.rid, MACHINE_RID);
	return info;
}

static void set_context(struct machine *m, uint64_t lo, uint64_t hi)
{
	assert_int_equal(vi_driver_vtd_set_context(&m->driver, MACHINE_RID, lo, hi), 0);
}

static void test_translation_off(void **state)
{
	struct viommu_requester_info info;
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	info = describe(&m);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_OFF);
	assert_false(info.entry_count || info.faults_silent);
	assert_string_equal(info.text, "");
	machine_finish(&m);
}

static void test_no_model(void **state)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options o = {.sz = sizeof(o)};
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct viommu_requester *r;
	struct viommu *v;

	(void)state;
	assert_int_equal(viommu_create(&ops, NULL, &o, &v), 0);
	assert_int_equal(viommu_requester_add(v, 0x1234, &r), 0);
	assert_int_equal(viommu_requester_describe(r, &info), 0);
	assert_int_equal(info.rid, 0x1234);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_OFF);
	viommu_destroy(v);
}

static void test_paged(void **state)
{
	struct viommu_requester_info info;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	info = describe(&m);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_PAGED);
	assert_int_equal(info.domain_id, MACHINE_DOMAIN);
	assert_int_equal(info.address_width, 48);
	assert_int_equal(info.levels, 4);
	assert_int_equal(info.entry_count, 2);
	assert_string_equal(info.entries[0].name, "root entry");
	assert_string_equal(info.entries[1].name, "context entry");
	assert_int_equal(info.entries[0].gpa, m.driver.root);
	assert_int_equal(info.entries[1].gpa,
			 (info.entries[0].words[0] & VTD_ROOT_LO_CTP) + MACHINE_RID * VTD_CONTEXT_ENTRY_SIZE);
	assert_int_equal(info.entries[1].words[0] & VTD_CONTEXT_LO_SSPTPTR, info.table);
	assert_false(info.cached);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	machine_expect_read(&m, 0x1000, 0);
	assert_true(describe(&m).cached);
	machine_finish(&m);
}

/* What the tables say now is told, though accesses go by the cached entry. */
static void test_now_and_not_what_is_cached(void **state)
{
	struct viommu_requester_info info;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	machine_expect_read(&m, 0x1000, 0);
	set_context(&m, VTD_CONTEXT_LO_FPD, 0);
	info = describe(&m);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_BLOCKED);
	assert_int_equal(info.reason, VTD_FR_CONTEXT_NOT_PRESENT);
	assert_string_equal(info.text, "context entry not present");
	assert_true(info.cached && info.faults_silent && info.entry_count == 2);
	machine_expect_read(&m, 0x1000, 0);
	machine_finish(&m);
}

static void test_pass_through(void **state)
{
	struct viommu_requester_info info;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	set_context(&m, VTD_CONTEXT_LO_P | vi_to_field(VTD_CONTEXT_LO_TT, VTD_TT_PASS_THROUGH), CONTEXT_HI_4);
	info = describe(&m);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_PASS_THROUGH);
	assert_int_equal(info.domain_id, 9);
	assert_int_equal(info.address_width, 46);
	assert_int_equal(info.table, 0);
	machine_finish(&m);
}

static void test_entries_that_are_not_there(void **state)
{
	struct viommu_requester_info info;
	struct viommu_requester *other;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_add(m.viommu, 0x0500, &other), 0);
	info.sz = sizeof(info);
	assert_int_equal(viommu_requester_describe(other, &info), 0);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_BLOCKED);
	assert_int_equal(info.reason, VTD_FR_ROOT_NOT_PRESENT);
	assert_int_equal(info.entry_count, 1);
	assert_int_equal(info.entries[0].gpa, m.driver.root + 5 * VTD_ROOT_ENTRY_SIZE);
	machine_finish(&m);
}

/* A caller of another version: less is left out, more is left alone. */
static void test_sizes(void **state)
{
	struct {
		struct viommu_requester_info info;
		uint64_t later;
	} larger = {.info = {.sz = sizeof(larger)}, .later = 77};
	struct viommu_requester_info info = {.sz = offsetof(struct viommu_requester_info, entries[1]),
					     .entries[1] = {.gpa = 77}};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_requester_describe(m.device, &info), 0);
	assert_int_equal(info.entry_count, 2);
	assert_int_equal(info.entries[1].gpa, 77);
	assert_int_equal(viommu_requester_describe(m.device, &larger.info), 0);
	assert_int_equal(larger.later, 77);
	info.sz = sizeof(size_t) - 1;
	assert_int_equal(viommu_requester_describe(m.device, &info), -EINVAL);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translation_off), cmocka_unit_test(test_no_model),
		cmocka_unit_test(test_paged),		cmocka_unit_test(test_now_and_not_what_is_cached),
		cmocka_unit_test(test_pass_through),	cmocka_unit_test(test_entries_that_are_not_there),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests_name("vtd describe", tests, NULL, NULL);
}
