/* SPDX-License-Identifier: BSD-3-Clause */
/* From what was refused to the event that tells of it: 2.5.2 to 2.5.9. */
#include <string.h>

#include "amdvi/amdvi.h"
#include "base/bits.h"

#define PR AMDVI_EVENT_PR
#define PE AMDVI_EVENT_PE
#define RZ AMDVI_EVENT_RZ
#define TR AMDVI_EVENT_TR
#define I  AMDVI_EVENT_I

#define HARDWARE      VI_BIT(57) /* AMDVI_EVENT_TYPE: AMDVI_HARDWARE_MASTER_ABORT */
#define REQUEST(type) ((uint64_t)(type) << 57)

static const struct {
	uint64_t flags; /* of the low half of the event, but for RW */
	const char *text;
} reasons[256] = {
	[VI_AMDVI_DTE_RESERVED] = {RZ, "reserved bits set in the device table entry"},
	[VI_AMDVI_DTE_MODE] = {0, "mode of the device table entry not supported"},
	[VI_AMDVI_DTE_INTERRUPT_RESERVED] = {I | RZ,
					     "reserved bits set in the device table entry's interrupt half"},
	[VI_AMDVI_NOT_PRESENT] = {0, "page not present"},
	[VI_AMDVI_DENIED] = {PR | PE, "no permission"},
	[VI_AMDVI_PTE_RESERVED] = {PR | RZ, "reserved bits set in a paging entry"},
	[VI_AMDVI_PTE_LEVEL] = {PR, "level or page size of a paging entry not valid"},
	[VI_AMDVI_BEYOND_LEVELS] = {0, "address beyond the levels of the page tables"},
	[VI_AMDVI_NOT_TRANSLATED] = {0, "translation not valid in the device table entry"},
	[VI_AMDVI_BEYOND_DEVICE_TABLE] = {0, "device beyond the device table"},
	[VI_AMDVI_LEADS_TO_MESSAGE] = {PR | PE, "page table leads to the interrupt address range"},
	[VI_AMDVI_PASID] = {0, "no address space for the PASID"},
	[VI_AMDVI_INTERRUPT_BEYOND_DEVICE_TABLE] = {I, "interrupt of a device beyond the device table"},
	[VI_AMDVI_INTERRUPT_ABORTED] = {I | PE, "interrupt not allowed by the device table entry"},
	[VI_AMDVI_INTERRUPT_BEYOND_TABLE] = {I, "interrupt beyond the interrupt table"},
	[VI_AMDVI_INTERRUPT_NOT_ENABLED] = {I, "interrupt table entry not enabled"},
	[VI_AMDVI_INTERRUPT_RESERVED] = {I | PR | RZ, "reserved bits or type in an interrupt table entry"},
	[VI_AMDVI_DTE_ACCESS] = {HARDWARE, "device table not in memory"},
	[VI_AMDVI_DTE_INTERRUPT_ACCESS] = {HARDWARE | I, "device table not in memory, for an interrupt"},
	[VI_AMDVI_TABLE_ACCESS] = {HARDWARE, "page table not in memory"},
	[VI_AMDVI_INTERRUPT_TABLE_ACCESS] = {HARDWARE | I, "interrupt table not in memory"},
	[VI_AMDVI_PRETRANSLATED] = {REQUEST(AMDVI_REQUEST_PRETRANSLATED),
				    "translated request of a device without an IOTLB"},
	[VI_AMDVI_TRANSLATION_REQUEST] = {REQUEST(AMDVI_REQUEST_TR_DISABLED) | TR,
					  "translation request of a device without an IOTLB"},
};

const char *vi_amdvi_reason_text(vi_reason reason)
{
	return reasons[reason].text ? reasons[reason].text : "unknown reason";
}

static unsigned code_of(vi_reason reason)
{
	return reason >> 4;
}

/* SA and SE are about page faults. */
bool vi_amdvi_is_never_silent(vi_reason reason)
{
	return code_of(reason) != AMDVI_IO_PAGE_FAULT;
}

static uint64_t bit_of(uint16_t rid)
{
	return VI_BIT(rid % 64);
}

void vi_amdvi_faults_tell_again(struct vi_amdvi *m, uint16_t rid)
{
	m->told[rid / 64] &= ~bit_of(rid);
}

void vi_amdvi_faults_tell_all_again(struct vi_amdvi *m)
{
	memset(m->told, 0, sizeof(m->told));
}

/* With SE a device's first page fault is told, until its entry is invalidated. */
static bool was_told(struct vi_amdvi *m, const struct vi_fault *f)
{
	bool told = m->told[f->rid / 64] & bit_of(f->rid);

	if (vi_amdvi_is_never_silent(f->reason) || reasons[f->reason].flags & I)
		return false;
	if (!(atomic_load_explicit(&m->once[f->rid / 64], memory_order_relaxed) & bit_of(f->rid)))
		return false;
	m->told[f->rid / 64] |= bit_of(f->rid);
	return told;
}

/* The domain, and with GN the PASID in its place. Events without either have reserved bits there. */
static uint64_t whose(const struct vi_fault *f)
{
	if (f->pasid != VIOMMU_NO_PASID)
		return AMDVI_EVENT_GN | vi_to_field(AMDVI_EVENT_DOMAIN, f->pasid & 0xffff) |
		       vi_to_field(AMDVI_EVENT_PASID_HI, f->pasid >> 16);
	if (code_of(f->reason) == AMDVI_IO_PAGE_FAULT || code_of(f->reason) == AMDVI_PAGE_TAB_HARDWARE_ERROR)
		return vi_to_field(AMDVI_EVENT_DOMAIN, f->domain_id);
	return 0;
}

/* What of tables cannot be read is told by its own address. */
static uint64_t where(const struct vi_amdvi *m, const struct vi_fault *f)
{
	uint64_t entry = f->entry;

	if (code_of(f->reason) == AMDVI_DEV_TAB_HARDWARE_ERROR && !vi_amdvi_find_entry(m, f->rid, &entry))
		return 0;
	return code_of(f->reason) == AMDVI_DEV_TAB_HARDWARE_ERROR ||
			       code_of(f->reason) == AMDVI_PAGE_TAB_HARDWARE_ERROR
		       ? entry
		       : f->iova;
}

static void record(struct vi_amdvi *m, const struct vi_fault *f)
{
	uint64_t flags = reasons[f->reason].flags;
	bool write = f->write && !(flags & (I | TR));

	if (was_told(m, f))
		return;
	vi_amdvi_event_record(m,
			      vi_to_field(AMDVI_EVENT_CODE, code_of(f->reason)) | flags | whose(f) |
				      (write ? AMDVI_EVENT_RW : 0) | f->rid,
			      where(m, f));
}

int vi_amdvi_faults_process(struct vi_amdvi *m, unsigned budget)
{
	struct vi_fault f;
	unsigned n;

	for (n = 0; n < budget && vi_fault_take(m->unit, &f); n++) {
		record(m, &f);
		vi_guest_error(m->unit, VIOMMU_GUEST_FAULT, &f, vi_amdvi_reason_text(f.reason));
	}
	return (int)n;
}
