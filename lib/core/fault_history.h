/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was refused so far: how often for each reason, and the last faults.
 *
 * Device threads count each refusal at once, so the counts are complete. The
 * faults themselves come out of the fault queue, which is bounded: what found
 * it full, or what the guest wants no fault of, is in the counts only.
 */
#ifndef CORE_FAULT_HISTORY_H
#define CORE_FAULT_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/viommu.h>

#include "core/model.h"

struct viommu;

struct vi_fault_history {
	_Atomic uint64_t refused[VIOMMU_REASONS]; /* any thread */
	/* Under the unit lock: */
	uint64_t taken; /* faults so far; the one with number n is in last[n % VIOMMU_FAULTS_KEPT] */
	struct {
		struct vi_fault fault;
		uint64_t ns;
	} last[VIOMMU_FAULTS_KEPT];
};

static inline void vi_fault_count(struct vi_fault_history *h, vi_reason reason)
{
	atomic_fetch_add_explicit(&h->refused[reason], 1, memory_order_relaxed);
}

/* With the unit lock, asserted: the next fault of the queue goes to the history and to *ret_fault. False:
 * none. */
bool vi_fault_take(struct viommu *v, struct vi_fault *ret_fault);

#endif
