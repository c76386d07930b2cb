/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting, and what is counted. */
#include "core/counters.h"

#include "base/bits.h"
#include "core/unit.h"

static uint64_t load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

void vi_count_drain(struct viommu *v, uint64_t ns)
{
	vi_lock_assert(&v->lock);
	vi_count(&v->counters, VI_COUNT_drain_ns_total, ns);
	vi_count_max(&v->counters, VI_COUNT_drain_ns_max, ns);
	v->drain_times[vi_min(vi_ceil_lg2(ns), VIOMMU_DRAIN_BUCKETS - 1)]++;
}

uint64_t vi_sum(const struct vi_device_counters *counters, unsigned threads, unsigned which)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < threads; i++)
		value += load(&counters[i].values[which]);
	return value;
}

const struct viommu_counter_info *viommu_counters_describe(size_t *ret_count)
{
	static const struct viommu_counter_info table[] = {
#define X(name, unit, doc) {#name, unit, doc, VIOMMU_COUNTER_OF_DEVICE | VIOMMU_COUNTER_OF_DOMAIN},
		VI_ACCESS_COUNTERS(X)
#undef X
#define X(name, unit, doc) {#name, unit, doc, VIOMMU_COUNTER_OF_DEVICE},
			VI_DEVICE_COUNTERS(X)
#undef X
#define X(name, unit, doc) {#name, unit, doc, VIOMMU_COUNTER_OF_DOMAIN},
				VI_DOMAIN_COUNTERS(X)
#undef X
#define X(name, unit, doc) {#name, unit, doc, 0},
					VI_UNIT_COUNTERS(X)
#undef X
#define X(name, unit, doc) {#name, unit, doc, VIOMMU_COUNTER_MAXIMUM},
						VI_UNIT_MAXIMA(X)
#undef X
	};

	*ret_count = VI_ARRAY_SIZE(table);
	return table;
}
