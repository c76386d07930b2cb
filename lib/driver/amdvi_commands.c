/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "base/bits.h"
#include "driver/amdvi.h"
#include "spec/amdvi_queues.h"
#include "spec/amdvi_registers.h"

uint32_t vi_driver_amdvi_put(struct vi_driver_amdvi *d, uint64_t lo, uint64_t hi)
{
	uint32_t at = d->tail;

	vi_driver_store64(d->memory, d->commands + at + 8, hi);
	vi_driver_store64(d->memory, d->commands + at, lo);
	d->tail = (at + AMDVI_RING_ENTRY) % VI_DRIVER_AMDVI_RING;
	return at;
}

void vi_driver_amdvi_ring(struct vi_driver_amdvi *d)
{
	vi_driver_amdvi_write(d, AMDVI_POINTERS + AMDVI_CMD_TAIL, 4, d->tail);
}

static uint64_t command(unsigned opcode, uint64_t operands)
{
	return vi_to_field(AMDVI_CMD_OPCODE, opcode) | operands;
}

int vi_driver_amdvi_wait(struct vi_driver_amdvi *d, uint64_t flags)
{
	d->sequence++;
	vi_driver_amdvi_put(d, command(AMDVI_COMPLETION_WAIT, d->status | AMDVI_WAIT_S | flags), d->sequence);
	vi_driver_amdvi_ring(d);
	while (vi_driver_load64(d->memory, d->status) != d->sequence) {
		if (!(vi_driver_amdvi_read(d, AMDVI_POINTERS + AMDVI_STATUS, 4) & AMDVI_STATUS_CMD_BUF_RUN))
			return -EIO;
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	}
	return 0;
}

/* Directories, too, as a range may have lost them. */
static void put_pages(struct vi_driver_amdvi *d, uint16_t domain_id, uint64_t hi)
{
	vi_driver_amdvi_put(d,
			    command(AMDVI_INVALIDATE_IOMMU_PAGES, vi_to_field(AMDVI_PAGES_DOMAIN, domain_id)),
			    hi | AMDVI_PAGES_PDE);
}

void vi_driver_amdvi_put_domain(struct vi_driver_amdvi *d, uint16_t domain_id)
{
	put_pages(d, domain_id, AMDVI_PAGES_ALL | AMDVI_PAGES_S);
}

/* 2^n bytes, n above 12: bits 12 to n - 2 of the address are 1, bit n - 1 is 0. */
void vi_driver_amdvi_put_range(struct vi_driver_amdvi *d, uint16_t domain_id, uint64_t first, uint64_t last)
{
	unsigned lg2 = first >> 12 == last >> 12 ? 12 : 64 - (unsigned)__builtin_clzll(first ^ last);

	if (lg2 == 12)
		put_pages(d, domain_id, first & AMDVI_PAGES_ADDR);
	else if (lg2 > 52)
		vi_driver_amdvi_put_domain(d, domain_id);
	else
		put_pages(d, domain_id,
			  vi_align_down(first, VI_BIT(lg2)) | ((VI_BIT(lg2 - 1) - 1) & AMDVI_PAGES_ADDR) |
				  AMDVI_PAGES_S);
}

int vi_driver_amdvi_flush_device(struct vi_driver_amdvi *d, uint16_t rid)
{
	vi_driver_amdvi_put(d, command(AMDVI_INVALIDATE_DEVTAB_ENTRY, rid), 0);
	return vi_driver_amdvi_wait(d, 0);
}

int vi_driver_amdvi_flush_range(struct vi_driver_amdvi *d, uint16_t domain_id, uint64_t first, uint64_t last)
{
	vi_driver_amdvi_put_range(d, domain_id, first, last);
	return vi_driver_amdvi_wait(d, 0);
}

int vi_driver_amdvi_flush_domain(struct vi_driver_amdvi *d, uint16_t domain_id)
{
	vi_driver_amdvi_put_domain(d, domain_id);
	return vi_driver_amdvi_wait(d, 0);
}

int vi_driver_amdvi_flush_all(struct vi_driver_amdvi *d)
{
	vi_driver_amdvi_put(d, command(AMDVI_INVALIDATE_IOMMU_ALL, 0), 0);
	return vi_driver_amdvi_wait(d, 0);
}
