/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An aperture: device addresses first..last go through a flat table of 32-bit
 * entries, one for each page; all others are physical addresses as they are.
 */
#include "base/bits.h"
#include "core/translator.h"

#define BOTH	     (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define ENTRY_SIZE   4
#define LARGEST_LEAF 30 /* log2 of bytes: what the IOTLB can keep at once */

static bool is_inside(const struct vi_aperture *a, uint64_t iova)
{
	return iova >= a->first && iova <= a->last;
}

static uint64_t entry_gpa(const struct vi_aperture *a, uint64_t iova)
{
	return a->table + ((iova - a->first) >> VI_PAGE_SHIFT) * ENTRY_SIZE;
}

/* By the aligned word of 8 bytes that it is half of: memory is read in those. */
static bool load(const struct vi_aperture *a, const struct vi_guestmem *gm, uint64_t iova,
		 uint32_t *ret_entry)
{
	uint64_t gpa = entry_gpa(a, iova), word;

	if (!vi_guestmem_load64(gm, vi_align_down(gpa, 8), &word))
		return false;
	*ret_entry = (uint32_t)(word >> (gpa % 8 * 8));
	return true;
}

static struct vi_walk walk_inside(const struct vi_aperture *a, const struct vi_guestmem *gm, uint64_t iova)
{
	struct vi_walk w = {.level = 1, .reads = 1, .top = true, .access = BOTH, .size_lg2 = VI_PAGE_SHIFT};
	uint32_t entry;

	if (!load(a, gm, iova, &entry))
		w.result = VI_WALK_TABLE_ACCESS;
	else
		w.result = a->decode(entry, &w.address) ? VI_WALK_OK : VI_WALK_DENIED;
	return w;
}

/* The largest block around iova that has nothing of the aperture in it, whatever is beyond that. */
static struct vi_walk walk_outside(const struct vi_aperture *a, uint64_t iova)
{
	struct vi_walk w = {.result = VI_WALK_OK, .access = BOTH, .size_lg2 = LARGEST_LEAF};

	while (w.size_lg2 > VI_PAGE_SHIFT) {
		uint64_t first = vi_align_down(iova, VI_BIT(w.size_lg2));

		if (a->last < first || a->first > first + (VI_BIT(w.size_lg2) - 1))
			break;
		w.size_lg2--;
	}
	w.address = vi_align_down(iova, VI_BIT(w.size_lg2));
	return w;
}

/* There are no rights in an aperture: what is there may be read and written. */
static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	(void)need;
	(void)any;
	return is_inside(&t->aperture, iova) ? walk_inside(&t->aperture, gm, iova)
					     : walk_outside(&t->aperture, iova);
}

static void tell(struct vi_leaf *ret_leaf, uint64_t first, uint64_t last, uint64_t address)
{
	*ret_leaf = (struct vi_leaf){.first = first, .last = last, .address = address, .access = BOTH};
}

static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	const struct vi_aperture *a = &t->aperture;
	uint64_t iova = *io_iova;

	for (; is_inside(a, iova); iova = vi_align_down(iova, VI_PAGE_SIZE) + VI_PAGE_SIZE) {
		uint64_t page = vi_align_down(iova, VI_PAGE_SIZE), address;
		uint32_t entry;

		*io_iova = iova;
		if (*io_budget == 0)
			return VI_NEXT_BUDGET;
		--*io_budget;
		if (load(a, gm, iova, &entry) && a->decode(entry, &address)) {
			tell(ret_leaf, page, page + VI_PAGE_SIZE - 1, address);
			return VI_NEXT_FOUND;
		}
	}
	*io_iova = iova;
	if (*io_budget == 0)
		return VI_NEXT_BUDGET;
	--*io_budget;
	if (iova < a->first)
		tell(ret_leaf, 0, a->first - 1, 0);
	else
		tell(ret_leaf, a->last + 1, UINT64_MAX, a->last + 1);
	return VI_NEXT_FOUND;
}

struct vi_translator vi_translator_of_aperture(const struct vi_aperture *aperture)
{
	static const struct vi_translator_ops ops = {.walk = walk, .next = next};

	return (struct vi_translator){.ops = &ops, .aperture = *aperture};
}
