/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three layers. Blocks of a power of two of pages, split and joined with their
 * buddies, which a hash finds by their first page. Chunks: blocks that are
 * divided into up to 64 pieces of one small size, a bit each, so that a
 * million live addresses need only some thousands of blocks. Magazines: pieces
 * that a thread keeps for itself.
 *
 * Locks: `lock` of the space guards blocks, chunks, hash and the list of
 * caches. `busy` of a cache guards its magazines; others take it only when the
 * space has run out. Order: space, then cache; the owner never holds its cache
 * while it takes the space.
 *
 * A zone holds the pages 2^(z-1) .. 2^z - 1. As page 0 is never given out no
 * block crosses zones, and "not above the last page of a width" is a set of zones.
 */
#include "dma/iova.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/list.h"

#define ZONES	  53
#define ORDERS	  52
#define LOW_ZONES 20 /* zones 1..20 are the addresses below 4 GiB */
#define CLASSES	  6  /* pieces of 1, 2, 4, .. 32 pages are kept in magazines */
#define CHUNK_LG2 6  /* pieces of a chunk, at the most */
#define MAGAZINE  64

enum block_state { BLOCK_FREE, BLOCK_WHOLE, BLOCK_CHUNK };

struct block {
	struct vi_hash_link hash; /* by page */
	uint64_t page;
	uint8_t order;
	uint8_t class; /* of the pieces of a chunk */
	enum block_state state;
	uint64_t free_pieces; /* bit i: piece i of a chunk is free */
	struct vi_list link;  /* free blocks of the zone and order, or chunks of the zone and class with free
				 pieces */
};

struct zone {
	struct vi_list free[ORDERS];
	uint64_t free_orders; /* bit o: free[o] is not empty */
	struct vi_list chunks[CLASSES];
};

struct vi_iova_space {
	pthread_mutex_t lock;
	struct zone zones[ZONES];
	uint64_t chunk_zones[CLASSES]; /* bit z: zones[z].chunks[class] is not empty */
	struct vi_hash blocks;
	uint64_t last_page;
	struct vi_list caches;
};

struct vi_iova_cache {
	struct vi_iova_space *space;
	struct vi_list link;
	_Alignas(64) atomic_flag busy;
	unsigned count[CLASSES];
	uint64_t pieces[CLASSES][MAGAZINE]; /* the first page of each */
};

static struct block *find_block(const struct vi_iova_space *s, uint64_t page)
{
	struct vi_hash_link *link = vi_hash_find(&s->blocks, page);

	return link ? VI_CONTAINER_OF(link, struct block, hash) : NULL;
}

/* ------------------------------------------------------------------ blocks */

static unsigned zone_of(uint64_t page)
{
	return 64 - (unsigned)__builtin_clzll(page);
}

static struct block *block_make(struct vi_iova_space *s, uint64_t page, unsigned order)
{
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->page = page;
	b->order = (uint8_t)order;
	vi_list_init(&b->link);
	vi_hash_insert(&s->blocks, &b->hash, page);
	return b;
}

static void block_drop(struct vi_iova_space *s, struct block *b)
{
	vi_hash_remove(&s->blocks, &b->hash);
	free(b);
}

static void block_put_free(struct vi_iova_space *s, struct block *b)
{
	struct zone *z = &s->zones[zone_of(b->page)];

	b->state = BLOCK_FREE;
	vi_list_append(&z->free[b->order], &b->link);
	z->free_orders |= VI_BIT(b->order);
}

static void block_take_free(struct vi_iova_space *s, struct block *b)
{
	struct zone *z = &s->zones[zone_of(b->page)];

	vi_list_remove(&b->link);
	if (vi_list_is_empty(&z->free[b->order]))
		z->free_orders &= ~VI_BIT(b->order);
}

/* The free block's halves, again and again until it is of `order`: the upper goes, the lower is left. */
static struct block *split(struct vi_iova_space *s, struct block *b, unsigned order)
{
	while (b->order > order) {
		struct block *upper = block_make(s, b->page + VI_BIT(b->order - 1), b->order - 1u);

		if (!upper)
			return NULL; /* what was split stays so: smaller free blocks, joined when next freed
				      */
		block_take_free(s, b);
		b->order--;
		block_put_free(s, b);
		block_put_free(s, upper);
	}
	return b;
}

static void block_free(struct vi_iova_space *s, struct block *b)
{
	while (b->order + 1 < ORDERS) {
		struct block *buddy = find_block(s, b->page ^ VI_BIT(b->order)), *upper;

		if (!buddy || buddy->state != BLOCK_FREE || buddy->order != b->order)
			break;
		block_take_free(s, buddy);
		upper = buddy->page > b->page ? buddy : b;
		b = buddy->page > b->page ? b : buddy;
		block_drop(s, upper);
		b->order++;
	}
	block_put_free(s, b);
}

