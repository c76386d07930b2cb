/* SPDX-License-Identifier: BSD-3-Clause */
#include "pgtable/pgtable.h"

#include "base/bits.h"

/*
 * May the walk go on from a table entry of this level to the table that it names?
 * Levels only fall, whatever a format makes of the entry, so that each walk ends.
 * Bits of the iova that belong to levels which the entry skips must be 0: there
 * is one table for all of the level below, not for each value of them.
 */
static bool leads_on(const struct vi_pgtable *t, const struct vi_pte *pte, unsigned level)
{
	return pte->next > 0 && pte->next < level;
}

static bool is_skipped(const struct vi_pgtable *t, const struct vi_pte *pte, unsigned level, uint64_t iova)
{
	unsigned low = vi_pgtable_shift(t->format, pte->next + 1u), high = vi_pgtable_shift(t->format, level);

	return low < high && (iova & VI_BITS(high - 1, low)) != 0;
}

static bool load_from_memory(void *arg, uint64_t address, uint64_t *ret_entry)
{
	return vi_guestmem_load64(arg, address, ret_entry);
}

static struct vi_pgtable_source memory_as_source(const struct vi_guestmem *gm)
{
	return (struct vi_pgtable_source){.load = load_from_memory, .arg = (void *)(uintptr_t)gm};
}

/*
 * The order of checks at a level is VT-d's (7.1.3): the entry is
 * fetched, then the right that is asked for, then reserved bits. So an entry
 * that lacks the right is refused for that, whatever else is wrong with it.
 *
 * Inlined, so that a walk in guest memory calls its loads directly.
 */
static inline __attribute__((always_inline)) struct vi_walk walk_tables(const struct vi_pgtable *t,
									struct vi_pgtable_source source,
									uint64_t iova, unsigned need,
									bool any)
{
	struct vi_walk w = {.access = VI_PGTABLE_READ | VI_PGTABLE_WRITE, .level = t->levels, .top = true};
	uint64_t table = t->root;

	for (;; w.top = false) {
		uint64_t entry;
		struct vi_pte pte;

		w.reads++;
		w.result = VI_WALK_TABLE_ACCESS;
		if (!source.load(source.arg, vi_pgtable_entry_gpa(t->format, table, iova, w.level), &entry))
			return w;
		pte = t->format->decode(t, entry, w.level);
		w.access &= pte.access;
		w.result = VI_WALK_DENIED;
		if (pte.kind == VI_PTE_NONE || !vi_pgtable_grants(w.access, need, any))
			return w;
		w.result = VI_WALK_RESERVED;
		if (pte.kind == VI_PTE_RESERVED || (pte.kind == VI_PTE_TABLE && !leads_on(t, &pte, w.level)))
			return w;
		if (pte.kind == VI_PTE_LEAF) {
			w.result = VI_WALK_OK;
			w.address = pte.address;
			w.size_lg2 = pte.size_lg2;
			return w;
		}
		w.result = VI_WALK_DENIED;
		if (is_skipped(t, &pte, w.level, iova))
			return w;
		table = pte.address;
		w.level = pte.next;
	}
}

struct vi_walk vi_pgtable_walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			       unsigned need, bool any)
{
	return walk_tables(t, memory_as_source(gm), iova, need, any);
}

struct vi_walk vi_pgtable_walk_from(const struct vi_pgtable *t, const struct vi_pgtable_source *source,
				    uint64_t iova, unsigned need, bool any)
{
	return walk_tables(t, *source, iova, need, any);
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
		if (pte.kind == VI_PTE_NONE || pte.kind == VI_PTE_RESERVED || access == 0)
			return false;
		if (pte.kind == VI_PTE_LEAF) {
			uint64_t size = UINT64_C(1) << pte.size_lg2;

			ret_leaf->first = vi_align_down(iova, size);
			ret_leaf->last = ret_leaf->first + size - 1;
			ret_leaf->address = pte.address;
			ret_leaf->access = access;
			return true;
		}
		if (!leads_on(t, &pte, level) || is_skipped(t, &pte, level, iova))
			return false;
		table = pte.address;
		level = pte.next;
	}
}

enum vi_next_result vi_pgtable_next(const struct vi_pgtable *t, const struct vi_guestmem *gm,
				    uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	const struct vi_pgtable_source source = memory_as_source(gm);

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
