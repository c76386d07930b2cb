/* SPDX-License-Identifier: BSD-3-Clause */
/* A device as core sees it. */
#ifndef CORE_REQUESTER_H
#define CORE_REQUESTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/counters.h"
#include "core/unit.h"

struct vi_account;
struct vi_context;

struct viommu_requester {
	struct viommu *unit;
	uint16_t rid;
	uint32_t pasid;			 /* or VIOMMU_NO_PASID */
	struct viommu_requester *device; /* the handle without a PASID, which may be this one */
	bool bypass;			 /* the unit does not stand before the device */
	/* Of the device, under both locks as requester_table.h has it: its handles with a PASID. */
	struct vi_list pasids;
	struct vi_list sibling; /* there */
	/* Cached context entry. Written under the context lock, read inside sections; NULL: not cached. */
	_Atomic(struct vi_context *) context;
	/* Under the context lock: */
	struct vi_account *account;		/* the one used last */
	struct vi_list accounts;		/* all of this device */
	uint64_t kept[VI_ACCESS_COUNTER_COUNT]; /* of its accounts that are no more */
	/* Where no domain is charged; by viommu_thread.index, as many as there may be threads. */
	struct vi_device_counters counters[];
};

/* The model that answers for this device. NULL: nothing translates for it. */
static inline const struct vi_model_ops *vi_requester_model(const struct viommu_requester *r)
{
	return r->bypass ? NULL : r->unit->model;
}

/* Nobody can use it any more: what it counted goes to the unit, and it is no more. */
void vi_requester_dispose(struct viommu *v, struct viommu_requester *r) VI_WITH(v->lock, v->context_lock);

#endif
