/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/host.h"

#include "core/unit.h"

void vi_msi_send(struct viommu *v, uint64_t address, uint32_t data)
{
	vi_count(&v->counters, VI_COUNT_interrupts, 1);
	if (v->ops.msi)
		v->ops.msi(v->opaque, 0, address, data);
}

void vi_guest_error(struct viommu *v, enum viommu_guest_error error, const struct vi_fault *fault,
		    const char *text)
{
	struct viommu_guest_event event = {
		.sz = sizeof(event),
		.error = error,
		.segment = v->segment,
		.rid = fault->rid,
		.reason = fault->reason,
		.write = fault->write,
		.address = fault->iova,
		.text = text,
		.pasid = fault->pasid,
	};

	if (v->ops.guest_error)
		v->ops.guest_error(v->opaque, &event);
}

uint64_t vi_now_ns(struct viommu *v)
{
	return v->ops.now_ns ? v->ops.now_ns(v->opaque) : 0;
}

void vi_kick(struct viommu *v)
{
	if (v->ops.kick)
		v->ops.kick(v->opaque);
}
