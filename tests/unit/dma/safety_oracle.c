/* SPDX-License-Identifier: BSD-3-Clause */
#include "safety_oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void oracle_init(struct oracle *o, const struct oracle_promise *promise)
{
	memset(o, 0, sizeof(*o));
	o->promise = promise;
}

void oracle_complain(struct oracle *o, const char *format, ...)
{
	va_list args;

	if (*o->wrong)
		return;
	va_start(args, format);
	vsnprintf(o->wrong, sizeof(o->wrong), format, args);
	va_end(args);
}

void oracle_map(struct oracle *o, unsigned first, unsigned last, unsigned rights)
{
	for (unsigned p = first; p <= last; p++) {
		o->page[p].live[rights]++;
		o->page[p].ever[rights] = true;
	}
}

void oracle_unmap(struct oracle *o, unsigned first, unsigned last, unsigned rights)
{
	for (unsigned p = first; p <= last; p++) {
		o->page[p].live[rights]--;
		o->page[p].died_ns[rights] = o->now_ns;
	}
}

unsigned oracle_live(const struct oracle *o, unsigned page)
{
	unsigned rights = 0;

	for (unsigned r = 1; r < 4; r++)
		if (o->page[page].live[r])
			rights |= r;
	return rights;
}

/* Of mappings that ended not longer ago than is promised. */
static unsigned recent(const struct oracle *o, unsigned page)
{
	unsigned rights = 0;

	for (unsigned r = 1; r < 4; r++)
		if (o->page[page].ever[r] && o->now_ns - o->page[page].died_ns[r] < o->promise->limit_ns)
			rights |= r;
	return rights;
}

static unsigned ever(const struct oracle *o, unsigned page)
{
	unsigned rights = 0;

	for (unsigned r = 1; r < 4; r++)
		if (o->page[page].ever[r])
			rights |= r;
	return rights;
}

static unsigned permitted(const struct oracle *o, unsigned page)
{
	switch (o->promise->kind) {
	case ORACLE_NOTHING:
		return oracle_live(o, page);
	case ORACLE_LIMITED:
		return oracle_live(o, page) | recent(o, page);
	case ORACLE_EVER:
		return ever(o, page);
	case ORACLE_KNOWN:
	case ORACLE_EVERYTHING:
		return 3;
	default:
		return 0;
	}
}

/* How long ago the page was last mapped with one of these rights. */
static uint64_t age(const struct oracle *o, unsigned page, unsigned rights)
{
	uint64_t youngest = UINT64_MAX;

	for (unsigned r = 1; r < 4; r++)
		if (o->page[page].ever[r] && (r & rights) && o->now_ns - o->page[page].died_ns[r] < youngest)
			youngest = o->now_ns - o->page[page].died_ns[r];
	return youngest;
}

void oracle_reaches(struct oracle *o, unsigned page, unsigned rights, const char *how)
{
	unsigned beyond = rights & ~oracle_live(o, page);

	if (rights & ~permitted(o, page))
		oracle_complain(o, "%s: page %u with rights %u, permitted are %u (%s)", o->promise->strategy,
				page, rights, permitted(o, page), how);
	if (!beyond)
		return;
	o->stale_seen++;
	if (age(o, page, beyond) != UINT64_MAX && age(o, page, beyond) > o->longest_ns)
		o->longest_ns = age(o, page, beyond);
}

void oracle_reaches_all(struct oracle *o, const unsigned rights[ORACLE_PAGES], const char *how)
{
	unsigned dead = 0, reachable = 0, counted;

	for (unsigned p = 0; p < ORACLE_PAGES; p++) {
		oracle_reaches(o, p, rights[p], how);
		dead += (rights[p] & ~oracle_live(o, p)) != 0;
		reachable += rights[p] != 0;
	}
	if (dead > o->most_dead_pages)
		o->most_dead_pages = dead;
	counted = o->promise->kind == ORACLE_EVER ? reachable : dead;
	if (o->promise->pages && counted > o->promise->pages)
		oracle_complain(o, "%s: %u pages, promised are %u (%s)", o->promise->strategy, counted,
				o->promise->pages, how);
}
