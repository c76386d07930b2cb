/* SPDX-License-Identifier: BSD-3-Clause */
/* Refusals by reason, and the last faults in words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define GPA UINT64_C(0x200000)

static uint64_t refused(struct machine *m, uint8_t reason)
{
	uint64_t counts[VIOMMU_REASONS], sum = 0;

	assert_int_equal(viommu_refusals_read(m->viommu, counts, VIOMMU_REASONS), VIOMMU_REASONS);
	for (unsigned i = 0; i < VIOMMU_REASONS; i++)
		sum += counts[i];
	assert_int_equal(sum, machine_counter(m, "blocked"));
	return counts[reason];
}

static void test_by_reason(void **state)
{
	struct viommu_span span;
	struct machine m;
	uint64_t guard[2] = {7, 7};

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 1);
	machine_expect_write(&m, 0x1000, -EACCES);
	machine_expect_write(&m, 0x1000, -EACCES);
	machine_expect_read(&m, 0x9000, -EACCES);
	viommu_enter(m.thread);
	assert_int_equal(viommu_translate(m.thread, m.device, 0x9000, 1, VIOMMU_READ | VIOMMU_QUIET, &span),
			 -EACCES);
	viommu_exit(m.thread);
	assert_int_equal(refused(&m, VTD_FR_WRITE), 2);
	assert_int_equal(refused(&m, VTD_FR_READ), 1);
	assert_int_equal(refused(&m, VIOMMU_REASON_PROTECTED), 0);
	assert_int_equal(viommu_refusals_read(m.viommu, guard, 1), 1);
	assert_true(guard[0] == 0 && guard[1] == 7);
	machine_finish(&m);
}

/* Refused, but no fault for the guest: counted, and not among the faults. */
static void test_silent(void **state)
{
	struct viommu_fault fault = {.sz = sizeof(fault)};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(vi_driver_vtd_set_context(&m.driver, MACHINE_RID, VTD_CONTEXT_LO_FPD, 0), 0);
	assert_int_equal(vi_driver_vtd_flush_contexts(&m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	machine_expect_read(&m, 0x1000, -EACCES);
	machine_settle(&m);
	assert_int_equal(refused(&m, VTD_FR_CONTEXT_NOT_PRESENT), 1);
	assert_int_equal(viommu_fault_find(m.viommu, 0, &fault), -ENOENT);
	machine_finish(&m);
}

static void test_the_last_ones(void **state)
{
	struct viommu_fault fault = {.sz = sizeof(fault)};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 1; i <= 100; i++) {
		if (i % 2)
			machine_expect_write(&m, i << 12, -EACCES);
		else
			machine_expect_read(&m, (uint64_t)i << 12, -EACCES);
		machine_settle(&m);
	}
	assert_int_equal(viommu_fault_find(m.viommu, 0, &fault), 0);
	assert_int_equal(fault.number, 100 - VIOMMU_FAULTS_KEPT + 1);
	for (uint64_t number = fault.number; number <= 100; number++) {
		assert_int_equal(viommu_fault_find(m.viommu, number, &fault), 0);
		assert_int_equal(fault.number, number);
		assert_int_equal(fault.address, number << 12);
		assert_int_equal(fault.rid, MACHINE_RID);
		assert_int_equal(fault.write, number % 2);
		assert_int_equal(fault.reason, number % 2 ? VTD_FR_WRITE : VTD_FR_READ);
		assert_string_equal(fault.text,
				    number % 2 ? "no permission to write" : "no permission to read");
	}
	assert_int_equal(viommu_fault_find(m.viommu, 101, &fault), -ENOENT);
	machine_finish(&m);
}

/* A program that was built with an older header, and one that did not say. */
static void test_sized(void **state)
{
	struct viommu_fault fault;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_expect_read(&m, 0x5000, -EACCES);
	machine_settle(&m);
	memset(&fault, 0x5a, sizeof(fault));
	fault.sz = offsetof(struct viommu_fault, ns);
	assert_int_equal(viommu_fault_find(m.viommu, 1, &fault), 0);
	assert_int_equal(fault.number, 1);
	assert_true(fault.ns == UINT64_C(0x5a5a5a5a5a5a5a5a));
	fault.sz = 1;
	assert_int_equal(viommu_fault_find(m.viommu, 1, &fault), -EINVAL);
	machine_finish(&m);
}

static void test_reasons_in_words(void **state)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options o = {.sz = sizeof(o)};
	struct viommu *none;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(viommu_create(&ops, NULL, &o, &none), 0);
	for (unsigned i = 0; i < VIOMMU_REASONS; i++) {
		assert_true(strlen(viommu_reason_text(m.viommu, (uint8_t)i)) > 5);
		assert_true(strlen(viommu_reason_text(none, (uint8_t)i)) > 5);
	}
	assert_string_equal(viommu_reason_text(m.viommu, VTD_FR_BEYOND_MGAW),
			    "address beyond the guest address width");
	assert_non_null(strstr(viommu_reason_text(m.viommu, VIOMMU_REASON_PROTECTED), "protected"));
	viommu_destroy(none);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_reason),	 cmocka_unit_test(test_silent),
		cmocka_unit_test(test_the_last_ones),	 cmocka_unit_test(test_sized),
		cmocka_unit_test(test_reasons_in_words),
	};

	return cmocka_run_group_tests_name("core fault history", tests, NULL, NULL);
}
