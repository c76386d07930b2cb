/* SPDX-License-Identifier: BSD-3-Clause */
/* What is particular to a strategy: how it asks the IOMMU, and where data is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <viommu/dma.h>

#define PAGE	UINT64_C(4096)
#define MEMORY	(64 * PAGE)
#define ADDRESS UINT64_C(0x140000000) /* above 4 GiB: a 32-bit device needs translation */
#define SHADOW	UINT64_C(0x40000000)
#define BOTH	(VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE)

static uint8_t *memory, *shadow;
static uint64_t now;

static uint64_t now_ns(void *opaque)
{
	return now;
}

/* One address space on a backing that remembers. */
struct space {
	struct viommu_backing backing;
	struct viommu_dma *dma;
	struct viommu_dma_thread *thread;
};

static void begin(struct space *s, const char *strategy)
{
	struct viommu_dma_options o = {.sz = sizeof(o),
				       .strategy = strategy,
				       .now_ns = now_ns,
				       .shadow_host = shadow,
				       .shadow_len = MEMORY,
				       .shadow_address = SHADOW};
	char why[128];

	now = 1000;
	memset(memory, 0x11, MEMORY);
	assert_int_equal(viommu_backing_observer_create(NULL, 48, &s->backing), 0);
	assert_int_equal(viommu_dma_open(&s->backing, &o, why, sizeof(why), &s->dma), 0);
	assert_int_equal(viommu_dma_memory_add(s->dma, memory, MEMORY, ADDRESS), 0);
	assert_int_equal(viommu_dma_thread_create(s->dma, &s->thread), 0);
}

static struct viommu_backing_work work_of(struct space *s)
{
	struct viommu_backing_work w;

	viommu_backing_observer_work(&s->backing, &w);
	return w;
}

static void end(struct space *s)
{
	assert_int_equal(viommu_dma_close(s->dma), 0);
	assert_int_equal(work_of(s).mapped_pages, 0);
	assert_int_equal(work_of(s).stale_pages, 0);
	assert_int_equal(work_of(s).broken_rules, 0);
	viommu_backing_observer_destroy(&s->backing);
}

static void map(struct space *s, uint64_t offset, uint64_t len, enum viommu_dma_direction direction,
		struct viommu_dma_mapping *ret_mapping)
{
	assert_int_equal(viommu_dma_map(s->thread, memory + offset, len, direction, 0, ret_mapping), 0);
}

static void unmap(struct space *s, struct viommu_dma_mapping *m)
{
	assert_int_equal(viommu_dma_unmap(s->thread, m), 0);
}

static unsigned reach(struct space *s, uint64_t offset)
{
	return viommu_backing_observer_reach(&s->backing, ADDRESS + offset);
}

