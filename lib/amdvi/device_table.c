/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a device id to its translation: device table, 2.2.2. Runs on device threads.
 *
 * The two words about memory are read as of one moment. A guest that writes them one
 * after the other, as Linux does, shows the words of two entries meanwhile; what is
 * cached by such a pair goes with INVALIDATE_DEVTAB_ENTRY (core/context.h).
 */
#include <string.h>

#include "amdvi/amdvi.h"
#include "base/bits.h"
#include "pgtable/pgtable.h"

/* Levels 1 to 5: of level 6 an entry is always a directory. */
#define LEAF_LEVELS 0x3e

bool vi_amdvi_find_entry(const struct vi_amdvi *m, uint16_t rid, uint64_t *ret_gpa)
{
	unsigned segments_lg2 = (unsigned)vi_field(vi_amdvi_control(m), AMDVI_CONTROL_DEV_TAB_SEG_EN);
	unsigned segment = (unsigned)rid >> (16 - segments_lg2);
	uint32_t offset = (rid & (0xffffu >> segments_lg2)) * AMDVI_DTE_SIZE;
	uint64_t base = atomic_load_explicit(&m->device_table[segment], memory_order_acquire);

	if (offset >= (vi_field(base, AMDVI_DEV_TAB_SIZE) + 1) * VI_PAGE_SIZE)
		return false;
	*ret_gpa = (base & AMDVI_DEV_TAB_ADDR) + offset;
	return true;
}

/* PPR, HAD and guest translation are not offered. */
#define RESERVED_WORD0                                                                                       \
	(AMDVI_DTE_RSVD0 | AMDVI_DTE_HAD | AMDVI_DTE_PPR | AMDVI_DTE_GIOV | AMDVI_DTE_GV | AMDVI_DTE_GLX |   \
	 AMDVI_DTE_GCR3_14_12)
#define RESERVED_WORD1 (AMDVI_DTE_RSVD1 | AMDVI_DTE_GCR3_30_15 | AMDVI_DTE_GCR3_51_31)

static vi_reason check_words(const struct vi_amdvi *m, const uint64_t words[2])
{
	unsigned mode = (unsigned)vi_field(words[0], AMDVI_DTE_MODE);

	if (words[0] & RESERVED_WORD0 || words[1] & RESERVED_WORD1 ||
	    vi_field(words[1], AMDVI_DTE_IO_CTL) == AMDVI_IO_CTL_RESERVED)
		return VI_AMDVI_DTE_RESERVED;
	if (words[0] & AMDVI_DTE_TV && mode > AMDVI_EFR_HATS_LEVELS + vi_field(m->efr, AMDVI_EFR_HATS))
		return VI_AMDVI_DTE_MODE;
	return 0;
}

static unsigned rights(const uint64_t words[2])
{
	if (!(words[0] & AMDVI_DTE_TV))
		return 0;
	return (words[0] & AMDVI_DTE_IR ? VIOMMU_READ : 0) | (words[0] & AMDVI_DTE_IW ? VIOMMU_WRITE : 0);
}

_Static_assert(VIOMMU_READ == VI_PGTABLE_READ && VIOMMU_WRITE == VI_PGTABLE_WRITE, "rights() is both");

static struct vi_pgtable tables(const struct vi_amdvi *m, const uint64_t words[2])
{
	return (struct vi_pgtable){
		.format = &vi_pgtable_amd_v1,
		.root = words[0] & AMDVI_DTE_ROOT,
		.levels = (uint8_t)vi_field(words[0], AMDVI_DTE_MODE),
		.address_width = m->unit->address_width,
		.leaf_levels = LEAF_LEVELS,
	};
}

/* The exclusion range, where it is one for this device. */
static bool find_exclusion(const struct vi_amdvi *m, const uint64_t words[2], struct vi_exemption *ret)
{
	uint64_t base = atomic_load_explicit(&m->exclusion_base, memory_order_acquire),
		 limit = atomic_load_explicit(&m->exclusion_limit, memory_order_acquire);

	if (!(base & AMDVI_EXCL_EN) || !(base & AMDVI_EXCL_ALLOW || words[1] & AMDVI_DTE_EX))
		return false;
	*ret = (struct vi_exemption){.first = base & AMDVI_EXCL_ADDR,
				     .last = (limit & AMDVI_EXCL_ADDR) | (VI_PAGE_SIZE - 1),
				     .rights = rights(words)};
	return ret->first <= ret->last;
}

/* Neither translated nor checked in the exclusion range; the entry's rights are those of all the rest. */
static void exempt(const struct vi_amdvi *m, const uint64_t words[2], struct vi_exemption *e,
		   struct vi_translation *t)
{
	struct vi_pgtable table = tables(m, words);
	struct vi_translator inner = vi_translator_of_tables(&table);

	e->others_last = t->last;
	t->kind = VI_TRANSLATION_BY_TRANSLATOR;
	t->last = vi_max(t->last, e->last);
	t->rights = VIOMMU_READ | VIOMMU_WRITE;
	t->translator = vi_translator_with_exemption(table.levels ? &inner : NULL, e);
}

