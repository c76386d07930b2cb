/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/account.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/unit.h"

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

static struct vi_domain *find_or_make(struct viommu *v, uint16_t id)
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

static void forget(struct viommu *v, struct vi_domain *d)
{
	assert(d->references == 0);
	for (unsigned i = 0; i < VI_DOMAIN_COUNTER_END; i++)
		v->rest[i] += d->values[i];
	vi_list_remove(&d->link);
	vi_list_remove(&d->resting);
	free(d);
}

static void lay_to_rest(struct viommu *v, struct vi_domain *d)
{
	vi_list_append(&v->resting, &d->resting);
	if (++v->resting_count > VI_DOMAINS_AT_REST) {
		v->resting_count--;
		forget(v, VI_CONTAINER_OF(v->resting.next, struct vi_domain, resting));
	}
}

static void wake_up(struct viommu *v, struct vi_domain *d)
{
	if (vi_list_is_empty(&d->resting))
		return;
	vi_list_remove(&d->resting);
	v->resting_count--;
}

static struct vi_account *open_account(struct viommu *v, struct viommu_requester *r, uint16_t id)
{
	size_t size = sizeof(struct vi_account) + v->epoch.count * sizeof(struct vi_device_counters);
	struct vi_account *a = aligned_alloc(_Alignof(struct vi_account), size);
	struct vi_domain *d = a ? find_or_make(v, id) : NULL;

	if (!d) {
		free(a);
		return NULL;
	}
	memset(a, 0, size);
	a->requester = r;
	a->domain = d;
	a->references = 1;
	wake_up(v, d);
	vi_list_append(&r->accounts, &a->of_device);
	vi_list_append(&d->accounts, &a->of_domain);
	return a;
}

struct vi_account *vi_account_hold(struct viommu *v, struct viommu_requester *r, uint16_t id)
{
	if (!r->account || r->account->domain->id != id) {
		struct vi_account *a = open_account(v, r, id);

		if (!a)
			return NULL;
		vi_account_release(v, r->account);
		r->account = a;
	}
	r->account->references++;
	return r->account;
}

static void settle(struct viommu *v, struct vi_account *a)
{
	for (unsigned i = 0; i < VI_ACCESS_COUNTER_COUNT; i++) {
		uint64_t value = vi_sum(a->counters, v->epoch.count, i);

		a->requester->kept[i] += value;
		a->domain->values[i] += value;
	}
}

void vi_account_release(struct viommu *v, struct vi_account *a)
{
	if (!a || --a->references > 0)
		return;
	settle(v, a);
	vi_list_remove(&a->of_device);
	vi_list_remove(&a->of_domain);
	if (vi_list_is_empty(&a->domain->accounts))
		lay_to_rest(v, a->domain);
	free(a);
}

void vi_accounts_close(struct viommu *v, struct viommu_requester *r)
{
	vi_account_release(v, r->account);
	r->account = NULL;
	assert(vi_list_is_empty(&r->accounts));
	for (unsigned i = 0; i < VI_DEVICE_COUNTER_COUNT; i++) {
		uint64_t own = vi_sum(r->counters, v->epoch.count, i);

		if (i < VI_ACCESS_COUNTER_COUNT)
			v->undomained[i] += own;
		vi_count(&v->counters, i, own + (i < VI_ACCESS_COUNTER_COUNT ? r->kept[i] : 0));
	}
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
