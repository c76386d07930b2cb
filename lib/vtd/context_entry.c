/* SPDX-License-Identifier: BSD-3-Clause */
/* From a requester id to its context: root and context tables, 3.4 and 7.1. Runs on device threads. */
#include <string.h>

#include "base/bits.h"
#include "pgtable/pgtable.h"
#include "spec/vtd_tables.h"
#include "vtd/vtd.h"

static uint64_t beyond_host(const struct vi_vtd *m)
{
	return ~VI_BITS(m->unit->address_width - 1, 0);
}

/* The root and context entry of a device, as far as they can be read. */
struct entries {
	struct viommu_entry list[2];
	unsigned count;
};

static bool read_entry(const struct vi_vtd *m, const char *name, uint64_t gpa, struct entries *io_entries,
		       uint64_t ret_words[2])
{
	struct viommu_entry *e = &io_entries->list[io_entries->count];

	if (!vi_guestmem_load128(&m->unit->mem, gpa, ret_words))
		return false;
	*e = (struct viommu_entry){
		.name = name, .gpa = gpa, .bytes = 16, .words = {ret_words[0], ret_words[1]}};
	io_entries->count++;
	return true;
}

/* Without scalable mode (ECAP.SMTS) and abort-DMA mode (ECAP.ADMS), TTM 00b is the only legal mode:
 * RTA.1, 7.1.3. */
static vi_reason find_context_table(const struct vi_vtd *m, uint8_t bus, struct entries *e,
				    uint64_t *ret_table)
{
	uint64_t table = atomic_load_explicit(&m->root, memory_order_acquire), words[2];

	if (table & VTD_RTADDR_TTM)
		return VTD_FR_ROOT_TABLE_MODE;
	if (!read_entry(m, "root entry", table + bus * VTD_ROOT_ENTRY_SIZE, e, words))
		return VTD_FR_ROOT_TABLE_ACCESS;
	if (!(words[0] & VTD_ROOT_LO_P))
		return VTD_FR_ROOT_NOT_PRESENT;
	if ((words[0] & (VTD_ROOT_LO_RSVD | beyond_host(m))) || (words[1] & VTD_ROOT_HI_RSVD))
		return VTD_FR_ROOT_RESERVED;
	*ret_table = words[0] & VTD_ROOT_LO_CTP;
	return 0;
}

/* Is this address width one that CAP.SAGAW offers? */
static bool is_width_supported(const struct vi_vtd *m, unsigned aw)
{
	return vi_field(m->cap, VTD_CAP_SAGAW) & (1u << aw);
}

static vi_reason decode_entry(const struct vi_vtd *m, uint64_t lo, uint64_t hi, struct vi_translation *ret)
{
	unsigned type = (unsigned)vi_field(lo, VTD_CONTEXT_LO_TT),
		 aw = (unsigned)vi_field(hi, VTD_CONTEXT_HI_AW);
	unsigned bits = 30 + 9 * aw;

	ret->silent = lo & VTD_CONTEXT_LO_FPD;
	if (!(lo & VTD_CONTEXT_LO_P))
		return VTD_FR_CONTEXT_NOT_PRESENT;
	if ((lo & VTD_CONTEXT_LO_RSVD) || (hi & VTD_CONTEXT_HI_RSVD) ||
	    (type != VTD_TT_PASS_THROUGH && lo & beyond_host(m))) /* pass-through ignores the pointer */
		return VTD_FR_CONTEXT_RESERVED;
	if (type > VTD_TT_PASS_THROUGH || (type == VTD_TT_DEVICE_TLB && !(m->ecap & VTD_ECAP_DT)) ||
	    (type == VTD_TT_PASS_THROUGH && !(m->ecap & VTD_ECAP_PT)) || !is_width_supported(m, aw))
		return VTD_FR_CONTEXT_INVALID;
	ret->has_domain = true;
	ret->domain_id = (uint16_t)vi_field(hi, VTD_CONTEXT_HI_DID);
	ret->last = VI_BITS(vi_min(bits, m->guest_address_width) - 1, 0);
	if (type == VTD_TT_PASS_THROUGH) {
		/* Not AW and MGAW, which belong to tables: a passed-through address is a host address
		 * (LGN.1, 7.1.3: reason 4 above the host address width). */
		ret->last = VI_BITS(m->unit->address_width - 1, 0);
		ret->kind = VI_TRANSLATION_IDENTITY;
		ret->guarded = atomic_load_explicit(&m->protecting, memory_order_acquire);
		return 0;
	}
	ret->kind = VI_TRANSLATION_BY_TRANSLATOR;
	ret->translator = vi_translator_of_tables(&(struct vi_pgtable){
		.format = &vi_pgtable_vtd_second_stage,
		.root = lo & VTD_CONTEXT_LO_SSPTPTR,
		.levels = (uint8_t)(2 + aw),
		.address_width = m->unit->address_width,
		.leaf_levels = m->leaf_levels,
	});
	return 0;
}

