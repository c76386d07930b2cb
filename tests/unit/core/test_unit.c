/* SPDX-License-Identifier: BSD-3-Clause */
/* The embedder's side: options, memory, requesters, threads, counters, and a unit without a model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define GPA UINT64_C(0x200000)
#define RWM (VIOMMU_MEM_READ | VIOMMU_MEM_WRITE)

static const struct viommu_host_ops no_ops = {.sz = sizeof(no_ops)};

static int create(struct viommu_options o)
{
	struct viommu *v;
	int ret;

	o.sz = sizeof(o);
	ret = viommu_create(&no_ops, NULL, &o, &v);
	if (ret == 0)
		viommu_destroy(v);
	return ret;
}

static void test_options(void **state)
{
	struct viommu_regs_pages pages = {.sz = sizeof(pages)};
	struct {
		struct viommu_options o;
		uint64_t of_a_later_version;
	} larger = {.o = {.sz = sizeof(larger)}};
	struct viommu_options small = {.sz = sizeof(size_t)};
	struct viommu *v = NULL;

	(void)state;
	assert_int_equal(create((struct viommu_options){0}), 0);
	assert_int_equal(create((struct viommu_options){.host_address_width = 31}), -EINVAL);
	assert_int_equal(create((struct viommu_options){.host_address_width = 53}), -EINVAL);
	assert_int_equal(create((struct viommu_options){.iotlb_lg2 = 5}), -EINVAL);
	assert_int_equal(create((struct viommu_options){.iotlb_lg2 = 25}), -EINVAL);
	assert_int_equal(create((struct viommu_options){.max_threads_lg2 = 11}), -EINVAL);
	assert_int_equal(create((struct viommu_options){.model = (enum viommu_model)77}), -EINVAL);
	assert_int_equal(viommu_create(NULL, NULL, &small, &v), -EINVAL);
	assert_int_equal(viommu_create(&no_ops, NULL, NULL, &v), -EINVAL);
	assert_int_equal(viommu_create(&no_ops, NULL, &larger.o, &v), 0);
	viommu_destroy(v);
	larger.of_a_later_version = 1;
	assert_int_equal(viommu_create(&no_ops, NULL, &larger.o, &v), -E2BIG);
	assert_int_equal(viommu_create(&no_ops, NULL, &small, &v), 0);
	assert_int_equal(viommu_regs_size(v), 0);
	assert_int_equal(viommu_regs_share(v, 0, NULL), -ENOTSUP);
	assert_int_equal(viommu_regs_pollable(v, 0, &pages), -ENOENT);
	viommu_destroy(v);
	small.sz = 1;
	assert_int_equal(viommu_create(&no_ops, NULL, &small, &v), -EINVAL);
	viommu_destroy(NULL);
}

/* Of a model, as the unit's own; and of no other model. */
static void test_options_of_a_model(void **state)
{
	struct {
		struct viommu_vtd_options o;
		uint64_t of_a_later_version;
	} larger = {.o = {.sz = sizeof(larger)}};
	struct viommu_vtd_options vtd = {.sz = sizeof(size_t) - 1};

	(void)state;
	assert_int_equal(
		create((struct viommu_options){.model = VIOMMU_MODEL_VTD, .model_options = &larger.o}), 0);
	larger.of_a_later_version = 1;
	assert_int_equal(create((struct viommu_options){.model = VIOMMU_MODEL_VTD,
							.model_options = &larger.o}),
			 -E2BIG);
	assert_int_equal(create((struct viommu_options){.model = VIOMMU_MODEL_VTD, .model_options = &vtd}),
			 -EINVAL);
	vtd.sz = sizeof(vtd);
	for (unsigned model = 0; model <= VIOMMU_MODEL_GART; model++)
		assert_int_equal(create((struct viommu_options){.model = (enum viommu_model)model,
								.model_options = &vtd}),
				 model == VIOMMU_MODEL_VTD ? 0 : -EINVAL);
}