/* Of a set of zones the one to use first: below 4 GiB from the top down, then from there up. */
static unsigned first_choice(uint64_t zones)
{
	uint64_t low = zones & VI_BITS(LOW_ZONES, 0);

	return low ? 63 - (unsigned)__builtin_clzll(low) : (unsigned)__builtin_ctzll(zones);
}

static uint64_t zones_with_order(const struct vi_iova_space *s, uint64_t zones, unsigned order)
{
	uint64_t with = 0;

	for (uint64_t left = zones; left; left &= left - 1) {
		unsigned z = (unsigned)__builtin_ctzll(left);

		if (s->zones[z].free_orders >> order)
			with |= VI_BIT(z);
	}
	return with;
}

/* A block out of these zones, no longer free. *ret_enomem: it is memory that lacks. */
static struct block *block_alloc(struct vi_iova_space *s, uint64_t zones, unsigned order, bool *ret_enomem)
{
	uint64_t with = zones_with_order(s, zones, order);
	struct zone *z;
	struct block *b;
	unsigned found;

	if (!with)
		return NULL;
	z = &s->zones[first_choice(with)];
	found = order + (unsigned)__builtin_ctzll(z->free_orders >> order);
	b = split(s, VI_CONTAINER_OF(z->free[found].next, struct block, link), order);
	if (!b) {
		*ret_enomem = true;
		return NULL;
	}
	block_take_free(s, b);
	b->state = BLOCK_WHOLE;
	return b;
}

/* ------------------------------------------------------------------ pieces */

static void chunk_list(struct vi_iova_space *s, struct block *b)
{
	unsigned z = zone_of(b->page);

	vi_list_append(&s->zones[z].chunks[b->class], &b->link);
	s->chunk_zones[b->class] |= VI_BIT(z);
}

static void chunk_unlist(struct vi_iova_space *s, struct block *b)
{
	unsigned z = zone_of(b->page);

	vi_list_remove(&b->link);
	if (vi_list_is_empty(&s->zones[z].chunks[b->class]))
		s->chunk_zones[b->class] &= ~VI_BIT(z);
}

static uint64_t all_pieces(const struct block *b)
{
	return VI_BITS((1u << (b->order - b->class)) - 1, 0);
}

/* As large a chunk as there is room for. */
static struct block *chunk_make(struct vi_iova_space *s, unsigned class, uint64_t zones, bool *ret_enomem)
{
	struct block *b = NULL;

	for (int lg2 = CHUNK_LG2; lg2 >= 0 && !b && !*ret_enomem; lg2--)
		b = block_alloc(s, zones, class + (unsigned)lg2, ret_enomem);
	if (!b)
		return NULL;
	b->state = BLOCK_CHUNK;
	b->class = (uint8_t) class;
	b->free_pieces = all_pieces(b);
	chunk_list(s, b);
	return b;
}

/* A chunk with a free piece, in the zones to be used first that have room for one. */
static struct block *chunk_find(struct vi_iova_space *s, unsigned class, uint64_t zones, bool *ret_enomem)
{
	uint64_t with = s->chunk_zones[class] & zones;

	if (with)
		return VI_CONTAINER_OF(s->zones[first_choice(with)].chunks[class].next, struct block, link);
	return chunk_make(s, class, zones, ret_enomem);
}

static int piece_alloc(struct vi_iova_space *s, unsigned class, uint64_t zones, uint64_t *ret_page)
{
	bool enomem = false;
	struct block *b = chunk_find(s, class, zones & VI_BITS(LOW_ZONES, 0), &enomem);
	unsigned piece;

	if (!b && !enomem)
		b = chunk_find(s, class, zones, &enomem);
	if (!b)
		return enomem ? -ENOMEM : -ENOSPC;
	piece = (unsigned)__builtin_ctzll(b->free_pieces);
	b->free_pieces &= b->free_pieces - 1;
	if (!b->free_pieces)
		chunk_unlist(s, b);
	*ret_page = b->page + ((uint64_t)piece << class);
	return 0;
}

static struct block *chunk_of(const struct vi_iova_space *s, uint64_t page, unsigned class)
{
	for (int lg2 = CHUNK_LG2; lg2 >= 0; lg2--) {
		struct block *b = find_block(s, vi_align_down(page, VI_BIT(class + (unsigned)lg2)));

		if (b && b->state == BLOCK_CHUNK && b->class == class && b->order == class + (unsigned)lg2)
			return b;
	}
	return NULL;
}

