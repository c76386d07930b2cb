/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/infer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE	    INFER_NONE
#define PAGE	    UINT64_C(4096)
#define PIECES_MOST (1u << 20)
#define MISSES_MOST 512u		/* pages of one step at which nothing was mapped */
#define CHAIN_MOST  64u			/* pieces at one address: as many devices use it */
#define OWN_NUMBERS (UINT64_C(1) << 62) /* mappings and lists, apart from those of join.h */

void infer_init(struct infer *f)
{
	*f = (struct infer){.free = NONE};
}

void infer_finish(struct infer *f)
{
	number_map_finish(&f->by_iova);
	number_map_finish(&f->announced);
	free(f->pieces);
	free(f->devices);
	free(f->items);
	infer_init(f);
}

/* ------------------------------------------------------------------------- pieces */

static uint64_t page_of(uint64_t address)
{
	return address & ~(PAGE - 1);
}

/* There are fewer systems than bytes in a page. */
static uint64_t key_of(unsigned system, uint64_t iova)
{
	return page_of(iova) | system;
}

static uint32_t first_at(const struct infer *f, unsigned system, uint64_t iova)
{
	uint64_t number;

	return number_map_get(&f->by_iova, key_of(system, iova), &number) ? (uint32_t)number : NONE;
}

/* NONE: no memory, or too many. */
static uint32_t take_piece(struct infer *f)
{
	uint32_t number = f->free;

	if (number != NONE) {
		f->free = f->pieces[number].next;
		return number;
	}
	if (f->used == f->room) {
		uint32_t room = f->room ? 2 * f->room : 64;
		struct infer_piece *pieces =
			room <= PIECES_MOST ? realloc(f->pieces, room * sizeof(*pieces)) : NULL;

		if (!pieces)
			return NONE;
		f->pieces = pieces;
		f->room = room;
	}
	return f->used++;
}

static void give_back(struct infer *f, uint32_t number)
{
	struct infer_piece *p = &f->pieces[number];

	if (p->lives || p->items)
		return;
	p->next = f->free;
	f->free = number;
}

static int add_live(struct infer *f, uint32_t number)
{
	struct infer_piece *p = &f->pieces[number];
	uint32_t before = first_at(f, p->system, p->iova);

	if (before == NONE && number_map_put(&f->by_iova, key_of(p->system, p->iova), number))
		return -ENOMEM;
	while (before != NONE && f->pieces[before].next != NONE)
		before = f->pieces[before].next;
	if (before != NONE)
		f->pieces[before].next = number;
	p->lives = true;
	return 0;
}

/* There is no room for one more at this page. */
static bool is_crowded(const struct infer *f, unsigned system, uint64_t iova)
{
	unsigned count = 0;

	for (uint32_t n = first_at(f, system, iova); n != NONE; n = f->pieces[n].next)
		count++;
	return count >= CHAIN_MOST;
}

static void remove_live(struct infer *f, uint32_t number)
{
	struct infer_piece *p = &f->pieces[number];
	uint32_t head = first_at(f, p->system, p->iova);
	uint64_t ignored;

	if (head == number && p->next == NONE) {
		number_map_take(&f->by_iova, key_of(p->system, p->iova), &ignored);
	} else if (head == number) {
		number_map_put(&f->by_iova, key_of(p->system, p->iova), p->next); /* needs no memory */
	} else {
		while (f->pieces[head].next != number)
			head = f->pieces[head].next;
		f->pieces[head].next = p->next;
	}
	p->next = NONE;
	p->lives = false;
	if (p->state == INFER_TOLD)
		f->left_mapped--;
	give_back(f, number);
}

/* -------------------------------------------------------------------------- items */

static int add_item(struct infer *f, const struct trace_step *step, uint32_t piece)
{
	if (f->first == f->count)
		f->first = f->count = 0;
	if (f->count == f->item_room && f->first > f->item_room / 2) {
		memmove(f->items, f->items + f->first, (f->count - f->first) * sizeof(*f->items));
		f->count -= f->first;
		f->first = 0;
	}
	if (f->count == f->item_room) {
		size_t room = f->item_room ? 2 * f->item_room : 64;
		struct infer_item *items = realloc(f->items, room * sizeof(*items));

		if (!items)
			return -ENOMEM;
		f->items = items;
		f->item_room = room;
	}
	f->items[f->count++] = (struct infer_item){*step, piece};
	if (piece != NONE)
		f->pieces[piece].items++;
	return 0;
}

