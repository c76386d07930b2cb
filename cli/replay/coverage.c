/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page as a row of runs: from `first` to where the next run begins each byte
 * is covered `times` times. Runs begin where buffers begin or end, so there are at
 * most twice as many, and one; and never more than bytes.
 */
#include "cli/replay/coverage.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct run {
	uint32_t times;
	uint16_t first;
};

struct coverage {
	uint32_t buffers;
	uint16_t count, room, bytes;
	struct run runs[];
};

#define ROOM_FIRST 4u

/* Room for every cut of one buffer more, so that taking one away needs none. */
static int make_room(struct coverage **c)
{
	uint32_t buffers = *c ? (*c)->buffers + 1 : 1;
	unsigned room = *c ? (*c)->room : 0, needed;
	struct coverage *wider;

	needed = buffers < COVERAGE_PAGE / 2 ? 2 * buffers + 1 : COVERAGE_PAGE + 1;
	if (needed <= room)
		return 0;
	room = room ? room * 2 : ROOM_FIRST;
	wider = realloc(*c, sizeof(*wider) + room * sizeof(wider->runs[0]));
	if (!wider)
		return -ENOMEM;
	if (!*c) {
		*wider = (struct coverage){.count = 1};
		wider->runs[0] = (struct run){0, 0};
	}
	wider->room = (uint16_t)room;
	*c = wider;
	return 0;
}

/* The run that byte `at` is in. */
static unsigned find(const struct coverage *c, unsigned at)
{
	unsigned low = 0, high = c->count;

	while (high - low > 1) {
		unsigned middle = (low + high) / 2;

		if (c->runs[middle].first <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* A run begins at `at`, which is `count` beyond the page; returns its index. */
static unsigned cut(struct coverage *c, unsigned at)
{
	unsigned i;

	if (at == COVERAGE_PAGE)
		return c->count;
	i = find(c, at);
	if (c->runs[i].first == at)
		return i;
	assert(c->count < c->room);
	memmove(&c->runs[i + 2], &c->runs[i + 1], (c->count - i - 1u) * sizeof(c->runs[0]));
	c->runs[i + 1] = (struct run){c->runs[i].times, (uint16_t)at};
	c->count++;
	return i + 1;
}

/* Are run i and the one before it covered equally often? Then they are one. */
static void join(struct coverage *c, unsigned i)
{
	if (i == 0 || i >= c->count || c->runs[i - 1].times != c->runs[i].times)
		return;
	memmove(&c->runs[i], &c->runs[i + 1], (c->count - i - 1u) * sizeof(c->runs[0]));
	c->count--;
}

static unsigned length(const struct coverage *c, unsigned i)
{
	return (i + 1 < c->count ? c->runs[i + 1].first : COVERAGE_PAGE) - c->runs[i].first;
}

int coverage_add(struct coverage **ref, unsigned first, unsigned last)
{
	unsigned from, to;
	struct coverage *c;

	if (make_room(ref))
		return -ENOMEM;
	c = *ref;
	c->buffers++;
	from = cut(c, first);
	to = cut(c, last + 1);
	for (unsigned i = from; i < to; i++)
		if (c->runs[i].times++ == 0)
			c->bytes = (uint16_t)(c->bytes + length(c, i));
	join(c, to);
	join(c, from);
	return 0;
}

void coverage_remove(struct coverage **ref, unsigned first, unsigned last)
{
	struct coverage *c = *ref;
	unsigned from, to;

	from = cut(c, first);
	to = cut(c, last + 1);
	for (unsigned i = from; i < to; i++)
		if (--c->runs[i].times == 0)
			c->bytes = (uint16_t)(c->bytes - length(c, i));
	join(c, to);
	join(c, from);
	if (!--c->buffers) {
		free(c);
		*ref = NULL;
	}
}

unsigned coverage_bytes(const struct coverage *c)
{
	return c ? c->bytes : 0;
}

void coverage_free(struct coverage *c)
{
	free(c);
}
