/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranges as a translator. */
#include "base/bits.h"
#include "core/iotlb.h"
#include "core/ranges.h"
#include "core/translator.h"

/*
 * The largest page that the IOTLB can keep, lies in the range and is aligned on
 * both sides. Never larger than that page, so that it is no piece of a leaf: who
 * takes a range away names all of it in the invalidation, and a page that is
 * dropped stands for no other.
 */
static uint8_t size_lg2_at(const struct vi_range *r, uint64_t iova)
{
	for (unsigned class = VI_IOTLB_CLASSES - 1; class > 0; class --) {
		uint64_t size = VI_BIT(vi_iotlb_shift(class)), first = vi_align_down(iova, size);

		if (first >= r->first && first + (size - 1) <= r->last &&
		    vi_is_aligned(r->address + (first - r->first), size))
			return (uint8_t)vi_iotlb_shift(class);
	}
	return VI_PAGE_SHIFT;
}

static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	struct vi_walk w = {.result = VI_WALK_DENIED, .level = 1, .top = true};
	struct vi_range r;

	(void)gm;
	if (!vi_ranges_find_next(t->ranges, iova, &r) || r.first > iova)
		return w;
	w.access = r.rights;
	if (!vi_pgtable_grants(r.rights, need, any))
		return w;
	w.result = VI_WALK_OK;
	w.size_lg2 = size_lg2_at(&r, iova);
	w.address = r.address + (vi_align_down(iova, VI_BIT(w.size_lg2)) - r.first);
	return w;
}

static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	struct vi_range r;

	(void)gm;
	while (vi_ranges_find_next(t->ranges, *io_iova, &r)) {
		if (*io_budget == 0)
			return VI_NEXT_BUDGET;
		--*io_budget;
		if (r.rights) {
			*ret_leaf = (struct vi_leaf){r.first, r.last, r.address, r.rights};
			return VI_NEXT_FOUND;
		}
		if (r.last == UINT64_MAX)
			break;
		*io_iova = r.last + 1;
	}
	return VI_NEXT_END;
}

struct vi_translator vi_translator_of_ranges(struct vi_ranges *ranges)
{
	static const struct vi_translator_ops ops = {.walk = walk, .next = next};

	return (struct vi_translator){.ops = &ops, .ranges = ranges};
}
