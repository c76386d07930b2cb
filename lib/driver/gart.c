/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/gart.h"

#include <errno.h>

#include "base/bits.h"
#include "spec/gart.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE  VI_BIT(PAGE_SHIFT)

static uint32_t get(const struct vi_driver_gart *g, uint64_t offset)
{
	return (uint32_t)g->regs.read(g->regs.arg, offset, 4);
}

static void set(const struct vi_driver_gart *g, uint64_t offset, uint64_t value)
{
	g->regs.write(g->regs.arg, offset, 4, value);
}

static uint64_t entry_gpa(const struct vi_driver_gart *g, uint32_t page)
{
	return g->table + (uint64_t)page * GART_PTE_SIZE;
}

int vi_driver_gart_start(struct vi_driver_gart *g, const struct vi_driver_regs *regs,
			 struct vi_driver_memory *memory, uint64_t aperture, unsigned size_lg2)
{
	uint64_t size = VI_BIT(size_lg2);

	if (size_lg2 < GART_SIZE_SMALLEST || size_lg2 > GART_SIZE_SMALLEST + GART_SIZE_FIELD_LIMIT ||
	    !vi_is_aligned(aperture, size) || aperture > VI_BIT(32) - size)
		return -EINVAL;
	*g = (struct vi_driver_gart){.regs = *regs, .memory = memory, .aperture = aperture};
	g->pages = (uint32_t)(size >> PAGE_SHIFT);
	g->table = vi_driver_pages_alloc(memory, (unsigned)(g->pages * GART_PTE_SIZE / PAGE_SIZE));
	if (!g->table)
		return -ENOMEM;
	set(g, GART_TABLE_BASE, vi_to_field(GART_TABLE_BASE_ADDR, g->table >> PAGE_SHIFT));
	set(g, GART_APERTURE_BASE, aperture >> GART_SIZE_SMALLEST);
	set(g, GART_CONTROL, GART_CONTROL_EN | vi_to_field(GART_CONTROL_SIZE, size_lg2 - GART_SIZE_SMALLEST));
	return vi_driver_gart_flush(g);
}

void vi_driver_gart_stop(struct vi_driver_gart *g)
{
	set(g, GART_CONTROL, 0);
	vi_driver_gart_flush(g);
}

int vi_driver_gart_flush(struct vi_driver_gart *g)
{
	set(g, GART_CACHE_CONTROL, GART_CACHE_INV);
	while (get(g, GART_CACHE_CONTROL) & GART_CACHE_INV)
		if (!g->regs.relax(g->regs.arg))
			return -ETIMEDOUT;
	return 0;
}

/* Free pages from `first` on: as many as `count`, or where the first used one is. */
static uint32_t free_run(const struct vi_driver_gart *g, uint32_t first, uint32_t count)
{
	uint32_t n = 0;

	while (n < count && !(vi_driver_load32(g->memory, entry_gpa(g, first + n)) & GART_PTE_VALID))
		n++;
	return n;
}

/* From where the last one ended on, and then from the start. False: no run is so long. */
static bool find_run(const struct vi_driver_gart *g, uint32_t count, uint32_t *ret_first)
{
	for (unsigned round = 0; round < 2; round++) {
		uint32_t first = round ? 0 : g->next;

		while (count <= g->pages - first) {
			uint32_t found = free_run(g, first, count);

			*ret_first = first;
			if (found == count)
				return true;
			first += found + 1;
			if (first > g->pages)
				break;
		}
	}
	return false;
}

static uint32_t entry_of(uint64_t gpa)
{
	return (uint32_t)((gpa & GART_PTE_ADDR_LOW) | vi_to_field(GART_PTE_ADDR_HIGH, gpa >> 32) |
			  GART_PTE_COHERENT | GART_PTE_VALID);
}

int vi_driver_gart_map(struct vi_driver_gart *g, uint64_t gpa, uint64_t size, uint64_t *ret_iova)
{
	uint64_t last;
	uint32_t first;

	if (!vi_is_aligned(gpa | size, PAGE_SIZE) || !vi_last_of(gpa, size, &last) || last >= VI_BIT(40))
		return -EINVAL;
	if (size >> PAGE_SHIFT > g->pages || !find_run(g, (uint32_t)(size >> PAGE_SHIFT), &first))
		return -ENOSPC;
	for (uint32_t i = 0; i < size >> PAGE_SHIFT; i++)
		vi_driver_store32(g->memory, entry_gpa(g, first + i),
				  entry_of(gpa + ((uint64_t)i << PAGE_SHIFT)));
	g->next = first + (uint32_t)(size >> PAGE_SHIFT);
	*ret_iova = g->aperture + ((uint64_t)first << PAGE_SHIFT);
	return 0;
}

int vi_driver_gart_unmap(struct vi_driver_gart *g, uint64_t iova, uint64_t size)
{
	uint64_t first = (iova - g->aperture) >> PAGE_SHIFT, count = size >> PAGE_SHIFT;

	if (!vi_is_aligned(iova | size, PAGE_SIZE) || iova < g->aperture || count == 0 || first >= g->pages ||
	    count > g->pages - first)
		return -EINVAL;
	for (uint64_t i = 0; i < count; i++)
		vi_driver_store32(g->memory, entry_gpa(g, (uint32_t)(first + i)), 0);
	return vi_driver_gart_flush(g);
}
