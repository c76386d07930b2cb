/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM: takes memory away and brings it back elsewhere, and looks at the unit. */
#include <errno.h>

#include "world.h"

static const uint64_t sizes[CLASSES] = {0x1000, 0x200000, 0x40000000};

/* After this a late access would be a segmentation fault. */
static void take_away(struct world *w, struct frame *f)
{
	int64_t taken = viommu_mem_remove(w->m.viommu, f->gpa, sizes[f->class]);

	if (taken != (int64_t)sizes[f->class])
		world_violation(w, "viommu_mem_remove() of frame %u: %lld", f->index, (long long)taken);
	if (f->slot)
		frame_take(w, f);
	else
		frame_expect_untouched(w, f);
	f->present = false;
	if (!world_lay(f->windows[f->window], sizes[f->class], false))
		world_violation(w, "memory cannot be taken away");
	w->removals++;
}

static void bring_back(struct world *w, struct frame *f)
{
	int ret;

	f->window ^= 1;
	if (!world_lay(f->windows[f->window], sizes[f->class], true))
		world_violation(w, "memory cannot be brought back");
	frame_fill(w, f);
	f->present = true;
	ret = viommu_mem_add(w->m.viommu, f->gpa, sizes[f->class], f->windows[f->window],
			     VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
	if (ret)
		world_violation(w, "viommu_mem_add() of frame %u: %d", f->index, ret);
}

static void change_memory(struct world *w)
{
	struct frame *f = &w->frames[world_random(&w->vmm_seed, w->frame_count)];
	struct slot *slot;

	if (!f->removable || pthread_mutex_trylock(&f->lock) != 0)
		return;
	slot = f->slot;
	if (slot)
		atomic_fetch_add(&slot->version, 1);
	if (f->present)
		take_away(w, f);
	else
		bring_back(w, f);
	if (slot) {
		atomic_store(&slot->absent, !f->present);
		atomic_fetch_add(&slot->version, 1);
	}
	pthread_mutex_unlock(&f->lock);
}

static int on_range(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct world *w = arg;

	if (first > last || access == 0)
		world_violation(w, "a range that can be reached: %#llx .. %#llx to %#llx",
				(unsigned long long)first, (unsigned long long)last, (unsigned long long)gpa);
	return 0;
}

static void look(struct world *w)
{
	struct viommu_requester *r = w->devices[world_random(&w->vmm_seed, DEVICES)];
	struct viommu_requester_info info = {.sz = sizeof(info)};
	uint64_t values[64];
	uint16_t ids[64];
	int ret;

	if (viommu_requester_describe(r, &info) != 0)
		world_violation(w, "viommu_requester_describe() failed");
	ret = viommu_reach(r, 1000, on_range, w);
	if (ret && ret != -ENOENT && ret != -E2BIG)
		world_violation(w, "viommu_reach(): %d", ret);
	(void)viommu_counters_read(w->m.viommu, values, 64);
	(void)viommu_requester_counters_read(r, values, 64);
	(void)viommu_domains_list(w->m.viommu, ids, 64);
}

void *vmm_run(void *arg)
{
	struct world *w = arg;

	while (!world_is_over(w)) {
		for (unsigned i = 0; i < 4; i++)
			change_memory(w);
		look(w);
		world_let_run(w, 40, false);
	}
	return NULL;
}
