/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices come and go: the public functions. */
#include "core/requester.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/account.h"
#include "core/context.h"
#include "core/drain.h"
#include "core/thread.h"
#include "core/unit.h"

#define PASID_LAST 0xfffffu

/* device NULL: the device itself. */
static struct viommu_requester *make_requester(struct viommu *v, uint16_t rid,
					       struct viommu_requester *device, uint32_t pasid)
{
	size_t size = sizeof(struct viommu_requester) + v->epoch.count * sizeof(struct vi_device_counters);
	struct viommu_requester *r = aligned_alloc(_Alignof(struct viommu_requester), size);

	if (!r)
		return NULL;
	memset(r, 0, size);
	r->unit = v;
	r->rid = rid;
	r->pasid = pasid;
	r->device = device ? device : r;
	vi_list_init(&r->pasids);
	vi_list_init(&r->accounts);
	return r;
}

static int add(struct viommu *v, struct viommu_requester *r, struct viommu_requester **ret_requester)
{
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

int viommu_requester_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester)
{
	return add(v, make_requester(v, rid, NULL, VIOMMU_NO_PASID), ret_requester);
}

int viommu_requester_bypass_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester)
{
	struct viommu_requester *r = make_requester(v, rid, NULL, VIOMMU_NO_PASID);

	if (r)
		r->bypass = true;
	return add(v, r, ret_requester);
}

int viommu_requester_pasid_add(struct viommu_requester *device, uint32_t pasid,
			       struct viommu_requester **ret_requester)
{
	struct viommu *v = device->unit;

	if (pasid > PASID_LAST || device->device != device || device->bypass)
		return -EINVAL;
	return add(v, make_requester(v, device->rid, device, pasid), ret_requester);
}

void vi_requester_dispose(struct viommu *v, struct viommu_requester *r)
{
	vi_accounts_close(v, r);
	vi_requesters_take(&v->requesters, r);
	free(r);
}

/* First of all, as a call that goes on would cache its context again. */
static void wait_for_calls(struct viommu *v, struct viommu_requester *r) VI_WITH(v->lock)
{
	struct vi_list *node;

	vi_threads_wait_for_calls(v, r);
	vi_list_for_each (node, &r->pasids)
		vi_threads_wait_for_calls(v, VI_CONTAINER_OF(node, struct viommu_requester, sibling));
}

void viommu_requester_remove(struct viommu_requester *r)
{
	struct vi_drain d = {.active = false};
	const struct vi_model_ops *model;
	struct viommu *v;

	if (!r)
		return;
	v = r->unit;
	model = vi_requester_model(r);
	vi_lock_take(&v->lock);
	wait_for_calls(v, r);
	vi_context_drop_requester(v, &d, r);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	if (model && model->requester_gone && r->device == r)
		model->requester_gone(v->model_state, r->rid);
	vi_lock_take(&v->context_lock);
	while (!vi_list_is_empty(&r->pasids))
		vi_requester_dispose(v, VI_CONTAINER_OF(r->pasids.next, struct viommu_requester, sibling));
	vi_requester_dispose(v, r);
	vi_lock_give(&v->context_lock);
	vi_lock_give(&v->lock);
}
