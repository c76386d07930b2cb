/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bits.h"
#include "pgtable/pgtable.h"
#include "pgtable/walk.h"

struct vi_walk vi_pgtable_walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			       unsigned need, bool any)
{
	struct vi_guestmem_cursor memory = {.gm = gm};

	if (t->format->walk)
		return t->format->walk(t, gm, iova, need, any);
	return vi_walk_tables(t->format, t, vi_walk_memory(&memory), iova, need, any);
}

struct vi_walk vi_pgtable_walk_from(const struct vi_pgtable *t, const struct vi_pgtable_source *source,
				    uint64_t iova, unsigned need, bool any)
{
	return vi_walk_tables(t->format, t, *source, iova, need, any);
}

/* Walk down to what covers `iova`: *ret_level is where it ended, the leaf is filled in if there is one. */
static bool leaf_at(const struct vi_pgtable *t, const struct vi_pgtable_source *source, uint64_t iova,
		    uint64_t *io_budget, unsigned *ret_level, struct vi_leaf *ret_leaf)
{
	uint64_t table = t->root, entry;
	unsigned access = VI_PGTABLE_READ | VI_PGTABLE_WRITE;

	for (unsigned level = t->levels;;) {
		struct vi_pte pte;

		*ret_level = level;
		*io_budget -= *io_budget > 0;
		if (!source->load(source->arg, vi_pgtable_entry_gpa(t->format, table, iova, level), &entry))
			return false;
		pte = t->format->decode(t, entry, level);
		access &= pte.access;
		if (access == 0 || vi_walk_judge(t->format, &pte, level, true) != VI_WALK_OK)
			return false;
		if (pte.kind == VI_PTE_LEAF) {
			uint64_t size = vi_pgtable_page_size(t->format, level);

			ret_leaf->first = vi_align_down(iova, size);
			ret_leaf->last = ret_leaf->first + size - 1;
			ret_leaf->address = pte.address + (ret_leaf->first & (VI_BIT(pte.size_lg2) - 1));
			ret_leaf->access = access;
			return true;
		}
		if (vi_walk_skips(t->format, &pte, level, iova))
			return false;
		table = pte.address;
		level = pte.next;
	}
}

enum vi_next_result vi_pgtable_next(const struct vi_pgtable *t, const struct vi_guestmem *gm,
				    uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	struct vi_guestmem_cursor memory = {.gm = gm};
	const struct vi_pgtable_source source = vi_walk_memory(&memory);

	return vi_pgtable_next_from(t, &source, io_iova, io_budget, ret_leaf);
}

enum vi_next_result vi_pgtable_next_from(const struct vi_pgtable *t, const struct vi_pgtable_source *source,
					 uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	uint64_t iova = *io_iova, last = vi_pgtable_last(t);

	while (iova <= last) {
		uint64_t size;
		unsigned level = 0;

		*io_iova = iova;
		if (*io_budget == 0)
			return VI_NEXT_BUDGET;
		if (leaf_at(t, source, iova, io_budget, &level, ret_leaf))
			return VI_NEXT_FOUND;
		size = vi_pgtable_page_size(t->format, level);
		if (last - vi_align_down(iova, size) < size)
			break;
		iova = vi_align_down(iova, size) + size;
	}
	*io_iova = last < UINT64_MAX ? last + 1 : last;
	return VI_NEXT_END;
}
