/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * contiguous: buffers that are mapped one after the other have device addresses
 * one after the other, in chunks of 64 pages, so that those that are unmapped
 * together are invalidated as one range, with the caches of the tables above
 * kept (F&S, SOSP 2024). As strict as single-use.
 *
 * A chunk is a thread's until it is used up, and its addresses are free again
 * when the last of its buffers was unmapped, by whichever thread.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dma/strategy.h"

static const struct viommu_dma_option_info options[] = {
	{"chunk", "pages", "device addresses in a row that buffers are given from", 64, 1, 512},
};

struct chunk {
	uint64_t page, pages, used; /* used: by the thread whose it is */
	_Atomic uint64_t holders;   /* its mappings, and the thread */
	struct chunk *next;	    /* among those whose addresses are never given out again */
};

struct lost {
	pthread_mutex_t lock;
	struct chunk *chunks;
};

static int open_chunks(struct viommu_dma *d)
{
	struct lost *lost = calloc(1, sizeof(*lost));

	if (!lost)
		return -ENOMEM;
	pthread_mutex_init(&lost->lock, NULL);
	d->state = lost;
	return 0;
}

static void close_chunks(struct viommu_dma *d)
{
	struct lost *lost = d->state;
	struct chunk *next;

	for (struct chunk *c = lost->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	pthread_mutex_destroy(&lost->lock);
	free(lost);
}

static void drop(struct viommu_dma_thread *t, struct chunk *c)
{
	/* Release and acquire: who frees it comes after all that others did with it. */
	if (atomic_fetch_sub_explicit(&c->holders, 1, memory_order_acq_rel) > 1)
		return;
	vi_iova_free(t->iova, c->page, c->pages);
	free(c);
}

/* An invalidation failed: it keeps its holder for ever. */
static void lose(struct viommu_dma_thread *t, struct chunk *c)
{
	struct lost *lost = t->dma->state;

	pthread_mutex_lock(&lost->lock);
	/* Once: it may have lost several buffers. */
	for (struct chunk *other = lost->chunks; other; other = other->next)
		if (other == c)
			goto out;
	c->next = lost->chunks;
	lost->chunks = c;
out:
	pthread_mutex_unlock(&lost->lock);
}

static void thread_end(struct viommu_dma_thread *t)
{
	if (t->state)
		drop(t, t->state);
}

static int new_chunk(struct viommu_dma_thread *t, uint64_t pages, uint64_t last_page,
		     struct chunk **ret_chunk)
{
	struct chunk *c = malloc(sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	*c = (struct chunk){.pages = pages, .holders = 1};
	err = vi_iova_alloc(t->iova, pages, last_page, &c->page);
	if (err) {
		free(c);
		return err;
	}
	*ret_chunk = c;
	return 0;
}

static bool has_room(const struct chunk *c, uint64_t pages, uint64_t last_page)
{
	return c && pages <= c->pages - c->used && c->page + c->pages - 1 <= last_page;
}

/* A chunk with so many pages left: the thread's, or one that becomes it. */
static int find_chunk(struct viommu_dma_thread *t, uint64_t pages, uint64_t last_page,
		      struct chunk **ret_chunk)
{
	struct chunk *c = t->state;
	int err;

	if (!has_room(c, pages, last_page)) {
		err = new_chunk(t, vi_max(pages, t->dma->option[0]), last_page, &c);
		/* A device that is narrow, in a space that is nearly full. */
		if (err == -ENOSPC && pages < t->dma->option[0])
			err = new_chunk(t, pages, last_page, &c);
		if (err)
			return err;
		if (t->state)
			drop(t, t->state);
		t->state = c;
	}
	*ret_chunk = c;
	return 0;
}

static int find_place(struct viommu_dma_thread *t, const struct vi_dma_request *r,
		      struct viommu_dma_mapping *m, struct viommu_backing_range *ret_range)
{
	uint64_t pages = vi_dma_pages(r->address, r->len);
	struct chunk *c;
	int err = find_chunk(t, pages, r->last_page, &c);

	if (err)
		return err;
	*ret_range = (struct viommu_backing_range){
		.iova = (c->page + c->used) << VI_DMA_PAGE_SHIFT,
		.address = vi_align_down(r->address, VI_DMA_PAGE_SIZE),
		.len = pages << VI_DMA_PAGE_SHIFT,
		.access = r->access,
	};
	c->used += pages;
	atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
	vi_dma_note(m)->pointer = c;
	m->iova = ret_range->iova + r->address % VI_DMA_PAGE_SIZE;
	return 0;
}

static void drop_all(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		drop(t, vi_dma_note(&mappings[i])->pointer);
}

static int map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
	       struct viommu_dma_mapping *mappings)
{
	struct viommu_backing_range ranges[VI_DMA_LIST_MAX];
	size_t placed = 0;
	int err;

	assert(count > 0 && count <= VI_DMA_LIST_MAX);
	do
		err = find_place(t, &requests[placed], &mappings[placed], &ranges[placed]);
	while (!err && ++placed < count);
	if (!err)
		err = vi_dma_backing_map(t, ranges, count);
	if (err)
		drop_all(t, mappings, placed);
	return err;
}

/* Neighbours become one range. Returns how many there are. */
static size_t join(const struct viommu_dma_mapping *mappings, size_t count,
		   struct viommu_backing_range *ret_ranges)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct viommu_backing_range range = vi_dma_ending_of(&mappings[i], 0).range;

		if (n && ret_ranges[n - 1].iova + ret_ranges[n - 1].len == range.iova)
			ret_ranges[n - 1].len += range.len;
		else
			ret_ranges[n++] = range;
	}
	return n;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	struct viommu_backing_range ranges[VI_DMA_LIST_MAX];
	uint64_t now = vi_dma_now(t->dma);
	size_t n = join(mappings, count, ranges);
	int err = vi_dma_take_out(t, ranges, n);

	if (!err)
		err = vi_dma_invalidate(t, ranges, n, VIOMMU_BACKING_LEAVES_ONLY);
	for (size_t i = 0; i < count; i++) {
		struct chunk *c = vi_dma_note(&mappings[i])->pointer;

		if (err) {
			lose(t, c);
			continue;
		}
		vi_dma_ended(t, now, vi_dma_pages(mappings[i].iova, mappings[i].len));
		drop(t, c);
	}
	return err;
}

const struct vi_dma_strategy vi_dma_contiguous = {
	.info =
		{
			.name = "contiguous",
			.doc = "Gives buffers that are mapped together device addresses in a row, and "
			       "invalidates those that are unmapped together as one range.",
			.promise = "Nothing once unmap has returned; while mapped, the whole pages that the "
				   "buffer lies in.",
			.source = "Fast & Safe IO Memory Protection, SOSP 2024",
			.options = options,
			.option_count = VI_ARRAY_SIZE(options),
		},
	.open = open_chunks,
	.close = close_chunks,
	.thread_end = thread_end,
	.map = map,
	.unmap = unmap,
};
