/* SPDX-License-Identifier: BSD-3-Clause */
/* Open addressing, at most half full; what is taken out leaves no mark, its followers move up. */
#include "cli/number_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING	     UINT64_MAX
#define FIRST_LG2    6
#define GOLDEN_RATIO UINT64_C(0x9e3779b97f4a7c15)

void number_map_finish(struct number_map *m)
{
	free(m->keys);
	free(m->values);
	*m = (struct number_map){0};
}

static size_t mask(const struct number_map *m)
{
	return ((size_t)1 << m->size_lg2) - 1;
}

static size_t home(const struct number_map *m, uint64_t key)
{
	return (size_t)(key * GOLDEN_RATIO >> (64 - m->size_lg2));
}

/* Where the key is, or the free place where it belongs. */
static size_t place(const struct number_map *m, uint64_t key)
{
	size_t at = home(m, key);

	while (m->values[at] != NOTHING && m->keys[at] != key)
		at = (at + 1) & mask(m);
	return at;
}

static int grow(struct number_map *m)
{
	struct number_map wider = {.count = m->count, .size_lg2 = m->size_lg2 ? m->size_lg2 + 1 : FIRST_LG2};
	size_t size = mask(&wider) + 1;

	wider.keys = malloc(size * sizeof(*wider.keys));
	wider.values = malloc(size * sizeof(*wider.values));
	if (!wider.keys || !wider.values) {
		number_map_finish(&wider);
		return -ENOMEM;
	}
	memset(wider.values, 0xff, size * sizeof(*wider.values));
	for (size_t i = 0; m->size_lg2 && i <= mask(m); i++) {
		if (m->values[i] != NOTHING) {
			size_t at = place(&wider, m->keys[i]);

			wider.keys[at] = m->keys[i];
			wider.values[at] = m->values[i];
		}
	}
	number_map_finish(m);
	*m = wider;
	return 0;
}

int number_map_put(struct number_map *m, uint64_t key, uint64_t value)
{
	size_t at;

	/* What takes the place of another needs no memory. */
	if (m->size_lg2 && m->values[at = place(m, key)] != NOTHING) {
		m->values[at] = value;
		return 0;
	}
	if ((!m->size_lg2 || m->count > mask(m) / 2) && grow(m))
		return -ENOMEM;
	at = place(m, key);
	m->count++;
	m->keys[at] = key;
	m->values[at] = value;
	return 0;
}

bool number_map_get(const struct number_map *m, uint64_t key, uint64_t *ret_value)
{
	size_t at;

	if (!m->count)
		return false;
	at = place(m, key);
	if (m->values[at] == NOTHING)
		return false;
	*ret_value = m->values[at];
	return true;
}

/* Does the key at `at` have its home in the (cyclic) stretch behind `hole` up to `at`? */
static bool stays(const struct number_map *m, size_t hole, size_t at)
{
	size_t from_home = (at - home(m, m->keys[at])) & mask(m), from_hole = (at - hole) & mask(m);

	return from_home < from_hole;
}

bool number_map_take(struct number_map *m, uint64_t key, uint64_t *ret_value)
{
	size_t hole;

	if (!number_map_get(m, key, ret_value))
		return false;
	hole = place(m, key);
	for (size_t at = (hole + 1) & mask(m); m->values[at] != NOTHING; at = (at + 1) & mask(m)) {
		if (stays(m, hole, at))
			continue;
		m->keys[hole] = m->keys[at];
		m->values[hole] = m->values[at];
		hole = at;
	}
	m->values[hole] = NOTHING;
	m->count--;
	return true;
}

bool number_map_next(const struct number_map *m, size_t *at, uint64_t *ret_key)
{
	while (m->count && *at <= mask(m)) {
		size_t i = (*at)++;

		if (m->values[i] != NOTHING) {
			*ret_key = m->keys[i];
			return true;
		}
	}
	return false;
}
