/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers, tables and start-up; invalidation is in vtd_invalidation.c. */
#include "driver/vtd.h"

#include <errno.h>

#include "base/bits.h"
#include "spec/vtd_registers.h"
#include "spec/vtd_tables.h"

uint64_t vi_driver_vtd_read64(const struct vi_driver_vtd *d, uint64_t offset)
{
	return d->regs.read(d->regs.arg, offset, 8);
}

uint32_t vi_driver_vtd_read32(const struct vi_driver_vtd *d, uint64_t offset)
{
	return (uint32_t)d->regs.read(d->regs.arg, offset, 4);
}

void vi_driver_vtd_write64(const struct vi_driver_vtd *d, uint64_t offset, uint64_t value)
{
	d->regs.write(d->regs.arg, offset, 8, value);
}

void vi_driver_vtd_write32(const struct vi_driver_vtd *d, uint64_t offset, uint32_t value)
{
	d->regs.write(d->regs.arg, offset, 4, value);
}

void vi_driver_vtd_init(struct vi_driver_vtd *d, const struct vi_driver_regs *regs,
			struct vi_driver_memory *memory)
{
	*d = (struct vi_driver_vtd){.regs = *regs, .memory = memory};
	d->cap = vi_driver_vtd_read64(d, VTD_CAP);
	d->ecap = vi_driver_vtd_read64(d, VTD_ECAP);
}

int vi_driver_vtd_command(struct vi_driver_vtd *d, uint32_t bit, bool set)
{
	uint32_t kept = d->gcmd & ~bit;

	vi_driver_vtd_write32(d, VTD_GCMD, set ? kept | bit : kept);
	if (bit != VTD_GCMD_SRTP)
		d->gcmd = set ? kept | bit : kept;
	while (!(vi_driver_vtd_read32(d, VTD_GSTS) & bit) == set)
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	return 0;
}

static int make_root(struct vi_driver_vtd *d)
{
	if (!d->root)
		d->root = vi_driver_page_alloc(d->memory);
	return d->root ? 0 : -ENOMEM;
}

int vi_driver_vtd_set_root(struct vi_driver_vtd *d)
{
	int ret = make_root(d);

	if (ret)
		return ret;
	vi_driver_vtd_write64(d, VTD_RTADDR, d->root);
	return vi_driver_vtd_command(d, VTD_GCMD_SRTP, true);
}

int vi_driver_vtd_enable_queue(struct vi_driver_vtd *d, unsigned pages_lg2)
{
	uint64_t queue;

	if (!d->status)
		d->status = vi_driver_page_alloc(d->memory);
	queue = d->status ? vi_driver_pages_alloc(d->memory, 1u << pages_lg2) : 0;
	if (!queue)
		return -ENOMEM;
	d->queue = queue; /* from now on invalidations go through it */
	d->queue_size = 4096u << pages_lg2;
	d->tail = 0;
	vi_driver_vtd_write64(d, VTD_IQT, 0);
	vi_driver_vtd_write64(d, VTD_IQA, d->queue | pages_lg2);
	return vi_driver_vtd_command(d, VTD_GCMD_QIE, true);
}

int vi_driver_vtd_disable_queue(struct vi_driver_vtd *d)
{
	d->queue = 0;
	return vi_driver_vtd_command(d, VTD_GCMD_QIE, false);
}

int vi_driver_vtd_enable_translation(struct vi_driver_vtd *d, bool enable)
{
	return vi_driver_vtd_command(d, VTD_GCMD_TE, enable);
}

int vi_driver_vtd_start(struct vi_driver_vtd *d, bool use_queue)
{
	int ret = make_root(d); /* whatever needs a page comes before the unit is touched */

	if (ret == 0 && use_queue)
		ret = vi_driver_vtd_enable_queue(d, 0);
	if (ret == 0)
		ret = vi_driver_vtd_set_root(d);
	if (ret == 0)
		ret = vi_driver_vtd_flush_contexts(d, VTD_GRANULARITY_GLOBAL, 0, 0, 0);
	if (ret == 0)
		ret = vi_driver_vtd_flush_iotlb(d, VTD_GRANULARITY_GLOBAL, 0, 0, 0);
	return ret ? ret : vi_driver_vtd_enable_translation(d, true);
}

/* The context table of the bus, made if it lacks. */
static uint64_t context_table(struct vi_driver_vtd *d, uint8_t bus)
{
	uint64_t entry = d->root + bus * VTD_ROOT_ENTRY_SIZE;
	uint64_t lo = vi_driver_load64(d->memory, entry), table = lo & VTD_ROOT_LO_CTP;

	if (lo & VTD_ROOT_LO_P)
		return table;
	table = vi_driver_page_alloc(d->memory);
	if (table)
		vi_driver_store64(d->memory, entry, table | VTD_ROOT_LO_P);
	return table;
}

