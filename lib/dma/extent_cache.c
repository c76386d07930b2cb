/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `lock` guards which extents there are, who uses them, and the quota. It is
 * not held over a step of the backing: what is to be mapped belongs to its
 * maker until it is published, what ends is unpublished first. So two threads
 * that miss the same pages at once make two extents, which does no harm, and
 * an invalidation of one thread does not hold up the hits of another.
 *
 * The quota counts pages from before they are mapped until after they are
 * invalidated, so that there are never more.
 */
#include "dma/extent_cache.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "dma/retention.h"

struct extent {
	struct vi_hash_link hash;
	struct vi_retained dead;
	struct viommu_backing_range range;
	uint64_t users; /* 0: dead */
	bool published;
};

struct vi_extent_cache {
	struct vi_extent_rules rules;
	pthread_mutex_t lock;
	struct vi_hash extents; /* published ones; also those that the table forgot */
	struct extent **slots;	/* with lookup_slots_lg2 */
	struct vi_retention dead;
	uint64_t pages;		    /* of all extents, those too that are being made or ended */
	uint64_t ending;	    /* of those, the pages that a thread is ending */
	pthread_cond_t ended;	    /* some have */
	struct vi_hash_link *spare; /* structs for the next extents */
};

/* Extents that end: out of the cache, still mapped. Only the first `count` places are ever written. */
struct victims {
	struct extent *extents[VI_DMA_LIST_MAX];
	unsigned count;
	uint64_t pages;
};

static void no_victims(struct victims *v)
{
	v->count = 0;
	v->pages = 0;
}

static uint64_t pages_of(const struct extent *e)
{
	return e->range.len >> VI_DMA_PAGE_SHIFT;
}

static struct extent *extent_of(struct vi_hash_link *link)
{
	return VI_CONTAINER_OF(link, struct extent, hash);
}

/* ------------------------------------------------------------------ look-up */

/* What an extent for this request has to cover: whole chunks, as far as the memory goes. */
static struct viommu_backing_range wanted(const struct vi_extent_cache *c, const struct vi_dma_request *r)
{
	uint64_t chunk = VI_DMA_PAGE_SIZE << c->rules.chunk_pages_lg2;
	uint64_t first = vi_align_down(r->address, chunk), last = (r->address + r->len - 1) | (chunk - 1);

	first = vi_max(first, r->region->address);
	last = vi_min(last, r->region->address + r->region->len - 1);
	return (struct viommu_backing_range){.address = first, .len = last - first + 1, .access = r->access};
}

static uint64_t key_of(const struct viommu_backing_range *range)
{
	return range->address ^ range->access ^ (range->len >> VI_DMA_PAGE_SHIFT) << 48;
}

static bool fits(const struct extent *e, const struct viommu_backing_range *want, uint64_t last_page)
{
	return e->range.address == want->address && e->range.len == want->len &&
	       e->range.access == want->access &&
	       (e->range.iova + e->range.len - 1) >> VI_DMA_PAGE_SHIFT <= last_page;
}

static struct extent **slot_of(const struct vi_extent_cache *c, uint64_t key)
{
	return &c->slots[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - c->rules.lookup_slots_lg2)];
}

/* With the lock. */
static struct extent *find(const struct vi_extent_cache *c, const struct viommu_backing_range *want,
			   uint64_t last_page)
{
	uint64_t key = key_of(want);
	struct vi_hash_link *link;

	if (c->slots) {
		struct extent *e = *slot_of(c, key);

		return e && fits(e, want, last_page) ? e : NULL;
	}
	for (link = vi_hash_find(&c->extents, key); link; link = vi_hash_find_next(link))
		if (fits(extent_of(link), want, last_page))
			return extent_of(link);
	return NULL;
}

/* With the lock. */
static void publish(struct vi_extent_cache *c, struct extent *e)
{
	uint64_t key = key_of(&e->range);

	vi_hash_insert(&c->extents, &e->hash, key);
	if (c->slots)
		*slot_of(c, key) = e;
	e->published = true;
}

static void unpublish(struct vi_extent_cache *c, struct extent *e)
{
	vi_hash_remove(&c->extents, &e->hash);
	if (c->slots && *slot_of(c, e->hash.key) == e)
		*slot_of(c, e->hash.key) = NULL;
	e->published = false;
}

/* --------------------------------------------------------------------- ends */

