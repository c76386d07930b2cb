/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/domain.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/drain.h"
#include "core/host.h"
#include "core/unit.h"

/* ------------------------------------------------------------------- the set */

struct vi_domain *vi_domain_find(struct viommu *v, uint16_t id)
{
	struct vi_list *head = &v->domains[id % VI_DOMAIN_BUCKETS], *node;

	vi_list_for_each (node, head) {
		struct vi_domain *d = VI_CONTAINER_OF(node, struct vi_domain, link);

		if (d->id == id)
			return d;
	}
	return NULL;
}

struct vi_domain *vi_domain_find_or_make(struct viommu *v, uint16_t id)
{
	struct vi_domain *d = vi_domain_find(v, id);

	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->id = id;
	vi_list_init(&d->accounts);
	vi_list_init(&d->resting);
	vi_list_append(&v->domains[id % VI_DOMAIN_BUCKETS], &d->link);
	return d;
}

static void forget(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock)
{
	assert(d->references == 0);
	for (unsigned i = 0; i < VI_DOMAIN_COUNTER_END; i++)
		v->rest[i] += d->values[i];
	vi_list_remove(&d->link);
	vi_list_remove(&d->resting);
	free(d);
}

void vi_domain_lay_to_rest(struct viommu *v, struct vi_domain *d)
{
	vi_list_append(&v->resting, &d->resting);
	if (++v->resting_count > VI_DOMAINS_AT_REST) {
		v->resting_count--;
		forget(v, VI_CONTAINER_OF(v->resting.next, struct vi_domain, resting));
	}
}

void vi_domain_wake_up(struct viommu *v, struct vi_domain *d)
{
	if (vi_list_is_empty(&d->resting))
		return;
	vi_list_remove(&d->resting);
	v->resting_count--;
}

void vi_domains_finish(struct viommu *v)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, &v->resting)
		forget(v, VI_CONTAINER_OF(node, struct vi_domain, resting));
}

void vi_count_domain(struct viommu *v, struct vi_domain *d, enum vi_counter which)
{
	vi_count(&v->counters, which, 1);
	(*(d ? &d->values[which] : &v->rest[which]))++;
}

/* ------------------------------------------------------------- what is cached */

/* All domains that cache something. */
static void for_each_caching(struct viommu *v, void (*change)(struct vi_iotlb *t, struct vi_iotlb_space *s))
	VI_WITH(v->context_lock)
{
	struct vi_list *node;

	for (unsigned i = 0; i < VI_DOMAIN_BUCKETS; i++) {
		vi_list_for_each (node, &v->domains[i]) {
			struct vi_domain *d = VI_CONTAINER_OF(node, struct vi_domain, link);

			if (d->references > 0)
				change(&v->iotlb, &d->space);
		}
	}
}

/* Give every domain that caches an asid, or with the wipe begun, none. */
static void assign_all(struct viommu *v) VI_WITH(v->context_lock)
{
	for_each_caching(v, vi_iotlb_assign);
}

/* Asids ran out, so begin a wipe; until it is done nothing is cached. */
static void wipe_if_exhausted(struct viommu *v) VI_WITH(v->context_lock)
{
	if (v->iotlb.wiping || !vi_iotlb_is_exhausted(&v->iotlb))
		return;
	v->iotlb.wiping = true;
	assign_all(v);
	vi_iotlb_begin_wipe(&v->iotlb, &v->epoch);
	vi_kick(v); /* viommu_process() ends it */
}

bool vi_iotlb_maintain(struct viommu *v)
{
	if (!v->iotlb.wiping)
		return false;
	vi_lock_take(&v->context_lock);
	if (vi_iotlb_poll_wipe(&v->iotlb, &v->epoch))
		assign_all(v);
	vi_lock_give(&v->context_lock);
	return v->iotlb.wiping;
}

void vi_domain_hold(struct viommu *v, struct vi_domain *d)
{
	if (d->references++ > 0)
		return;
	vi_iotlb_assign(&v->iotlb, &d->space);
	wipe_if_exhausted(v);
}

void vi_domain_drop_cached(struct viommu *v, struct vi_domain *d)
{
	vi_iotlb_drop_space(&v->iotlb, &d->space);
	wipe_if_exhausted(v);
}

void vi_domain_release(struct viommu *v, struct vi_domain *d)
{
	vi_lock_assert(&v->context_lock);
	d->references--;
}

/*
 * The set of domains is the context lock's, and so are the asids that a drop
 * hands out; the unit lock, which the caller holds too, owns the drain.
 */
void vi_iotlb_invalidate_all(struct viommu *v, struct vi_drain *d)
{
	vi_lock_take(&v->context_lock);
	for_each_caching(v, vi_iotlb_drop_space);
	wipe_if_exhausted(v);
	vi_lock_give(&v->context_lock);
	vi_drain_note_everything(d);
}

void vi_iotlb_invalidate_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id)
{
	struct vi_domain *domain;

	vi_lock_take(&v->context_lock);
	domain = vi_domain_find(v, domain_id);
	vi_count_domain(v, domain, VI_COUNT_iotlb_domain_invalidations);
	if (domain && domain->references > 0)
		vi_iotlb_drop_space(&v->iotlb, &domain->space);
	wipe_if_exhausted(v);
	vi_lock_give(&v->context_lock);
	vi_drain_note_domain(d, domain_id);
}

void vi_iotlb_invalidate_range(struct viommu *v, struct vi_drain *d, uint16_t domain_id, uint64_t first,
			       uint64_t last)
{
	struct vi_domain *domain;

	vi_lock_take(&v->context_lock);
	domain = vi_domain_find(v, domain_id);
	vi_count_domain(v, domain, VI_COUNT_iotlb_page_invalidations);
	if (domain && domain->references > 0 && first <= VI_IOVA_CACHED_LAST)
		vi_iotlb_drop_range(&v->iotlb, &domain->space, first, vi_min(last, VI_IOVA_CACHED_LAST));
	wipe_if_exhausted(v);
	vi_lock_give(&v->context_lock);
	vi_drain_note_range(d, domain_id, first, last);
}
