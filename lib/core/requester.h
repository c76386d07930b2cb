/* SPDX-License-Identifier: BSD-3-Clause */
/* A device as core sees it. */
#ifndef CORE_REQUESTER_H
#define CORE_REQUESTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "core/counters.h"

struct viommu;
struct vi_account;
struct vi_context;

struct viommu_requester {
	struct viommu *unit;
	uint16_t rid;
	/* Cached context entry. Written under the context lock, read inside sections; NULL: not cached. */
	_Atomic(struct vi_context *) context;
	/* Under the context lock: */
	struct vi_account *account;		/* the one used last */
	struct vi_list accounts;		/* all of this device */
	uint64_t kept[VI_ACCESS_COUNTER_COUNT]; /* of its accounts that are no more */
	/* Where no domain is charged; by viommu_thread.index, as many as there may be threads. */
	struct vi_device_counters counters[];
};

#endif
