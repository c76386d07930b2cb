/* SPDX-License-Identifier: BSD-3-Clause */
/* The model: what its registers and table mean, and what core asks of it. */
#include "gart/gart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/host.h"
#include "core/state.h"
#include "spec/gart.h"

#define CONFIGURATION_SPACE 4096

static void reset(void *state)
{
	struct vi_gart *g = state;

	atomic_store(&g->control, 0);
	atomic_store(&g->aperture_base, 0);
	atomic_store(&g->table_base, 0);
	g->cache = 0;
	g->drain = (struct vi_drain){.active = false};
}

static int init(struct viommu *v, const void *options, void **ret_state)
{
	struct vi_gart *g;

	if (options)
		return -EINVAL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->unit = v;
	reset(g);
	*ret_state = g;
	return 0;
}

static void finish(void *state)
{
	free(state);
}

static bool decode(uint32_t entry, uint64_t *ret_address)
{
	*ret_address = vi_field(entry, GART_PTE_ADDR_HIGH) << 32 | (entry & GART_PTE_ADDR_LOW);
	return entry & GART_PTE_VALID;
}

/* SIZE 7 is reserved: such an aperture remaps nothing. The base is aligned to the size, as hardware ignores
 * the bits below. */
static bool find_aperture(const struct vi_gart *g, struct vi_aperture *ret_aperture)
{
	uint32_t control = atomic_load_explicit(&g->control, memory_order_acquire);
	uint64_t size_field = vi_field(control, GART_CONTROL_SIZE), size, base;

	if (!(control & GART_CONTROL_EN) || control & GART_CONTROL_DIS_IO ||
	    size_field > GART_SIZE_FIELD_LIMIT)
		return false;
	size = VI_BIT(GART_SIZE_SMALLEST + size_field);
	base = (uint64_t)atomic_load_explicit(&g->aperture_base, memory_order_acquire) << GART_SIZE_SMALLEST;
	ret_aperture->first = vi_align_down(base, size);
	ret_aperture->last = ret_aperture->first + size - 1;
	ret_aperture->table =
		vi_field(atomic_load_explicit(&g->table_base, memory_order_acquire), GART_TABLE_BASE_ADDR)
		<< VI_PAGE_SHIFT;
	ret_aperture->decode = decode;
	return true;
}

bool vi_gart_is_on(const struct vi_gart *g)
{
	struct vi_aperture aperture;

	return find_aperture(g, &aperture);
}

/* The same for all: a GART knows neither devices nor PASIDs. */
vi_reason vi_gart_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	const struct vi_gart *g = state;
	struct vi_aperture aperture;

	(void)rid;
	(void)pasid;
	if (!find_aperture(g, &aperture))
		return 0;
	ret_translation->kind = VI_TRANSLATION_BY_TRANSLATOR;
	ret_translation->has_domain = true;
	ret_translation->domain_id = VI_GART_DOMAIN;
	ret_translation->last = VI_BITS(g->unit->address_width - 1, 0);
	ret_translation->translator = vi_translator_of_aperture(&aperture);
	return 0;
}

static vi_reason describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			  struct viommu_requester_info *ret_info)
{
	const struct vi_gart *g = state;
	struct vi_aperture aperture;

	if (find_aperture(g, &aperture)) {
		ret_info->translation = VIOMMU_TRANSLATION_APERTURE;
		ret_info->aperture_first = aperture.first;
		ret_info->aperture_last = aperture.last;
		ret_info->table = aperture.table;
	}
	return vi_gart_resolve(state, rid, pasid, ret_translation);
}

static vi_reason walk_reason(const struct vi_walk *w, bool write)
{
	(void)write;
	return w->result == VI_WALK_TABLE_ACCESS ? VI_GART_TABLE_ACCESS : VI_GART_ENTRY_NOT_VALID;
}

static const char *reason_text(vi_reason reason)
{
	switch (reason) {
	case VI_GART_ENTRY_NOT_VALID:
		return "the entry of the GART for this page is not valid";
	case VI_GART_TABLE_ACCESS:
		return "the table of the GART is not in memory";
	case VI_GART_BEYOND_HOST:
		return "the address is beyond the host address width";
	case VI_GART_MESSAGE:
		return "the entry of the GART leads to interrupt messages";
	}
	return "no reason of a GART";
}

static int take_faults(struct vi_gart *g, unsigned budget) VI_WITH(g->unit->lock)
{
	struct vi_fault f;
	unsigned n;

	for (n = 0; n < budget && vi_fault_take(g->unit, &f); n++) {
		g->cache |= GART_CACHE_PTE_ERR;
		vi_count(&g->unit->counters, VI_COUNT_faults_recorded, 1);
		vi_guest_error(g->unit, VIOMMU_GUEST_FAULT, &f, reason_text(f.reason));
	}
	return (int)n;
}

static int process(void *state, unsigned budget)
{
	struct vi_gart *g = state;
	int done;

	vi_lock_assert(&g->unit->lock);
	done = take_faults(g, budget);
	if (g->drain.active && vi_drain_soon(g->unit, &g->drain))
		done++;
	return g->drain.active || !vi_fault_queue_is_empty(&g->unit->faults) ? done | VIOMMU_PROCESS_PENDING
									     : done;
}

static bool settle(void *state)
{
	struct vi_gart *g = state;

	vi_lock_assert(&g->unit->lock);
	take_faults(g, VI_FAULT_QUEUE_SIZE);
	return g->drain.active && !vi_drain_soon(g->unit, &g->drain);
}

static size_t registers_size(const void *state)
{
	(void)state;
	return CONFIGURATION_SPACE;
}

struct numbers {
	uint64_t control, aperture_base, table_base, cache;
};

static void go_through(struct numbers *n, struct vi_state *s)
{
	vi_state_number(s, &n->control, GART_CONTROL_WRITABLE);
	vi_state_number(s, &n->aperture_base, GART_APERTURE_BASE_ADDR);
	vi_state_number(s, &n->table_base, GART_TABLE_BASE_ADDR);
	vi_state_number(s, &n->cache, GART_CACHE_PTE_ERR);
}

static void save_state(void *state, struct vi_state *s)
{
	struct vi_gart *g = state;
	struct numbers n = {atomic_load(&g->control), atomic_load(&g->aperture_base),
			    atomic_load(&g->table_base), g->cache};

	go_through(&n, s);
}

static int restore(void *state, const uint8_t *numbers, size_t length)
{
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	struct vi_gart *g = state;
	struct numbers n = {0};

	go_through(&n, &s);
	if (s.bad || s.used != length)
		return -EBADMSG;
	atomic_store(&g->control, (uint32_t)n.control);
	atomic_store(&g->aperture_base, (uint32_t)n.aperture_base);
	atomic_store(&g->table_base, (uint32_t)n.table_base & GART_TABLE_BASE_ADDR);
	g->cache = (uint32_t)n.cache & GART_CACHE_PTE_ERR;
	return 0;
}

const struct vi_model_ops vi_gart_model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 2,
	.state = save_state,
	.restore = restore,
	.regs_size = registers_size,
	.regs_read = vi_gart_regs_read,
	.regs_write = vi_gart_regs_write,
	.process = process,
	.settle = settle,
	.resolve = vi_gart_resolve,
	.describe = describe,
	.walk_reason = walk_reason,
	.out_of_bounds = VI_GART_BEYOND_HOST,
	.leads_to_message = VI_GART_MESSAGE,
	.reason_text = reason_text,
};
