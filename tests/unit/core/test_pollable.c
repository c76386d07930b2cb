/* SPDX-License-Identifier: BSD-3-Clause */
/* A model of several pollable pages: what a program is told of them, and which one it shares. */
#include "model_bed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct vi_regs_pollable pages[] = {
	{.offset = 0, .length = 4096, .writable = true},
	{.offset = 0x2000, .length = 8192, .writable = true},
	{.offset = 0x5000, .length = 4096, .writable = false},
};

static unsigned shared, last_which;
static void *last_pages;

static void share(void *state, unsigned which, void *at)
{
	const struct bed *b = state;

	vi_lock_assert(&b->viommu->lock);
	shared++;
	last_which = which;
	last_pages = at;
}

static void begin(struct bed *b)
{
	struct vi_model_ops model = bed_model;
	static struct vi_model_ops kept; /* the unit keeps the pointer */

	model.regs_pollable = pages;
	model.regs_pollable_count = VI_ARRAY_SIZE(pages);
	model.regs_share = share;
	kept = model;
	bed_begin_with(b, &kept, 0);
	shared = 0;
}

static void test_list(void **state)
{
	struct viommu_regs_pages found = {.sz = sizeof(found)};
	struct bed b;

	(void)state;
	begin(&b);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(pages); i++) {
		assert_int_equal(viommu_regs_pollable(b.viommu, i, &found), 0);
		assert_int_equal(found.offset, pages[i].offset);
		assert_int_equal(found.length, pages[i].length);
		assert_int_equal(found.writable, pages[i].writable);
		assert_int_equal(found.sz, sizeof(found));
	}
	assert_int_equal(viommu_regs_pollable(b.viommu, VI_ARRAY_SIZE(pages), &found), -ENOENT);
	assert_int_equal(viommu_regs_pollable(b.viommu, UINT32_MAX, &found), -ENOENT);
	bed_end(&b);
}

/* A program that was built with another version of the library. */
static void test_list_of_another_version(void **state)
{
	struct {
		struct viommu_regs_pages known;
		uint64_t of_a_later_version;
	} larger = {.known = {.sz = sizeof(larger)}, .of_a_later_version = 7};
	struct viommu_regs_pages small = {.sz = offsetof(struct viommu_regs_pages, length), .length = 7};
	struct bed b;

	(void)state;
	begin(&b);
	assert_int_equal(viommu_regs_pollable(b.viommu, 1, &larger.known), 0);
	assert_int_equal(larger.known.length, 8192);
	assert_int_equal(larger.of_a_later_version, 7);
	assert_int_equal(viommu_regs_pollable(b.viommu, 1, &small), 0);
	assert_int_equal(small.offset, 0x2000);
	assert_int_equal(small.length, 7);
	small.sz = sizeof(size_t) - 1;
	assert_int_equal(viommu_regs_pollable(b.viommu, 1, &small), -EINVAL);
	bed_end(&b);
}

static void test_share_by_offset(void **state)
{
	uint8_t *memory = aligned_alloc(4096, 8192);
	struct bed b;

	(void)state;
	begin(&b);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(pages); i++) {
		assert_int_equal(viommu_regs_share(b.viommu, pages[i].offset, memory), 0);
		assert_int_equal(last_which, i);
		assert_ptr_equal(last_pages, memory);
		assert_int_equal(viommu_regs_share(b.viommu, pages[i].offset, NULL), 0);
		assert_int_equal(last_which, i);
		assert_null(last_pages);
	}
	assert_int_equal(shared, 2 * VI_ARRAY_SIZE(pages));
	assert_int_equal(viommu_regs_share(b.viommu, 0x1000, memory), -EINVAL);
	assert_int_equal(viommu_regs_share(b.viommu, 0x3000, memory), -EINVAL); /* inside of an entry */
	assert_int_equal(viommu_regs_share(b.viommu, 0x2008, memory), -EINVAL);
	assert_int_equal(viommu_regs_share(b.viommu, 0x2000, memory + 8), -EINVAL);
	assert_int_equal(shared, 2 * VI_ARRAY_SIZE(pages));
	bed_end(&b);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_list_of_another_version),
		cmocka_unit_test(test_share_by_offset),
	};

	return cmocka_run_group_tests_name("core pollable", tests, NULL, NULL);
}