/* With the lock. It is dead, and no longer kept. */
static void condemn(struct vi_extent_cache *c, struct extent *e, struct victims *v)
{
	unpublish(c, e);
	v->extents[v->count++] = e;
	v->pages += pages_of(e);
	c->ending += pages_of(e);
}

/* With the lock: the oldest dead ones, until there is a batch of them or no more. */
static void take_batch(struct vi_extent_cache *c, struct victims *v)
{
	struct vi_retained *oldest;

	while (v->count < c->rules.batch && v->count < VI_DMA_LIST_MAX &&
	       (oldest = vi_retention_take_oldest(&c->dead)))
		condemn(c, VI_CONTAINER_OF(oldest, struct extent, dead), v);
}

/* With the lock: those that are due. One too many for the quota takes a batch along. */
static void take_due(struct viommu_dma_thread *t, struct vi_extent_cache *c, uint64_t now_ns,
		     struct victims *v)
{
	struct vi_retained *due;

	if (c->dead.weight > c->dead.quota) {
		unsigned before = v->count;

		take_batch(c, v);
		vi_dma_count(&t->counters, VI_DMA_COUNT_evictions, v->count - before);
	}
	while (v->count < VI_DMA_LIST_MAX && (due = vi_retention_take_due(&c->dead, now_ns)))
		condemn(c, VI_CONTAINER_OF(due, struct extent, dead), v);
}

/* With the lock. */
static void keep_spare(struct vi_extent_cache *c, struct extent *e)
{
	e->hash.next = c->spare;
	c->spare = &e->hash;
}

/* Without the lock: out of the IOMMU, and out of the count. */
static int end_all(struct viommu_dma_thread *t, struct vi_extent_cache *c, const struct victims *v)
{
	struct vi_dma_ending endings[VI_DMA_LIST_MAX];
	int err;

	if (!v->count)
		return 0;
	for (unsigned i = 0; i < v->count; i++)
		endings[i] = (struct vi_dma_ending){v->extents[i]->range, v->extents[i]->dead.since_ns};
	err = vi_dma_end(t, endings, v->count, VIOMMU_BACKING_LEAVES_ONLY);
	vi_dma_count(&t->counters, VI_DMA_COUNT_pages_ended, v->pages);
	pthread_mutex_lock(&c->lock);
	c->pages -= v->pages;
	c->ending -= v->pages;
	for (unsigned i = 0; i < v->count; i++)
		keep_spare(c, v->extents[i]);
	pthread_cond_broadcast(&c->ended);
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* Without the lock: all that is due. */
static int end_due(struct viommu_dma_thread *t, struct vi_extent_cache *c, uint64_t now_ns)
{
	unsigned count;
	int first = 0;

	do {
		struct victims v;
		int err;

		no_victims(&v);
		pthread_mutex_lock(&c->lock);
		take_due(t, c, now_ns, &v);
		pthread_mutex_unlock(&c->lock);
		err = end_all(t, c, &v);
		first = first ? first : err;
		count = v.count;
	} while (count == VI_DMA_LIST_MAX);
	return first;
}

/* --------------------------------------------------------------------- maps */

/* A list of requests on its way: an extent for each, found or made. */
struct attempt {
	struct extent *extents[VI_DMA_LIST_MAX];
	struct extent *made[VI_DMA_LIST_MAX]; /* those of them that are new */
	size_t count, made_count;
};

/* With the lock. */
static void use(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct extent *e)
{
	if (e->published && !e->users) {
		vi_retention_remove(&c->dead, &e->dead);
		vi_dma_count(&t->counters, VI_DMA_COUNT_pages_revived, pages_of(e));
	}
	e->users++;
}

/* With the lock: dead from now on, and kept for as long as the rules say. */
static void let_go(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct extent *e, uint64_t now_ns,
		   struct victims *v)
{
	if (--e->users)
		return;
	vi_dma_count(&t->counters, VI_DMA_COUNT_pages_died, pages_of(e));
	if (c->rules.dead_pages) {
		vi_retention_add(&c->dead, &e->dead, pages_of(e), now_ns);
	} else {
		e->dead.since_ns = now_ns;
		condemn(c, e, v);
	}
}

/* With the lock. One that the same list is about to make serves twice. */
static struct extent *find_made(const struct attempt *a, const struct viommu_backing_range *want)
{
	for (size_t i = 0; i < a->made_count; i++)
		if (a->made[i]->range.address == want->address && a->made[i]->range.len == want->len)
			return a->made[i];
	return NULL;
}

/* With the lock. */
static struct extent *new_extent(struct vi_extent_cache *c)
{
	struct extent *e;

	if (!c->spare)
		return calloc(1, sizeof(*e));
	e = extent_of(c->spare);
	c->spare = c->spare->next;
	*e = (struct extent){.users = 0};
	return e;
}

/* With the lock: which extents are there, and which have to be made. */
static int look_up(struct viommu_dma_thread *t, struct vi_extent_cache *c,
		   const struct vi_dma_request *requests, size_t count, struct attempt *a)
{
	for (; a->count < count; a->count++) {
		const struct vi_dma_request *r = &requests[a->count];
		struct viommu_backing_range want = wanted(c, r);
		struct extent *e = find(c, &want, r->last_page);

		e = e ? e : find_made(a, &want);
		if (e) {
			vi_dma_count(&t->counters, VI_DMA_COUNT_reused, 1);
		} else {
			e = new_extent(c);
			if (!e)
				return -ENOMEM;
			e->range = want;
			a->made[a->made_count++] = e;
		}
		use(t, c, e);
		a->extents[a->count] = e;
	}
	return 0;
}

static uint64_t pages_to_make(const struct attempt *a)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < a->made_count; i++)
		pages += pages_of(a->made[i]);
	return pages;
}