static void test_memory(void **state)
{
	struct viommu_options o = {.sz = sizeof(o), .host_address_width = 40};
	struct viommu_requester *r;
	struct viommu_thread *t;
	struct viommu *v;
	uint8_t ram[256], byte;

	(void)state;
	assert_int_equal(viommu_create(&no_ops, NULL, &o, &v), 0);
	assert_int_equal(viommu_mem_add(v, 0, 0, ram, RWM), -EINVAL);
	assert_int_equal(viommu_mem_add(v, 0, 16, ram, 4), -EINVAL);
	assert_int_equal(viommu_mem_add(v, 0, 16, NULL, RWM), -EINVAL);
	assert_int_equal(viommu_mem_add(v, UINT64_MAX, 2, ram, RWM), -EINVAL);
	assert_int_equal(viommu_mem_add(v, (UINT64_C(1) << 40) - 8, 9, ram, RWM), -EINVAL);
	assert_int_equal(viommu_mem_add(v, (UINT64_C(1) << 40) - 8, 8, ram, RWM), 0);
	assert_int_equal(viommu_mem_add(v, 100, 100, ram, RWM), 0);
	assert_int_equal(viommu_mem_add(v, 199, 1, ram, RWM), -EEXIST);
	assert_int_equal(viommu_mem_remove(v, 0, 0), -EINVAL);
	assert_int_equal(viommu_mem_remove(v, 500, 100), 0);
	assert_int_equal(viommu_mem_remove(v, 120, 10), 10);
	assert_int_equal(viommu_requester_add(v, 1, &r), 0);
	assert_int_equal(viommu_thread_create(v, &t), 0);
	assert_int_equal(viommu_read(t, r, 119, &byte, 1), 0);
	assert_int_equal(viommu_read(t, r, 120, &byte, 1), -EFAULT);
	assert_int_equal(viommu_read(t, r, 129, &byte, 1), -EFAULT);
	ram[30] = 0x42;
	assert_int_equal(viommu_read(t, r, 130, &byte, 1), 0);
	assert_int_equal(byte, 0x42);
	assert_int_equal(viommu_mem_remove(v, 0, UINT64_MAX), 90 + 8);
	viommu_thread_destroy(t);
	viommu_destroy(v);
}

static void test_requesters_and_threads(void **state)
{
	struct viommu_options o = {.sz = sizeof(o), .max_threads_lg2 = 1};
	struct viommu_requester *a, *b;
	struct viommu_thread *t[3];
	struct viommu *v;

	(void)state;
	assert_int_equal(viommu_create(&no_ops, NULL, &o, &v), 0);
	assert_int_equal(viommu_requester_add(v, 0xffff, &a), 0);
	assert_int_equal(viommu_requester_add(v, 0xffff, &b), -EEXIST);
	viommu_requester_remove(a);
	viommu_requester_remove(NULL);
	assert_int_equal(viommu_requester_add(v, 0xffff, &b), 0);
	assert_int_equal(viommu_thread_create(v, &t[0]), 0);
	assert_int_equal(viommu_thread_create(v, &t[1]), 0);
	assert_int_equal(viommu_thread_create(v, &t[2]), -EAGAIN);
	viommu_thread_destroy(t[0]);
	viommu_thread_destroy(NULL);
	assert_int_equal(viommu_thread_create(v, &t[2]), 0);
	viommu_thread_destroy(t[1]);
	viommu_thread_destroy(t[2]);
	viommu_destroy(v);
}

static void test_counters_are_described(void **state)
{
	const struct viommu_counter_info *info;
	struct machine m;
	size_t count;

	(void)state;
	info = viommu_counters_describe(&count);
	assert_true(count > 10);
	for (size_t i = 0; i < count; i++) {
		assert_true(strlen(info[i].doc) > 5);
		assert_true(!strcmp(info[i].unit, "events") || !strcmp(info[i].unit, "bytes") ||
			    !strcmp(info[i].unit, "ns"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(info[i].name, info[j].name);
	}
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	machine_expect_read(&m, 0x1000, 0);
	machine_expect_read(&m, 0x1000, 0);
	machine_expect_write(&m, 0x1000, 0);
	assert_int_equal(machine_counter(&m, "iotlb_misses"), 1);
	assert_int_equal(machine_counter(&m, "iotlb_hits"), 2);
	assert_int_equal(machine_counter(&m, "context_misses"), 1);
	assert_int_equal(machine_counter(&m, "bytes_read"), 2);
	assert_int_equal(machine_counter(&m, "bytes_written"), 1);
	/* A thread that goes takes nothing away. */
	viommu_thread_destroy(m.thread);
	assert_int_equal(machine_counter(&m, "iotlb_hits"), 2);
	assert_int_equal(viommu_thread_create(m.viommu, &m.thread), 0);
	machine_finish(&m);
}

/* Memory that went away is out of reach through cached translations too. */
static void test_memory_removed_under_translations(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, 0x1000, GPA, 4096, 3);
	machine_expect_read(&m, 0x1000, 0);
	assert_int_equal(viommu_mem_remove(m.viommu, GPA, 4096), 4096);
	machine_expect_read(&m, 0x1000, -EFAULT);
	assert_int_equal(viommu_mem_add(m.viommu, GPA, 4096, m.ram + GPA + 8192, RWM), 0);
	m.ram[GPA + 8192] = 0x99;
	uint8_t byte;
	assert_int_equal(machine_read(&m, 0x1000, &byte, 1), 0);
	assert_int_equal(byte, 0x99);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_options_of_a_model),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_requesters_and_threads),
		cmocka_unit_test(test_counters_are_described),
		cmocka_unit_test(test_memory_removed_under_translations),
	};

	return cmocka_run_group_tests_name("core unit", tests, NULL, NULL);
}
