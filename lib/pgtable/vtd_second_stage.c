/* SPDX-License-Identifier: BSD-3-Clause */
/* Second-stage paging entries of VT-d, section 9.8. */
#include "base/bits.h"
#include "pgtable/pgtable.h"
#include "pgtable/walk.h"
#include "spec/vtd_tables.h"

static unsigned access_of(uint64_t entry)
{
	unsigned access = 0;

	if (entry & VTD_SS_R)
		access |= VI_PGTABLE_READ;
	if (entry & VTD_SS_W)
		access |= VI_PGTABLE_WRITE;
	return access;
}

/*
 * Bits 6..3 and 10..8, 61..52 are ignored, X (2) too without execute support;
 * SNP (11) and TM (62) are reserved where ECAP.SC and ECAP.DT are clear, SNP
 * in any case in entries that point to tables; PS (7) is ignored at level 1.
 */
static uint64_t reserved_bits(const struct vi_pgtable *t, unsigned level, bool leaf)
{
	uint64_t reserved = VTD_SS_SNP | VTD_SS_TM | (VTD_SS_ADDR & ~VI_BITS(t->address_width - 1, 0));

	if (leaf)
		reserved |= VTD_SS_ADDR & (vi_pgtable_page_size(t->format, level) - 1);
	return reserved;
}

/* Inlined in walk(), which is what this format is walked by. */
static inline __attribute__((always_inline)) struct vi_pte decode(const struct vi_pgtable *t, uint64_t entry,
								  unsigned level)
{
	struct vi_pte pte = {.kind = VI_PTE_NONE, .access = access_of(entry)};
	bool page_size = level > 1 && (entry & VTD_SS_PS);
	bool leaf = level == 1 || page_size;

	if (pte.access == 0)
		return pte;
	if ((entry & reserved_bits(t, level, leaf)) || (leaf && !(t->leaf_levels & (1u << level)))) {
		pte.kind = VI_PTE_RESERVED;
		return pte;
	}
	pte.kind = leaf ? VI_PTE_LEAF : VI_PTE_TABLE;
	pte.address = entry & VTD_SS_ADDR;
	pte.size_lg2 = (uint8_t)vi_pgtable_shift(t->format, level);
	pte.next = (uint8_t)(level - 1);
	return pte;
}

static struct vi_walk walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	struct vi_guestmem_cursor memory = {.gm = gm};

	return vi_walk_tables(&vi_pgtable_vtd_second_stage, t, vi_walk_memory(&memory), iova, need, any);
}

static uint64_t encode_leaf(uint64_t address, unsigned level, unsigned access)
{
	return address | (level > 1 ? VTD_SS_PS : 0) | (access & VI_PGTABLE_READ ? VTD_SS_R : 0) |
	       (access & VI_PGTABLE_WRITE ? VTD_SS_W : 0);
}

static uint64_t encode_table(uint64_t address, unsigned level)
{
	(void)level;
	return address | VTD_SS_R | VTD_SS_W;
}

const struct vi_pgtable_format vi_pgtable_vtd_second_stage = {
	.name = "vtd_second_stage",
	.max_levels = 4,
	.index_bits = 9,
	.decode = decode,
	.walk = walk,
	.encode_leaf = encode_leaf,
	.encode_table = encode_table,
};
