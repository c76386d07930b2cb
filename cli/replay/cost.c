/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/cost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FASTEST	   0.2 /* of the calls of a class */
#define ROOM_FIRST 16u

/* ------------------------------------------------------------------------ times */

/* Numbers below 2 * parts have a bucket each, then `parts` buckets share a power of two. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns >> COST_PARTS_LG2 == 0)
		return (unsigned)ns;
	if (ns >> COST_LONGEST_LG2)
		return COST_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(ns) - COST_PARTS_LG2;
	return (shift << COST_PARTS_LG2) + (unsigned)(ns >> shift);
}

static void add_time(struct cost_times *t, uint64_t ns)
{
	struct cost_bucket *b = &t->buckets[bucket_of(ns)];

	t->count++;
	b->count++;
	b->sum += ns;
}

/* The average of the fastest `part` of them, at least one; 0: there are none. */
static double mean_of_fastest(const struct cost_times *t, double part)
{
	double wanted = part * (double)t->count, sum = 0, seen = 0;

	if (wanted < 1)
		wanted = 1;
	for (unsigned i = 0; i < COST_BUCKETS && seen < wanted; i++) {
		const struct cost_bucket *b = &t->buckets[i];
		double taken = (double)b->count;

		if (!b->count)
			continue;
		if (taken > wanted - seen)
			taken = wanted - seen;
		sum += taken * (double)b->sum / (double)b->count;
		seen += taken;
	}
	return seen > 0 ? sum / seen : 0;
}

/* ---------------------------------------------------------------------- classes */

static int make_room(struct cost *c)
{
	size_t room = c->count ? c->count * 2 : ROOM_FIRST;
	struct cost_class *wider;

	/* Full at each power of two from ROOM_FIRST on. */
	if (c->count && (c->count < ROOM_FIRST || c->count & (c->count - 1)))
		return 0;
	wider = realloc(c->classes, room * sizeof(*wider));
	if (!wider)
		return -ENOMEM;
	c->classes = wider;
	return 0;
}

/* Its memory stays for all rounds: only the first of them takes any. */
static int add_class(struct cost *c, uint64_t key, bool is_coarse)
{
	struct cost_times *times = calloc(1, sizeof(*times));
	int err = times ? make_room(c) : -ENOMEM;

	if (!err)
		err = number_map_put(&c->by_key, key, c->count);
	if (err)
		free(times);
	else
		c->classes[c->count++] = (struct cost_class){.times = times, .is_coarse = is_coarse};
	return err;
}

int cost_add(struct cost *c, uint64_t key, uint64_t coarse, uint64_t ns)
{
	uint64_t which = c->count;
	int err = 0;

	if (!number_map_get(&c->by_key, key, &which)) {
		if (c->count < COST_CLASSES_MOST)
			err = add_class(c, key, false);
		else if (!number_map_get(&c->by_key, coarse, &which))
			err = add_class(c, coarse, true);
	}
	if (!err)
		add_time(c->classes[which].times, ns);
	return err;
}

static double end_class(struct cost_class *class)
{
	struct cost_times *t = class->times;
	double ns = (double)t->count * mean_of_fastest(t, class->is_coarse ? 1 : FASTEST);

	if (t->count && (!class->rounds++ || ns < class->ns))
		class->ns = ns;
	memset(t, 0, sizeof(*t));
	return ns;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double cost_end_round(struct cost *c)
{
	double ns = 0;

	for (size_t i = 0; i < c->count; i++)
		ns += end_class(&c->classes[i]);
	c->rounds_ns[c->rounds++] = ns;
	qsort(c->rounds_ns, c->rounds, sizeof(c->rounds_ns[0]), compare);
	return ns;
}

double cost_ns(const struct cost *c)
{
	double ns = 0;

	for (size_t i = 0; i < c->count; i++)
		ns += c->classes[i].ns;
	return ns;
}

double cost_median_ns(const struct cost *c)
{
	return c->rounds_ns[c->rounds / 2];
}

void cost_finish(struct cost *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->classes[i].times);
	free(c->classes);
	number_map_finish(&c->by_key);
	*c = (struct cost){0};
}
