/* SPDX-License-Identifier: BSD-3-Clause */
#include "dma/counters.h"

#include "dma/space.h"

void vi_dma_count_stale(struct vi_dma_counters *c, uint64_t ns)
{
	vi_dma_count(c, VI_DMA_COUNT_stale_ns_total, ns);
	vi_counter_raise(&c->values[VI_DMA_COUNT_stale_ns_max], ns);
	vi_counter_add(&c->stale[vi_min(vi_ceil_lg2(ns), VIOMMU_DMA_STALE_BUCKETS - 1)], 1);
}

static const struct viommu_dma_counter_info table[] = {
#define X(name, unit, doc, flags) {#name, unit, doc, flags},
	VI_DMA_COUNTERS(X) VI_DMA_GAUGES(X)
#undef X
};

const struct viommu_dma_counter_info *viommu_dma_counters_describe(size_t *ret_count)
{
	*ret_count = VI_ARRAY_SIZE(table);
	return table;
}

void vi_dma_counters_keep(struct vi_dma_counters *kept, const struct vi_dma_counters *c)
{
	for (unsigned i = 0; i < VI_DMA_COUNTER_COUNT; i++) {
		if (table[i].flags & VIOMMU_DMA_COUNTER_MAXIMUM)
			vi_counter_raise(&kept->values[i], vi_counter_read(&c->values[i]));
		else
			vi_counter_add(&kept->values[i], vi_counter_read(&c->values[i]));
	}
	for (unsigned i = 0; i < VIOMMU_DMA_STALE_BUCKETS; i++)
		vi_counter_add(&kept->stale[i], vi_counter_read(&c->stale[i]));
}

/* With the lock: what all threads, those that are gone too, have counted. */
static void sum_up(struct viommu_dma *d, struct vi_dma_counters *ret_sum)
{
	struct vi_list *link;

	*ret_sum = (struct vi_dma_counters){0};
	vi_dma_counters_keep(ret_sum, &d->kept);
	vi_list_for_each (link, &d->threads)
		vi_dma_counters_keep(ret_sum,
				     &VI_CONTAINER_OF(link, struct viommu_dma_thread, link)->counters);
}

size_t viommu_dma_counters_read(struct viommu_dma *d, uint64_t *ret_values, size_t count)
{
	const uint64_t gauges[] = {
#define X(name, unit, doc, flags) vi_counter_read(&d->name),
		VI_DMA_GAUGES(X)
#undef X
	};
	size_t n = vi_min(count, VI_DMA_COUNTER_COUNT + VI_ARRAY_SIZE(gauges));
	struct vi_dma_counters sum;

	pthread_mutex_lock(&d->lock);
	sum_up(d, &sum);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < n; i++)
		ret_values[i] = i < VI_DMA_COUNTER_COUNT ? vi_counter_read(&sum.values[i])
							 : gauges[i - VI_DMA_COUNTER_COUNT];
	return n;
}

size_t viommu_dma_stale_times_read(struct viommu_dma *d, uint64_t *ret_counts, size_t count)
{
	size_t n = vi_min(count, VIOMMU_DMA_STALE_BUCKETS);
	struct vi_dma_counters sum;

	pthread_mutex_lock(&d->lock);
	sum_up(d, &sum);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < n; i++)
		ret_counts[i] = vi_counter_read(&sum.stale[i]);
	return n;
}
