/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/exposure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ADDRESS_WIDTH 48

/* A word for a page of device addresses: 0, or these and the page of memory above. */
#define IS_MAPPED  1u
#define TAKEN_OUT  2u
#define PAGE_SHIFT 2
#define WORDS_LG2  9 /* of one table */

struct exposed_page {
	uint32_t ways;	/* device addresses that lead here */
	uint32_t whole; /* buffers that cover all of it */
	struct coverage *part;
	uint64_t stale_since; /* the time plus 1; 0: it is not stale */
};

/* ------------------------------------------------------------------------ pages */

static unsigned covered_bytes(const struct exposed_page *p)
{
	return p->whole ? COVERAGE_PAGE : coverage_bytes(p->part);
}

static bool is_reachable(const struct exposure *e, const struct exposed_page *p)
{
	return p->ways || e->through;
}

static void end_stale(struct exposure *e, struct exposed_page *p)
{
	if (!p->stale_since)
		return;
	histogram_add(&e->meter->stale, e->meter->now_ns + 1 - p->stale_since, 1);
	p->stale_since = 0;
}

/* The bytes of buffers in a page are others than `before`. */
static void cover(struct exposure *e, struct exposed_page *p, unsigned before)
{
	unsigned now = covered_bytes(p);

	e->covered += now;
	e->covered -= before;
	if (now)
		end_stale(e, p);
	if (is_reachable(e, p))
		gauge_move(&e->meter->excess, before, now);
	if (now || !before)
		return;
	if (is_reachable(e, p))
		p->stale_since = e->meter->now_ns + 1;
	else
		histogram_add(&e->meter->stale, 0, 1);
}

static void first_way(struct exposure *e, struct exposed_page *p)
{
	gauge_move(&e->meter->pinned, 1, 0);
	if (!e->through)
		gauge_move(&e->meter->excess, COVERAGE_PAGE - covered_bytes(p), 0);
}

static void last_way(struct exposure *e, struct exposed_page *p)
{
	gauge_move(&e->meter->pinned, 0, 1);
	if (e->through)
		return;
	gauge_move(&e->meter->excess, 0, COVERAGE_PAGE - covered_bytes(p));
	end_stale(e, p);
}

static struct exposed_page *page_at(const struct exposure *e, uint64_t address)
{
	uint64_t offset = replay_memory_offset_of(e->memory, address);

	return offset == UINT64_MAX ? NULL : &e->pages[offset / REPLAY_PAGE];
}

static int foreign_way(struct exposure *e, uint64_t page, int change)
{
	uint64_t ways = 0;

	number_map_get(&e->foreign, page, &ways);
	if (number_map_put(&e->foreign, page, ways + (uint64_t)(int64_t)change))
		return -ENOMEM;
	if (!ways && change > 0)
		gauge_move(&e->meter->pinned, 1, 0);
	if (ways == 1 && change < 0)
		gauge_move(&e->meter->pinned, 0, 1);
	return 0;
}

/* ---------------------------------------------------------------------- backing */

static uint64_t *word_in(uint64_t table, uint64_t iova_page)
{
	return (uint64_t *)(uintptr_t)table + (iova_page & ((1u << WORDS_LG2) - 1));
}

static uint64_t *find_word(const struct exposure *e, uint64_t iova_page)
{
	uint64_t table;

	return number_map_get(&e->by_iova, iova_page >> WORDS_LG2, &table) ? word_in(table, iova_page) : NULL;
}

static uint64_t word_at(const struct exposure *e, uint64_t iova_page)
{
	const uint64_t *word = find_word(e, iova_page);

	return word ? *word : 0;
}

/* NULL: no memory. */
static uint64_t *make_word(struct exposure *e, uint64_t iova_page)
{
	uint64_t *word = find_word(e, iova_page), *table;

	if (word)
		return word;
	table = calloc((size_t)1 << WORDS_LG2, sizeof(*table));
	if (table && number_map_put(&e->by_iova, iova_page >> WORDS_LG2, (uintptr_t)table)) {
		free(table);
		table = NULL;
	}
	return table ? word_in((uintptr_t)table, iova_page) : NULL;
}

