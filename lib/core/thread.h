/* SPDX-License-Identifier: BSD-3-Clause */
/* A device thread as core sees it. */
#ifndef CORE_THREAD_H
#define CORE_THREAD_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "core/counters.h"
#include "core/unit.h"

struct viommu_requester;
struct vi_epoch_slot;

struct viommu_thread {
	struct viommu *unit;
	struct vi_epoch_slot *slot;
	/* Whom a running viommu_read() or viommu_write() works for, also between its sections. */
	_Atomic(struct viommu_requester *) working_for;
	unsigned index;	     /* of its slot */
	struct vi_list link; /* unit.threads */
};

/* By the device thread, inside a section: into the counters of its context, or the device's own. */
static inline void vi_count_access(struct viommu_thread *t, struct vi_device_counters *counters,
				   enum vi_counter which, uint64_t amount)
{
	vi_counter_add(&counters[t->index].values[which], amount);
}

/* No call that was running works for `r` any more; none may begin. */
void vi_threads_wait_for_calls(struct viommu *v, const struct viommu_requester *r) VI_WITH(v->lock);
/* Every section that is open now has ended. Returns the epoch that began. */
uint64_t vi_threads_wait_for_sections(struct viommu *v) VI_WITH(v->lock);
/* The unit goes. */
void vi_threads_finish(struct viommu *v) VI_WITH(v->lock);

#endif