/* V is set. */
static vi_reason decode(const struct vi_amdvi *m, const uint64_t words[2], struct vi_translation *t)
{
	struct vi_pgtable table = tables(m, words);
	struct vi_exemption exclusion;
	vi_reason reason;

	t->silent = words[1] & AMDVI_DTE_SA;
	t->domain_id = (uint16_t)vi_field(words[1], AMDVI_DTE_DOMAIN);
	reason = check_words(m, words);
	if (reason)
		return reason;
	t->has_domain = true;
	t->rights = rights(words);
	if (table.levels)
		t->last = vi_pgtable_last(&table);
	if (find_exclusion(m, words, &exclusion)) {
		exempt(m, words, &exclusion, t);
		return 0;
	}
	if (!(words[0] & AMDVI_DTE_TV))
		return VI_AMDVI_NOT_TRANSLATED;
	if (!table.levels)
		return 0;
	t->kind = VI_TRANSLATION_BY_TRANSLATOR;
	t->translator = vi_translator_of_tables(&table);
	return 0;
}

/* Does the entry have SE? For who records the events of the device. */
static void note_once(struct vi_amdvi *m, uint16_t rid, bool once)
{
	uint64_t bit = VI_BIT(rid % 64);
	_Atomic uint64_t *word = &m->once[rid / 64];

	if (((atomic_load_explicit(word, memory_order_relaxed) & bit) != 0) == once)
		return;
	if (once)
		atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
}

/* *ret_read: the words of *ret_entry about memory are in ret_words. */
static vi_reason resolve(struct vi_amdvi *m, uint16_t rid, uint32_t pasid, uint64_t *ret_entry,
			 uint64_t ret_words[2], bool *ret_read, struct vi_translation *ret_translation)
{
	vi_reason reason;

	*ret_read = false;
	if (!(atomic_load_explicit(&m->control, memory_order_acquire) & AMDVI_CONTROL_IOMMU_EN))
		return 0;
	if (!vi_amdvi_find_entry(m, rid, ret_entry))
		return VI_AMDVI_BEYOND_DEVICE_TABLE;
	if (!vi_guestmem_load128(&m->unit->mem, *ret_entry, ret_words))
		return VI_AMDVI_DTE_ACCESS;
	*ret_read = true;
	if (!(ret_words[0] & AMDVI_DTE_V))
		return 0;
	note_once(m, rid, ret_words[1] & AMDVI_DTE_SE);
	reason = decode(m, ret_words, ret_translation);
	/* Without guest translation there are no PASIDs. */
	return !reason && pasid != VIOMMU_NO_PASID ? VI_AMDVI_PASID : reason;
}

vi_reason vi_amdvi_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	uint64_t entry, words[2];
	bool read;

	return resolve(state, rid, pasid, &entry, words, &read, ret_translation);
}

static void tell_entry(const struct vi_amdvi *m, uint64_t gpa, const uint64_t words[2],
		       struct viommu_requester_info *info)
{
	uint64_t interrupts[2] = {0, 0};

	(void)vi_guestmem_load128(&m->unit->mem, gpa + 16, interrupts);
	info->entries[0] = (struct viommu_entry){.name = "device table entry",
						 .gpa = gpa,
						 .bytes = AMDVI_DTE_SIZE,
						 .words = {words[0], words[1], interrupts[0], interrupts[1]}};
	info->entry_count = 1;
}

vi_reason vi_amdvi_describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			    struct viommu_requester_info *ret_info)
{
	struct vi_amdvi *m = state;
	uint64_t entry, words[2];
	bool read;
	vi_reason reason = resolve(m, rid, pasid, &entry, words, &read, ret_translation);

	if (!read)
		return reason;
	tell_entry(m, entry, words, ret_info);
	if (!(words[0] & AMDVI_DTE_V))
		ret_info->translation = VIOMMU_TRANSLATION_PASS_THROUGH;
	if (!reason && words[0] & AMDVI_DTE_V) {
		ret_info->levels = (uint8_t)vi_field(words[0], AMDVI_DTE_MODE);
		ret_info->table = ret_info->levels ? words[0] & AMDVI_DTE_ROOT : 0;
	}
	return reason;
}

/* Devices have no IOTLBs of their own here (IotlbSup), whatever I says. */
vi_reason vi_amdvi_check_request(void *state, const struct vi_translation *t, unsigned access)
{
	(void)state;
	(void)t;
	if (access & VIOMMU_TRANSLATION_REQUEST)
		return VI_AMDVI_TRANSLATION_REQUEST;
	return access & VIOMMU_TRANSLATED ? VI_AMDVI_PRETRANSLATED : 0;
}

vi_reason vi_amdvi_walk_reason(const struct vi_walk *w, bool write)
{
	(void)write;
	switch (w->result) {
	case VI_WALK_NOT_PRESENT:
		return VI_AMDVI_NOT_PRESENT;
	case VI_WALK_RESERVED:
	case VI_WALK_BEYOND:
		return VI_AMDVI_PTE_RESERVED;
	case VI_WALK_BAD_LEVEL:
		return VI_AMDVI_PTE_LEVEL;
	case VI_WALK_TABLE_ACCESS:
		return VI_AMDVI_TABLE_ACCESS;
	case VI_WALK_DENIED:
	case VI_WALK_OK:
		break;
	}
	return VI_AMDVI_DENIED;
}
