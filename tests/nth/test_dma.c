/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA address spaces under each strategy: no memory, and a backing that has none. */
#include <errno.h>
#include <string.h>

#include <viommu/dma.h>

#include "failing_alloc.h"
#include "sweep.h"
#include "testing.h"

#define PAGE	4096
#define REGIONS 20 /* more than the tables of regions first have room for */
#define BUFFERS 70 /* more than a strategy gets at once */
#define ADDRESS UINT64_C(0x40000000)
#define SHADOW	UINT64_C(0x80000000)

static _Alignas(PAGE) uint8_t memory[REGIONS][4 * PAGE];
static _Alignas(PAGE) uint8_t shadow[1024 * PAGE];
static char strategy[80]; /* that is swept */

struct world {
	struct viommu_dma *dma;
	struct viommu_dma_thread *thread;
	struct viommu_dma_mapping one, large, list[BUFFERS];
	unsigned regions;
	int64_t pages; /* in the backing */
	bool through;
};

/* ---- the backing */

static int64_t pages_of(const struct viommu_backing_range *ranges, size_t count)
{
	int64_t pages = 0;

	for (size_t i = 0; i < count; i++)
		pages += (int64_t)(ranges[i].len / PAGE);
	return pages;
}

static int backing_map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct world *w = opaque;

	if (alloc_call_fails("the backing's map", ENOMEM))
		return -ENOMEM;
	w->pages += pages_of(ranges, count);
	return 0;
}

static int backing_unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct world *w = opaque;

	w->pages -= pages_of(ranges, count);
	assert_true(w->pages >= 0);
	return 0;
}

static int backing_invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count,
			      unsigned flags)
{
	return 0;
}

static int backing_invalidate_all(void *opaque)
{
	return 0;
}

static int backing_pass_through(void *opaque, bool on)
{
	struct world *w = opaque;

	if (on && alloc_call_fails("the backing's pass_through", ENOMEM))
		return -ENOMEM;
	w->through = on;
	return 0;
}

static const struct viommu_backing_ops backing_ops = {
	.sz = sizeof(backing_ops),
	.map = backing_map,
	.unmap = backing_unmap,
	.invalidate = backing_invalidate,
	.invalidate_all = backing_invalidate_all,
	.pass_through = backing_pass_through,
};

static uint64_t no_time(void *opaque)
{
	return 0;
}

/* ---- the steps */

static int dma_open(void *world)
{
	const struct viommu_backing backing = {.ops = &backing_ops, .opaque = world, .address_width = 48};
	const struct viommu_dma_options options = {.sz = sizeof(options),
						   .strategy = strategy,
						   .now_ns = no_time,
						   .max_threads = 2,
						   .shadow_host = shadow,
						   .shadow_len = sizeof(shadow),
						   .shadow_address = SHADOW};
	struct world *w = world;

	return viommu_dma_open(&backing, &options, NULL, 0, &w->dma);
}

static void dma_close(void *world)
{
	struct world *w = world;

	assert_int_equal(viommu_dma_close(w->dma), 0);
	assert_int_equal(w->pages, 0);
	assert_false(w->through);
}

static int thread_create(void *world)
{
	struct world *w = world;

	return viommu_dma_thread_create(w->dma, &w->thread);
}

static void thread_destroy(void *world)
{
	struct world *w = world;

	viommu_dma_thread_destroy(w->thread);
}

/* Goes on where it failed. */
static int add_memory(void *world)
{
	struct world *w = world;

	for (; w->regions < REGIONS; w->regions++) {
		int err = viommu_dma_memory_add(w->dma, memory[w->regions], sizeof(memory[0]),
						ADDRESS + 2 * w->regions * sizeof(memory[0]));

		if (err)
			return err;
	}
	return 0;
}

static int map(void *world)
{
	struct world *w = world;
	int64_t before = w->pages;
	int err = viommu_dma_map(w->thread, memory[3] + 100, 5000, VIOMMU_DMA_BIDIRECTIONAL, 0, &w->one);

	if (err) {
		assert_int_equal(w->pages, before);
		return err;
	}
	assert_int_equal(viommu_dma_sync_for_device(w->thread, &w->one, 0, 5000), 0);
	assert_int_equal(viommu_dma_sync_for_cpu(w->thread, &w->one, 100, 10), 0);
	return 0;
}

static int map_for_32_bits(void *world)
{
	struct world *w = world;

	return viommu_dma_map(w->thread, memory[5], sizeof(memory[5]), VIOMMU_DMA_TO_DEVICE, 32, &w->large);
}

static int map_list(void *world)
{
	struct iovec buffers[BUFFERS];
	struct world *w = world;

	for (unsigned i = 0; i < BUFFERS; i++)
		buffers[i] = (struct iovec){memory[i % REGIONS] + i, 1 + i * 100};
	return viommu_dma_map_list(w->thread, buffers, BUFFERS, VIOMMU_DMA_FROM_DEVICE, 0, w->list);
}

static int unmap_all(void *world)
{
	struct world *w = world;
	int err = viommu_dma_unmap(w->thread, &w->one);

	if (!err)
		err = viommu_dma_unmap(w->thread, &w->large);
	return err ? err : viommu_dma_unmap_list(w->thread, w->list, BUFFERS);
}

static int look(void *world)
{
	uint64_t counts[VIOMMU_DMA_STALE_BUCKETS], values[64];
	struct world *w = world;
	size_t count;

	assert_string_equal(viommu_dma_counters_describe(&count)[0].name, "maps");
	assert_int_equal(viommu_dma_counters_read(w->dma, values, 64), count);
	assert_int_equal(viommu_dma_stale_times_read(w->dma, counts, VIOMMU_DMA_STALE_BUCKETS),
			 VIOMMU_DMA_STALE_BUCKETS);
	return 0;
}

static int flush(void *world)
{
	struct world *w = world;
	uint64_t next;
	int err = viommu_dma_process(w->dma, &next);

	return err ? err : viommu_dma_flush(w->dma);
}

static int remove_memory(void *world)
{
	struct world *w = world;

	return viommu_dma_memory_remove(w->dma, memory[7]);
}

static void each_strategy(void **test)
{
	/* Address ranges that were divided stay so, and tables that were made wider: all goes at the end. */
	static const struct nth_step steps[] = {
		{.name = "open", .run = dma_open, .undo = dma_close},
		{.name = "make a thread", .run = thread_create, .undo = thread_destroy, .keeps = true},
		{.name = "add memory", .run = add_memory, .keeps = true},
		{.name = "map", .run = map, .keeps = true},
		{.name = "map for 32 bits", .run = map_for_32_bits, .keeps = true},
		{.name = "map a list", .run = map_list, .keeps = true},
		{.name = "look", .run = look},
		{.name = "unmap", .run = unmap_all, .keeps = true},
		{.name = "flush", .run = flush, .keeps = true},
		{.name = "remove memory", .run = remove_memory, .keeps = true},
	};
	const struct viommu_dma_strategy_info *info;

	for (size_t i = 0; (info = viommu_dma_strategy_describe(i)); i++) {
		struct nth_sequence q = NTH_SEQUENCE(strategy, struct world, steps);

		strcpy(strategy, info->name);
		nth_sweep(&q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_strategy)};

	return cmocka_run_group_tests_name("nth dma", tests, NULL, NULL);
}
