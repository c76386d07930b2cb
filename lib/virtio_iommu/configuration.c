/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration space (5.13.4). */
#include <endian.h>
#include <string.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/host.h"
#include "guestmem/guestmem.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

/* The words, none of which reaches over a boundary of 8 bytes. */
static uint64_t word_at(const struct vi_virtio *m, size_t offset)
{
	switch (offset) {
	case VIRTIO_IOMMU_CONFIG_PAGE_SIZE_MASK:
		return ~(VI_PAGE_SIZE - 1);
	case VIRTIO_IOMMU_CONFIG_INPUT_END:
		return VI_BITS(m->input_width - 1, 0);
	case VIRTIO_IOMMU_CONFIG_DOMAIN_START:
		return (uint64_t)m->domain_last << 32;
	case VIRTIO_IOMMU_CONFIG_PROBE_SIZE:
		return VI_VIRTIO_PROBE_BYTES | (uint64_t)atomic_load(&m->bypass) << 32;
	}
	return 0;
}

uint8_t vi_virtio_config_read(const void *state, size_t offset)
{
	return (uint8_t)(word_at(state, vi_align_down(offset, 8)) >> offset % 8 * 8);
}

/*
 * Endpoints in no domain are concerned, and those in domains of a driver that was reset, which are kept while
 * the field is 1; but the contexts of all are dropped: a driver writes it once.
 */
void vi_virtio_config_write(void *state, size_t offset, uint8_t value)
{
	struct vi_virtio *m = state;

	vi_lock_assert(&m->unit->lock);
	if (offset != VIRTIO_IOMMU_CONFIG_BYPASS || value > 1 ||
	    !(m->features & VIRTIO_IOMMU_F_BYPASS_CONFIG))
		return;
	if (atomic_exchange_explicit(&m->bypass, value, memory_order_release) == value)
		return;
	vi_virtio_endpoints_leave(m, true);
	vi_context_drop_all(m->unit, &m->collecting);
	vi_count(&m->unit->counters, VI_COUNT_context_invalidations, 1);
	vi_kick(m->unit);
}
