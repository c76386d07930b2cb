/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The unit: what all of core shares.
 *
 * Locks, outermost first:
 *   unit      the model's state, registered memory, requesters and threads
 *             coming and going, dropping from the IOTLB, drains. Held while
 *             waiting only by the calls that promise to wait.
 *   context   publication of contexts and the set of domains. Taken inside a
 *             section by device threads, so who holds it never waits.
 *   pins      see pin.h.
 *   ranges    of a set, see ranges.h.
 * Device threads take none of them on the way of an IOTLB hit.
 */
#ifndef CORE_UNIT_H
#define CORE_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>

#include <viommu/access.h>
#include <viommu/viommu.h>

#include "base/epoch.h"
#include "base/list.h"
#include "base/lock.h"
#include "core/counters.h"
#include "core/fault_history.h"
#include "core/fault_queue.h"
#include "core/iotlb.h"
#include "core/model.h"
#include "core/pin.h"
#include "core/requester_table.h"
#include "guestmem/guestmem.h"

#define VI_DOMAIN_BUCKETS 64

struct viommu {
	struct viommu_host_ops ops;
	void *opaque;
	uint16_t segment;
	uint8_t address_width;

	const struct vi_model_ops *model; /* NULL: VIOMMU_MODEL_NONE */
	void *model_state;

	struct vi_epoch epoch;
	struct vi_iotlb iotlb;
	struct vi_guestmem mem;
	struct vi_fault_queue faults;
	struct vi_pins pins;

	struct vi_lock lock;
	struct vi_list threads;
	struct vi_requesters requesters;
	struct vi_counters counters; /* the unit's own, and of devices that have gone */
	uint64_t drain_times[VIOMMU_DRAIN_BUCKETS];
	struct vi_fault_history history;

	struct vi_lock context_lock;
	_Atomic uint64_t context_changes; /* counts context invalidations; written under the context lock */
	struct vi_list domains[VI_DOMAIN_BUCKETS];
	struct vi_list resting; /* domains, the one that came to rest last at the end */
	unsigned resting_count;
	uint64_t rest[VI_DOMAIN_COUNTER_END];	      /* of domains that are not told apart any more */
	uint64_t undomained[VI_ACCESS_COUNTER_COUNT]; /* charged to no domain by devices that have gone */
	struct vi_list retired_contexts;
};

/*
 * Copy a struct of the program's that may have grown on either side: what the
 * program does not know is 0, what the library does not know must be 0 (-E2BIG).
 * -EINVAL: it is shorter than its own size.
 */
int vi_options_copy(void *to, size_t to_size, const void *from, size_t from_size);
/* viommu_create() with any model; NULL: the one that `opts` names. */
int vi_unit_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		   const struct vi_model_ops *model, struct viommu **ret_viommu);

#endif
