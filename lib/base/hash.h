/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash by a 64-bit key, whose links live in what is kept; a key may come
 * more than once. Grows by itself; where memory lacks for that, chains become longer.
 * The owner serialises.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stdint.h>

struct vi_hash_link {
	uint64_t key;
	struct vi_hash_link *next;
};

struct vi_hash {
	struct vi_hash_link **heads;
	unsigned slots_lg2;
	uint64_t count;
	uint64_t lowest; /* no slot below is in use */
};

/* False: no memory. */
bool vi_hash_init(struct vi_hash *h);
/* What is kept is the owner's. Also after an init that failed. */
void vi_hash_finish(struct vi_hash *h);

void vi_hash_insert(struct vi_hash *h, struct vi_hash_link *link, uint64_t key);
void vi_hash_remove(struct vi_hash *h, struct vi_hash_link *link);

/* The first with this key, and the next after one; NULL: none. */
struct vi_hash_link *vi_hash_find(const struct vi_hash *h, uint64_t key);
struct vi_hash_link *vi_hash_find_next(const struct vi_hash_link *link);

/* Any one, for an owner who empties it; NULL: it is empty. */
struct vi_hash_link *vi_hash_any(struct vi_hash *h);

#endif
