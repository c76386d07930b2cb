/* SPDX-License-Identifier: BSD-3-Clause */
#include "dma/shadow_pool.h"

#include <errno.h>
#include <stdlib.h>

#define UNIT_SHIFT 6 /* the smallest piece; the unit in which pieces are numbered */
#define NONE	   UINT32_MAX

/*
 * The lock guards all but what never changes after vi_shadow_pool_open(). Free
 * pieces are chained by `next`, by the number of their first unit.
 */
struct vi_shadow_pool {
	struct vi_dma_region memory;
	uint64_t iova_page;
	pthread_mutex_t lock;
	uint64_t carved; /* bytes from the beginning that are pieces */
	uint32_t free[3][VI_SHADOW_CLASSES];
	uint32_t next[];
};

static uint64_t size_of(unsigned class)
{
	return UINT64_C(1) << (UNIT_SHIFT + class);
}

/* The smallest that holds so much. */
static unsigned class_of(uint64_t len)
{
	unsigned class = 0;

	while (class < VI_SHADOW_CLASSES && size_of(class) < len)
		class ++;
	return class;
}

int vi_shadow_pool_create(struct viommu_dma *d, struct vi_shadow_pool **ret_pool)
{
	uint64_t units = d->shadow.len >> UNIT_SHIFT;
	struct vi_shadow_pool *p;

	if (units >= NONE)
		return -ENOMEM;
	p = malloc(sizeof(*p) + units * sizeof(p->next[0]));
	if (!p)
		return -ENOMEM;
	*p = (struct vi_shadow_pool){.memory = d->shadow};
	pthread_mutex_init(&p->lock, NULL);
	for (unsigned right = 0; right < 3; right++)
		for (unsigned class = 0; class < VI_SHADOW_CLASSES; class ++)
			p->free[right][class] = NONE;
	*ret_pool = p;
	return 0;
}

void vi_shadow_pool_destroy(struct vi_shadow_pool *p)
{
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int vi_shadow_pool_open(struct vi_shadow_pool *p, struct viommu_dma_thread *t)
{
	return vi_iova_alloc(t->iova, p->memory.len >> VI_DMA_PAGE_SHIFT, t->dma->last_page, &p->iova_page);
}

int vi_shadow_pool_close(struct vi_shadow_pool *p, struct viommu_dma_thread *t)
{
	struct viommu_backing_range all = {.iova = p->iova_page << VI_DMA_PAGE_SHIFT, .len = p->carved};
	uint64_t now = vi_dma_now(t->dma);
	int err = 0;

	if (p->carved) {
		err = vi_dma_take_out(t, &all, 1);
		if (!err)
			err = vi_dma_invalidate(t, &all, 1, VIOMMU_BACKING_LEAVES_ONLY);
		if (!err)
			vi_dma_ended(t, now, p->carved >> VI_DMA_PAGE_SHIFT);
	}
	if (!err)
		vi_iova_free(t->iova, p->iova_page, p->memory.len >> VI_DMA_PAGE_SHIFT);
	return err;
}

void *vi_shadow_host(const struct vi_shadow_pool *p, uint64_t offset)
{
	return p->memory.host + offset;
}

uint64_t vi_shadow_iova(const struct vi_shadow_pool *p, uint64_t offset)
{
	return (p->iova_page << VI_DMA_PAGE_SHIFT) + offset;
}

/* ---------------------------------------------------------------------- pieces */

static void chain(struct vi_shadow_pool *p, unsigned right, unsigned class, uint64_t offset)
{
	uint32_t number = (uint32_t)(offset >> UNIT_SHIFT);

	p->next[number] = p->free[right][class];
	p->free[right][class] = number;
}

static bool unchain(struct vi_shadow_pool *p, unsigned right, unsigned class, uint64_t *ret_offset)
{
	uint32_t number = p->free[right][class];

	if (number == NONE)
		return false;
	p->free[right][class] = p->next[number];
	*ret_offset = (uint64_t)number << UNIT_SHIFT;
	return true;
}

/* With the lock: whole pages that no piece was of, mapped; those that are not needed now are chained. */
static int carve(struct vi_shadow_pool *p, struct viommu_dma_thread *t, unsigned right, unsigned class,
		 uint64_t *ret_offset)
{
	uint64_t size = vi_max(size_of(class), VI_DMA_PAGE_SIZE), offset = p->carved;
	struct viommu_backing_range range = {.iova = vi_shadow_iova(p, offset),
					     .address = p->memory.address + offset,
					     .len = size,
					     .access = right + 1};
	int err;

	if (size > p->memory.len - p->carved)
		return -ENOSPC;
	err = vi_dma_backing_map(t, &range, 1);
	if (err)
		return err;
	p->carved += size;
	for (uint64_t at = size; at > size_of(class); at -= size_of(class))
		chain(p, right, class, offset + at - size_of(class));
	*ret_offset = offset;
	return 0;
}

/* With the lock. Without fresh memory a larger piece does. */
static int find(struct vi_shadow_pool *p, struct viommu_dma_thread *t, unsigned right,
		struct vi_shadow_piece *io_piece)
{
	int err;

	if (unchain(p, right, io_piece->class, &io_piece->offset))
		return 0;
	err = carve(p, t, right, io_piece->class, &io_piece->offset);
	io_piece->is_new = !err;
	for (unsigned class = io_piece->class + 1; err == -ENOSPC && class < VI_SHADOW_CLASSES; class ++) {
		if (unchain(p, right, class, &io_piece->offset)) {
			io_piece->class = class;
			err = 0;
		}
	}
	return err;
}

int vi_shadow_get(struct vi_shadow_pool *p, struct viommu_dma_thread *t, struct vi_shadow_cache *c,
		  uint64_t len, unsigned access, uint64_t last_page, struct vi_shadow_piece *ret_piece)
{
	unsigned right = access - 1, class = class_of(len);
	struct vi_shadow_piece piece = {.access = access, .class = class};
	int err = 0;

	/* All of it or nothing, so that each piece does for each device. */
	if (class == VI_SHADOW_CLASSES || p->iova_page + (p->memory.len >> VI_DMA_PAGE_SHIFT) - 1 > last_page)
		return -ENOSPC;
	if (c->count[right][class]) {
		piece.offset = (uint64_t)c->piece[right][class][--c->count[right][class]] << UNIT_SHIFT;
	} else {
		pthread_mutex_lock(&p->lock);
		err = find(p, t, right, &piece);
		pthread_mutex_unlock(&p->lock);
	}
	if (!err)
		*ret_piece = piece;
	return err;
}

void vi_shadow_put(struct vi_shadow_pool *p, struct vi_shadow_cache *c, const struct vi_shadow_piece *piece)
{
	unsigned right = piece->access - 1, class = piece->class;

	if (c->count[right][class] < VI_SHADOW_KEPT) {
		c->piece[right][class][c->count[right][class]++] = (uint32_t)(piece->offset >> UNIT_SHIFT);
		return;
	}
	pthread_mutex_lock(&p->lock);
	chain(p, right, class, piece->offset);
	pthread_mutex_unlock(&p->lock);
}

void vi_shadow_cache_empty(struct vi_shadow_pool *p, struct vi_shadow_cache *c)
{
	pthread_mutex_lock(&p->lock);
	for (unsigned right = 0; right < 3; right++)
		for (unsigned class = 0; class < VI_SHADOW_CLASSES; class ++)
			while (c->count[right][class])
				chain(p, right, class,
				      (uint64_t)c->piece[right][class][--c->count[right][class]]
					      << UNIT_SHIFT);
	pthread_mutex_unlock(&p->lock);
}
