/* SPDX-License-Identifier: BSD-3-Clause */
/* What strategies ask of the backing, counted; and the way of an address back to the allocator. */
#include <errno.h>

#include "dma/space.h"

static uint64_t pages_of(const struct viommu_backing_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++)
		pages += ranges[i].len >> VI_DMA_PAGE_SHIFT;
	return pages;
}

static void more_mapped(struct viommu_dma *d, uint64_t pages)
{
	uint64_t now = atomic_fetch_add_explicit(&d->mapped_pages, pages, memory_order_relaxed) + pages;
	uint64_t peak = atomic_load_explicit(&d->mapped_pages_peak, memory_order_relaxed);

	while (now > peak &&
	       !atomic_compare_exchange_weak_explicit(&d->mapped_pages_peak, &peak, now, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

int vi_dma_backing_map(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count)
{
	struct viommu_dma *d = t->dma;
	uint64_t pages = pages_of(ranges, count);
	int err = d->backing.ops->map(d->backing.opaque, ranges, count);

	if (err)
		return err;
	vi_dma_count(&t->counters, VI_DMA_COUNT_table_writes, pages);
	more_mapped(d, pages);
	return 0;
}

int vi_dma_take_out(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count)
{
	int err = t->dma->backing.ops->unmap(t->dma->backing.opaque, ranges, count);

	vi_dma_count(&t->counters, VI_DMA_COUNT_table_writes, pages_of(ranges, count));
	return err;
}

int vi_dma_invalidate(struct viommu_dma_thread *t, const struct viommu_backing_range *ranges, size_t count,
		      unsigned flags)
{
	struct viommu_dma *d = t->dma;

	vi_dma_count(&t->counters, VI_DMA_COUNT_page_invalidations, count);
	vi_dma_count(&t->counters, VI_DMA_COUNT_invalidation_waits, 1);
	return d->backing.ops->invalidate(d->backing.opaque, ranges, count, flags);
}

int vi_dma_invalidate_all(struct viommu_dma_thread *t)
{
	vi_dma_count(&t->counters, VI_DMA_COUNT_full_invalidations, 1);
	vi_dma_count(&t->counters, VI_DMA_COUNT_invalidation_waits, 1);
	return t->dma->backing.ops->invalidate_all(t->dma->backing.opaque);
}

void vi_dma_ended(struct viommu_dma_thread *t, uint64_t died_ns, uint64_t pages)
{
	uint64_t now = vi_dma_now(t->dma);

	vi_dma_count_stale(&t->counters, now > died_ns ? now - died_ns : 0);
	atomic_fetch_sub_explicit(&t->dma->mapped_pages, pages, memory_order_relaxed);
}

void vi_dma_give_back(struct viommu_dma_thread *t, const struct vi_dma_ending *endings, size_t count)
{
	uint64_t now = vi_dma_now(t->dma), pages = 0;

	for (size_t i = 0; i < count; i++) {
		vi_dma_count_stale(&t->counters, now > endings[i].died_ns ? now - endings[i].died_ns : 0);
		vi_dma_range_free(t, &endings[i].range);
		pages += endings[i].range.len >> VI_DMA_PAGE_SHIFT;
	}
	atomic_fetch_sub_explicit(&t->dma->mapped_pages, pages, memory_order_relaxed);
}

int vi_dma_end(struct viommu_dma_thread *t, const struct vi_dma_ending *endings, size_t count, unsigned flags)
{
	struct viommu_backing_range ranges[VI_DMA_LIST_MAX];
	int first = 0;

	while (count) {
		size_t n = vi_min(count, VI_DMA_LIST_MAX);
		int err;

		for (size_t i = 0; i < n; i++)
			ranges[i] = endings[i].range;
		err = vi_dma_take_out(t, ranges, n);
		if (!err)
			err = vi_dma_invalidate(t, ranges, n, flags);
		if (!err)
			vi_dma_give_back(t, endings, n);
		first = first ? first : err;
		endings += n;
		count -= n;
	}
	return first;
}

int vi_dma_range_for(struct viommu_dma_thread *t, uint64_t address, uint64_t len, unsigned access,
		     uint64_t last_page, struct viommu_backing_range *ret_range)
{
	uint64_t pages = vi_dma_pages(address, len), page;
	int err = vi_iova_alloc(t->iova, pages, last_page, &page);

	if (err)
		return err;
	*ret_range = (struct viommu_backing_range){
		.iova = page << VI_DMA_PAGE_SHIFT,
		.address = vi_align_down(address, VI_DMA_PAGE_SIZE),
		.len = pages << VI_DMA_PAGE_SHIFT,
		.access = access,
	};
	return 0;
}

void vi_dma_range_free(struct viommu_dma_thread *t, const struct viommu_backing_range *range)
{
	vi_iova_free(t->iova, range->iova >> VI_DMA_PAGE_SHIFT, range->len >> VI_DMA_PAGE_SHIFT);
}