static uint64_t counter(struct space *s, const char *name)
{
	size_t count;
	const struct viommu_dma_counter_info *info = viommu_dma_counters_describe(&count);
	uint64_t values[64];

	assert_int_equal(viommu_dma_counters_read(s->dma, values, 64), count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			return values[i];
	fail_msg("there is no statistic %s", name);
	return 0;
}

/* --------------------------------------------------------------------- direct */

static void direct_maps_once(void **test)
{
	struct viommu_dma_mapping m[2];
	struct space s;

	begin(&s, "direct");
	assert_int_equal(work_of(&s).mapped_pages, 64);
	map(&s, 100, 54, VIOMMU_DMA_TO_DEVICE, &m[0]);
	map(&s, 5 * PAGE + 7, 2 * PAGE, VIOMMU_DMA_FROM_DEVICE, &m[1]);
	assert_int_equal(m[1].iova - m[0].iova, 5 * PAGE + 7 - 100);
	assert_true(m[1].iova >> 32 == 0);
	assert_int_equal(reach(&s, 40 * PAGE), BOTH);
	unmap(&s, &m[0]);
	unmap(&s, &m[1]);
	assert_int_equal(work_of(&s).table_writes, 64);
	assert_int_equal(work_of(&s).invalidation_waits, 0);
	assert_int_equal(viommu_dma_map(s.thread, memory, 1, VIOMMU_DMA_TO_DEVICE, 13, &m[0]), -ENOSPC);
	assert_int_equal(viommu_dma_memory_remove(s.dma, memory), 0);
	assert_int_equal(reach(&s, 40 * PAGE), 0);
	end(&s);
}

/* ------------------------------------------------------------------- deferred */

static void deferred_waits_for_many(void **test)
{
	struct viommu_dma_mapping m;
	struct space s;

	begin(&s, "deferred,entries=4");
	for (unsigned i = 0; i < 4; i++) {
		map(&s, i * PAGE, 100, VIOMMU_DMA_TO_DEVICE, &m);
		unmap(&s, &m);
		assert_int_equal(reach(&s, i * PAGE), VIOMMU_BACKING_READ); /* it may be cached */
	}
	assert_int_equal(work_of(&s).mapped_pages, 0);
	assert_int_equal(work_of(&s).stale_pages, 4);
	assert_int_equal(work_of(&s).full_invalidations, 0);
	map(&s, 9 * PAGE, 100, VIOMMU_DMA_TO_DEVICE, &m);
	unmap(&s, &m);
	assert_int_equal(work_of(&s).full_invalidations, 1);
	assert_int_equal(work_of(&s).stale_pages, 1); /* the one that did not fit any more */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(reach(&s, i * PAGE), 0);
	end(&s);
}

static void deferred_waits_no_longer(void **test)
{
	struct viommu_dma_mapping m;
	uint64_t next;
	struct space s;

	begin(&s, "deferred,limit-us=10");
	map(&s, 0, 100, VIOMMU_DMA_TO_DEVICE, &m);
	unmap(&s, &m);
	assert_int_equal(viommu_dma_process(s.dma, &next), 0);
	assert_int_equal(next, 10000);
	now += 9999;
	assert_int_equal(viommu_dma_process(s.dma, &next), 0);
	assert_int_equal(reach(&s, 0), VIOMMU_BACKING_READ);
	now += 1;
	assert_int_equal(viommu_dma_process(s.dma, &next), 0);
	assert_true(next == UINT64_MAX);
	assert_int_equal(reach(&s, 0), 0);
	assert_int_equal(counter(&s, "stale_ns_max"), 10000);
	/* and by an unmap alone */
	map(&s, 0, 100, VIOMMU_DMA_TO_DEVICE, &m);
	unmap(&s, &m);
	now += 10000;
	map(&s, PAGE, 100, VIOMMU_DMA_TO_DEVICE, &m);
	unmap(&s, &m);
	assert_int_equal(reach(&s, 0), 0);
	assert_int_equal(viommu_dma_flush(s.dma), 0);
	assert_int_equal(work_of(&s).stale_pages, 0);
	end(&s);
}

static void deferred_addresses_are_not_reused(void **test)
{
	struct viommu_dma_mapping m;
	uint64_t seen[200];
	struct space s;

	begin(&s, "deferred");
	for (unsigned i = 0; i < 200; i++) {
		map(&s, (i % 64) * PAGE, 100, VIOMMU_DMA_TO_DEVICE, &m);
		seen[i] = m.iova;
		for (unsigned k = 0; k < i; k++)
			assert_true(seen[k] != m.iova);
		unmap(&s, &m);
	}
	end(&s);
}

/* ----------------------------------------------------------------- contiguous */

static void contiguous_is_one_invalidation(void **test)
{
	struct viommu_dma_mapping m[64];
	struct iovec buffers[64];
	struct space s;

	begin(&s, "contiguous");
	for (unsigned i = 0; i < 64; i++)
		buffers[i] = (struct iovec){memory + (63 - i) * PAGE, PAGE};
	assert_int_equal(viommu_dma_map_list(s.thread, buffers, 64, VIOMMU_DMA_FROM_DEVICE, 0, m), 0);
	for (unsigned i = 1; i < 64; i++)
		assert_int_equal(m[i].iova, m[0].iova + i * PAGE);
	assert_int_equal(viommu_dma_unmap_list(s.thread, m, 64), 0);
	assert_int_equal(work_of(&s).page_invalidations, 1);
	assert_int_equal(work_of(&s).invalidation_waits, 1);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(reach(&s, i * PAGE), 0);
	end(&s);
}

static void contiguous_is_strict_one_by_one(void **test)
{
	struct viommu_dma_mapping m[5];
	struct space s;

	begin(&s, "contiguous,chunk=4");
	for (unsigned i = 0; i < 5; i++)
		map(&s, i * PAGE, 100, VIOMMU_DMA_TO_DEVICE, &m[i]);
	unmap(&s, &m[1]);
	assert_int_equal(reach(&s, PAGE), 0);
	assert_int_equal(reach(&s, 2 * PAGE), VIOMMU_BACKING_READ);
	/* of a chunk no address is given out twice as long as one lives */
	map(&s, 9 * PAGE, 3 * PAGE, VIOMMU_DMA_TO_DEVICE, &m[1]);
	for (unsigned i = 0; i < 5; i++)
		assert_true(i == 1 || m[1].iova + 3 * PAGE <= m[i].iova || m[1].iova >= m[i].iova + PAGE);
	for (unsigned i = 0; i < 5; i++)
		unmap(&s, &m[i]);
	/* more than a chunk */
	map(&s, 0, 9 * PAGE, VIOMMU_DMA_BIDIRECTIONAL, &m[0]);
	unmap(&s, &m[0]);
	assert_int_equal(work_of(&s).reachable_pages, 0);
	end(&s);
}

/* ----------------------------------------------------------------------- copy */

/* Where the device's address leads: the shadow memory lies in a row, aligned to its size. */
static uint8_t *device_at(const struct viommu_dma_mapping *m)
{
	return shadow + m->iova % MEMORY;
}

static void copy_goes_both_ways(void **test)
{
	struct viommu_dma_mapping m;
	struct space s;

	begin(&s, "copy");
	memset(memory + 50, 0x22, 54);
	map(&s, 50, 54, VIOMMU_DMA_TO_DEVICE, &m);
	assert_int_equal(device_at(&m)[0], 0x22);
	assert_int_equal(device_at(&m)[53], 0x22);
	memset(memory + 50, 0x33, 54);
	assert_int_equal(viommu_dma_sync_for_device(s.thread, &m, 10, 4), 0);
	assert_int_equal(device_at(&m)[9], 0x22);
	assert_int_equal(device_at(&m)[10], 0x33);
	device_at(&m)[0] = 0x44; /* it has no right to; and it changes nothing */
	unmap(&s, &m);
	assert_int_equal(memory[50], 0x33);

	map(&s, 2 * PAGE, 1500, VIOMMU_DMA_FROM_DEVICE, &m);
	memset(device_at(&m), 0x55, 100);
	assert_int_equal(memory[2 * PAGE], 0x11);
	assert_int_equal(viommu_dma_sync_for_cpu(s.thread, &m, 0, 50), 0);
	assert_int_equal(memory[2 * PAGE + 49], 0x55);
	assert_int_equal(memory[2 * PAGE + 50], 0x11);
	unmap(&s, &m);
	assert_int_equal(memory[2 * PAGE + 99], 0x55);
	assert_int_equal(memory[2 * PAGE + 100], 0x11); /* and not what lay in the shadow buffer */
	device_at(&m)[0] = 0x66;
	assert_int_equal(memory[2 * PAGE], 0x55);
	assert_int_equal(counter(&s, "bytes_copied"), 54 + 4 + 1500 + 50 + 1500);
	end(&s);
}

static void copy_never_shows_the_drivers_memory(void **test)
{
	struct viommu_dma_mapping m[8];
	struct space s;

	begin(&s, "copy");
	for (unsigned i = 0; i < 8; i++)
		map(&s, i * 100, 60 << i % 3, (enum viommu_dma_direction)(1 + i % 3), &m[i]);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(reach(&s, i * PAGE), 0);
	/* a page of the shadow memory has one right */
	for (unsigned i = 0; i < 8; i++) {
		uint64_t page = (uint64_t)(device_at(&m[i]) - shadow) & ~(PAGE - 1);

		assert_int_equal(viommu_backing_observer_reach(&s.backing, SHADOW + page), 1 + i % 3);
	}
	for (unsigned i = 0; i < 8; i++)
		unmap(&s, &m[i]);
	assert_int_equal(work_of(&s).invalidation_waits, 0);
	end(&s);
}

static void copy_runs_out(void **test)
{
	struct viommu_dma_mapping m[80];
	unsigned mapped = 0;
	struct space s;
	int err = 0;

	begin(&s, "copy");
	assert_int_equal(viommu_dma_map(s.thread, memory, PAGE, VIOMMU_DMA_TO_DEVICE, 14, &m[0]), -ENOSPC);
	while (mapped < 80 && !err) {
		err = viommu_dma_map(s.thread, memory, PAGE, VIOMMU_DMA_TO_DEVICE, 0, &m[mapped]);
		mapped += !err;
	}
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(mapped, 64);
	while (mapped)
		unmap(&s, &m[--mapped]);
	/* smaller ones take the place of larger ones, of the same right only */
	map(&s, 0, 100, VIOMMU_DMA_TO_DEVICE, &m[0]);
	assert_int_equal(viommu_dma_map(s.thread, memory, PAGE, VIOMMU_DMA_FROM_DEVICE, 0, &m[1]), -ENOSPC);
	unmap(&s, &m[0]);
	end(&s);
}

static void copy_needs_shadow_memory(void **test)
{
	struct viommu_dma_options o = {.sz = sizeof(o), .strategy = "copy", .now_ns = now_ns};
	struct viommu_backing backing;
	struct viommu_dma *d;
	char why[128];

	assert_int_equal(viommu_backing_observer_create(NULL, 48, &backing), 0);
	assert_int_equal(viommu_dma_open(&backing, &o, why, sizeof(why), &d), -EINVAL);
	assert_non_null(strstr(why, "shadow_host"));
	viommu_backing_observer_destroy(&backing);
}

/* -------------------------------------------------------------- software-only */

static void software_only_counts_pages(void **test)
{
	struct viommu_dma_mapping m[2];
	struct space s;

	begin(&s, "software-only");
	map(&s, 0, 100, VIOMMU_DMA_TO_DEVICE, &m[0]);
	assert_int_equal(m[0].iova, ADDRESS);
	map(&s, 50, 2 * PAGE, VIOMMU_DMA_FROM_DEVICE, &m[1]);
	assert_int_equal(viommu_dma_map(s.thread, memory + MEMORY, 1, VIOMMU_DMA_TO_DEVICE, 0, &m[0]),
			 -EFAULT);
	assert_int_equal(viommu_dma_map(s.thread, memory, 1, VIOMMU_DMA_TO_DEVICE, 32, &m[0]), -ENOSPC);
	assert_int_equal(reach(&s, 60 * PAGE), BOTH);
	unmap(&s, &m[0]);
	assert_int_equal(viommu_dma_memory_remove(s.dma, memory), -EBUSY);
	unmap(&s, &m[1]);
	assert_int_equal(viommu_dma_memory_remove(s.dma, memory), 0);
	end(&s);
}

/* --------------------------------------------------------------------- shared */

/* A buffer that two maps share is there until the second of them ends, whichever that is. */
static void shared_ends_with_the_last(void **test)
{
	for (unsigned first = 0; first < 2; first++) {
		struct viommu_dma_mapping m[2];
		struct space s;

		begin(&s, "shared");
		map(&s, 3 * PAGE, PAGE, VIOMMU_DMA_TO_DEVICE, &m[0]);
		map(&s, 3 * PAGE, PAGE, VIOMMU_DMA_TO_DEVICE, &m[1]);
		assert_int_equal(m[0].iova, m[1].iova);
		assert_int_equal(work_of(&s).mapped_pages, 1);
		unmap(&s, &m[first]);
		assert_int_equal(work_of(&s).mapped_pages, 1);
		unmap(&s, &m[!first]);
		assert_int_equal(work_of(&s).mapped_pages, 0);
		end(&s);
	}
}

/* ----------------------------------------------------------------- persistent */

/* A translation outlives its last map, but not the memory that it leads to. */
static void persistent_ends_with_its_memory(void **test)
{
	struct viommu_dma_mapping m;
	struct space s;

	begin(&s, "persistent");
	map(&s, 3 * PAGE, PAGE, VIOMMU_DMA_TO_DEVICE, &m);
	unmap(&s, &m);
	assert_int_equal(reach(&s, 3 * PAGE), VIOMMU_BACKING_READ);
	assert_int_equal(viommu_dma_memory_remove(s.dma, memory), 0);
	assert_int_equal(reach(&s, 3 * PAGE), 0);
	assert_int_equal(work_of(&s).mapped_pages, 0);
	end(&s);
}

static int make_memory(void **test)
{
	memory = aligned_alloc(MEMORY, 2 * MEMORY);
	shadow = memory + MEMORY;
	return !memory;
}

static int free_memory(void **test)
{
	free(memory);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(direct_maps_once),
		cmocka_unit_test(deferred_waits_for_many),
		cmocka_unit_test(deferred_waits_no_longer),
		cmocka_unit_test(deferred_addresses_are_not_reused),
		cmocka_unit_test(contiguous_is_one_invalidation),
		cmocka_unit_test(contiguous_is_strict_one_by_one),
		cmocka_unit_test(copy_goes_both_ways),
		cmocka_unit_test(copy_never_shows_the_drivers_memory),
		cmocka_unit_test(copy_runs_out),
		cmocka_unit_test(copy_needs_shadow_memory),
		cmocka_unit_test(software_only_counts_pages),
		cmocka_unit_test(shared_ends_with_the_last),
		cmocka_unit_test(persistent_ends_with_its_memory),
	};

	return cmocka_run_group_tests_name("dma strategies", tests, make_memory, free_memory);
}
