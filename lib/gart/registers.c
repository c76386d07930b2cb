/* SPDX-License-Identifier: BSD-3-Clause */
/* The four registers, as configuration space has them: words of 32 bits. */
#include "core/context.h"
#include "core/domain.h"
#include "core/host.h"
#include "gart/gart.h"
#include "spec/gart.h"

static uint32_t load(const struct vi_gart *g, uint64_t offset)
{
	switch (offset) {
	case GART_CONTROL:
		return atomic_load_explicit(&g->control, memory_order_relaxed);
	case GART_APERTURE_BASE:
		return atomic_load_explicit(&g->aperture_base, memory_order_relaxed);
	case GART_TABLE_BASE:
		return atomic_load_explicit(&g->table_base, memory_order_relaxed);
	case GART_CACHE_CONTROL:
		return g->cache | (g->drain.active ? GART_CACHE_INV : 0);
	}
	return 0;
}

void vi_gart_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	const struct vi_gart *g = state;

	*ret_value = load(g, offset);
	if (size == 8)
		*ret_value |= (uint64_t)load(g, offset + 4) << 32;
}

/*
 * A drain that is active began before this write, so accesses that began since
 * may use what was cached since: another one begins, which waits for all of them.
 */
static void invalidate(struct vi_gart *g) VI_WITH(g->unit->lock)
{
	g->drain = (struct vi_drain){.active = false};
	vi_context_drop_all(g->unit, &g->drain);
	vi_iotlb_invalidate_all(g->unit, &g->drain);
	vi_drain_begin(g->unit, &g->drain);
	if (!vi_drain_soon(g->unit, &g->drain))
		vi_kick(g->unit);
}

static void change(struct vi_gart *g, _Atomic uint32_t *reg, uint32_t value) VI_WITH(g->unit->lock)
{
	if (atomic_exchange_explicit(reg, value, memory_order_release) != value)
		invalidate(g);
}

static void store(struct vi_gart *g, uint64_t offset, uint32_t value) VI_WITH(g->unit->lock)
{
	bool was_on;

	switch (offset) {
	case GART_CONTROL:
		was_on = vi_gart_is_on(g);
		change(g, &g->control, value & GART_CONTROL_WRITABLE);
		if (!was_on && vi_gart_is_on(g))
			vi_count(&g->unit->counters, VI_COUNT_translation_enables, 1);
		break;
	case GART_APERTURE_BASE:
		change(g, &g->aperture_base, value & GART_APERTURE_BASE_ADDR);
		break;
	case GART_TABLE_BASE:
		change(g, &g->table_base, value & GART_TABLE_BASE_ADDR);
		break;
	case GART_CACHE_CONTROL:
		g->cache &= ~(value & (uint32_t)GART_CACHE_PTE_ERR);
		if (value & GART_CACHE_INV)
			invalidate(g);
		break;
	}
}

void vi_gart_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value)
{
	struct vi_gart *g = state;

	vi_lock_assert(&g->unit->lock);
	store(g, offset, (uint32_t)value);
	if (size == 8)
		store(g, offset + 4, (uint32_t)(value >> 32));
}
