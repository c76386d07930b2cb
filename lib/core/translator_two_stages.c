/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page tables of two stages. The first is walked as any tables are, but for where
 * its entries lie: each address of it goes through the second.
 */
#include "base/bits.h"
#include "core/translator.h"

/* The memory that the first stage sees. */
struct inner_memory {
	const struct vi_two_stages *stages;
	const struct vi_guestmem *gm;
	struct vi_walk last; /* of the second stage, for the entry that was loaded last */
	unsigned reads;	     /* by the second stage */
	uint64_t *io_budget; /* NULL: not limited but by the levels */
};

static struct vi_walk walk_second(const struct vi_two_stages *s, const struct vi_guestmem *gm,
				  uint64_t address, unsigned need, bool any)
{
	if (address > vi_pgtable_last(&s->second))
		return (struct vi_walk){.result = VI_WALK_BEYOND, .level = s->second.levels, .top = true};
	return vi_pgtable_walk(&s->second, gm, address, need, any);
}

static uint64_t address_in(const struct vi_walk *w, uint64_t iova)
{
	return w->address + (iova & (VI_BIT(w->size_lg2) - 1));
}

/* Tables of the first stage have to be readable by the second, whatever the access is. */
static bool load(void *arg, uint64_t address, uint64_t *ret_entry)
{
	struct inner_memory *m = arg;

	m->last = walk_second(m->stages, m->gm, address, VI_PGTABLE_READ, false);
	m->reads += m->last.reads;
	if (m->io_budget)
		*m->io_budget -= vi_min(*m->io_budget, m->last.reads);
	return m->last.result == VI_WALK_OK &&
	       vi_guestmem_load64(m->gm, address_in(&m->last, address), ret_entry);
}

/* The second stage refused what the first asked for. */
static struct vi_walk refused(const struct vi_walk *first, const struct vi_walk *second,
			      enum vi_walk_purpose purpose)
{
	struct vi_walk w = *second;

	w.stage = 2;
	w.purpose = (uint8_t)purpose;
	w.reads = first->reads;
	w.access &= first->access;
	return w;
}

/*
 * The page that the first stage leads to. Both leaves stand for the same bytes as
 * far as the smaller one reaches, and as far as the address in the larger one is
 * aligned. With `any` it has to be the same right in both stages.
 */
static struct vi_walk walk_page(const struct vi_two_stages *s, const struct vi_guestmem *gm,
				const struct vi_walk *first, uint64_t iova, unsigned need, bool any)
{
	uint64_t aligned = (uint64_t)__builtin_ctzll(first->address | VI_BIT(63)),
		 address = vi_align_down(address_in(first, iova), VI_PAGE_SIZE);
	struct vi_walk w = *first, second = walk_second(s, gm, address, any ? need & w.access : need, any);

	w.reads += second.reads;
	if (second.result != VI_WALK_OK)
		return refused(&w, &second, VI_WALK_FOR_PAGE);
	w.size_lg2 = (uint8_t)vi_min(vi_min(w.size_lg2, second.size_lg2), aligned);
	w.piece = w.size_lg2 < first->size_lg2;
	w.address = address_in(&second, vi_align_down(address, VI_BIT(w.size_lg2)));
	w.access &= second.access;
	w.stage = 2;
	return w;
}

static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	struct inner_memory m = {.stages = &t->stages, .gm = gm};
	const struct vi_pgtable_source source = {.load = load, .arg = &m};
	struct vi_walk w = vi_pgtable_walk_from(&t->stages.first, &source, iova, need, any);

	w.stage = 1;
	w.reads += m.reads;
	if (w.result == VI_WALK_OK)
		return walk_page(&t->stages, gm, &w, iova, need, any);
	if (w.result == VI_WALK_TABLE_ACCESS && m.last.result != VI_WALK_OK)
		return refused(&w, &m.last, w.top ? VI_WALK_FOR_TOP_TABLE : VI_WALK_FOR_TABLE);
	return w;
}

/*
 * The second stage's first leaf at or after *io_address. Where the first stage has
 * used up the budget there is one step more, so that each call comes further.
 */
static enum vi_next_result next_second(struct inner_memory *m, uint64_t *io_address, struct vi_leaf *ret_leaf)
{
	const struct vi_pgtable *second = &m->stages->second;
	uint64_t given = vi_max(*m->io_budget, 1), left = given;
	enum vi_next_result result;

	if (*io_address > vi_pgtable_last(second))
		return VI_NEXT_END;
	result = vi_pgtable_next(second, m->gm, io_address, &left, ret_leaf);
	*m->io_budget -= vi_min(*m->io_budget, given - left);
	return result;
}

/*
 * The first part of the first stage's leaf, from `iova` on, that one leaf of the
 * second stands for. *ret_last is the last iova of that part; or, without one (false), the last that was
 * looked at.
 */
static bool next_part(struct inner_memory *m, const struct vi_leaf *first, uint64_t iova,
		      struct vi_leaf *ret_part, uint64_t *ret_last)
{
	uint64_t begin = first->address + (iova - first->first), end = begin + (first->last - iova),
		 address = begin;
	struct vi_leaf leaf;
	enum vi_next_result result = next_second(m, &address, &leaf);

	*ret_last = first->last;
	if (result == VI_NEXT_BUDGET && address <= end)
		*ret_last = iova + (address - begin) - 1;
	if (result != VI_NEXT_FOUND || leaf.first > end)
		return false;
	address = vi_max(leaf.first, begin);
	end = vi_min(leaf.last, end);
	*ret_last = iova + (end - begin);
	*ret_part = (struct vi_leaf){.first = iova + (address - begin),
				     .last = *ret_last,
				     .address = leaf.address + (address - leaf.first),
				     .access = leaf.access & first->access};
	return true;
}

static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	struct inner_memory m = {.stages = &t->stages, .gm = gm, .io_budget = io_budget};
	const struct vi_pgtable_source source = {.load = load, .arg = &m};

	for (;;) {
		struct vi_leaf first, part;
		enum vi_next_result result =
			vi_pgtable_next_from(&t->stages.first, &source, io_iova, io_budget, &first);
		uint64_t last;

		if (result != VI_NEXT_FOUND)
			return result;
		if (next_part(&m, &first, vi_max(first.first, *io_iova), &part, &last) && part.access) {
			*io_iova = part.first;
			*ret_leaf = part;
			return VI_NEXT_FOUND;
		}
		if (last == UINT64_MAX)
			return VI_NEXT_END;
		*io_iova = last + 1;
	}
}

struct vi_translator vi_translator_of_two_stages(const struct vi_two_stages *stages)
{
	static const struct vi_translator_ops ops = {.walk = walk, .next = next};

	return (struct vi_translator){.ops = &ops, .stages = *stages};
}
