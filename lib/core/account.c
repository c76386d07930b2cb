/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/account.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/domain.h"
#include "core/requester.h"
#include "core/unit.h"

static struct vi_account *open_account(struct viommu *v, struct viommu_requester *r, uint16_t id)
	VI_WITH(v->context_lock)
{
	size_t size = sizeof(struct vi_account) + v->epoch.count * sizeof(struct vi_device_counters);
	struct vi_account *a = aligned_alloc(_Alignof(struct vi_account), size);
	struct vi_domain *d = a ? vi_domain_find_or_make(v, id) : NULL;

	if (!d) {
		free(a);
		return NULL;
	}
	memset(a, 0, size);
	a->requester = r;
	a->domain = d;
	a->references = 1;
	vi_domain_wake_up(v, d);
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

static void settle(struct viommu *v, struct vi_account *a) VI_WITH(v->context_lock)
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
		vi_domain_lay_to_rest(v, a->domain);
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
