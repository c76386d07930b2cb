/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The walk itself, for who instantiates it: for a format that is a constant the
 * compiler makes a walk of its own, without a call for each entry. Nobody else
 * includes this.
 */
#ifndef PGTABLE_WALK_H
#define PGTABLE_WALK_H

#include "base/bits.h"
#include "pgtable/pgtable.h"

/*
 * May the walk go on from a table entry of this level to the table that it names?
 * Levels only fall, whatever a format makes of the entry, so that each walk ends.
 * Bits of the iova that belong to levels which the entry skips must be 0: there
 * is one table for all of the level below, not for each value of them.
 */
static inline bool vi_walk_leads_on(const struct vi_pte *pte, unsigned level)
{
	return pte->next > 0 && pte->next < level;
}

static inline bool vi_walk_skips(const struct vi_pgtable_format *f, const struct vi_pte *pte, unsigned level,
				 uint64_t iova)
{
	return pte->next + 1u < level &&
	       (iova & VI_BITS(vi_pgtable_shift(f, level) - 1, vi_pgtable_shift(f, pte->next + 1u))) != 0;
}

/*
 * The order of checks of an entry is VT-d's (7.1.3): the right that is asked for,
 * then reserved bits. So an entry that lacks the right is refused for that,
 * whatever else is wrong with it. Where a bit says that the entry is there, all
 * of the entry comes before its rights, as in page walks of CPUs.
 */
static inline enum vi_walk_result vi_walk_judge(const struct vi_pgtable_format *f, const struct vi_pte *pte,
						unsigned level, bool granted)
{
	if (pte->kind == VI_PTE_NONE)
		return f->has_present_bit ? VI_WALK_NOT_PRESENT : VI_WALK_DENIED;
	if (!granted && !f->has_present_bit)
		return VI_WALK_DENIED;
	if (pte->kind == VI_PTE_RESERVED)
		return VI_WALK_RESERVED;
	if (pte->kind == VI_PTE_BAD_LEVEL || (pte->kind == VI_PTE_TABLE && !vi_walk_leads_on(pte, level)))
		return VI_WALK_BAD_LEVEL;
	return granted ? VI_WALK_OK : VI_WALK_DENIED;
}

static inline bool vi_walk_load(void *arg, uint64_t address, uint64_t *ret_entry)
{
	return vi_guestmem_load64_near(arg, address, ret_entry);
}

static inline struct vi_pgtable_source vi_walk_memory(struct vi_guestmem_cursor *memory)
{
	return (struct vi_pgtable_source){.load = vi_walk_load, .arg = memory};
}

/* `f` is the format of `t`, and a constant where the walk is to be made for it. */
static inline __attribute__((always_inline)) struct vi_walk
vi_walk_tables(const struct vi_pgtable_format *f, const struct vi_pgtable *t, struct vi_pgtable_source source,
	       uint64_t iova, unsigned need, bool any)
{
	struct vi_walk w = {.access = VI_PGTABLE_READ | VI_PGTABLE_WRITE, .level = t->levels, .top = true};
	uint64_t table = t->root;

	for (;; w.top = false) {
		uint64_t entry, at = vi_pgtable_entry_gpa(f, table, iova, w.level);
		struct vi_pte pte;

		w.reads++;
		w.result = VI_WALK_TABLE_ACCESS;
		if (!source.load(source.arg, at, &entry)) {
			w.address = at;
			return w;
		}
		pte = f->decode(t, entry, w.level);
		w.access &= pte.access;
		w.result = vi_walk_judge(f, &pte, w.level, vi_pgtable_grants(w.access, need, any));
		if (w.result != VI_WALK_OK)
			return w;
		if (pte.kind == VI_PTE_LEAF) {
			w.address = pte.address;
			w.size_lg2 = pte.size_lg2;
			return w;
		}
		w.result = VI_WALK_BAD_LEVEL;
		if (vi_walk_skips(f, &pte, w.level, iova))
			return w;
		table = pte.address;
		w.level = pte.next;
	}
}

#endif
