/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/cost.h"

#include <errno.h>
#include <stdlib.h>

#define FASTEST	   20 /* percent */
#define ROOM_FIRST 16u

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

static int add_class(struct cost *c, uint64_t key)
{
	int err = make_room(c);

	if (!err)
		err = number_map_put(&c->by_key, key, c->count);
	if (!err)
		c->classes[c->count++] = (struct cost_class){0};
	return err;
}

static int add_time(struct cost_class *class, uint64_t ns)
{
	if (!class->times)
		class->times = calloc(1, sizeof(*class->times));
	if (!class->times)
		return -ENOMEM;
	histogram_add(class->times, ns, 1);
	return 0;
}

int cost_add(struct cost *c, uint64_t key, uint64_t coarse, uint64_t ns)
{
	uint64_t which = c->count;
	int err = 0;

	if (!number_map_get(&c->by_key, key, &which)) {
		if (c->count < COST_CLASSES_MOST)
			err = add_class(c, key);
		else if (!number_map_get(&c->by_key, coarse, &which))
			err = add_class(c, coarse);
	}
	return err ? err : add_time(&c->classes[which], ns);
}

static double end_class(struct cost_class *class)
{
	struct histogram *h = class->times;
	double ns;

	if (!h)
		return 0;
	ns = (double)h->count * histogram_mean_of_least(h, FASTEST);
	if (!class->rounds++ || ns < class->ns)
		class->ns = ns;
	free(h);
	class->times = NULL;
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
	return c->rounds_ns[(c->rounds - 1) / 2];
}

void cost_finish(struct cost *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->classes[i].times);
	free(c->classes);
	number_map_finish(&c->by_key);
	*c = (struct cost){0};
}
