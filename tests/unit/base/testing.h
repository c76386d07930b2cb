/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test includes: cmocka, and random numbers that are the same in each run. */
#ifndef UNIT_TESTING_H
#define UNIT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct chance {
	uint64_t state; /* the seed, to begin with */
};

/* splitmix64 */
static inline uint64_t chance_word(struct chance *c)
{
	uint64_t x = c->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t chance_below(struct chance *c, uint64_t limit)
{
	return chance_word(c) % limit;
}

static inline uint64_t chance_between(struct chance *c, uint64_t first, uint64_t last)
{
	return first + chance_below(c, last - first + 1);
}

static inline bool chance_one_in(struct chance *c, unsigned n)
{
	return chance_below(c, n) == 0;
}

#endif
