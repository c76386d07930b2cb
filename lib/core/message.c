/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/message.h"

#include <errno.h>

#include <viommu/access.h>

#include "core/host.h"
#include "core/requester.h"
#include "core/thread.h"
#include "core/unit.h"

static void report(struct viommu_thread *t, struct viommu_requester *r, uint64_t address, bool silent,
		   vi_reason reason)
{
	struct viommu *v = t->unit;
	struct vi_fault fault = {
		.iova = address, .rid = r->rid, .pasid = r->pasid, .reason = reason, .write = true};

	vi_count_access(t, r->counters, VI_COUNT_blocked, 1);
	vi_fault_count(&v->history, reason);
	if (!silent && vi_fault_queue_push(&v->faults, &fault))
		vi_kick(v);
}

int vi_message_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t address, uint32_t data)
{
	const struct vi_model_ops *model = vi_requester_model(r);
	struct viommu *v = t->unit;
	struct vi_message m = {.address = address, .data = data};
	vi_reason reason = 0;

	viommu_enter(t);
	if (model && model->remap)
		reason = model->remap(v->model_state, r->rid, &m);
	if (reason)
		report(t, r, address, m.silent, reason);
	else
		vi_count_access(t, r->counters, VI_COUNT_interrupt_messages, 1);
	if (!reason && !m.posted && v->ops.msi)
		v->ops.msi(v->opaque, r->rid, m.address, m.data);
	viommu_exit(t);
	return reason ? -EACCES : 0;
}
