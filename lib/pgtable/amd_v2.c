/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest page tables of AMD-Vi, section 2.2.6. */
#include "base/bits.h"
#include "pgtable/pgtable.h"
#include "pgtable/walk.h"
#include "spec/amdvi_tables.h"

/* What is not the user's grants a device nothing. Who may write may read. */
static inline unsigned access_of(uint64_t entry)
{
	if (!(entry & AMDVI_GUEST_US))
		return 0;
	return VI_PGTABLE_READ | (entry & AMDVI_GUEST_RW ? VI_PGTABLE_WRITE : 0);
}

static inline uint64_t reserved_bits(const struct vi_pgtable *t, unsigned level, bool large)
{
	uint64_t reserved = AMDVI_GUEST_ADDR & ~VI_BITS(t->address_width - 1, 0);

	if (level >= AMDVI_GUEST_LEVEL_WITHOUT_PAGES)
		reserved |= AMDVI_GUEST_PS | AMDVI_GUEST_G;
	if (large)
		reserved |= AMDVI_GUEST_ADDR & ~AMDVI_GUEST_LARGE_PAT &
			    (vi_pgtable_page_size(t->format, level) - 1);
	return reserved;
}

/* Inlined in walk(), which is what this format is walked by. */
static inline __attribute__((always_inline)) struct vi_pte decode(const struct vi_pgtable *t, uint64_t entry,
								  unsigned level)
{
	struct vi_pte pte = {.kind = VI_PTE_NONE};
	bool large = level > 1 && (entry & AMDVI_GUEST_PS), leaf = level == 1 || large;

	if (!(entry & AMDVI_GUEST_P))
		return pte;
	pte.access = access_of(entry);
	if ((entry & reserved_bits(t, level, large)) || (leaf && !(t->leaf_levels & (1u << level)))) {
		pte.kind = VI_PTE_RESERVED;
		return pte;
	}
	pte.kind = leaf ? VI_PTE_LEAF : VI_PTE_TABLE;
	pte.address = entry & AMDVI_GUEST_ADDR & (large ? ~AMDVI_GUEST_LARGE_PAT : ~UINT64_C(0));
	pte.size_lg2 = (uint8_t)vi_pgtable_shift(t->format, level);
	pte.next = (uint8_t)(level - 1);
	return pte;
}

static struct vi_walk walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	struct vi_guestmem_cursor memory = {.gm = gm};

	return vi_walk_tables(&vi_pgtable_amd_v2, t, vi_walk_memory(&memory), iova, need, any);
}

/* With A and D set, so that a unit which sets them has nothing to write. */
static uint64_t encode_leaf(uint64_t address, unsigned level, unsigned access)
{
	return address | AMDVI_GUEST_P | AMDVI_GUEST_US | AMDVI_GUEST_A | AMDVI_GUEST_D |
	       (level > 1 ? AMDVI_GUEST_PS : 0) | (access & VI_PGTABLE_WRITE ? AMDVI_GUEST_RW : 0);
}

static uint64_t encode_table(uint64_t address, unsigned level)
{
	(void)level;
	return address | AMDVI_GUEST_P | AMDVI_GUEST_RW | AMDVI_GUEST_US | AMDVI_GUEST_A;
}

const struct vi_pgtable_format vi_pgtable_amd_v2 = {
	.name = "amd_v2",
	.max_levels = 5,
	.index_bits = 9,
	.has_present_bit = true,
	.decode = decode,
	.walk = walk,
	.encode_leaf = encode_leaf,
	.encode_table = encode_table,
};
