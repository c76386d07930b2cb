/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers by number: constant time, memory for what is in it. */
#ifndef CLI_NUMBER_MAP_H
#define CLI_NUMBER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NUMBER_MAP_MOST (UINT64_MAX - 1) /* the highest value that can be kept */

/* All zeros is an empty one. */
struct number_map {
	uint64_t *keys, *values; /* a value of UINT64_MAX: nothing is here */
	size_t count;
	unsigned size_lg2;
};

void number_map_finish(struct number_map *m);
/* In place of what was there, which needs no memory. -ENOMEM. */
int number_map_put(struct number_map *m, uint64_t key, uint64_t value);
bool number_map_get(const struct number_map *m, uint64_t key, uint64_t *ret_value);
/* And it is there no more. */
bool number_map_take(struct number_map *m, uint64_t key, uint64_t *ret_value);
/* Each key once, in no order; `at` begins with 0. */
bool number_map_next(const struct number_map *m, size_t *at, uint64_t *ret_key);

#endif
