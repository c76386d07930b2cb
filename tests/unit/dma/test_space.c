/* SPDX-License-Identifier: BSD-3-Clause */
/* Address spaces: what open, memory, map and unmap refuse, and what they leave behind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <viommu/dma.h>

#define PAGE	4096
#define MEMORY	(64 * PAGE)
#define ADDRESS 0x40000000

static uint8_t *memory;
static unsigned maps, unmaps, invalidations, fail_map, fail_invalidate;
static bool through;

static int count_map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	(void)opaque;
	(void)ranges;
	if (fail_map && --fail_map == 0)
		return -ENOMEM;
	maps += (unsigned)count;
	return 0;
}

static int count_unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	(void)opaque;
	(void)ranges;
	unmaps += (unsigned)count;
	return 0;
}

static int count_invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count,
			    unsigned flags)
{
	(void)opaque;
	(void)ranges;
	(void)count;
	(void)flags;
	invalidations++;
	return fail_invalidate ? -EIO : 0;
}

static int count_invalidate_all(void *opaque)
{
	(void)opaque;
	invalidations++;
	return 0;
}

static int pass_through(void *opaque, bool on)
{
	(void)opaque;
	through = on;
	return 0;
}

static const struct viommu_backing_ops counting = {
	.sz = sizeof(counting),
	.map = count_map,
	.unmap = count_unmap,
	.invalidate = count_invalidate,
	.invalidate_all = count_invalidate_all,
	.pass_through = pass_through,
};

static const struct viommu_backing backing = {.ops = &counting, .address_width = 48};

static uint64_t no_time(void *opaque)
{
	(void)opaque;
	return 0;
}

static int open_text(const char *strategy, char *why, size_t why_size, struct viommu_dma **ret_dma)
{
	struct viommu_dma_options o = {.sz = sizeof(o),
				       .strategy = strategy,
				       .now_ns = no_time,
				       .shadow_host = memory + MEMORY,
				       .shadow_len = MEMORY,
				       .shadow_address = ADDRESS + MEMORY};

	return viommu_dma_open(&backing, &o, why, why_size, ret_dma);
}

static void begin(const char *strategy, struct viommu_dma **ret_dma, struct viommu_dma_thread **ret_thread)
{
	maps = unmaps = invalidations = fail_map = fail_invalidate = 0;
	assert_int_equal(open_text(strategy, NULL, 0, ret_dma), 0);
	assert_int_equal(viommu_dma_memory_add(*ret_dma, memory, MEMORY, ADDRESS), 0);
	assert_int_equal(viommu_dma_thread_create(*ret_dma, ret_thread), 0);
}

static void test_strategy_by_name(void **state)
{
	struct viommu_dma *d;
	char why[128], unknown[1024];

	(void)state;
	memset(unknown, 'x', sizeof(unknown) - 1);
	unknown[sizeof(unknown) - 1] = '\0';
	assert_int_equal(open_text(unknown, why, sizeof(why), &d), -EINVAL);
	assert_string_equal(why, "there is no strategy 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'");
	assert_int_equal(open_text("strict", why, sizeof(why), &d), -EINVAL);
	assert_string_equal(why, "there is no strategy 'strict'");
	assert_int_equal(open_text("single-use,quota=4", why, sizeof(why), &d), -EINVAL);
	assert_string_equal(why, "the strategy single-use has no option 'quota'");
	assert_int_equal(open_text("", why, sizeof(why), &d), -EINVAL);
	assert_int_equal(open_text(NULL, why, sizeof(why), &d), -EINVAL);
	for (size_t i = 0; viommu_dma_strategy_describe(i); i++) {
		const struct viommu_dma_strategy_info *info = viommu_dma_strategy_describe(i);

		assert_true(info->name && info->doc && info->promise && info->source);
		assert_int_equal(open_text(info->name, why, sizeof(why), &d), 0);
		assert_int_equal(viommu_dma_close(d), 0);
	}
}

static void test_options_are_checked(void **state)
{
	struct viommu_dma_options o = {.sz = sizeof(o), .strategy = "single-use"};
	struct viommu_backing narrow = {.ops = &counting, .address_width = 12};
	struct viommu_dma *d;
	char why[128];

	(void)state;
	assert_int_equal(viommu_dma_open(&backing, &o, why, sizeof(why), &d), -EINVAL); /* no clock */
	o.now_ns = no_time;
	assert_int_equal(viommu_dma_open(&narrow, &o, why, sizeof(why), &d), -EINVAL);
	o.first_iova = 0x20000;
	o.last_iova = 0x1ffff;
	assert_int_equal(viommu_dma_open(&backing, &o, why, sizeof(why), &d), -EINVAL);
	o.sz = 8;
	assert_int_equal(viommu_dma_open(&backing, &o, why, sizeof(why), &d), -EINVAL);
}

