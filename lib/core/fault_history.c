/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/fault_history.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/host.h"
#include "core/unit.h"

bool vi_fault_take(struct viommu *v, struct vi_fault *ret_fault)
{
	struct vi_fault_history *h = &v->history;
	uint64_t number = h->taken + 1;

	vi_lock_assert(&v->lock);
	if (!vi_fault_queue_pop(&v->faults, ret_fault))
		return false;
	h->last[number % VIOMMU_FAULTS_KEPT].fault = *ret_fault;
	h->last[number % VIOMMU_FAULTS_KEPT].ns = vi_now_ns(v);
	h->taken = number;
	return true;
}

const char *viommu_reason_text(const struct viommu *v, uint8_t reason)
{
	if (reason == VIOMMU_REASON_PROTECTED)
		return "untranslated access to protected memory";
	return v->model ? v->model->reason_text(reason) : "unknown reason";
}

size_t viommu_refusals_read(struct viommu *v, uint64_t *ret_counts, size_t count)
{
	size_t n = vi_min(count, VIOMMU_REASONS);

	for (size_t i = 0; i < n; i++)
		ret_counts[i] = atomic_load_explicit(&v->history.refused[i], memory_order_relaxed);
	return n;
}

static void tell(struct viommu *v, uint64_t number, struct viommu_fault *fault) VI_WITH(v->lock)
{
	const struct vi_fault *f = &v->history.last[number % VIOMMU_FAULTS_KEPT].fault;

	fault->number = number;
	fault->ns = v->history.last[number % VIOMMU_FAULTS_KEPT].ns;
	fault->address = f->iova;
	fault->rid = f->rid;
	fault->pasid = f->pasid;
	fault->reason = f->reason;
	fault->write = f->write;
	fault->text = viommu_reason_text(v, f->reason);
}

int viommu_fault_find(struct viommu *v, uint64_t number, struct viommu_fault *ret_fault)
{
	struct viommu_fault fault = {.sz = ret_fault->sz};
	uint64_t taken;

	if (fault.sz < sizeof(fault.sz))
		return -EINVAL;
	vi_lock_take(&v->lock);
	taken = v->history.taken;
	number = vi_max(number, taken > VIOMMU_FAULTS_KEPT ? taken - VIOMMU_FAULTS_KEPT + 1 : 1);
	if (number <= taken)
		tell(v, number, &fault);
	vi_lock_give(&v->lock);
	if (number > taken)
		return -ENOENT;
	memcpy(ret_fault, &fault, vi_min(fault.sz, sizeof(fault)));
	return 0;
}