/*
 * With the lock, which is given up while extents end: room in the quota for
 * `pages`, counted from now on. -EDQUOT: what lives takes it all.
 */
static int make_room(struct viommu_dma_thread *t, struct vi_extent_cache *c, uint64_t pages)
{
	int err = 0;

	while (!err && c->pages + pages > c->rules.mapped_pages) {
		struct victims v;

		no_victims(&v);
		take_batch(c, &v);
		if (!v.count && !c->ending)
			return -EDQUOT;
		if (!v.count) {
			pthread_cond_wait(&c->ended, &c->lock);
			continue;
		}
		vi_dma_count(&t->counters, VI_DMA_COUNT_evictions, v.count);
		pthread_mutex_unlock(&c->lock);
		err = end_all(t, c, &v);
		pthread_mutex_lock(&c->lock);
	}
	if (!err)
		c->pages += pages;
	return err;
}

/* A device address; where there is none dead extents end for it. */
static int find_address(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct extent *e,
			uint64_t last_page)
{
	int err;

	while ((err = vi_dma_range_for(t, e->range.address, e->range.len, e->range.access, last_page,
				       &e->range)) == -ENOSPC) {
		struct victims v;

		no_victims(&v);
		pthread_mutex_lock(&c->lock);
		take_batch(c, &v);
		pthread_mutex_unlock(&c->lock);
		if (!v.count)
			return -ENOSPC;
		vi_dma_count(&t->counters, VI_DMA_COUNT_evictions, v.count);
		if (end_all(t, c, &v))
			return -EIO;
	}
	return err;
}

/* Without the lock: addresses and translations for all that is to be made, or for none. */
static int make_all(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct attempt *a,
		    uint64_t last_page)
{
	struct viommu_backing_range ranges[VI_DMA_LIST_MAX];
	size_t placed = 0;
	int err = 0;

	while (!err && placed < a->made_count) {
		err = find_address(t, c, a->made[placed], last_page);
		if (!err)
			ranges[placed] = a->made[placed]->range, placed++;
	}
	if (!err)
		err = vi_dma_backing_map(t, ranges, placed);
	while (err && placed > 0)
		vi_dma_range_free(t, &ranges[--placed]);
	return err;
}

/* With the lock: as if it had never been tried. */
static void give_up(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct attempt *a,
		    struct victims *v)
{
	uint64_t now = vi_dma_now(t->dma);

	for (size_t i = 0; i < a->count; i++)
		if (a->extents[i]->published) /* not one of those that were to be made */
			let_go(t, c, a->extents[i], now, v);
	for (size_t i = 0; i < a->made_count; i++)
		keep_spare(c, a->made[i]);
}

static void succeed(const struct attempt *a, const struct vi_dma_request *requests,
		    struct viommu_dma_mapping *mappings)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct viommu_backing_range *range = &a->extents[i]->range;

		mappings[i].iova = range->iova + (requests[i].address - range->address);
		vi_dma_note(&mappings[i])->pointer = a->extents[i];
	}
}

