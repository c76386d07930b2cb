/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copy, or DMA shadowing: the device works on shadow buffers that are always
 * mapped, and data is copied between them and the driver's (Markuze et al., ASPLOS
 * 2016). No page of the driver's is ever reachable, and what the device writes
 * after the unmap reaches nobody.
 *
 * A buffer that the device may write is copied in as well, so that what the
 * device does not write stays as it was, and no data of another buffer appears
 * there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dma/shadow_pool.h"
#include "dma/strategy.h"

static int open_pool(struct viommu_dma *d)
{
	struct vi_shadow_pool *p;
	int err = vi_shadow_pool_create(d, &p);

	if (!err)
		d->state = p;
	return err;
}

static void close_pool(struct viommu_dma *d)
{
	vi_shadow_pool_destroy(d->state);
}

/* The first is the service handle, which is there from the beginning to the end. */
static bool is_service(const struct viommu_dma_thread *t)
{
	return !t->dma->service || t->dma->service == t;
}

static int thread_begin(struct viommu_dma_thread *t)
{
	struct vi_shadow_cache *c = calloc(1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	if (!err && is_service(t))
		err = vi_shadow_pool_open(t->dma->state, t);
	if (err) {
		free(c);
		return err;
	}
	t->state = c;
	return 0;
}

static void thread_end(struct viommu_dma_thread *t)
{
	vi_shadow_cache_empty(t->dma->state, t->state);
	free(t->state);
	if (is_service(t))
		vi_shadow_pool_close(t->dma->state, t);
}

/* Where a mapping's piece is, in the words of its note. */
static void note_piece(struct viommu_dma_mapping *m, const struct vi_shadow_piece *piece)
{
	vi_dma_note(m)->value = piece->offset << 8 | (uint64_t)piece->class << 2 | piece->access;
}

static struct vi_shadow_piece piece_of(struct viommu_dma_mapping *m)
{
	uint64_t value = vi_dma_note(m)->value;

	return (struct vi_shadow_piece){.offset = value >> 8, .class = value >> 2 & 63, .access = value & 3};
}

static void copy_in(struct viommu_dma_thread *t, struct viommu_dma_mapping *m, uint64_t offset, uint64_t len)
{
	memcpy((uint8_t *)vi_shadow_host(t->dma->state, piece_of(m).offset) + offset,
	       (const uint8_t *)m->host + offset, len);
	vi_dma_count(&t->counters, VI_DMA_COUNT_bytes_copied, len);
}

static void copy_out(struct viommu_dma_thread *t, struct viommu_dma_mapping *m, uint64_t offset, uint64_t len)
{
	if (!(m->direction & VIOMMU_DMA_FROM_DEVICE))
		return;
	memcpy((uint8_t *)m->host + offset,
	       (const uint8_t *)vi_shadow_host(t->dma->state, piece_of(m).offset) + offset, len);
	vi_dma_count(&t->counters, VI_DMA_COUNT_bytes_copied, len);
}

static void give_back(struct viommu_dma_thread *t, struct viommu_dma_mapping *m)
{
	struct vi_shadow_piece piece = piece_of(m);

	vi_shadow_put(t->dma->state, t->state, &piece);
}

static int map(struct viommu_dma_thread *t, const struct vi_dma_request *requests, size_t count,
	       struct viommu_dma_mapping *mappings)
{
	struct vi_shadow_pool *p = t->dma->state;

	for (size_t i = 0; i < count; i++) {
		const struct vi_dma_request *r = &requests[i];
		struct vi_shadow_piece piece;
		int err = vi_shadow_get(p, t, t->state, r->len, r->access, r->last_page, &piece);

		if (err) {
			while (i--)
				give_back(t, &mappings[i]);
			return err;
		}
		note_piece(&mappings[i], &piece);
		mappings[i].iova = vi_shadow_iova(p, piece.offset);
		vi_dma_count(&t->counters, VI_DMA_COUNT_reused, !piece.is_new);
	}
	for (size_t i = 0; i < count; i++)
		copy_in(t, &mappings[i], 0, mappings[i].len);
	return 0;
}

static int unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		copy_out(t, &mappings[i], 0, mappings[i].len);
		give_back(t, &mappings[i]);
	}
	return 0;
}

const struct vi_dma_strategy vi_dma_copy = {
	.info =
		{
			.name = "copy",
			.doc = "Copies between the driver's buffers and shadow buffers that are always "
			       "mapped.",
			.promise = "Never the driver's memory; of the shadow memory all that has been used "
				   "so far, "
				   "always, each page with one right.",
			.source = "Markuze, Morrison, Tsafrir, ASPLOS 2016",
		},
	.needs_shadow = true,
	.open = open_pool,
	.close = close_pool,
	.thread_begin = thread_begin,
	.thread_end = thread_end,
	.map = map,
	.unmap = unmap,
	.sync_for_device = copy_in,
	.sync_for_cpu = copy_out,
};
