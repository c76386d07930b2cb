/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/live.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE_SHIFT 12
#define LOOK_BACK  512 /* pages */

static uint64_t key_of(uint32_t device, uint64_t address)
{
	return (uint64_t)device << 52 | address >> PAGE_SHIFT;
}

void live_init(struct live *l)
{
	*l = (struct live){.free = LIVE_NONE};
}

void live_finish(struct live *l)
{
	free(l->mappings);
	number_map_finish(&l->by_iova);
	number_map_finish(&l->by_phys);
}

/* ---------------------------------------------------------------------- places */

static int make_room(struct live *l)
{
	uint32_t room = l->room ? 2 * l->room : 1024;
	struct live_mapping *mappings;

	if (l->free != LIVE_NONE || l->used < l->room)
		return 0;
	if (l->room == LIVE_MOST)
		return -E2BIG;
	mappings = realloc(l->mappings, room * sizeof(*mappings));
	if (!mappings)
		return -ENOMEM;
	l->mappings = mappings;
	l->room = room;
	return 0;
}

static uint32_t take_place(struct live *l)
{
	uint32_t number = l->free;

	if (number == LIVE_NONE)
		return l->used++;
	l->free = l->mappings[number].next_in_list;
	return number;
}

/* ---------------------------------------------------------------------- chains */

#define COUNT_SHIFT 32

static uint32_t first_in(const struct number_map *map, uint64_t key)
{
	uint64_t value;

	return number_map_get(map, key, &value) ? (uint32_t)value : LIVE_NONE;
}

static struct live_link *link_of(struct live *l, const struct number_map *map, uint32_t number)
{
	struct live_mapping *m = &l->mappings[number];

	return map == &l->by_phys ? &m->by_phys : &m->by_iova;
}

/* The oldest stays in front: what was mapped first is unmapped first, if nothing else tells them apart. */
static int chain(struct live *l, struct number_map *map, uint64_t key, uint32_t number)
{
	struct live_link *own = link_of(l, map, number), *first;
	uint64_t value;

	*own = (struct live_link){.next = LIVE_NONE, .before = number};
	if (!number_map_get(map, key, &value))
		return number_map_put(map, key, UINT64_C(1) << COUNT_SHIFT | number);
	if (value >> COUNT_SHIFT >= LIVE_AT_PAGE)
		return -EXFULL;
	first = link_of(l, map, (uint32_t)value);
	own->before = first->before;
	link_of(l, map, own->before)->next = number;
	first->before = number;
	return number_map_put(map, key, value + (UINT64_C(1) << COUNT_SHIFT)); /* needs no memory */
}

static void unchain(struct live *l, struct number_map *map, uint64_t key, uint32_t number)
{
	const struct live_link own = *link_of(l, map, number);
	uint64_t value;
	uint32_t first;

	if (!number_map_get(map, key, &value))
		return;
	if (value >> COUNT_SHIFT == 1) {
		number_map_take(map, key, &value);
		return;
	}
	first = (uint32_t)value == number ? own.next : (uint32_t)value;
	if (first == (uint32_t)value)
		link_of(l, map, own.before)->next = own.next;
	link_of(l, map, own.next == LIVE_NONE ? first : own.next)->before = own.before;
	number_map_put(map, key, ((value >> COUNT_SHIFT) - 1) << COUNT_SHIFT | first); /* needs no memory */
}

/* ------------------------------------------------------------------------- use */

int64_t live_add(struct live *l, const struct live_mapping *m)
{
	int err = make_room(l);
	uint32_t number;

	if (err)
		return err;
	number = take_place(l);
	l->mappings[number] = *m;
	l->mappings[number].next_in_list = LIVE_NONE;
	err = chain(l, &l->by_iova, key_of(m->device, m->iova), number);
	if (!err && m->is_first) {
		err = chain(l, &l->by_phys, key_of(m->device, m->phys), number);
		if (err)
			unchain(l, &l->by_iova, key_of(m->device, m->iova), number);
	}
	if (err) {
		l->mappings[number].next_in_list = l->free;
		l->free = number;
		return err;
	}
	l->count++;
	return number;
}

void live_remove(struct live *l, uint32_t number)
{
	struct live_mapping *m = &l->mappings[number];

	unchain(l, &l->by_iova, key_of(m->device, m->iova), number);
	if (m->is_first)
		unchain(l, &l->by_phys, key_of(m->device, m->phys), number);
	m->next_in_list = l->free;
	l->free = number;
	l->count--;
}

uint32_t live_find(const struct live *l, uint32_t device, uint64_t iova, uint64_t len)
{
	uint32_t found = LIVE_NONE;

	for (uint32_t n = first_in(&l->by_iova, key_of(device, iova)); n != LIVE_NONE;
	     n = l->mappings[n].by_iova.next) {
		if (l->mappings[n].iova != iova)
			continue;
		if (l->mappings[n].len == len)
			return n;
		if (found == LIVE_NONE)
			found = n;
	}
	return found;
}

static bool holds(const struct live_mapping *m, uint64_t iova)
{
	return iova >= m->iova && iova - m->iova < m->len;
}

uint32_t live_find_around(const struct live *l, uint32_t device, uint64_t iova)
{
	uint64_t page = iova >> PAGE_SHIFT;
	unsigned looked_at = 0;

	for (unsigned back = 0; back <= LOOK_BACK && back <= page; back++) {
		for (uint32_t n = first_in(&l->by_iova, key_of(device, (page - back) << PAGE_SHIFT));
		     n != LIVE_NONE; n = l->mappings[n].by_iova.next) {
			if (holds(&l->mappings[n], iova))
				return n;
			if (++looked_at == LIVE_AT_PAGE)
				return LIVE_NONE;
		}
	}
	return LIVE_NONE;
}

uint32_t live_find_list(const struct live *l, uint32_t device, uint64_t phys, enum trace_direction direction)
{
	for (uint32_t n = first_in(&l->by_phys, key_of(device, phys)); n != LIVE_NONE;
	     n = l->mappings[n].by_phys.next) {
		if (l->mappings[n].phys == phys && l->mappings[n].direction == direction)
			return n;
	}
	return LIVE_NONE;
}
