/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidation granularities (6.5.1, 6.5.2), shared by registers and queue. */
#include "base/bits.h"
#include "vtd/vtd.h"

bool vi_vtd_invalidate_contexts(struct vi_vtd *m, struct vi_drain *d, unsigned granularity,
				uint16_t domain_id, uint16_t rid, unsigned function_mask)
{
	/* FM: ignore none, bit 2, bits 2:1, all three bits of the function number. */
	static const uint16_t ignored[] = {0, 4, 6, 7};

	switch (granularity) {
	case VTD_GRANULARITY_GLOBAL:
		vi_context_drop_all(m->unit, d);
		break;
	case VTD_GRANULARITY_DOMAIN:
		vi_context_drop_domain(m->unit, d, domain_id);
		break;
	case VTD_GRANULARITY_SELECTIVE:
		vi_context_drop_devices(m->unit, d, rid, ignored[function_mask & 3]);
		break;
	default:
		return false;
	}
	vi_count(&m->unit->counters, VI_COUNT_context_invalidations, 1);
	return true;
}

/* 2^address_mask pages around `address`, which the mask must leave aligned. */
static bool invalidate_pages(struct vi_vtd *m, struct vi_drain *d, uint16_t domain_id, uint64_t address,
			     unsigned address_mask) VI_WITH(m->unit->lock)
{
	uint64_t size, first;

	if (address_mask > vi_field(m->cap, VTD_CAP_MAMV))
		return false;
	size = VI_PAGE_SIZE << address_mask;
	first = vi_align_down(address, size) & VI_BITS(51, 0);
	vi_iotlb_invalidate_range(m->unit, d, domain_id, first, first + size - 1);
	return true;
}

bool vi_vtd_invalidate_iotlb(struct vi_vtd *m, struct vi_drain *d, unsigned granularity, uint16_t domain_id,
			     uint64_t address, unsigned address_mask)
{
	switch (granularity) {
	case VTD_GRANULARITY_GLOBAL:
		vi_iotlb_invalidate_all(m->unit, d);
		vi_count(&m->unit->counters, VI_COUNT_iotlb_global_invalidations, 1);
		return true;
	case VTD_GRANULARITY_DOMAIN:
		vi_iotlb_invalidate_domain(m->unit, d, domain_id);
		return true;
	case VTD_GRANULARITY_SELECTIVE:
		return invalidate_pages(m, d, domain_id, address, address_mask);
	default:
		return false;
	}
}
