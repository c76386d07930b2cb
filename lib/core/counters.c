/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting, and what is counted. */
#include "core/counters.h"

#include "base/bits.h"
#include "core/unit.h"

void vi_count_drain(struct viommu *v, uint64_t ns)
{
	vi_lock_assert(&v->lock);
	vi_count(&v->counters, VI_COUNT_drain_ns_total, ns);
	vi_counter_raise(&v->counters.values[VI_COUNT_drain_ns_max], ns);
	v->drain_times[vi_min(vi_ceil_lg2(ns), VIOMMU_DRAIN_BUCKETS - 1)]++;
}

uint64_t vi_sum(const struct vi_device_counters *counters, unsigned threads, unsigned which)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < threads; i++)
		value += vi_counter_read(&counters[i].values[which]);
	return value;
}

const struct viommu_counter_info *viommu_counters_describe(size_t *ret_count)
{
	static const struct viommu_counter_info table[] = {
#define X(name, unit, doc, flags) {#name, unit, doc, flags},
		VI_COUNTERS(X)
#undef X
	};

	*ret_count = VI_ARRAY_SIZE(table);
	return table;
}