/* The half with the present bit is written last when it appears, first when it goes. */
int vi_driver_vtd_set_context(struct vi_driver_vtd *d, uint16_t rid, uint64_t lo, uint64_t hi)
{
	uint64_t table = context_table(d, (uint8_t)(rid >> 8));
	uint64_t entry = table + (rid & 0xffu) * VTD_CONTEXT_ENTRY_SIZE;

	if (!table)
		return -ENOMEM;
	vi_driver_store64(d->memory, entry, 0);
	vi_driver_store64(d->memory, entry + 8, hi);
	vi_driver_store64(d->memory, entry, lo);
	return 0;
}

static int flush_context_of(struct vi_driver_vtd *d, uint16_t rid, uint16_t domain_id)
{
	int ret = vi_driver_vtd_flush_contexts(d, VTD_GRANULARITY_SELECTIVE, domain_id, rid, 0);

	return ret ? ret : vi_driver_vtd_flush_iotlb(d, VTD_GRANULARITY_DOMAIN, domain_id, 0, 0);
}

int vi_driver_vtd_attach(struct vi_driver_vtd *d, uint16_t rid, uint16_t domain_id,
			 const struct vi_driver_page_table *table)
{
	bool wide = vi_field(d->cap, VTD_CAP_SAGAW) & VTD_SAGAW_48BIT;
	unsigned aw = table ? table->table.levels - 2u : wide ? VTD_AW_48BIT : VTD_AW_39BIT;
	uint64_t type = table ? VTD_TT_UNTRANSLATED : VTD_TT_PASS_THROUGH;
	int ret;

	ret = vi_driver_vtd_set_context(d, rid,
					(table ? table->table.root : 0) |
						vi_to_field(VTD_CONTEXT_LO_TT, type) | VTD_CONTEXT_LO_P,
					vi_to_field(VTD_CONTEXT_HI_DID, domain_id) | aw);
	return ret ? ret : flush_context_of(d, rid, domain_id);
}

int vi_driver_vtd_detach(struct vi_driver_vtd *d, uint16_t rid, uint16_t domain_id)
{
	int ret = vi_driver_vtd_set_context(d, rid, 0, 0);

	return ret ? ret : flush_context_of(d, rid, domain_id);
}

int vi_driver_vtd_table_init(struct vi_driver_vtd *d, struct vi_driver_page_table *p, unsigned levels)
{
	unsigned sizes = (unsigned)vi_field(d->cap, VTD_CAP_SSLPS);

	return vi_driver_page_table_init(p, &vi_pgtable_vtd_second_stage, levels, 52, sizes << 2 | 1u << 1,
					 d->memory);
}

static uint64_t fault_record(const struct vi_driver_vtd *d, unsigned index)
{
	return vi_field(d->cap, VTD_CAP_FRO) * 16 + index * VTD_FRCD_SIZE;
}

/* F without a reason is the driver's own write, on a polled page that the unit has not looked at yet. */
static bool is_pending(uint64_t hi)
{
	return hi & VTD_FRCD_HI_F && vi_field(hi, VTD_FRCD_HI_FR);
}

bool vi_driver_vtd_next_fault(struct vi_driver_vtd *d, struct vi_driver_vtd_fault *ret_fault)
{
	unsigned count = (unsigned)vi_field(d->cap, VTD_CAP_NFR) + 1;
	uint32_t fsts = vi_driver_vtd_read32(d, VTD_FSTS);
	unsigned first = (unsigned)vi_field(fsts, VTD_FSTS_FRI);

	if (!(fsts & VTD_FSTS_PPF))
		return false;
	for (unsigned i = 0; i < count; i++) {
		uint64_t at = fault_record(d, (first + i) % count);
		uint64_t hi = vi_driver_vtd_read64(d, at + VTD_FRCD_HI);

		if (!is_pending(hi))
			continue;
		*ret_fault = (struct vi_driver_vtd_fault){
			.address = vi_driver_vtd_read64(d, at + VTD_FRCD_LO),
			.rid = (uint16_t)vi_field(hi, VTD_FRCD_HI_SID),
			.reason = (uint8_t)vi_field(hi, VTD_FRCD_HI_FR),
			.write = !(hi & VTD_FRCD_HI_T1),
		};
		vi_driver_vtd_write32(d, at + VTD_FRCD_HI + 4, VTD_FRCD_HI_F >> 32);
		return true;
	}
	return false;
}
