/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of memory: what is in them, and who may have put it there. */
#include <sched.h>
#include <stdlib.h>

#include "base/bits.h"
#include "world.h"

/* What a word holds. */
enum { SECRET = 1, PUBLIC = 2, STAMP = 3 };

#define ARENA_PLACE 7u
#define TIME_BITS   18
#define LOOKS	    4

#define V_KIND	 VI_BITS(63, 62)
#define V_THREAD VI_BITS(61, 60)
#define V_DEVICE VI_BITS(59, 57)
#define V_PLACE	 VI_BITS(61, 59)
#define V_SLOT	 VI_BITS(56, 51)
#define V_TIME	 VI_BITS(50, 33)
#define V_SEQ	 VI_BITS(32, 8)
#define V_FRAME	 VI_BITS(50, 43)
#define V_COUNT	 VI_BITS(42, 8)
#define V_CHECK	 VI_BITS(7, 0)

/* Each half of a value shows in its check, so that two halves of two values do not pass. */
static uint64_t sealed(uint64_t v)
{
	v &= ~V_CHECK;
	return v | ((v * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static bool is_sealed(uint64_t v)
{
	return v == sealed(v);
}

uint64_t stamp_make(unsigned thread, unsigned device, unsigned slot, uint64_t time, uint64_t sequence)
{
	return sealed(vi_to_field(V_KIND, STAMP) | vi_to_field(V_THREAD, thread) |
		      vi_to_field(V_DEVICE, device) | vi_to_field(V_SLOT, slot) |
		      vi_to_field(V_TIME, time & VI_BITS(TIME_BITS - 1, 0)) |
		      vi_to_field(V_SEQ, sequence & VI_BITS(24, 0)));
}

/* The latest time of the device that ends in these bits. */
static uint64_t whole_time(struct world *w, unsigned device, uint64_t v)
{
	uint64_t now = HOME_TIME(atomic_load(&w->home[device]));

	return now - ((now - vi_field(v, V_TIME)) & VI_BITS(TIME_BITS - 1, 0));
}

static uint64_t last_time_in(struct world *w, unsigned device, unsigned place)
{
	if (place == ARENA_PLACE)
		return vi_max(atomic_load(&w->last[device][PASS_THROUGH]),
			      atomic_load(&w->last[device][UNTRANSLATED]));
	return atomic_load(&w->last[device][place]);
}

static bool is_public_of(struct world *w, uint64_t v, unsigned device, uint64_t home)
{
	return vi_field(v, V_KIND) == PUBLIC &&
	       last_time_in(w, device, (unsigned)vi_field(v, V_PLACE)) >= HOME_TIME(home);
}

bool value_may_be_read(struct world *w, uint64_t value, unsigned device, unsigned slot, uint64_t home,
		       uint64_t exact)
{
	bool stamp = vi_field(value, V_KIND) == STAMP;

	if (is_sealed(value) && vi_field(value, V_SLOT) == slot &&
	    (stamp || is_public_of(w, value, device, home)) && (!exact || value == exact))
		return true;
	world_violation(w, "device %u read %#llx in slot %u, home %#llx, expected %#llx", device,
			(unsigned long long)value, slot, (unsigned long long)home, (unsigned long long)exact);
	return false;
}

/* Addresses of a page that are looked at: its ends, neighbours, and what lies before the interrupt range. */
unsigned frame_spots(const struct frame *f, const uint64_t **ret_offsets)
{
	static const uint64_t offsets[CLASSES][SPOTS_MOST] = {
		{0},
		{0, 0x1000, 0x100000, 0x1ff000},
		{0, 0x1ff000, FORBIDDEN_SPOT - 0x1000, 0x3ffff000},
	};

	*ret_offsets = offsets[f->class];
	return f->class == CLASS_4K ? 1 : SPOTS_MOST;
}

static uint64_t *spot_of(const struct frame *f, uint64_t offset)
{
	return (uint64_t *)(void *)(f->windows[f->window] + offset);
}

static bool has_forbidden_spot(const struct frame *f)
{
	return f->class == CLASS_1G && f->slot && f->slot_index == SLOT_1G;
}

static void set_all(struct frame *f)
{
	const uint64_t *offsets;
	unsigned count = frame_spots(f, &offsets);

	for (unsigned s = 0; s < count; s++) {
		uint64_t *words = spot_of(f, offsets[s]);

		for (unsigned i = 0; i < WORDS_HEAD; i++)
			__atomic_store_n(&words[i], f->value, __ATOMIC_SEQ_CST);
		for (unsigned i = WORDS_HEAD; i < WORDS_SPOT; i++)
			words[i] = f->value;
	}
	if (f->class == CLASS_1G)
		*spot_of(f, FORBIDDEN_SPOT) = f->value;
}

static void wrong(struct world *w, const struct frame *f, const char *what, uint64_t offset, uint64_t found)
{
	world_violation(
		w,
		"%s: frame %u (class %u) of place %u, slot %u, rights %u, offset %#llx holds %#llx, filled "
		"with %#llx",
		what, f->index, f->class, f->place, f->slot_index, f->rights, (unsigned long long)offset,
		(unsigned long long)found, (unsigned long long)f->value);
}

static bool is_rightful(struct world *w, const struct frame *f, uint64_t v, const uint64_t *since,
			bool with_rights)
{
	unsigned device = (unsigned)vi_field(v, V_DEVICE);
	uint64_t last;

	if (vi_field(v, V_KIND) != STAMP || !is_sealed(v) || device >= DEVICES ||
	    vi_field(v, V_SLOT) != f->slot_index || (with_rights && !(f->rights & VIOMMU_WRITE)))
		return false;
	last = last_time_in(w, device, f->place);
	return last >= since[device] && last >= whole_time(w, device, v);
}

static void judge_head(struct world *w, const struct frame *f, uint64_t offset)
{
	const uint64_t *words = spot_of(f, offset);

	for (unsigned i = 0; i < WORDS_HEAD; i++) {
		uint64_t v = __atomic_load_n(&words[i], __ATOMIC_SEQ_CST);

		if (v != f->value && (i >= WORDS_SHARED || !is_rightful(w, f, v, f->floor, true)))
			wrong(w, f, "a word that was not rightly written", offset + i * 8, v);
	}
}

static void judge_lanes(struct world *w, const struct frame *f, uint64_t offset)
{
	const uint64_t *words = spot_of(f, offset);

	for (unsigned i = WORDS_HEAD; i < WORDS_SPOT; i++) {
		unsigned thread = (i - WORDS_HEAD) / WORDS_LANE;

		if (words[i] != f->value && (!is_rightful(w, f, words[i], f->filled, f->lanes_known) ||
					     vi_field(words[i], V_THREAD) != thread))
			wrong(w, f, "a lane that was not rightly written", offset + i * 8, words[i]);
	}
}

static void judge(struct world *w, const struct frame *f)
{
	const uint64_t *offsets;
	unsigned count = frame_spots(f, &offsets);

	for (unsigned s = 0; s < count; s++) {
		judge_head(w, f, offsets[s]);
		judge_lanes(w, f, offsets[s]);
	}
	if (has_forbidden_spot(f) && *spot_of(f, FORBIDDEN_SPOT) != f->value)
		wrong(w, f, "the interrupt range was written", FORBIDDEN_SPOT, *spot_of(f, FORBIDDEN_SPOT));
}

void frame_expect_untouched(struct world *w, struct frame *f)
{
	const uint64_t *offsets;
	unsigned count = frame_spots(f, &offsets);

	for (unsigned s = 0; s < count; s++) {
		const uint64_t *words = spot_of(f, offsets[s]);

		for (unsigned i = 0; i < WORDS_SPOT; i++) {
			uint64_t v = i < WORDS_HEAD ? __atomic_load_n(&words[i], __ATOMIC_SEQ_CST) : words[i];

			if (v != f->value)
				wrong(w, f, "a stale write", offsets[s] + i * 8, v);
		}
	}
}

void frame_fill(struct world *w, struct frame *f)
{
	static _Atomic uint64_t fills;
	uint64_t kind = f->slot && f->rights & VIOMMU_READ ? PUBLIC : SECRET;

	if (f->arena)
		kind = PUBLIC;
	f->value =
		sealed(vi_to_field(V_KIND, kind) | vi_to_field(V_PLACE, f->arena ? ARENA_PLACE : f->place) |
		       vi_to_field(V_SLOT, f->slot_index) | vi_to_field(V_FRAME, f->index) |
		       vi_to_field(V_COUNT, atomic_fetch_add(&fills, 1)));
	f->lanes_known = true;
	for (unsigned r = 0; r < DEVICES; r++)
		f->floor[r] = f->filled[r] = HOME_TIME(atomic_load(&w->home[r]));
	set_all(f);
	if (f->slot)
		atomic_store(&f->slot->public_value, kind == PUBLIC ? f->value : 0);
}

void frame_give(struct world *w, struct frame *f, unsigned place, unsigned slot, unsigned rights)
{
	frame_expect_untouched(w, f);
	f->slot = &w->slots[place][slot];
	f->place = place;
	f->slot_index = slot;
	f->rights = rights;
	frame_fill(w, f);
}

void frame_take(struct world *w, struct frame *f)
{
	struct slot *slot = f->slot;

	judge(w, f);
	f->slot = NULL;
	frame_fill(w, f);
	sched_yield(); /* a device that was interrupted before its store would have to come now */
	for (unsigned look = 0; look < LOOKS; look++)
		frame_expect_untouched(w, f);
	f->slot = slot;
}

/* Others may be writing it. */
static void clear_stamp(struct world *w, const struct frame *f, uint64_t *word, unsigned devices)
{
	uint64_t v = __atomic_load_n(word, __ATOMIC_SEQ_CST);

	while (v != f->value) {
		if (!is_rightful(w, f, v, f->floor, true)) {
			wrong(w, f, "a word that was not rightly written", 0, v);
			return;
		}
		if (!(devices & 1u << vi_field(v, V_DEVICE)) ||
		    __atomic_compare_exchange_n(word, &v, f->value, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return;
	}
}

void frame_scrub(struct world *w, struct frame *f, unsigned devices)
{
	const uint64_t *offsets;
	unsigned count = frame_spots(f, &offsets);

	for (unsigned s = 0; s < count; s++)
		for (unsigned i = 0; i < WORDS_SHARED; i++)
			clear_stamp(w, f, &spot_of(f, offsets[s])[i], devices);
	for (unsigned r = 0; r < DEVICES; r++)
		if (devices & 1u << r)
			f->floor[r] = HOME_TIME(atomic_load(&w->home[r]));
}
