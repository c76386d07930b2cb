/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's driver: one step after the other, each taken back only when it is complete. */
#include "base/bits.h"
#include "world.h"

#define FIRST_ID 3
#define BATCH	 4
#define BLINKS	 6

static const uint64_t sizes[CLASSES] = {0x1000, 0x200000, 0x40000000};

static unsigned choose(struct world *w, unsigned below)
{
	return (unsigned)world_random(&w->seed, below);
}

static void must(struct world *w, bool good, const char *what)
{
	if (!good)
		world_violation(w, "the guest cannot %s", what);
}

static unsigned choose_rights(struct world *w)
{
	static const unsigned rights[] = {STRESS_RIGHTS, STRESS_RIGHTS, STRESS_RIGHTS, VIOMMU_READ,
					  VIOMMU_WRITE};

	return rights[choose(w, VI_ARRAY_SIZE(rights))];
}

static unsigned table_rights(unsigned rights)
{
	return (rights & VIOMMU_READ ? VI_PGTABLE_READ : 0) | (rights & VIOMMU_WRITE ? VI_PGTABLE_WRITE : 0);
}

/* A slot that the guest may change, with the frame in it, held. */
static struct frame *hold_slot(struct world *w, unsigned place, unsigned slot)
{
	struct frame *f = w->slots[place][slot].frame;

	return f && pthread_mutex_trylock(&f->lock) == 0 ? f : NULL;
}

static struct frame *hold_free_frame(struct world *w, unsigned slot)
{
	unsigned first = choose(w, w->frame_count);
	bool far = slot == SLOT_FAR;

