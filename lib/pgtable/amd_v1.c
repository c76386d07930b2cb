/* SPDX-License-Identifier: BSD-3-Clause */
/* Host page tables of AMD-Vi, section 2.2.3. */
#include "base/bits.h"
#include "pgtable/pgtable.h"
#include "pgtable/walk.h"
#include "spec/amdvi_tables.h"

static inline unsigned access_of(uint64_t entry)
{
	return (entry & AMDVI_PTE_IR ? VI_PGTABLE_READ : 0) | (entry & AMDVI_PTE_IW ? VI_PGTABLE_WRITE : 0);
}

static inline bool is_beyond(const struct vi_pgtable *t, uint64_t address)
{
	return (address & ~VI_BITS(t->address_width - 1, 0)) != 0;
}

/* The address has no bits above 51, so that without a 0 in it bit 52 is the first. */
static inline unsigned encoded_size_lg2(uint64_t entry)
{
	return (unsigned)__builtin_ctzll(~((entry & AMDVI_PTE_ADDR) | VI_BITS(11, 0))) + 1;
}

/* A size that the entry names is larger than the default of its level, and smaller than that of the next. */
static inline bool is_size_of_level(const struct vi_pgtable *t, unsigned level, bool sized, unsigned size_lg2)
{
	if (level >= AMDVI_LEVEL_WITHOUT_PAGES || !(t->leaf_levels & (1u << level)))
		return false;
	return !sized || (size_lg2 > vi_pgtable_shift(t->format, level) &&
			  size_lg2 < vi_pgtable_shift(t->format, level + 1));
}

/* Address bits below the size are part of its encoding or ignored. */
static inline void decode_leaf(const struct vi_pgtable *t, uint64_t entry, unsigned level, bool sized,
			       struct vi_pte *io_pte)
{
	unsigned size_lg2 = sized ? encoded_size_lg2(entry) : vi_pgtable_shift(t->format, level);
	uint64_t last_offset = VI_BIT(size_lg2) - 1;

	io_pte->size_lg2 = (uint8_t)size_lg2;
	io_pte->address = entry & AMDVI_PTE_ADDR & ~last_offset;
	io_pte->kind = VI_PTE_LEAF;
	if (entry & AMDVI_PTE_PAGE_RSVD)
		io_pte->kind = VI_PTE_RESERVED;
	else if (!is_size_of_level(t, level, sized, size_lg2))
		io_pte->kind = VI_PTE_BAD_LEVEL;
	else if (is_beyond(t, io_pte->address | last_offset))
		io_pte->kind = VI_PTE_RESERVED;
}

/* Inlined in walk(), which is what this format is walked by. */
static inline __attribute__((always_inline)) struct vi_pte decode(const struct vi_pgtable *t, uint64_t entry,
								  unsigned level)
{
	struct vi_pte pte = {.kind = VI_PTE_NONE};

	if (!(entry & AMDVI_PTE_PR))
		return pte;
	pte.access = access_of(entry);
	pte.next = (uint8_t)vi_field(entry, AMDVI_PTE_NEXT_LEVEL);
	if (pte.next == AMDVI_NEXT_LEVEL_PAGE || pte.next == AMDVI_NEXT_LEVEL_SIZED_PAGE) {
		decode_leaf(t, entry, level, pte.next == AMDVI_NEXT_LEVEL_SIZED_PAGE, &pte);
		return pte;
	}
	pte.address = entry & AMDVI_PTE_ADDR;
	pte.kind = entry & AMDVI_PTE_TABLE_RSVD || is_beyond(t, pte.address) ? VI_PTE_RESERVED : VI_PTE_TABLE;
	return pte;
}

static struct vi_walk walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	struct vi_guestmem_cursor memory = {.gm = gm};

	return vi_walk_tables(&vi_pgtable_amd_v1, t, vi_walk_memory(&memory), iova, need, any);
}

static uint64_t encode_leaf(uint64_t address, unsigned level, unsigned access)
{
	(void)level;
	return address | AMDVI_PTE_PR | (access & VI_PGTABLE_READ ? AMDVI_PTE_IR : 0) |
	       (access & VI_PGTABLE_WRITE ? AMDVI_PTE_IW : 0);
}

static uint64_t encode_table(uint64_t address, unsigned level)
{
	return address | AMDVI_PTE_PR | vi_to_field(AMDVI_PTE_NEXT_LEVEL, level - 1) | AMDVI_PTE_IR |
	       AMDVI_PTE_IW;
}

const struct vi_pgtable_format vi_pgtable_amd_v1 = {
	.name = "amd_v1",
	.max_levels = 6,
	.index_bits = 9,
	.has_present_bit = true,
	.decode = decode,
	.walk = walk,
	.encode_leaf = encode_leaf,
	.encode_table = encode_table,
};