static void test_memory(void **state)
{
	struct viommu_dma_thread *t;
	struct viommu_dma_mapping m;
	struct viommu_dma *d;

	(void)state;
	begin("single-use", &d, &t);
	assert_int_equal(viommu_dma_memory_add(d, memory + PAGE, PAGE, 0), -EEXIST);
	assert_int_equal(viommu_dma_memory_add(d, memory + 1, PAGE, 0), -EINVAL);
	assert_int_equal(viommu_dma_memory_add(d, memory + MEMORY, 0, 0), -EINVAL);
	assert_int_equal(viommu_dma_map(t, memory + MEMORY - 1, 2, VIOMMU_DMA_TO_DEVICE, 0, &m), -EFAULT);
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_TO_DEVICE, 0, &m), 0);
	assert_int_equal(viommu_dma_memory_remove(d, memory), -EBUSY);
	assert_int_equal(viommu_dma_memory_remove(d, memory + PAGE), -ENOENT);
	assert_int_equal(viommu_dma_unmap(t, &m), 0);
	assert_int_equal(viommu_dma_memory_remove(d, memory), 0);
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_TO_DEVICE, 0, &m), -EFAULT);
	assert_int_equal(viommu_dma_close(d), 0);
}

/* A map by one handle and the unmap by another leave the memory free. */
static void test_memory_of_two_threads(void **state)
{
	struct viommu_dma_thread *a, *b;
	struct viommu_dma_mapping m;
	struct viommu_dma *d;

	(void)state;
	begin("single-use", &d, &a);
	assert_int_equal(viommu_dma_thread_create(d, &b), 0);
	assert_int_equal(viommu_dma_map(a, memory, PAGE, VIOMMU_DMA_TO_DEVICE, 0, &m), 0);
	viommu_dma_thread_destroy(a);
	assert_int_equal(viommu_dma_memory_remove(d, memory), -EBUSY);
	assert_int_equal(viommu_dma_unmap(b, &m), 0);
	assert_int_equal(viommu_dma_memory_remove(d, memory), 0);
	assert_int_equal(viommu_dma_close(d), 0);
}

static void test_single_use(void **state)
{
	struct viommu_dma_thread *t;
	struct viommu_dma_mapping m;
	struct viommu_dma *d;

	(void)state;
	begin("single-use", &d, &t);
	assert_int_equal(viommu_dma_map(t, memory + PAGE - 10, 20, VIOMMU_DMA_FROM_DEVICE, 0, &m), 0);
	assert_int_equal(m.iova % PAGE, PAGE - 10);
	assert_true(m.iova < UINT64_C(1) << 32);
	assert_int_equal(maps, 1);
	assert_int_equal(invalidations, 0);
	assert_int_equal(viommu_dma_unmap(t, &m), 0);
	assert_int_equal(viommu_dma_unmap(t, &m), -EINVAL); /* a second time */
	assert_int_equal(invalidations, 1);
	assert_int_equal(viommu_dma_map(t, memory, 0, VIOMMU_DMA_FROM_DEVICE, 0, &m), -EINVAL);
	assert_int_equal(viommu_dma_map(t, memory, 1, (enum viommu_dma_direction)4, 0, &m), -EINVAL);
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_FROM_DEVICE, 65, &m), -EINVAL);
	assert_int_equal(viommu_dma_map(t, memory, PAGE, VIOMMU_DMA_FROM_DEVICE, 12, &m), -ENOSPC);
	assert_int_equal(viommu_dma_close(d), 0);
}

static void test_lists(void **state)
{
	struct viommu_dma_mapping m[150];
	struct iovec buffers[150];
	struct viommu_dma_thread *t;
	struct viommu_dma *d;

	(void)state;
	begin("single-use", &d, &t);
	for (unsigned i = 0; i < 150; i++)
		buffers[i] = (struct iovec){memory + (size_t)(i % 64) * PAGE, 100};
	assert_int_equal(viommu_dma_map_list(t, buffers, 150, VIOMMU_DMA_TO_DEVICE, 32, m), 0);
	assert_int_equal(maps, 150);
	assert_int_equal(viommu_dma_unmap_list(t, m, 150), 0);
	assert_int_equal(unmaps, 150);
	assert_int_equal(invalidations, 3); /* one wait for each 64 */
	/* All or none: the last one is bad. */
	buffers[149].iov_base = memory + MEMORY;
	assert_int_equal(viommu_dma_map_list(t, buffers, 150, VIOMMU_DMA_TO_DEVICE, 32, m), -EFAULT);
	assert_int_equal(maps, unmaps);
	assert_int_equal(viommu_dma_unmap_list(t, m, 150), -EINVAL);
	assert_int_equal(viommu_dma_memory_remove(d, memory), 0);
	assert_int_equal(viommu_dma_close(d), 0);
}

