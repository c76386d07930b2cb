/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidation as a driver does it: descriptors and waiting, or registers. */
#include <errno.h>

#include "base/bits.h"
#include "driver/vtd.h"
#include "spec/vtd_queue.h"
#include "spec/vtd_registers.h"

uint32_t vi_driver_vtd_put(struct vi_driver_vtd *d, uint64_t lo, uint64_t hi)
{
	uint32_t at = d->tail;

	vi_driver_store64(d->memory, d->queue + at, lo);
	vi_driver_store64(d->memory, d->queue + at + 8, hi);
	d->tail = (at + VTD_QI_SIZE) % d->queue_size;
	return at / VTD_QI_SIZE;
}

void vi_driver_vtd_ring(struct vi_driver_vtd *d)
{
	vi_driver_vtd_write64(d, VTD_IQT, d->tail); /* release: the descriptors before the tail */
}

uint32_t vi_driver_vtd_submit(struct vi_driver_vtd *d, uint64_t lo, uint64_t hi)
{
	uint32_t index = vi_driver_vtd_put(d, lo, hi);

	vi_driver_vtd_ring(d);
	return index;
}

int vi_driver_vtd_wait(struct vi_driver_vtd *d, uint64_t flags)
{
	uint32_t sequence = ++d->sequence;
	unsigned spins = 0;

	vi_driver_vtd_submit(d,
			     VTD_QI_WAIT | VTD_QI_WAIT_SW | flags | vi_to_field(VTD_QI_WAIT_DATA, sequence),
			     d->status);
	while (vi_driver_load32(d->memory, d->status) != sequence) {
		/* FSTS may be a trapped register: not for each turn. */
		if (++spins % 64 == 0 && vi_driver_vtd_read32(d, VTD_FSTS) & VTD_FSTS_IQE)
			return -EIO;
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	}
	return 0;
}

/* The word of the bit alone: a load of its size is what pairs with the unit's store on a polled page. */
static int wait_for_clear(struct vi_driver_vtd *d, uint64_t offset, uint64_t bit)
{
	while (vi_driver_vtd_read32(d, offset + 4) & (uint32_t)(bit >> 32))
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	return 0;
}

int vi_driver_vtd_flush_contexts(struct vi_driver_vtd *d, unsigned granularity, uint16_t domain_id,
				 uint16_t rid, unsigned function_mask)
{
	if (!d->queue) {
		vi_driver_vtd_write64(d, VTD_CCMD,
				      VTD_CCMD_ICC | vi_to_field(VTD_CCMD_CIRG, granularity) |
					      vi_to_field(VTD_CCMD_FM, function_mask) |
					      vi_to_field(VTD_CCMD_SID, rid) |
					      vi_to_field(VTD_CCMD_DID, domain_id));
		return wait_for_clear(d, VTD_CCMD, VTD_CCMD_ICC);
	}
	vi_driver_vtd_put(d,
			  VTD_QI_CONTEXT_CACHE | vi_to_field(VTD_QI_GRANULARITY, granularity) |
				  vi_to_field(VTD_QI_CC_DID, domain_id) | vi_to_field(VTD_QI_CC_SID, rid) |
				  vi_to_field(VTD_QI_CC_FM, function_mask),
			  0);
	return vi_driver_vtd_wait(d, 0);
}

static void put_iotlb(struct vi_driver_vtd *d, unsigned granularity, uint16_t domain_id, uint64_t address,
		      uint64_t mask_and_hint)
{
	vi_driver_vtd_put(d,
			  VTD_QI_IOTLB | VTD_QI_IOTLB_DR | VTD_QI_IOTLB_DW |
				  vi_to_field(VTD_QI_GRANULARITY, granularity) |
				  vi_to_field(VTD_QI_IOTLB_DID, domain_id),
			  (address & VTD_QI_IOTLB_ADDR) | mask_and_hint);
}

int vi_driver_vtd_flush_iotlb(struct vi_driver_vtd *d, unsigned granularity, uint16_t domain_id,
			      uint64_t address, unsigned address_mask)
{
	uint64_t iro = vi_field(d->ecap, VTD_ECAP_IRO) * 16;

	if (d->queue) {
		put_iotlb(d, granularity, domain_id, address, address_mask);
		return vi_driver_vtd_wait(d, 0);
	}
	if (granularity == VTD_GRANULARITY_SELECTIVE)
		vi_driver_vtd_write64(d, iro + VTD_IVA, (address & VTD_IVA_ADDR) | address_mask);
	vi_driver_vtd_write64(d, iro + VTD_IOTLB,
			      VTD_IOTLB_IVT | VTD_IOTLB_DR | VTD_IOTLB_DW |
				      vi_to_field(VTD_IOTLB_IIRG, granularity) |
				      vi_to_field(VTD_IOTLB_DID, domain_id));
	return wait_for_clear(d, iro + VTD_IOTLB, VTD_IOTLB_IVT);
}

/* The smallest aligned power of two of pages that holds the range, as a mask. */
static unsigned covering_mask(uint64_t first, uint64_t last)
{
	unsigned mask = 0;

	while (first >> (VI_PAGE_SHIFT + mask) != last >> (VI_PAGE_SHIFT + mask))
		mask++;
	return mask;
}

static bool is_selectable(const struct vi_driver_vtd *d, unsigned mask)
{
	return d->cap & VTD_CAP_PSI && mask <= vi_field(d->cap, VTD_CAP_MAMV);
}

int vi_driver_vtd_flush_range(struct vi_driver_vtd *d, uint16_t domain_id, uint64_t first, uint64_t last)
{
	unsigned mask = covering_mask(first, last);

	if (!is_selectable(d, mask))
		return vi_driver_vtd_flush_iotlb(d, VTD_GRANULARITY_DOMAIN, domain_id, 0, 0);
	return vi_driver_vtd_flush_iotlb(d, VTD_GRANULARITY_SELECTIVE, domain_id, first, mask);
}

void vi_driver_vtd_put_range(struct vi_driver_vtd *d, uint16_t domain_id, uint64_t first, uint64_t last,
			     uint64_t flags)
{
	unsigned mask = covering_mask(first, last);

	if (is_selectable(d, mask))
		put_iotlb(d, VTD_GRANULARITY_SELECTIVE, domain_id, first, mask | flags);
	else
		vi_driver_vtd_put_domain(d, domain_id);
}

void vi_driver_vtd_put_domain(struct vi_driver_vtd *d, uint16_t domain_id)
{
	put_iotlb(d, VTD_GRANULARITY_DOMAIN, domain_id, 0, 0);
}
