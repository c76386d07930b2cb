/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/hash.h"

#include <stdlib.h>

#define SLOTS_LG2_FIRST 8

static uint64_t slots_of(const struct vi_hash *h)
{
	return UINT64_C(1) << h->slots_lg2;
}

/* Fibonacci hashing: the high bits of the product depend on all bits of the key. */
static uint64_t slot_of(const struct vi_hash *h, uint64_t key)
{
	return key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - h->slots_lg2);
}

bool vi_hash_init(struct vi_hash *h)
{
	*h = (struct vi_hash){.slots_lg2 = SLOTS_LG2_FIRST};
	h->heads = calloc(slots_of(h), sizeof(h->heads[0]));
	return h->heads;
}

void vi_hash_finish(struct vi_hash *h)
{
	free(h->heads);
	h->heads = NULL;
}

static void put(struct vi_hash *h, struct vi_hash_link *link)
{
	uint64_t slot = slot_of(h, link->key);

	link->next = h->heads[slot];
	h->heads[slot] = link;
	if (slot < h->lowest)
		h->lowest = slot;
}

static void grow(struct vi_hash *h)
{
	struct vi_hash wider = {.slots_lg2 = h->slots_lg2 + 1, .count = h->count, .lowest = UINT64_MAX};

	wider.heads = calloc(slots_of(&wider), sizeof(wider.heads[0]));
	if (!wider.heads)
		return;
	for (uint64_t i = 0; i < slots_of(h); i++) {
		for (struct vi_hash_link *link = h->heads[i], *next; link; link = next) {
			next = link->next;
			put(&wider, link);
		}
	}
	free(h->heads);
	*h = wider;
}

void vi_hash_insert(struct vi_hash *h, struct vi_hash_link *link, uint64_t key)
{
	if (h->count >= slots_of(h))
		grow(h);
	link->key = key;
	put(h, link);
	h->count++;
}

void vi_hash_remove(struct vi_hash *h, struct vi_hash_link *link)
{
	struct vi_hash_link **at = &h->heads[slot_of(h, link->key)];

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	h->count--;
}

static struct vi_hash_link *search(struct vi_hash_link *from, uint64_t key)
{
	while (from && from->key != key)
		from = from->next;
	return from;
}

struct vi_hash_link *vi_hash_find(const struct vi_hash *h, uint64_t key)
{
	return search(h->heads[slot_of(h, key)], key);
}

struct vi_hash_link *vi_hash_find_next(const struct vi_hash_link *link)
{
	return search(link->next, link->key);
}

struct vi_hash_link *vi_hash_any(struct vi_hash *h)
{
	if (!h->count)
		return NULL;
	while (!h->heads[h->lowest])
		h->lowest++;
	return h->heads[h->lowest];
}