static int add_own_item(struct infer *f, uint32_t number, enum trace_kind kind, uint64_t now_ns,
			uint64_t phys, unsigned cpu)
{
	const struct infer_piece *p = &f->pieces[number];
	struct trace_step step = {.kind = kind,
				  .direction = TRACE_BIDIRECTIONAL,
				  .time_ns = now_ns,
				  .mapping = p->mapping,
				  .cpu = cpu,
				  .phys = phys,
				  .iova = p->iova,
				  .len = p->len,
				  .list = p->list,
				  .inferred = true};

	return add_item(f, &step, number);
}

/* ------------------------------------------------------------------------ devices */

int infer_device(struct infer *f, unsigned device, unsigned system)
{
	struct infer_device *devices;

	if (device >= f->device_count) {
		devices = realloc(f->devices, (device + 1) * sizeof(*devices));
		if (!devices)
			return -ENOMEM;
		memset(devices + f->device_count, 0, (device + 1 - f->device_count) * sizeof(*devices));
		f->devices = devices;
		f->device_count = device + 1;
	}
	f->devices[device].behind++;
	f->devices[device].system = system;
	return 0;
}

void infer_unseen(struct infer *f, unsigned system)
{
	f->unseen[system] = true;
}

static bool is_not(const struct infer_piece *p, unsigned device)
{
	for (uint32_t i = 0; i < p->not_count && i < INFER_NOT; i++)
		if (p->not_devices[i] == device)
			return true;
	return false;
}

static void exclude(struct infer_piece *p, uint32_t device)
{
	if (is_not(p, device))
		return;
	if (p->not_count < INFER_NOT)
		p->not_devices[p->not_count] = device;
	p->not_count += p->not_count <= INFER_NOT;
}

/* How many devices fit, and one of them. */
static unsigned find_fitting(const struct infer *f, const struct infer_piece *p, uint32_t *ret_device)
{
	unsigned fitting = 0;

	for (unsigned i = 0; i < f->device_count && fitting < 2; i++) {
		if (!f->devices[i].behind || f->devices[i].system != p->system || is_not(p, i))
			continue;
		*ret_device = i;
		fitting++;
	}
	return fitting;
}

/* ------------------------------------------------------------------- what is mapped */

/* It is of `device`, as an event says, and so those that live beside it are not. */
static int explain(struct infer *f, uint32_t number, unsigned device)
{
	struct infer_piece *p = &f->pieces[number];

	if (p->state == INFER_OPEN)
		f->open--;
	p->state = INFER_EXPLAINED;
	p->device = device;
	for (uint32_t n = first_at(f, p->system, p->iova); n != NONE; n = f->pieces[n].next)
		if (n != number)
			exclude(&f->pieces[n], device);
	return infer_device(f, device, p->system);
}

/* The map of the IOMMU at this page that is not explained: the last, as its event comes right before. */
static uint32_t find_open(const struct infer *f, unsigned system, uint64_t iova)
{
	uint32_t found = NONE;

	for (uint32_t n = first_at(f, system, iova); n != NONE; n = f->pieces[n].next)
		if (f->pieces[n].state == INFER_OPEN)
			found = n;
	return found;
}

static int explain_range(struct infer *f, const struct trace_step *step, unsigned system)
{
	uint64_t at = page_of(step->iova), last = step->iova + step->len - 1;
	unsigned misses = 0;
	int err = 0;

	while (!err && misses < MISSES_MOST && f->open && at <= last && last >= step->iova) {
		uint32_t number = find_open(f, system, at);
		uint64_t len = number == NONE ? PAGE : f->pieces[number].len;

		misses += number == NONE;
		if (number != NONE)
			err = explain(f, number, step->device);
		if (__builtin_add_overflow(at, len, &at))
			break;
	}
	return err;
}

/* The map of this device is over, whatever the IOMMU's events say. */
static void forget(struct infer *f, const struct trace_step *step, unsigned system)
{
	uint64_t ignored;

	number_map_take(&f->announced, key_of(system, step->iova), &ignored);
	for (uint32_t n = first_at(f, system, step->iova); n != NONE; n = f->pieces[n].next) {
		if (f->pieces[n].state == INFER_EXPLAINED && f->pieces[n].device == step->device) {
			remove_live(f, n);
			return;
		}
	}
}

