/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest does with context entries, and with translation as a whole. */
#include "base/bits.h"
#include "world.h"

struct entry {
	uint64_t lo, hi;
};

static struct entry entry_for(const struct world *w, unsigned place)
{
	struct entry e = {0, 0};

	if (place == BLOCKED)
		return e;
	e.hi = vi_to_field(VTD_CONTEXT_HI_DID, w->ids[place]);
	if (place == PASS_THROUGH) {
		e.lo = vi_to_field(VTD_CONTEXT_LO_TT, VTD_TT_PASS_THROUGH) | VTD_CONTEXT_LO_P;
		e.hi |= VTD_AW_48BIT;
	} else {
		e.lo = w->tables[place].table.root | VTD_CONTEXT_LO_P;
		e.hi |= w->levels[place] - 2u;
	}
	return e;
}

#ifdef __x86_64__
/* As guests do that replace an entry which is in use: both halves at once. */
static void replace(struct world *w, uint16_t rid, struct entry e)
{
	const struct vi_driver_vtd *d = &w->m.driver;
	uint64_t table =
		vi_driver_load64(d->memory, d->root + (rid >> 8) * VTD_ROOT_ENTRY_SIZE) & VTD_ROOT_LO_CTP;
	volatile uint64_t *at =
		(uint64_t *)(void *)(w->m.ram + table + (rid & 0xffu) * VTD_CONTEXT_ENTRY_SIZE);
	struct entry old = {at[0], at[1]};
	bool done;

	do
		__asm__ __volatile__("lock cmpxchg16b %1"
				     : "=@ccz"(done), "+m"(*(volatile struct entry *)at), "+a"(old.lo),
				       "+d"(old.hi)
				     : "b"(e.lo), "c"(e.hi)
				     : "memory");
	while (!done);
}
#else
static void replace(struct world *w, uint16_t rid, struct entry e)
{
	(void)vi_driver_vtd_set_context(&w->m.driver, rid, e.lo, e.hi);
}
#endif

static void must(struct world *w, int ret, const char *what)
{
	if (ret)
		world_violation(w, "the guest cannot %s: %d", what, ret);
}

/* Context first, and complete, then what was cached under it (6.5.3.3). */
static void flush(struct world *w, unsigned device, unsigned place)
{
	static const unsigned granularities[] = {VTD_GRANULARITY_SELECTIVE, VTD_GRANULARITY_SELECTIVE,
						 VTD_GRANULARITY_DOMAIN, VTD_GRANULARITY_GLOBAL};
	unsigned how = (unsigned)world_random(&w->seed, VI_ARRAY_SIZE(granularities));
	unsigned iotlb = world_random(&w->seed, 8) == 0 ? VTD_GRANULARITY_GLOBAL : VTD_GRANULARITY_DOMAIN;
	uint16_t id = w->ids[place];

	must(w, vi_driver_vtd_flush_contexts(&w->m.driver, granularities[how], id, world_rid(device), 0),
	     "invalidate contexts");
	must(w, vi_driver_vtd_flush_iotlb(&w->m.driver, iotlb, id, 0, 0), "invalidate a domain");
}

static void change(struct world *w, unsigned device, unsigned to, bool at_once)
{
	unsigned from = w->attached[device];
	struct entry e = entry_for(w, to);

	place_change_begin(w, device, to);
	if (at_once)
		replace(w, world_rid(device), e);
	else
		must(w, vi_driver_vtd_set_context(&w->m.driver, world_rid(device), e.lo, e.hi),
		     "set a context");
	w->attached[device] = to;
	if (world_random(&w->seed, 2))
		world_let_run(w, 1 + world_random(&w->seed, 4), false); /* what is cached now must not stay */
	if (from != BLOCKED) /* what was not present is not cached */
		flush(w, device, from);
	place_change_end(w, device, to);
	if (from != BLOCKED)
		place_scrub(w, from, 1u << device);
}

void guest_move(struct world *w, unsigned device, unsigned to)
{
	unsigned from = w->attached[device];

	if (from == to)
		return;
	w->moves++;
	if (from == BLOCKED || to == BLOCKED) {
		change(w, device, to, false);
	} else if (world_random(&w->seed, 4) > 0) {
		change(w, device, to, true);
	} else {
		change(w, device, BLOCKED, false);
		change(w, device, to, false);
	}
}

static unsigned devices_in(const struct world *w, unsigned a, unsigned b)
{
	unsigned devices = 0;

	for (unsigned r = 0; r < DEVICES; r++)
		if (w->attached[r] == a || w->attached[r] == b)
			devices |= 1u << r;
	return devices;
}

/* All devices of both domains, which may meanwhile get what belongs to the other. */
void guest_swap_ids(struct world *w, unsigned a, unsigned b)
{
	unsigned devices = devices_in(w, a, b);
	uint16_t id = w->ids[a];

	w->swaps++;
	for (unsigned r = 0; r < DEVICES; r++)
		if (devices & 1u << r)
			place_change_begin(w, r, w->attached[r] == a ? b : a);
	w->ids[a] = w->ids[b];
	w->ids[b] = id;
	for (unsigned r = 0; r < DEVICES; r++)
		if (devices & 1u << r)
			replace(w, world_rid(r), entry_for(w, w->attached[r]));
	for (unsigned i = 0; i < 2; i++)
		must(w,
		     vi_driver_vtd_flush_contexts(&w->m.driver, VTD_GRANULARITY_DOMAIN, w->ids[i ? a : b], 0,
						  0),
		     "invalidate contexts");
	for (unsigned i = 0; i < 2; i++)
		must(w,
		     vi_driver_vtd_flush_iotlb(&w->m.driver, VTD_GRANULARITY_DOMAIN, w->ids[i ? a : b], 0, 0),
		     "invalidate a domain");
	for (unsigned r = 0; r < DEVICES; r++)
		if (devices & 1u << r)
			place_change_end(w, r, w->attached[r]);
	place_scrub(w, a, devices);
	place_scrub(w, b, devices);
}

void guest_switch_translation(struct world *w, bool on)
{
	unsigned all = (1u << DEVICES) - 1;

	w->switches++;
	for (unsigned r = 0; r < DEVICES; r++)
		place_change_begin(w, r, on ? w->attached[r] : UNTRANSLATED);
	must(w, vi_driver_vtd_enable_translation(&w->m.driver, on), "switch translation");
	for (unsigned r = 0; r < DEVICES; r++)
		place_change_end(w, r, on ? w->attached[r] : UNTRANSLATED);
	if (on)
		place_scrub(w, UNTRANSLATED, all);
	for (unsigned place = 0; !on && place < TABLES; place++)
		place_scrub(w, place, all);
}
