/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices come and go: the public functions. */
#include "core/requester.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/account.h"
#include "core/context.h"
#include "core/drain.h"
#include "core/thread.h"
#include "core/unit.h"

static struct viommu_requester *make_requester(struct viommu *v, uint16_t rid)
{
	size_t size = sizeof(struct viommu_requester) + v->epoch.count * sizeof(struct vi_device_counters);
	struct viommu_requester *r = aligned_alloc(_Alignof(struct viommu_requester), size);

	if (!r)
		return NULL;
	memset(r, 0, size);
	r->unit = v;
	r->rid = rid;
	vi_list_init(&r->accounts);
	return r;
}

int viommu_requester_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester)
{
	struct viommu_requester *r = make_requester(v, rid);
	int ret;

	if (!r)
		return -ENOMEM;
	vi_lock_take(&v->lock);
	vi_lock_take(&v->context_lock);
	ret = vi_requesters_put(&v->requesters, r);
	vi_lock_give(&v->context_lock);
	vi_lock_give(&v->lock);
	if (ret)
		free(r);
	else
		*ret_requester = r;
	return ret;
}

void viommu_requester_remove(struct viommu_requester *r)
{
	struct vi_drain d = {.active = false};
	struct viommu *v;

	if (!r)
		return;
	v = r->unit;
	vi_lock_take(&v->lock);
	vi_threads_wait_for_calls(v, r); /* first: a call that goes on would cache its context again */
	vi_context_drop_devices(v, &d, r->rid, 0);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	vi_lock_take(&v->context_lock);
	vi_accounts_close(v, r);
	vi_requesters_take(&v->requesters, r);
	vi_lock_give(&v->context_lock);
	vi_lock_give(&v->lock);
	free(r);
}