/* What the backing refuses leaves nothing; what it does not answer is never given out again. */
static void test_backing_fails(void **state)
{
	struct viommu_dma_options o = {
		.sz = sizeof(o), .strategy = "single-use", .now_ns = no_time, .last_iova = 2 * PAGE - 1};
	struct viommu_dma_thread *t;
	struct viommu_dma_mapping m;
	struct viommu_dma *d;

	(void)state;
	fail_map = 1;
	fail_invalidate = 0;
	assert_int_equal(viommu_dma_open(&backing, &o, NULL, 0, &d), 0); /* one page of addresses */
	assert_int_equal(viommu_dma_memory_add(d, memory, MEMORY, ADDRESS), 0);
	assert_int_equal(viommu_dma_thread_create(d, &t), 0);
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_TO_DEVICE, 0, &m), -ENOMEM);
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_TO_DEVICE, 0, &m), 0);
	fail_invalidate = 1;
	assert_int_equal(viommu_dma_unmap(t, &m), -EIO);
	fail_invalidate = 0;
	assert_int_equal(viommu_dma_map(t, memory, 1, VIOMMU_DMA_TO_DEVICE, 0, &m), -ENOSPC);
	assert_int_equal(viommu_dma_close(d), 0);
}

static void test_passthrough(void **state)
{
	struct viommu_dma_thread *t;
	struct viommu_dma_mapping m;
	struct viommu_dma *d;

	(void)state;
	begin("passthrough", &d, &t);
	assert_true(through);
	assert_int_equal(viommu_dma_map(t, memory + 5, 20, VIOMMU_DMA_BIDIRECTIONAL, 0, &m), 0);
	assert_int_equal(m.iova, ADDRESS + 5);
	assert_int_equal(viommu_dma_unmap(t, &m), 0);
	assert_int_equal(viommu_dma_map(t, memory, 20, VIOMMU_DMA_BIDIRECTIONAL, 24, &m), -ENOSPC);
	assert_int_equal(maps + unmaps + invalidations, 0);
	assert_int_equal(viommu_dma_close(d), 0);
	assert_false(through);
}

static void test_counters(void **state)
{
	const struct viommu_dma_counter_info *infos;
	struct viommu_dma_thread *t;
	struct viommu_dma_mapping m;
	uint64_t values[64];
	struct viommu_dma *d;
	size_t count;

	(void)state;
	infos = viommu_dma_counters_describe(&count);
	begin("single-use", &d, &t);
	assert_int_equal(viommu_dma_map(t, memory, PAGE + 1, VIOMMU_DMA_TO_DEVICE, 0, &m), 0);
	assert_int_equal(viommu_dma_unmap(t, &m), 0);
	viommu_dma_thread_destroy(t); /* what it has counted stays */
	assert_int_equal(viommu_dma_counters_read(d, values, 64), count);
	for (size_t i = 0; i < count; i++) {
		bool is_highest = strstr(infos[i].name, "_max") || strstr(infos[i].name, "_peak");

		assert_int_equal(infos[i].flags, is_highest ? VIOMMU_DMA_COUNTER_MAXIMUM : 0);
		if (!strcmp(infos[i].name, "maps"))
			assert_int_equal(values[i], 1);
		if (!strcmp(infos[i].name, "table_writes"))
			assert_int_equal(values[i], 4);
		if (!strcmp(infos[i].name, "mapped_pages"))
			assert_int_equal(values[i], 0);
		if (!strcmp(infos[i].name, "mapped_pages_peak"))
			assert_int_equal(values[i], 2);
	}
	assert_int_equal(viommu_dma_close(d), 0);
}

static int make_memory(void **state)
{
	(void)state;
	memory = aligned_alloc(PAGE, 2 * MEMORY); /* half of it for shadow buffers */
	return memory ? 0 : -1;
}

static int drop_memory(void **state)
{
	(void)state;
	free(memory);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strategy_by_name), cmocka_unit_test(test_options_are_checked),
		cmocka_unit_test(test_memory),		 cmocka_unit_test(test_memory_of_two_threads),
		cmocka_unit_test(test_single_use),	 cmocka_unit_test(test_lists),
		cmocka_unit_test(test_backing_fails),	 cmocka_unit_test(test_passthrough),
		cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, make_memory, drop_memory);
}