static void free_words(struct exposure *e)
{
	uint64_t key, table;
	size_t at = 0;

	while (number_map_next(&e->by_iova, &at, &key))
		if (number_map_get(&e->by_iova, key, &table))
			free((void *)(uintptr_t)table);
	number_map_finish(&e->by_iova);
}

/* It is mapped, or taken out. */
static void end_way(struct exposure *e, uint64_t iova_page)
{
	uint64_t *word = find_word(e, iova_page), page = *word >> PAGE_SHIFT;
	struct exposed_page *p = page_at(e, page * REPLAY_PAGE);

	*word = 0;
	gauge_move(&e->meter->mapped, 0, 1);
	if (!p)
		foreign_way(e, page, -1);
	else if (--p->ways == 0)
		last_way(e, p);
}

static int lead_to(struct exposure *e, uint64_t page)
{
	struct exposed_page *p = page_at(e, page * REPLAY_PAGE);

	if (!p)
		return foreign_way(e, page, 1);
	if (p->ways++ == 0)
		first_way(e, p);
	return 0;
}

static int begin_way(struct exposure *e, uint64_t iova_page, uint64_t page)
{
	uint64_t *word = make_word(e, iova_page);
	int err;

	if (!word)
		return -ENOMEM;
	if (*word) {
		e->broken_rules++;
		return -EEXIST;
	}
	err = lead_to(e, page);
	if (err)
		return err;
	*word = page << PAGE_SHIFT | IS_MAPPED;
	gauge_move(&e->meter->mapped, 1, 0);
	return 0;
}

static int map_range(struct exposure *e, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += REPLAY_PAGE) {
		int err = begin_way(e, (r->iova + at) / REPLAY_PAGE, (r->address + at) / REPLAY_PAGE);

		if (err) {
			while (at) {
				at -= REPLAY_PAGE;
				end_way(e, (r->iova + at) / REPLAY_PAGE);
			}
			return err;
		}
	}
	return 0;
}

static void unmake_range(struct exposure *e, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += REPLAY_PAGE)
		end_way(e, (r->iova + at) / REPLAY_PAGE);
}

static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int err = map_range(opaque, &ranges[i]);

		if (err) {
			while (i--)
				unmake_range(opaque, &ranges[i]);
			return err;
		}
	}
	return 0;
}

static int note_taken_out(struct exposure *e, uint64_t iova_page)
{
	uint64_t room = e->taken_out_room ? e->taken_out_room * 2 : 256, *taken_out;

	if (e->taken_out_count == e->taken_out_room) {
		taken_out = realloc(e->taken_out, room * sizeof(*taken_out));
		if (!taken_out)
			return -ENOMEM;
		e->taken_out = taken_out;
		e->taken_out_room = room;
	}
	e->taken_out[e->taken_out_count++] = iova_page;
	return 0;
}

static int take_out(struct exposure *e, uint64_t iova_page)
{
	uint64_t *word = find_word(e, iova_page);
	int err;

	if (!word || !*word || *word & TAKEN_OUT) {
		e->broken_rules++;
		return -ENOENT;
	}
	err = note_taken_out(e, iova_page);
	if (!err)
		*word |= TAKEN_OUT;
	return err;
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (uint64_t at = 0; at < ranges[i].len; at += REPLAY_PAGE) {
			int err = take_out(opaque, (ranges[i].iova + at) / REPLAY_PAGE);

			if (err)
				return err;
		}
	return 0;
}

static bool is_taken_out(const struct exposure *e, uint64_t iova_page)
{
	return word_at(e, iova_page) & TAKEN_OUT;
}

/* What was invalidated, and may be mapped again, leaves the list when it is most of it. */
static void tidy(struct exposure *e)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < e->taken_out_count; i++)
		if (is_taken_out(e, e->taken_out[i]))
			e->taken_out[kept++] = e->taken_out[i];
	e->taken_out_count = kept;
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	struct exposure *e = opaque;

	(void)flags;
	for (size_t i = 0; i < count; i++)
		for (uint64_t at = 0; at < ranges[i].len; at += REPLAY_PAGE)
			if (is_taken_out(e, (ranges[i].iova + at) / REPLAY_PAGE))
				end_way(e, (ranges[i].iova + at) / REPLAY_PAGE);
	if (e->taken_out_count == e->taken_out_room)
		tidy(e);
	return 0;
}