int infer_step(struct infer *f, const struct trace_step *step, const struct event *e)
{
	unsigned system = e->system_number;
	int err = 0;

	/* Of dma_iova_link() the IOMMU's event follows. */
	if (step->kind == TRACE_MAP && e->kind == EVENT_IOVA_LINK)
		err = number_map_put(&f->announced, key_of(system, step->iova), step->device);
	else if (step->kind == TRACE_MAP)
		err = explain_range(f, step, system);
	else if (step->kind == TRACE_UNMAP)
		forget(f, step, system);
	return err ? err : add_item(f, step, NONE);
}

/* ------------------------------------------------------------- the IOMMU's own events */

/* Pieces that one call maps come one after the other, each where the one before ends. */
static uint64_t list_of(struct infer *f, const struct event *e)
{
	const struct infer_item *before = f->count > f->first ? &f->items[f->count - 1] : NULL;

	if (before && before->piece != NONE && before->step.kind == TRACE_MAP && before->step.cpu == e->cpu &&
	    f->pieces[before->piece].system == e->system_number &&
	    before->step.iova + before->step.len == e->dma_addr)
		return before->step.list;
	return OWN_NUMBERS | ++f->last_list;
}

static int end_piece(struct infer *f, uint32_t number, uint64_t now_ns, unsigned cpu)
{
	int err = 0;

	if (f->pieces[number].state != INFER_EXPLAINED)
		err = add_own_item(f, number, TRACE_UNMAP, now_ns, 0, cpu);
	remove_live(f, number);
	return err;
}

/* What is mapped there already is of another device, or it was unmapped while the recorder lost events. */
static int look_beside(struct infer *f, const struct event *e, uint64_t now_ns, struct infer_piece *new)
{
	uint32_t n = first_at(f, new->system, new->iova), next;
	int err = 0;

	for (; n != NONE && !err; n = next) {
		const struct infer_piece *p = &f->pieces[n];

		next = p->next;
		if (p->gaps != new->gaps)
			err = end_piece(f, n, now_ns, e->cpu);
		else if (p->state == INFER_EXPLAINED)
			exclude(new, p->device);
		else
			new->is_rival = true;
	}
	return err;
}

static int map(struct infer *f, const struct event *e, uint64_t now_ns, uint64_t gaps)
{
	struct infer_piece new = {.iova = e->dma_addr,
				  .len = e->size,
				  .mapping = OWN_NUMBERS | (f->last_mapping + 1),
				  .gaps = gaps,
				  .next = NONE,
				  .system = e->system_number,
				  .device = NONE};
	uint32_t number = NONE;
	uint64_t device;
	int err;

	f->maps++;
	if (!e->size || e->dma_addr + e->size - 1 < e->dma_addr) {
		f->untold++;
		return 0;
	}
	err = look_beside(f, e, now_ns, &new);
	if (!err && !is_crowded(f, new.system, new.iova))
		number = take_piece(f);
	if (err || number == NONE) {
		f->untold++;
		return err;
	}
	new.list = list_of(f, e);
	f->last_mapping++;
	f->pieces[number] = new;
	err = add_live(f, number);
	if (err)
		return err;
	f->open++;
	if (number_map_take(&f->announced, key_of(new.system, new.iova), &device))
		return explain(f, number, (unsigned)device);
	return add_own_item(f, number, TRACE_MAP, now_ns, e->phys_addr, e->cpu);
}

static uint32_t find_in_list(const struct infer *f, unsigned system, uint64_t iova, uint64_t list)
{
	uint32_t n = first_at(f, system, iova);

	while (n != NONE && f->pieces[n].list != list)
		n = f->pieces[n].next;
	return n;
}

/*
 * Several devices may have the address mapped. The oldest is taken, but for one that was
 * mapped in pieces while as much as a piece is unmapped, or the other way round.
 */
static uint32_t find_live(const struct infer *f, unsigned system, uint64_t iova, uint64_t unmapped)
{
	for (uint32_t n = first_at(f, system, iova); n != NONE; n = f->pieces[n].next) {
		const struct infer_piece *p = &f->pieces[n];
		bool goes_on = find_in_list(f, system, p->iova + p->len, p->list) != NONE;

		if (goes_on == (p->len != unmapped))
			return n;
	}
	return first_at(f, system, iova);
}