/* Without the lock, once there is something to make. */
static int make_and_publish(struct viommu_dma_thread *t, struct vi_extent_cache *c, struct attempt *a,
			    uint64_t last_page)
{
	int err = make_all(t, c, a, last_page);

	pthread_mutex_lock(&c->lock);
	if (err)
		c->pages -= pages_to_make(a);
	for (size_t i = 0; !err && i < a->made_count; i++)
		publish(c, a->made[i]);
	pthread_mutex_unlock(&c->lock);
	return err;
}

int vi_extent_cache_map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
			struct viommu_dma_mapping *mappings)
{
	struct vi_extent_cache *c = t->dma->state;
	struct victims v;
	struct attempt a;
	int err;

	no_victims(&v);
	a.count = a.made_count = 0;
	pthread_mutex_lock(&c->lock);
	err = look_up(t, c, requests, count, &a);
	if (!err && a.made_count)
		err = make_room(t, c, pages_to_make(&a));
	pthread_mutex_unlock(&c->lock);
	if (!err && a.made_count)
		err = make_and_publish(t, c, &a, requests[0].last_page);
	if (!err) {
		succeed(&a, requests, mappings);
		return 0;
	}
	pthread_mutex_lock(&c->lock);
	give_up(t, c, &a, &v);
	pthread_mutex_unlock(&c->lock);
	end_all(t, c, &v);
	return err;
}

int vi_extent_cache_unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	struct vi_extent_cache *c = t->dma->state;
	uint64_t now = vi_dma_now(t->dma);
	struct victims v;
	int err, late = 0;

	no_victims(&v);
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < count; i++)
		let_go(t, c, vi_dma_note(&mappings[i])->pointer, now, &v);
	take_due(t, c, now, &v);
	pthread_mutex_unlock(&c->lock);
	err = end_all(t, c, &v);
	if (v.count == VI_DMA_LIST_MAX)
		late = end_due(t, c, now);
	return err ? err : late;
}

/* --------------------------------------------------------- time and memory */

int vi_extent_cache_process(struct viommu_dma_thread *t, uint64_t now_ns, uint64_t *ret_next_ns)
{
	struct vi_extent_cache *c = t->dma->state;
	int err = end_due(t, c, now_ns);

	pthread_mutex_lock(&c->lock);
	*ret_next_ns = vi_retention_next_ns(&c->dead);
	pthread_mutex_unlock(&c->lock);
	return err;
}

static bool is_in(const struct extent *e, const struct vi_dma_region *region)
{
	return e->range.address >= region->address && e->range.address - region->address < region->len;
}

/* Nobody else is inside, so no lock is needed while the list is read. */
int vi_extent_cache_memory_removed(struct viommu_dma_thread *t, struct vi_dma_region *region)
{
	struct vi_extent_cache *c = t->dma->state;
	struct vi_list *link, *after;
	int err = 0;

	do {
		struct victims v;

		no_victims(&v);
		vi_list_for_each_safe (link, after, &c->dead.dead) {
			struct vi_retained *r = VI_CONTAINER_OF(link, struct vi_retained, link);
			struct extent *e = VI_CONTAINER_OF(r, struct extent, dead);

			if (v.count == VI_DMA_LIST_MAX || !is_in(e, region))
				continue;
			vi_retention_remove(&c->dead, r);
			condemn(c, e, &v);
		}
		if (!v.count)
			break;
		err = end_all(t, c, &v);
	} while (!err);
	return err;
}

/* ------------------------------------------------------------ begin and end */

int vi_extent_cache_open(struct viommu_dma *d, const struct vi_extent_rules *rules)
{
	struct vi_extent_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->rules = *rules;
	if (rules->lookup_slots_lg2)
		c->slots = calloc(UINT64_C(1) << rules->lookup_slots_lg2, sizeof(c->slots[0]));
	if (!vi_hash_init(&c->extents) || (rules->lookup_slots_lg2 && !c->slots)) {
		vi_hash_finish(&c->extents);
		free(c->slots);
		free(c);
		return -ENOMEM;
	}
	vi_retention_init(&c->dead, rules->dead_limit_ns, rules->dead_pages);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->ended, NULL);
	d->state = c;
	return 0;
}

void vi_extent_cache_close(struct viommu_dma *d)
{
	struct vi_extent_cache *c = d->state;
	struct vi_hash_link *next;

	for (struct vi_hash_link *link = c->spare; link; link = next) {
		next = link->next;
		free(extent_of(link));
	}
	pthread_cond_destroy(&c->ended);
	pthread_mutex_destroy(&c->lock);
	vi_hash_finish(&c->extents);
	free(c->slots);
	free(c);
}