static int invalidate_all(void *opaque)
{
	struct exposure *e = opaque;

	while (e->taken_out_count) {
		uint64_t iova_page = e->taken_out[--e->taken_out_count];

		if (is_taken_out(e, iova_page))
			end_way(e, iova_page);
	}
	return 0;
}

/* Asked for before there are buffers, and given back when there are none. */
static int pass_through(void *opaque, bool on)
{
	struct exposure *e = opaque;

	if (on && !e->through)
		gauge_move(&e->meter->excess, e->memory->size - e->covered, 0);
	if (!on && e->through)
		gauge_move(&e->meter->excess, 0, e->memory->size - e->covered);
	e->through = on;
	return 0;
}

static const struct viommu_backing_ops ops = {
	.sz = sizeof(ops),
	.map = map,
	.unmap = unmap,
	.invalidate = invalidate,
	.invalidate_all = invalidate_all,
	.pass_through = pass_through,
};

struct viommu_backing exposure_backing(struct exposure *e)
{
	return (struct viommu_backing){&ops, e, ADDRESS_WIDTH};
}

/* ---------------------------------------------------------------------- buffers */

/* Bytes first..last of a page. */
static int cover_part(struct exposure *e, struct exposed_page *p, unsigned first, unsigned last)
{
	unsigned before = covered_bytes(p);

	if (first == 0 && last == COVERAGE_PAGE - 1)
		p->whole++;
	else if (coverage_add(&p->part, first, last))
		return -ENOMEM;
	cover(e, p, before);
	return 0;
}

static void uncover_part(struct exposure *e, struct exposed_page *p, unsigned first, unsigned last)
{
	unsigned before = covered_bytes(p);

	if (first == 0 && last == COVERAGE_PAGE - 1)
		p->whole--;
	else
		coverage_remove(&p->part, first, last);
	cover(e, p, before);
}

/* The part of a buffer that lies in the page at `at`. */
static unsigned last_in_page(uint64_t at, uint64_t end)
{
	uint64_t page_end = (at / REPLAY_PAGE + 1) * REPLAY_PAGE;

	return (unsigned)(((end < page_end ? end : page_end) - 1) % REPLAY_PAGE);
}

void exposure_remove(struct exposure *e, uint64_t offset, uint64_t len)
{
	for (uint64_t at = offset; at < offset + len; at = (at / REPLAY_PAGE + 1) * REPLAY_PAGE)
		uncover_part(e, &e->pages[at / REPLAY_PAGE], (unsigned)(at % REPLAY_PAGE),
			     last_in_page(at, offset + len));
}

int exposure_add(struct exposure *e, uint64_t offset, uint64_t len)
{
	for (uint64_t at = offset; at < offset + len; at = (at / REPLAY_PAGE + 1) * REPLAY_PAGE) {
		int err = cover_part(e, &e->pages[at / REPLAY_PAGE], (unsigned)(at % REPLAY_PAGE),
				     last_in_page(at, offset + len));

		if (err) {
			if (at > offset)
				exposure_remove(e, offset, at - offset);
			return err;
		}
	}
	return 0;
}

void exposure_settle(struct exposure *e)
{
	for (uint64_t i = 0; i < e->memory->size / REPLAY_PAGE; i++)
		end_stale(e, &e->pages[i]);
}

/* ---------------------------------------------------------------- begin and end */

static uint64_t table_size(const struct exposure *e)
{
	return e->memory->size / REPLAY_PAGE * sizeof(e->pages[0]);
}

int exposure_init(struct exposure *e, const struct replay_memory *memory, struct meter *meter)
{
	*e = (struct exposure){.memory = memory, .meter = meter};
	e->pages = replay_reserve(table_size(e));
	return e->pages ? 0 : -ENOMEM;
}

void exposure_finish(struct exposure *e)
{
	for (uint64_t i = 0; e->pages && i < e->memory->size / REPLAY_PAGE; i++)
		coverage_free(e->pages[i].part);
	if (e->pages)
		munmap(e->pages, table_size(e));
	free_words(e);
	number_map_finish(&e->foreign);
	free(e->taken_out);
	*e = (struct exposure){0};
}