static void piece_free(struct vi_iova_space *s, uint64_t page, unsigned class)
{
	struct block *b = chunk_of(s, page, class);
	uint64_t bit;

	assert(b);
	bit = VI_BIT((page - b->page) >> class);
	assert(!(b->free_pieces & bit));
	if (!b->free_pieces)
		chunk_list(s, b);
	b->free_pieces |= bit;
	if (b->free_pieces == all_pieces(b)) {
		chunk_unlist(s, b);
		block_free(s, b);
	}
}

/* --------------------------------------------------------------- magazines */

static void cache_lock(struct vi_iova_cache *c)
{
	while (atomic_flag_test_and_set_explicit(&c->busy, memory_order_acquire))
		; /* held for some dozens of instructions */
}

static void cache_unlock(struct vi_iova_cache *c)
{
	atomic_flag_clear_explicit(&c->busy, memory_order_release);
}

/* With the space: all that this cache keeps goes back. */
static void cache_empty(struct vi_iova_cache *c)
{
	cache_lock(c);
	for (unsigned class = 0; class < CLASSES; class ++)
		while (c->count[class])
			piece_free(c->space, c->pieces[class][--c->count[class]], class);
	cache_unlock(c);
}

static void empty_all(struct vi_iova_space *s)
{
	struct vi_list *link;

	vi_list_for_each (link, &s->caches)
		cache_empty(VI_CONTAINER_OF(link, struct vi_iova_cache, link));
}

/* The newest that is not above the limit; only the newest is looked at. */
static bool cache_pop(struct vi_iova_cache *c, unsigned class, uint64_t last_page, uint64_t *ret_page)
{
	bool found = false;

	cache_lock(c);
	if (c->count[class]) {
		uint64_t page = c->pieces[class][c->count[class] - 1];

		found = page + VI_BIT(class) - 1 <= last_page;
		if (found) {
			c->count[class]--;
			*ret_page = page;
		}
	}
	cache_unlock(c);
	return found;
}

static bool cache_push(struct vi_iova_cache *c, unsigned class, uint64_t page)
{
	bool room;

	cache_lock(c);
	room = c->count[class] < MAGAZINE;
	if (room)
		c->pieces[class][c->count[class]++] = page;
	cache_unlock(c);
	return room;
}

/* Limits are those of widths, so only the end of the space cuts a zone; any other that is cut is left out. */
static uint64_t zones_up_to(const struct vi_iova_space *s, uint64_t last_page)
{
	unsigned z = zone_of(last_page);

	if (last_page >= s->last_page)
		return VI_BITS(ZONES - 1, 0);
	return vi_is_aligned(last_page + 1, VI_BIT(z)) ? VI_BITS(z, 0) : VI_BITS(z - 1, 0);
}