	for (unsigned i = 0; i < w->frame_count; i++) {
		struct frame *f = &w->frames[(first + i) % w->frame_count];

		if (f->class != w->kinds[slot].class || f->far != far || f->arena ||
		    pthread_mutex_trylock(&f->lock) != 0)
			continue;
		if (!f->slot && f->present)
			return f;
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

static void write_leaves(struct world *w, unsigned place, unsigned slot, const struct frame *f,
			 unsigned rights)
{
	must(w,
	     vi_driver_map(&w->tables[place], w->kinds[slot].iova, f->gpa, sizes[f->class],
			   table_rights(rights)) == 0,
	     "map");
}

static void clear_leaves(struct world *w, unsigned place, unsigned slot)
{
	uint64_t size = sizes[w->kinds[slot].class];

	must(w, vi_driver_unmap(&w->tables[place], w->kinds[slot].iova, size) == (int64_t)size, "unmap");
}

static void map(struct world *w, unsigned place, unsigned slot)
{
	struct slot *s = &w->slots[place][slot];
	unsigned rights = choose_rights(w);
	struct frame *f;

	if (s->frame || !place_has_width(w, place, slot))
		return;
	f = hold_free_frame(w, slot);
	if (!f)
		return;
	w->maps++;
	atomic_store(&w->focus, slot);
	atomic_fetch_add(&s->version, 1);
	frame_give(w, f, place, slot, rights);
	s->frame = f;
	write_leaves(w, place, slot, f, rights);
	atomic_store(&s->absent, false);
	atomic_store(&s->rights, rights);
	atomic_fetch_add(&s->version, 1);
	pthread_mutex_unlock(&f->lock);
}

/* The slot's pages, in one of the ways that a guest has. */
static void flush_slot(struct world *w, unsigned place, unsigned slot)
{
	uint64_t first = w->kinds[slot].iova, size = sizes[w->kinds[slot].class];
	unsigned how = choose(w, 8);
	int ret;

	if (how == 0)
		ret = vi_driver_vtd_flush_iotlb(&w->m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0);
	else if (how == 1)
		ret = vi_driver_vtd_flush_iotlb(&w->m.driver, VTD_GRANULARITY_DOMAIN, w->ids[place], 0, 0);
	else /* of large pages with the mask that their size asks for (IVA_REG, AM) */
		ret = vi_driver_vtd_flush_range(&w->m.driver, w->ids[place], first, first + size - 1);
	must(w, ret == 0, "invalidate pages");
}

static void unmap_end(struct world *w, struct slot *s, struct frame *f)
{
	if (f->present)
		frame_take(w, f);
	f->slot = NULL;
	s->frame = NULL;
	atomic_store(&s->rights, 0);
	atomic_store(&s->public_value, 0);
	atomic_fetch_add(&s->version, 1);
	pthread_mutex_unlock(&f->lock);
	w->unmaps++;
}

static void unmap(struct world *w, unsigned place, unsigned slot)
{
	struct frame *f = hold_slot(w, place, slot);

	if (!f)
		return;
	if (atomic_exchange(&w->focus, slot) != slot)
		world_let_run(w, choose(w, 20), true);
	atomic_fetch_add(&f->slot->version, 1);
	clear_leaves(w, place, slot);
	flush_slot(w, place, slot);
	unmap_end(w, f->slot, f);
}

/* Taken away as soon as somebody has seen it: while tables are walked and contexts published. */
static void blink(struct world *w, unsigned place, unsigned slot)
{
	unmap(w, place, slot);
	for (unsigned i = 0; i < BLINKS && !world_is_over(w); i++) {
		map(w, place, slot);
		world_let_run(w, 1 + choose(w, 6), true);
		unmap(w, place, slot);
	}
}

/* Several at once, and one invalidation for all of them: of the range, or of the domain. */
static void unmap_batch(struct world *w, unsigned place, unsigned first)
{
	struct frame *held[BATCH] = {NULL};
	uint64_t iova = w->kinds[first].iova,
		 last = w->kinds[first + BATCH - 1].iova + sizes[w->kinds[first].class] - 1;
	int ret;

	for (unsigned i = 0; i < BATCH; i++) {
		held[i] = hold_slot(w, place, first + i);
		if (!held[i])
			continue;
		atomic_fetch_add(&held[i]->slot->version, 1);
		clear_leaves(w, place, first + i);
	}
	ret = choose(w, 4)
		      ? vi_driver_vtd_flush_range(&w->m.driver, w->ids[place], iova, last)
		      : vi_driver_vtd_flush_iotlb(&w->m.driver, VTD_GRANULARITY_DOMAIN, w->ids[place], 0, 0);
	must(w, ret == 0, "invalidate pages");
	for (unsigned i = 0; i < BATCH; i++)
		if (held[i])
			unmap_end(w, held[i]->slot, held[i]);
}

/* The right to write goes, or comes back. */
static void change_rights(struct world *w, unsigned place, unsigned slot)
{
	struct frame *f = hold_slot(w, place, slot);
	unsigned rights;

	if (!f)
		return;
	rights = f->rights ^ VIOMMU_WRITE;
	if (f->present && !f->far && f->rights & VIOMMU_READ) {
		atomic_store(&w->focus, slot);
		atomic_fetch_add(&f->slot->version, 1);
		clear_leaves(w, place, slot);
		write_leaves(w, place, slot, f, rights);
		flush_slot(w, place, slot);
		if (f->rights & VIOMMU_WRITE)
			frame_scrub(w, f, (1u << DEVICES) - 1);
		f->lanes_known = false;
		f->rights = rights;
		atomic_store(&f->slot->rights, rights);
		atomic_fetch_add(&f->slot->version, 1);
	}
	pthread_mutex_unlock(&f->lock);
}

static void drain_faults(struct world *w)
{
	struct vi_driver_vtd_fault fault;

	for (unsigned i = 0; i < 64 && vi_driver_vtd_next_fault(&w->m.driver, &fault); i++)
		;
	vi_driver_vtd_write32(&w->m.driver, VTD_FSTS, VTD_FSTS_PFO);
}

static void run_untranslated(struct world *w)
{
	guest_switch_translation(w, false);
	world_let_run(w, 60, true);
	unmap(w, choose(w, TABLES), choose(w, SLOTS));
	map(w, choose(w, TABLES), choose(w, SLOT_ARENA));
	guest_switch_translation(w, true);
}

static void swap_two(struct world *w)
{
	unsigned a = choose(w, TABLES);

	guest_swap_ids(w, a, (a + 1 + choose(w, TABLES - 1)) % TABLES);
}

/* One after the other, while what was cached of the device is looked up anew. */
static void move_some(struct world *w)
{
	static const unsigned others[] = {PASS_THROUGH, BLOCKED};
	unsigned device = choose(w, DEVICES), times = choose(w, 2) ? 1 : BLINKS;

	atomic_store(&w->focus_device, device);
	for (unsigned i = 0; i < times; i++) {
		unsigned to = choose(w, 2 * TABLES + VI_ARRAY_SIZE(others));

		guest_move(w, device, to < 2 * TABLES ? to % TABLES : others[to - 2 * TABLES]);
		if (choose(w, 2))
			world_let_run(w, 1, true);
	}
}

void guest_step(struct world *w)
{
	unsigned what = choose(w, 64), place = choose(w, TABLES), slot = choose(w, SLOT_ARENA);

	if (what < 4)
		blink(w, place, choose(w, 4) ? slot : SLOT_FAR);
	else if (what < 24)
		map(w, place, slot);
	else if (what < 38)
		unmap(w, place, slot);
	else if (what < 42)
		unmap_batch(w, place, what & 1 ? SLOT_LOW + choose(w, 9) : SLOT_2M);
	else if (what < 46)
		change_rights(w, place, slot);
	else if (what < 57)
		move_some(w);
	else if (what < 60)
		swap_two(w);
	else if (what < 61)
		run_untranslated(w);
	else
		drain_faults(w);
	world_let_run(w, 20, true);
}

void guest_start(struct world *w)
{
	/* Which page sizes a domain uses; what is larger is made of smaller pages. */
	static const unsigned leaves[TABLES] = {0xe, 0xe, 0x6, 0xe, 0x2};

	for (unsigned i = 0; i < TABLES; i++) {
		w->levels[i] = i & 1 ? 3 : 4;
		must(w, vi_driver_vtd_table_init(&w->m.driver, &w->tables[i], w->levels[i]) == 0,
		     "make a table");
		w->tables[i].table.leaf_levels &= (uint8_t)leaves[i];
	}
	for (unsigned i = 0; i < VI_ARRAY_SIZE(w->ids); i++)
		w->ids[i] = (uint16_t)(FIRST_ID + i);
	for (unsigned r = 0; r < DEVICES; r++)
		w->attached[r] = BLOCKED;
	for (unsigned i = 0; i < 12 * SLOTS; i++)
		map(w, choose(w, TABLES), choose(w, SLOT_ARENA));
	for (unsigned r = 0; r < DEVICES; r++)
		guest_move(w, r, r % TABLES);
}

void guest_stop(struct world *w)
{
	for (unsigned place = 0; place < TABLES; place++)
		for (unsigned slot = 0; slot < SLOT_ARENA; slot++)
			unmap(w, place, slot);
}
