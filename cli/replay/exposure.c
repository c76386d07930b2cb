/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/exposure.h"

#include <errno.h>
#include <sys/mman.h>

#include "cli/replay/coverage.h"

#define ADDRESS_WIDTH 48

struct exposed_page {
	bool is_mapped; /* a device address leads here */
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
	return p->is_mapped || e->through;
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

static void begin_reach(struct exposure *e, struct exposed_page *p)
{
	p->is_mapped = true;
	if (!e->through)
		gauge_move(&e->meter->excess, COVERAGE_PAGE - covered_bytes(p), 0);
}

static void end_reach(struct exposure *e, struct exposed_page *p)
{
	p->is_mapped = false;
	if (e->through)
		return;
	gauge_move(&e->meter->excess, 0, COVERAGE_PAGE - covered_bytes(p));
	end_stale(e, p);
}

/* ----------------------------------------------------------------- what is told */

static void note_page(void *opaque, uint64_t address, bool leads, bool alone)
{
	struct exposure *e = opaque;
	uint64_t offset = replay_memory_offset_of(e->memory, address);

	gauge_move(&e->meter->mapped, leads, !leads);
	if (!alone)
		return;
	gauge_move(&e->meter->pinned, leads, !leads);
	if (offset == UINT64_MAX)
		return;
	if (leads)
		begin_reach(e, &e->pages[offset / REPLAY_PAGE]);
	else
		end_reach(e, &e->pages[offset / REPLAY_PAGE]);
}

/* Asked for before there are buffers, and given back when there are none. */
static void note_pass_through(void *opaque, bool on)
{
	struct exposure *e = opaque;
	uint64_t rest = e->memory->size - e->covered;

	gauge_move(&e->meter->excess, on ? rest : 0, on ? 0 : rest);
	e->through = on;
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
	struct viommu_backing_watch watch = {
		.sz = sizeof(watch), .page = note_page, .pass_through = note_pass_through, .opaque = e};
	int err;

	*e = (struct exposure){.memory = memory, .meter = meter};
	err = viommu_backing_observer_create(NULL, ADDRESS_WIDTH, &e->backing);
	if (err)
		return err;
	e->pages = replay_reserve(table_size(e));
	return e->pages ? viommu_backing_observer_watch(&e->backing, &watch) : -ENOMEM;
}

bool exposure_broke_rules(const struct exposure *e)
{
	struct viommu_backing_work work;

	viommu_backing_observer_work(&e->backing, &work);
	return work.broken_rules;
}

void exposure_finish(struct exposure *e)
{
	for (uint64_t i = 0; e->pages && i < e->memory->size / REPLAY_PAGE; i++)
		coverage_free(e->pages[i].part);
	if (e->pages)
		munmap(e->pages, table_size(e));
	viommu_backing_observer_destroy(&e->backing);
	*e = (struct exposure){0};
}