/* One for the caller, and half a magazine for the next times. */
static int refill(struct vi_iova_cache *c, unsigned class, uint64_t zones, uint64_t *ret_page)
{
	struct vi_iova_space *s = c->space;
	uint64_t page;
	int err;

	pthread_mutex_lock(&s->lock);
	err = piece_alloc(s, class, zones, ret_page);
	if (err == -ENOSPC) {
		empty_all(s);
		err = piece_alloc(s, class, zones, ret_page);
	} else {
		/* It is empty, or what it keeps is above the limit: then there may be no room. */
		for (unsigned i = 0; !err && i < MAGAZINE / 2 && !piece_alloc(s, class, zones, &page); i++) {
			if (!cache_push(c, class, page)) {
				piece_free(s, page, class);
				break;
			}
		}
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* The magazine is full: the older half goes, for others to use. */
static void spill(struct vi_iova_cache *c, unsigned class)
{
	uint64_t *pieces = c->pieces[class];

	pthread_mutex_lock(&c->space->lock);
	cache_lock(c);
	if (c->count[class] > MAGAZINE / 2) { /* nobody has emptied it meanwhile */
		unsigned kept = c->count[class] - MAGAZINE / 2;

		for (unsigned i = 0; i < MAGAZINE / 2; i++)
			piece_free(c->space, pieces[i], class);
		memmove(pieces, pieces + MAGAZINE / 2, kept * sizeof(*pieces));
		c->count[class] = kept;
	}
	cache_unlock(c);
	pthread_mutex_unlock(&c->space->lock);
}

/* ---------------------------------------------------------- whole ranges */

static int whole_alloc(struct vi_iova_space *s, unsigned order, uint64_t zones, uint64_t *ret_page)
{
	bool enomem = false;
	struct block *b = block_alloc(s, zones, order, &enomem);

	if (!b)
		return enomem ? -ENOMEM : -ENOSPC;
	*ret_page = b->page;
	return 0;
}

static int large_alloc(struct vi_iova_space *s, unsigned order, uint64_t zones, uint64_t *ret_page)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = whole_alloc(s, order, zones, ret_page);
	if (err == -ENOSPC) {
		empty_all(s);
		err = whole_alloc(s, order, zones, ret_page);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static void large_free(struct vi_iova_space *s, uint64_t page, unsigned order)
{
	struct block *b;

	pthread_mutex_lock(&s->lock);
	b = find_block(s, page);
	assert(b && b->state == BLOCK_WHOLE && b->order == order);
	block_free(s, b);
	pthread_mutex_unlock(&s->lock);
}

int vi_iova_alloc(struct vi_iova_cache *c, uint64_t pages, uint64_t last_page, uint64_t *ret_page)
{
	unsigned order = vi_ceil_lg2(pages);
	uint64_t zones;

	if (!pages || order >= ORDERS)
		return -EINVAL;
	if (!last_page)
		return -ENOSPC;
	if (order < CLASSES && cache_pop(c, order, last_page, ret_page))
		return 0;
	zones = zones_up_to(c->space, last_page);
	return order < CLASSES ? refill(c, order, zones, ret_page)
			       : large_alloc(c->space, order, zones, ret_page);
}

void vi_iova_free(struct vi_iova_cache *c, uint64_t page, uint64_t pages)
{
	unsigned order = vi_ceil_lg2(pages);

	if (order >= CLASSES) {
		large_free(c->space, page, order);
		return;
	}
	while (!cache_push(c, order, page))
		spill(c, order);
}

/* ---------------------------------------------------------- begin and end */

/* first..last as blocks, each as large as its alignment and the rest allow. */
static int populate(struct vi_iova_space *s, uint64_t first, uint64_t last)
{
	while (first <= last) {
		unsigned order = (unsigned)__builtin_ctzll(first);
		struct block *b;

		while (order && last - first < VI_BIT(order) - 1)
			order--;
		b = block_make(s, first, order);
		if (!b)
			return -ENOMEM;
		block_put_free(s, b);
		first += VI_BIT(order);
	}
	return 0;
}

/* Without the addresses that are interrupts. */
static int populate_around(struct vi_iova_space *s, uint64_t first, uint64_t last)
{
	int err = populate(s, first, vi_min(last, VI_IOVA_INTERRUPTS_FIRST - 1));

	return err ? err : populate(s, vi_max(first, VI_IOVA_INTERRUPTS_LAST + 1), last);
}

static void init_lists(struct vi_iova_space *s)
{
	vi_list_init(&s->caches);
	for (unsigned z = 0; z < ZONES; z++) {
		for (unsigned o = 0; o < ORDERS; o++)
			vi_list_init(&s->zones[z].free[o]);
		for (unsigned class = 0; class < CLASSES; class ++)
			vi_list_init(&s->zones[z].chunks[class]);
	}
}

int vi_iova_space_create(uint64_t first_page, uint64_t last_page, struct vi_iova_space **ret_space)
{
	struct vi_iova_space *s;

	if (!first_page || first_page > last_page || zone_of(last_page) >= ZONES)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->last_page = last_page;
	pthread_mutex_init(&s->lock, NULL);
	init_lists(s);
	if (!vi_hash_init(&s->blocks) || populate_around(s, first_page, last_page)) {
		vi_iova_space_destroy(s);
		return -ENOMEM;
	}
	*ret_space = s;
	return 0;
}

void vi_iova_space_destroy(struct vi_iova_space *s)
{
	struct vi_hash_link *link;

	if (!s)
		return;
	while ((link = vi_hash_any(&s->blocks)))
		block_drop(s, VI_CONTAINER_OF(link, struct block, hash));
	vi_hash_finish(&s->blocks);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int vi_iova_cache_create(struct vi_iova_space *s, struct vi_iova_cache **ret_cache)
{
	struct vi_iova_cache *c = aligned_alloc(_Alignof(struct vi_iova_cache), sizeof(*c));

	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	c->space = s;
	atomic_flag_clear(&c->busy);
	pthread_mutex_lock(&s->lock);
	vi_list_append(&s->caches, &c->link);
	pthread_mutex_unlock(&s->lock);
	*ret_cache = c;
	return 0;
}

void vi_iova_cache_destroy(struct vi_iova_cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->space->lock);
	cache_empty(c);
	vi_list_remove(&c->link);
	pthread_mutex_unlock(&c->space->lock);
	free(c);
}
