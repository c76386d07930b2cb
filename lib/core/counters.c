/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading what was counted, and putting it together. */
#include "core/counters.h"

#include "base/bits.h"
#include "core/unit.h"

static uint64_t load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* The smallest i with ns <= 2^i. */
static unsigned bucket(uint64_t ns)
{
	unsigned bits = ns > 1 ? 64 - (unsigned)__builtin_clzll(ns - 1) : 0;

	return (unsigned)vi_min(bits, VIOMMU_DRAIN_BUCKETS - 1);
}

void vi_count_drain(struct viommu *v, uint64_t ns)
{
	vi_count(&v->counters, VI_COUNT_drain_ns_total, ns);
	vi_count_max(&v->counters, VI_COUNT_drain_ns_max, ns);
	v->drain_times[bucket(ns)]++;
}

/* With the unit lock: what all threads counted of this device. */
static uint64_t sum(const struct viommu_requester *r, unsigned which)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < r->unit->epoch.count; i++)
		value += load(&r->counters[i].values[which]);
	return value;
}

void vi_counters_keep(struct viommu *v, struct viommu_requester *r)
{
	for (unsigned i = 0; i < VI_DEVICE_COUNTER_COUNT; i++)
		vi_count(&v->counters, i, sum(r, i));
}

const struct viommu_counter_info *viommu_counters_describe(size_t *ret_count)
{
	static const struct viommu_counter_info table[] = {
#define X(name, unit, doc) {#name, unit, doc},
		VI_COUNTERS(X)
#undef X
	};

	*ret_count = VI_ARRAY_SIZE(table);
	return table;
}

/* With the unit lock. */
static void add_devices(struct viommu *v, uint64_t *values, size_t count)
{
	for (unsigned bus = 0; bus < VI_BUSES; bus++) {
		for (unsigned f = 0; v->buses[bus] && f < VI_FUNCTIONS_OF_A_BUS; f++) {
			const struct viommu_requester *r = v->buses[bus][f];

			for (unsigned i = 0; r && i < count; i++)
				values[i] += sum(r, i);
		}
	}
}

size_t viommu_counters_read(struct viommu *v, uint64_t *ret_values, size_t count)
{
	size_t n = vi_min(count, VI_COUNTER_COUNT);

	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < n; i++)
		ret_values[i] = load(&v->counters.values[i]);
	add_devices(v, ret_values, vi_min(n, VI_DEVICE_COUNTER_COUNT));
	if (n > VI_COUNT_faults_lost)
		ret_values[VI_COUNT_faults_lost] += load(&v->faults.lost);
	pthread_mutex_unlock(&v->lock);
	return n;
}

size_t viommu_requester_counters_read(struct viommu_requester *r, uint64_t *ret_values, size_t count)
{
	size_t n = vi_min(count, VI_DEVICE_COUNTER_COUNT);

	pthread_mutex_lock(&r->unit->lock);
	for (unsigned i = 0; i < n; i++)
		ret_values[i] = sum(r, i);
	pthread_mutex_unlock(&r->unit->lock);
	return n;
}

size_t viommu_drain_times_read(struct viommu *v, uint64_t *ret_counts, size_t count)
{
	size_t n = vi_min(count, VIOMMU_DRAIN_BUCKETS);

	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < n; i++)
		ret_counts[i] = v->drain_times[i];
	pthread_mutex_unlock(&v->lock);
	return n;
}