/* Without ECAP.PASID requests that carry one are blocked, as all that a context entry does not allow. */
static vi_reason resolve(const struct vi_vtd *m, uint16_t rid, uint32_t pasid, struct entries *e,
			 struct vi_translation *ret_translation)
{
	uint64_t table, words[2];
	vi_reason reason;

	if (!atomic_load_explicit(&m->translating, memory_order_acquire)) {
		*ret_translation = vi_translation_none();
		ret_translation->silent = true; /* faults are reported while translation is enabled (7.1) */
		ret_translation->guarded = atomic_load_explicit(&m->protecting, memory_order_acquire);
		return 0;
	}
	reason = find_context_table(m, (uint8_t)(rid >> 8), e, &table);
	if (reason)
		return reason;
	if (!read_entry(m, "context entry", table + (rid & 0xffu) * VTD_CONTEXT_ENTRY_SIZE, e, words))
		return VTD_FR_CONTEXT_TABLE_ACCESS;
	reason = decode_entry(m, words[0], words[1], ret_translation);
	return !reason && pasid != VIOMMU_NO_PASID ? VTD_FR_TT_BLOCKED : reason;
}

vi_reason vi_vtd_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	struct entries e = {.count = 0};

	return resolve(state, rid, pasid, &e, ret_translation);
}

vi_reason vi_vtd_describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			  struct viommu_requester_info *ret_info)
{
	struct entries e = {.count = 0};
	vi_reason reason = resolve(state, rid, pasid, &e, ret_translation);

	ret_info->entry_count = e.count;
	memcpy(ret_info->entries, e.list, sizeof(e.list));
	if (!reason && ret_translation->kind == VI_TRANSLATION_BY_TRANSLATOR) {
		ret_info->levels = ret_translation->translator.table.levels;
		ret_info->table = ret_translation->translator.table.root;
	}
	return reason;
}

/* Without device-TLBs, every type of context blocks requests of ATS (TT 00b, 10b). */
vi_reason vi_vtd_check_request(void *state, const struct vi_translation *t, unsigned access)
{
	(void)state;
	(void)t;
	return access & (VIOMMU_TRANSLATED | VIOMMU_TRANSLATION_REQUEST) ? VTD_FR_TT_BLOCKED : 0;
}

/* A top table that is not in memory is the context entry's fault, one below it a paging entry's. */
vi_reason vi_vtd_walk_reason(const struct vi_walk *w, bool write)
{
	if (w->result == VI_WALK_RESERVED)
		return VTD_FR_PTE_RESERVED;
	if (w->result == VI_WALK_TABLE_ACCESS)
		return w->top ? VTD_FR_CONTEXT_INVALID : VTD_FR_TABLE_ACCESS;
	return write ? VTD_FR_WRITE : VTD_FR_READ;
}
