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

static uint32_t first_in(const struct number_map *map, uint64_t key)
{
	uint64_t number;

	return number_map_get(map, key, &number) ? (uint32_t)number : LIVE_NONE;
}

/* The oldest stays in front: what was mapped first is unmapped first, if nothing else tells them apart. */
static void append(struct live *l, uint32_t head, uint32_t number, bool by_phys)
{
	uint32_t *link;

	for (;;) {
		link = by_phys ? &l->mappings[head].next_by_phys : &l->mappings[head].next_by_iova;
		if (*link == LIVE_NONE)
			break;
		head = *link;
	}
	*link = number;
}

static int chain(struct live *l, struct number_map *map, uint64_t key, uint32_t number)
{
	uint32_t head = first_in(map, key);

	if (head == LIVE_NONE)
		return number_map_put(map, key, number);
	append(l, head, number, map == &l->by_phys);
	return 0;
}

static void unchain(struct live *l, struct number_map *map, uint64_t key, uint32_t number)
{
	bool by_phys = map == &l->by_phys;
	uint32_t head = first_in(map, key), next;
	uint64_t ignored;

	next = by_phys ? l->mappings[number].next_by_phys : l->mappings[number].next_by_iova;
	if (head == number && next == LIVE_NONE) {
		number_map_take(map, key, &ignored);
	} else if (head == number) {
		number_map_put(map, key, next); /* in place of what is there: needs no memory */
	} else {
		uint32_t *link = &head;

		while (*link != number)
			link = by_phys ? &l->mappings[*link].next_by_phys : &l->mappings[*link].next_by_iova;
		*link = next;
	}
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
	l->mappings[number].next_by_iova = l->mappings[number].next_by_phys = LIVE_NONE;
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
	     n = l->mappings[n].next_by_iova) {
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

	for (unsigned back = 0; back <= LOOK_BACK && back <= page; back++) {
		for (uint32_t n = first_in(&l->by_iova, key_of(device, (page - back) << PAGE_SHIFT));
		     n != LIVE_NONE; n = l->mappings[n].next_by_iova) {
			if (holds(&l->mappings[n], iova))
				return n;
		}
	}
	return LIVE_NONE;
}

uint32_t live_find_list(const struct live *l, uint32_t device, uint64_t phys, enum trace_direction direction)
{
	for (uint32_t n = first_in(&l->by_phys, key_of(device, phys)); n != LIVE_NONE;
	     n = l->mappings[n].next_by_phys) {
		if (l->mappings[n].phys == phys && l->mappings[n].direction == direction)
			return n;
	}
	return LIVE_NONE;
}
