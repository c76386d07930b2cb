/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each device is. A change has two steps: from place_change_begin() the
 * device may be at either place; after place_change_end(), which comes when the
 * invalidation is complete, at the new one only. Each step is a new time.
 */
#include "world.h"

static void set_home(struct world *w, unsigned device, uint64_t flags_and_place)
{
	uint64_t time = HOME_TIME(atomic_load(&w->home[device])) + 1;

	atomic_store(&w->last[device][HOME_PLACE(flags_and_place)], time);
	atomic_store(&w->home[device], time << 8 | flags_and_place);
}

void place_change_begin(struct world *w, unsigned device, unsigned to)
{
	uint64_t home = atomic_load(&w->home[device]);

	atomic_store(&w->last[device][HOME_PLACE(home)], HOME_TIME(home) + 1);
	set_home(w, device, HOME_CHANGING | to);
}

void place_change_end(struct world *w, unsigned device, unsigned to)
{
	set_home(w, device, to);
}

/* A frame that somebody holds is being taken away, or given; it gets its times then. */
void place_scrub(struct world *w, unsigned place, unsigned devices)
{
	bool arena = place == PASS_THROUGH || place == UNTRANSLATED;

	for (unsigned i = 0; i < w->frame_count; i++) {
		struct frame *f = &w->frames[i];

		if (f->far || pthread_mutex_trylock(&f->lock) != 0)
			continue;
		if (f->present && (arena ? f->arena : f->slot && f->place == place && !f->arena))
			frame_scrub(w, f, devices);
		pthread_mutex_unlock(&f->lock);
	}
}

bool place_has_width(const struct world *w, unsigned place, unsigned slot)
{
	return w->levels[place] == 4 || slot < SLOT_HIGH || slot >= SLOT_FAR;
}