static int unmap(struct infer *f, const struct event *e, uint64_t now_ns)
{
	uint64_t at = page_of(e->dma_addr), last = e->dma_addr + e->size - 1, list = 0;
	unsigned misses = 0;
	int err = 0;

	while (!err && misses < MISSES_MOST && e->size && last >= e->dma_addr && at <= last) {
		uint32_t number = list ? find_in_list(f, e->system_number, at, list) : NONE;
		uint64_t len = PAGE;

		if (number == NONE)
			number = find_live(f, e->system_number, at, e->size);
		misses += number == NONE;
		if (number != NONE) {
			len = f->pieces[number].len;
			list = f->pieces[number].list;
			err = end_piece(f, number, now_ns, e->cpu);
		}
		if (__builtin_add_overflow(at, len, &at))
			break;
	}
	return err;
}

int infer_iommu(struct infer *f, const struct event *e, uint64_t now_ns, uint64_t gaps)
{
	return e->kind == EVENT_IOMMU_MAP ? map(f, e, now_ns, gaps) : unmap(f, e, now_ns);
}

/* ----------------------------------------------------------------------- deciding */

static void decide(struct infer *f, struct infer_piece *p)
{
	uint32_t device = NONE;

	f->open--;
	if (f->unseen[p->system] || p->is_rival || p->not_count > INFER_NOT ||
	    find_fitting(f, p, &device) != 1) {
		p->state = INFER_UNTOLD;
		f->untold++;
		return;
	}
	p->state = INFER_TOLD;
	p->device = device;
	f->inferred_device = f->inferred && f->inferred_device != device ? NONE : device;
	f->inferred++;
	f->left_mapped += p->lives;
}

static bool is_open(const struct infer *f, const struct infer_item *item)
{
	return item->piece != NONE && item->step.kind == TRACE_MAP &&
	       f->pieces[item->piece].state == INFER_OPEN;
}

/* One that no known device fits shows that there are devices that the trace does not name: then none is sure.
 */
static void look_for_unseen(struct infer *f)
{
	for (size_t i = f->first; i < f->count; i++) {
		const struct infer_piece *p;
		uint32_t device;

		if (!is_open(f, &f->items[i]))
			continue;
		p = &f->pieces[f->items[i].piece];
		if (!f->unseen[p->system] && (p->is_rival || !find_fitting(f, p, &device)))
			f->unseen[p->system] = true;
	}
}

/* The older half of what waits, or all of it. */
static void decide_waiting(struct infer *f)
{
	size_t end = f->ended ? f->count : f->first + (f->count - f->first) / 2;

	look_for_unseen(f);
	for (size_t i = f->first; i < end; i++)
		if (is_open(f, &f->items[i]))
			decide(f, &f->pieces[f->items[i].piece]);
}

void infer_end(struct infer *f)
{
	f->ended = true;
}

/* Ready to be told, or to be left out. */
static bool is_decided(const struct infer *f, const struct infer_item *item)
{
	return item->piece == NONE || f->pieces[item->piece].state != INFER_OPEN;
}

/* A piece before it or behind it is of the same list. One alone is none. */
static bool is_in_list(const struct infer *f, const struct infer_item *item)
{
	const struct infer_item *next = item + 1;

	if (item->step.kind != TRACE_MAP || item->step.list == f->told_list)
		return true;
	return next < f->items + f->count && next->piece != NONE && next->step.kind == TRACE_MAP &&
	       next->step.list == item->step.list;
}

bool infer_next(struct infer *f, struct trace_step *ret_step)
{
	while (f->first < f->count) {
		struct infer_item *item = &f->items[f->first];
		struct infer_piece *p = item->piece == NONE ? NULL : &f->pieces[item->piece];
		bool is_told = !p || p->state == INFER_TOLD;

		if (!is_decided(f, item)) {
			if (!f->ended && f->count - f->first < INFER_WAITING)
				return false;
			decide_waiting(f);
			continue;
		}
		f->first++;
		if (is_told)
			*ret_step = item->step;
		if (is_told && p) {
			ret_step->device = p->device;
			ret_step->list = is_in_list(f, item) ? p->list : 0;
			f->told_list = p->list;
		}
		if (p) {
			p->items--;
			give_back(f, item->piece);
		}
		if (is_told)
			return true;
	}
	return false;
}
