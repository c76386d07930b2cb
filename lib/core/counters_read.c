/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading what was counted, and putting it together. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/account.h"
#include "core/domain.h"
#include "core/requester.h"
#include "core/unit.h"

/* With both locks, as below: all that accesses of this device have counted, or its counter of another kind.
 */
static uint64_t of_device(const struct viommu_requester *r, unsigned which)
{
	unsigned threads = r->unit->epoch.count;
	uint64_t value = vi_sum(r->counters, threads, which);
	const struct vi_list *node;

	if (which >= VI_ACCESS_COUNTER_COUNT)
		return value;
	value += r->kept[which];
	vi_list_for_each (node, &r->accounts)
		value +=
			vi_sum(VI_CONTAINER_OF(node, struct vi_account, of_device)->counters, threads, which);
	return value;
}

static uint64_t of_domain(const struct viommu *v, const struct vi_domain *d, unsigned which)
{
	uint64_t value = d->values[which];
	const struct vi_list *node;

	if (which >= VI_ACCESS_COUNTER_COUNT)
		return value;
	vi_list_for_each (node, &d->accounts)
		value += vi_sum(VI_CONTAINER_OF(node, struct vi_account, of_domain)->counters, v->epoch.count,
				which);
	return value;
}

static void lock_both(struct viommu *v) VI_TAKES(v->lock, v->context_lock)
{
	vi_lock_take(&v->lock);
	vi_lock_take(&v->context_lock);
}

static void unlock_both(struct viommu *v) VI_GIVES(v->lock, v->context_lock)
{
	vi_lock_give(&v->context_lock);
	vi_lock_give(&v->lock);
}

typedef uint64_t (*value_fn)(const struct viommu_requester *r, unsigned which);

static void add_devices(struct viommu *v, value_fn value_of, uint64_t *values, size_t count)
	VI_WITH(v->lock, v->context_lock)
{
	const struct viommu_requester *r = NULL;

	while ((r = vi_requesters_next(&v->requesters, r))) {
		for (unsigned i = 0; i < count; i++)
			values[i] += value_of(r, i);
	}
}

size_t viommu_counters_read(struct viommu *v, uint64_t *ret_values, size_t count)
{
	size_t n = vi_min(count, VI_COUNTER_COUNT);

	lock_both(v);
	for (size_t i = 0; i < n; i++)
		ret_values[i] = vi_counter_read(&v->counters.values[i]);
	add_devices(v, of_device, ret_values, vi_min(n, VI_DEVICE_COUNTER_COUNT));
	if (n > VI_COUNT_faults_lost)
		ret_values[VI_COUNT_faults_lost] += vi_counter_read(&v->faults.lost);
	unlock_both(v);
	return n;
}

size_t viommu_requester_counters_read(struct viommu_requester *r, uint64_t *ret_values, size_t count)
{
	size_t n = vi_min(count, VI_DEVICE_COUNTER_COUNT);

	lock_both(r->unit);
	for (unsigned i = 0; i < n; i++)
		ret_values[i] = of_device(r, i);
	unlock_both(r->unit);
	return n;
}

/* ------------------------------------------------------------------ domains */

size_t viommu_domains_list(struct viommu *v, uint16_t *ret_ids, size_t count)
{
	const struct vi_list *node;
	size_t n = 0;

	lock_both(v);
	for (unsigned i = 0; i < VI_DOMAIN_BUCKETS; i++) {
		vi_list_for_each (node, &v->domains[i]) {
			if (n++ < count)
				ret_ids[n - 1] = VI_CONTAINER_OF(node, struct vi_domain, link)->id;
		}
	}
	unlock_both(v);
	return n;
}

/* What the device itself was charged for no domain. */
static uint64_t of_device_alone(const struct viommu_requester *r, unsigned which)
{
	return vi_sum(r->counters, r->unit->epoch.count, which);
}

static void read_undomained(struct viommu *v, uint64_t *values, size_t count)
	VI_WITH(v->lock, v->context_lock)
{
	size_t n = vi_min(count, VI_ACCESS_COUNTER_COUNT);

	memcpy(values, v->undomained, n * sizeof(*values));
	add_devices(v, of_device_alone, values, n);
}

int64_t viommu_domain_counters_read(struct viommu *v, uint32_t domain, uint64_t *ret_values, size_t count)
{
	size_t n = vi_min(count, VI_DOMAIN_COUNTER_END);
	struct vi_domain *d = NULL;

	if (domain > VIOMMU_DOMAIN_NONE)
		return -EINVAL;
	lock_both(v);
	if (domain <= UINT16_MAX)
		d = vi_domain_find(v, (uint16_t)domain);
	if (d || domain > UINT16_MAX)
		memset(ret_values, 0, n * sizeof(*ret_values));
	for (unsigned i = 0; d && i < n; i++)
		ret_values[i] = of_domain(v, d, i);
	if (domain == VIOMMU_DOMAIN_REST)
		memcpy(ret_values, v->rest, n * sizeof(*ret_values));
	if (domain == VIOMMU_DOMAIN_NONE)
		read_undomained(v, ret_values, n);
	unlock_both(v);
	return d || domain > UINT16_MAX ? (int64_t)n : -ENOENT;
}

/* ------------------------------------------------------------------- drains */

size_t viommu_drain_times_read(struct viommu *v, uint64_t *ret_counts, size_t count)
{
	size_t n = vi_min(count, VIOMMU_DRAIN_BUCKETS);

	vi_lock_take(&v->lock);
	for (size_t i = 0; i < n; i++)
		ret_counts[i] = v->drain_times[i];
	vi_lock_give(&v->lock);
	return n;
}
