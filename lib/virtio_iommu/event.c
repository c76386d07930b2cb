/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault events (5.13.6.9): they wait for buffers of the driver, so many of them. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/fault_history.h"
#include "core/host.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

_Static_assert(VIOMMU_EVENT_BYTES == VIRTIO_IOMMU_FAULT_SIZE, "as the header says");

void vi_virtio_faults_take(struct vi_virtio *m, unsigned *io_budget)
{
	struct vi_fault f;

	for (; *io_budget > 0 && vi_fault_take(m->unit, &f); --*io_budget) {
		bool room = m->event_count < VIOMMU_EVENTS_MOST;

		vi_guest_error(m->unit, VIOMMU_GUEST_FAULT, &f, m->unit->model->reason_text(f.reason));
		vi_count(&m->unit->counters, room ? VI_COUNT_faults_recorded : VI_COUNT_faults_lost, 1);
		if (room)
			m->events[(m->event_first + m->event_count++) % VIOMMU_EVENTS_MOST] = f;
	}
}

static void put_le32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void tell(const struct vi_virtio *m, const struct vi_fault *f, uint8_t *buf)
{
	uint64_t address = htole64(f->iova);

	memset(buf, 0, VIRTIO_IOMMU_FAULT_SIZE);
	buf[VIRTIO_IOMMU_FAULT_REASON] =
		f->reason <= VIRTIO_IOMMU_FAULT_R_MAPPING ? f->reason : VIRTIO_IOMMU_FAULT_R_UNKNOWN;
	put_le32(buf + VIRTIO_IOMMU_FAULT_FLAGS,
		 (f->write ? VIRTIO_IOMMU_FAULT_F_WRITE : VIRTIO_IOMMU_FAULT_F_READ) |
			 VIRTIO_IOMMU_FAULT_F_ADDRESS);
	put_le32(buf + VIRTIO_IOMMU_FAULT_ENDPOINT, (uint32_t)m->unit->segment << 16 | f->rid);
	memcpy(buf + VIRTIO_IOMMU_FAULT_ADDRESS, &address, sizeof(address));
}

int64_t vi_virtio_event(void *state, uint8_t *buf, size_t size)
{
	struct vi_virtio *m = state;

	if (m->event_count == 0)
		return -EAGAIN;
	if (size < VIRTIO_IOMMU_FAULT_SIZE)
		return -ENOSPC;
	tell(m, &m->events[m->event_first], buf);
	m->event_first = (m->event_first + 1) % VIOMMU_EVENTS_MOST;
	m->event_count--;
	return VIRTIO_IOMMU_FAULT_SIZE;
}
