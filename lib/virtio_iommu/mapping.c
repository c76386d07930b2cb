/* SPDX-License-Identifier: BSD-3-Clause */
/* MAP and UNMAP (5.13.6.5, 5.13.6.6). */
#include <errno.h>

#include "base/bits.h"
#include "core/domain.h"
#include "guestmem/guestmem.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

uint8_t vi_virtio_judge_range(const struct vi_virtio *m, uint64_t first, uint64_t last, uint64_t address)
{
	uint64_t address_last;

	if (!vi_is_aligned(first | (last + 1) | address, VI_PAGE_SIZE))
		return VIRTIO_IOMMU_S_RANGE;
	if (last < first)
		return VIRTIO_IOMMU_S_INVAL;
	if (last > VI_BITS(m->input_width - 1, 0))
		return VIRTIO_IOMMU_S_RANGE;
	if (first <= VI_MESSAGE_LAST && last >= VI_MESSAGE_FIRST)
		return VIRTIO_IOMMU_S_INVAL;
	if (__builtin_add_overflow(address, last - first, &address_last) ||
	    address_last > VI_BITS(m->unit->address_width - 1, 0))
		return VIRTIO_IOMMU_S_FAULT;
	return VIRTIO_IOMMU_S_OK;
}

/* The domain that a MAP or an UNMAP names. Else a status. */
static uint8_t find_domain(const struct vi_virtio *m, uint32_t number, struct vi_virtio_domain **ret_domain)
{
	struct vi_virtio_domain *d = vi_virtio_domain_find(m, number);

	if (!d)
		return VIRTIO_IOMMU_S_NOENT;
	if (d->bypass)
		return VIRTIO_IOMMU_S_INVAL;
	*ret_domain = d;
	return VIRTIO_IOMMU_S_OK;
}

static unsigned rights_of(uint32_t flags)
{
	return (flags & VIRTIO_IOMMU_MAP_F_READ ? VI_PGTABLE_READ : 0) |
	       (flags & VIRTIO_IOMMU_MAP_F_WRITE ? VI_PGTABLE_WRITE : 0);
}

static uint8_t add(struct vi_virtio *m, struct vi_virtio_domain *d, const struct vi_virtio_request *r)
{
	const struct vi_range range = {r->first, r->last, r->address, rights_of(r->flags)};
	int err;

	if (m->mappings >= m->mappings_most)
		return VIRTIO_IOMMU_S_NOMEM;
	err = vi_ranges_add(&d->ranges, &range);
	if (err)
		return err == -EEXIST ? VIRTIO_IOMMU_S_INVAL : VIRTIO_IOMMU_S_NOMEM;
	m->mappings++;
	return VIRTIO_IOMMU_S_OK;
}

/* The flag MMIO asks for accesses as they come, neither cached nor merged, which all are. */
static uint8_t map(struct vi_virtio *m, const struct vi_virtio_request *r) VI_WITH(m->unit->lock)
{
	uint32_t known = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE |
			 (r->features & VIRTIO_IOMMU_F_MMIO ? VIRTIO_IOMMU_MAP_F_MMIO : 0);
	struct vi_virtio_domain *d;
	uint8_t status;

	if (!(r->features & VIRTIO_IOMMU_F_MAP_UNMAP))
		return VIRTIO_IOMMU_S_UNSUPP;
	if (r->flags & ~known)
		return VIRTIO_IOMMU_S_INVAL;
	status = find_domain(m, r->domain, &d);
	if (status == VIRTIO_IOMMU_S_OK)
		status = vi_virtio_judge_range(m, r->first, r->last, r->address);
	return status == VIRTIO_IOMMU_S_OK ? add(m, d, r) : status;
}

bool vi_virtio_map(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
{
	(void)io_budget;
	r->status = map(m, r);
	return true;
}

/*
 * A piece: as many mappings as the budget has, and with the last one the invalidation of
 * the whole range. That no mapping is split is found before the first is taken out; then it
 * cannot change, as requests are carried out one after the other. A domain that has died
 * meanwhile, with its last device, was invalidated as a whole.
 */
bool vi_virtio_unmap(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
{
	struct vi_virtio_domain *d = NULL;
	int64_t taken;

	r->status = !(r->features & VIRTIO_IOMMU_F_MAP_UNMAP) ? VIRTIO_IOMMU_S_UNSUPP
		    : r->reserved || r->last < r->first	      ? VIRTIO_IOMMU_S_INVAL
							      : find_domain(m, r->domain, &d);
	if (r->begun && r->status == VIRTIO_IOMMU_S_NOENT) {
		r->status = VIRTIO_IOMMU_S_OK;
		r->barrier = vi_virtio_barrier(m);
	}
	if (!d)
		return true;
	taken = vi_ranges_remove(&d->ranges, r->first, r->last, *io_budget);
	if (taken < 0) {
		r->status = VIRTIO_IOMMU_S_RANGE;
		return true;
	}
	m->mappings -= (uint64_t)taken;
	r->begun |= taken > 0;
	if (taken == *io_budget) {
		*io_budget = 0;
		return false;
	}
	*io_budget -= (unsigned)taken;
	if (r->begun) {
		vi_iotlb_invalidate_range(m->unit, &m->collecting, d->id, r->first, r->last);
		r->barrier = vi_virtio_barrier(m);
	}
	return true;
}
