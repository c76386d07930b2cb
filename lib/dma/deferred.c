/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deferred, or lazy: an unmapped translation leaves the tables at once, and one
 * invalidation for many of them follows (Linux's flush queue: 256 entries of each
 * CPU, 10 ms). Until then the device may use what it has cached, and the address
 * is not given out again.
 *
 * Each thread has a ring. Its lock is taken by the thread for each unmap, and by
 * who calls process or flush; the list of rings has a lock that is taken before
 * a ring's.
 */
#include <errno.h>
#include <stdlib.h>

#include "dma/strategy.h"

enum { OPTION_ENTRIES, OPTION_LIMIT_US };

static const struct viommu_dma_option_info options[] = {
	{"entries", "entries", "unmapped buffers of a thread that wait for one invalidation", 256, 1, 65536},
	{"limit-us", "us", "how long the oldest of them waits at the most", 10000, 1, 10000000},
};

struct rings {
	pthread_mutex_t lock;
	struct vi_list all;
};

struct ring {
	pthread_mutex_t lock; /* of all below */
	unsigned count, size;
	struct vi_list link; /* the lock of rings */
	struct vi_dma_ending entries[];
};

static int open_rings(struct viommu_dma *d)
{
	struct rings *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	pthread_mutex_init(&all->lock, NULL);
	vi_list_init(&all->all);
	d->state = all;
	return 0;
}

static void close_rings(struct viommu_dma *d)
{
	struct rings *all = d->state;

	pthread_mutex_destroy(&all->lock);
	free(all);
}

/* With the ring's lock. An error: none of the addresses is ever given out again. */
static int flush(struct viommu_dma_thread *t, struct ring *r)
{
	int err;

	if (!r->count)
		return 0;
	err = vi_dma_invalidate_all(t);
	if (!err)
		vi_dma_give_back(t, r->entries, r->count);
	r->count = 0;
	return err;
}

/* The oldest is the first: a ring is emptied as a whole. */
static uint64_t due_ns(const struct viommu_dma *d, const struct ring *r)
{
	uint64_t due;

	if (!r->count ||
	    __builtin_add_overflow(r->entries[0].died_ns, d->option[OPTION_LIMIT_US] * 1000, &due))
		return UINT64_MAX;
	return due;
}

static int flush_if_due(struct viommu_dma_thread *t, struct ring *r, uint64_t now_ns)
{
	return due_ns(t->dma, r) <= now_ns ? flush(t, r) : 0;
}

static int thread_begin(struct viommu_dma_thread *t)
{
	struct rings *all = t->dma->state;
	unsigned size = (unsigned)t->dma->option[OPTION_ENTRIES];
	struct ring *r = malloc(sizeof(*r) + size * sizeof(r->entries[0]));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->count = 0;
	r->size = size;
	pthread_mutex_lock(&all->lock);
	vi_list_append(&all->all, &r->link);
	pthread_mutex_unlock(&all->lock);
	t->state = r;
	return 0;
}

static void thread_end(struct viommu_dma_thread *t)
{
	struct rings *all = t->dma->state;
	struct ring *r = t->state;

	pthread_mutex_lock(&all->lock);
	vi_list_remove(&r->link);
	pthread_mutex_unlock(&all->lock);
	flush(t, r);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static int put(struct viommu_dma_thread *t, struct ring *r, const struct viommu_dma_mapping *m, uint64_t now)
{
	struct vi_dma_ending ending = vi_dma_ending_of(m, now);
	int err = r->count == r->size ? flush(t, r) : 0;
	int gone = vi_dma_take_out(t, &ending.range, 1);

	if (!gone)
		r->entries[r->count++] = ending;
	return err ? err : gone;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	struct ring *r = t->state;
	uint64_t now = vi_dma_now(t->dma);
	int first;

	pthread_mutex_lock(&r->lock);
	first = flush_if_due(t, r, now);
	for (size_t i = 0; i < count; i++) {
		int err = put(t, r, &mappings[i], now);

		first = first ? first : err;
	}
	pthread_mutex_unlock(&r->lock);
	return first;
}

static int process(struct viommu_dma_thread *t, uint64_t now_ns, uint64_t *ret_next_ns)
{
	struct rings *all = t->dma->state;
	struct vi_list *link;
	int first = 0;

	pthread_mutex_lock(&all->lock);
	vi_list_for_each (link, &all->all) {
		struct ring *r = VI_CONTAINER_OF(link, struct ring, link);
		int err;

		pthread_mutex_lock(&r->lock);
		err = now_ns == UINT64_MAX ? flush(t, r) : flush_if_due(t, r, now_ns);
		*ret_next_ns = vi_min(*ret_next_ns, due_ns(t->dma, r));
		pthread_mutex_unlock(&r->lock);
		first = first ? first : err;
	}
	pthread_mutex_unlock(&all->lock);
	return first;
}

const struct vi_dma_strategy vi_dma_deferred = {
	.info =
		{
			.name = "deferred",
			.doc = "Takes a translation out of the tables at unmap, and invalidates many at once "
			       "later. Linux calls it lazy.",
			.promise = "At most `entries` unmapped buffers of each thread, each for at most "
				   "`limit-us` after its unmap, if the device has them cached.",
			.source = "Linux, IOVA flush queue (dma-iommu)",
			.options = options,
			.option_count = VI_ARRAY_SIZE(options),
		},
	.open = open_rings,
	.close = close_rings,
	.thread_begin = thread_begin,
	.thread_end = thread_end,
	.map = vi_dma_map_once,
	.unmap = unmap,
	.process = process,
};
