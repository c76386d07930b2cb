/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A translator with an exemption: addresses first..last are physical addresses as
 * they are, others belong to another translator, whose members this one has, too.
 */
#include "base/bits.h"
#include "core/translator.h"

#define BOTH	     (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define LARGEST_LEAF 30 /* log2 of bytes: what the IOTLB can keep at once */

static bool is_inside(const struct vi_exemption *e, uint64_t iova)
{
	return iova >= e->first && iova <= e->last;
}

/* Is the block of this size around iova all inside, or all outside? */
static bool is_of_one_side(const struct vi_exemption *e, uint64_t iova, unsigned size_lg2)
{
	uint64_t first = vi_align_down(iova, VI_BIT(size_lg2)), last = first + (VI_BIT(size_lg2) - 1);

	return (first >= e->first && last <= e->last) || last < e->first || first > e->last;
}

static unsigned size_of_one_side(const struct vi_exemption *e, uint64_t iova, unsigned size_lg2)
{
	while (size_lg2 > VI_PAGE_SHIFT && !is_of_one_side(e, iova, size_lg2))
		size_lg2--;
	return size_lg2;
}

static struct vi_walk walk_untranslated(const struct vi_exemption *e, uint64_t iova, unsigned access)
{
	struct vi_walk w = {.result = VI_WALK_OK, .access = access};

	w.size_lg2 = (uint8_t)size_of_one_side(e, iova, LARGEST_LEAF);
	w.address = vi_align_down(iova, VI_BIT(w.size_lg2));
	return w;
}

/* A leaf that reaches into the exemption is good for what of it lies around iova. */
static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	const struct vi_exemption *e = &t->exemption;
	unsigned size_lg2;
	struct vi_walk w;

	if (is_inside(e, iova))
		return walk_untranslated(e, iova, BOTH);
	if (iova > e->others_last)
		return (struct vi_walk){.result = VI_WALK_NOT_PRESENT};
	if (!vi_pgtable_grants(e->rights, need, any))
		return (struct vi_walk){.result = VI_WALK_DENIED};
	if (!e->others)
		return walk_untranslated(e, iova, e->rights);
	w = e->others->walk(t, gm, iova, any ? need & e->rights : need, any);
	if (w.result != VI_WALK_OK)
		return w;
	w.access &= e->rights;
	size_lg2 = size_of_one_side(e, iova, w.size_lg2);
	if (size_lg2 < w.size_lg2) {
		w.address += vi_align_down(iova, VI_BIT(size_lg2)) - vi_align_down(iova, VI_BIT(w.size_lg2));
		w.size_lg2 = (uint8_t)size_lg2;
		w.piece = true;
	}
	return w;
}

static enum vi_next_result next_of_others(const struct vi_translator *t, const struct vi_guestmem *gm,
					  uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	enum vi_next_result result = VI_NEXT_FOUND;

	if (!t->exemption.rights)
		return VI_NEXT_END;
	if (t->exemption.others) {
		result = t->exemption.others->next(t, gm, io_iova, io_budget, ret_leaf);
	} else {
		*io_budget -= *io_budget > 0;
		*ret_leaf = (struct vi_leaf){.last = t->exemption.others_last, .access = BOTH};
	}
	ret_leaf->access &= t->exemption.rights;
	return result;
}

static void cut(struct vi_leaf *leaf, uint64_t first, uint64_t last)
{
	if (leaf->first < first) {
		leaf->address += first - leaf->first;
		leaf->first = first;
	}
	leaf->last = vi_min(leaf->last, last);
}

/* Below the exemption, in it, and above it. */
static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	const struct vi_exemption *e = &t->exemption;
	enum vi_next_result result;

	if (*io_iova < e->first) {
		result = next_of_others(t, gm, io_iova, io_budget, ret_leaf);
		if (result == VI_NEXT_BUDGET && *io_iova < e->first)
			return result;
		if (result == VI_NEXT_FOUND && ret_leaf->first < e->first) {
			cut(ret_leaf, 0, e->first - 1);
			return result;
		}
		*io_iova = e->first;
	}
	if (*io_iova <= e->last) {
		*io_budget -= *io_budget > 0;
		*ret_leaf = (struct vi_leaf){
			.first = e->first, .last = e->last, .address = e->first, .access = BOTH};
		return VI_NEXT_FOUND;
	}
	result = next_of_others(t, gm, io_iova, io_budget, ret_leaf);
	if (result == VI_NEXT_FOUND)
		cut(ret_leaf, e->last + 1, UINT64_MAX);
	return result;
}

struct vi_translator vi_translator_with_exemption(const struct vi_translator *inner,
						  const struct vi_exemption *e)
{
	static const struct vi_translator_ops ops = {.walk = walk, .next = next};
	struct vi_translator t = inner ? *inner : (struct vi_translator){.ops = NULL};

	t.exemption = *e;
	t.exemption.others = t.ops;
	t.ops = &ops;
	return t;
}
