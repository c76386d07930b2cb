/* SPDX-License-Identifier: BSD-3-Clause */
/* Which memory a device can reach, read from the guest's tables. */
#include <errno.h>

#include "base/bits.h"
#include "core/requester.h"
#include "core/unit.h"

/* Steps under one hold of the unit lock. */
#define ENTRIES_AT_ONCE 4096

/* The range that is being joined; told when something does not continue it. */
struct teller {
	viommu_reach_fn fn;
	void *arg;
	uint64_t first, last, gpa;
	unsigned access; /* 0: nothing yet */
	bool told;
	int stopped;
};

static void flush(struct teller *t)
{
	if (t->access && !t->stopped) {
		t->told = true;
		t->stopped = t->fn(t->arg, t->first, t->last, t->gpa, t->access);
	}
	t->access = 0;
}

static void join(struct teller *t, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	if (t->access == access && first == t->last + 1 && gpa == t->gpa + (first - t->first)) {
		t->last = last;
		return;
	}
	flush(t);
	t->first = first;
	t->last = last;
	t->gpa = gpa;
	t->access = access;
}

/* Without the interrupt range, where writes are messages. */
static void tell(struct teller *t, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	if (first < VI_MESSAGE_FIRST)
		join(t, first, vi_min(last, VI_MESSAGE_FIRST - 1), gpa, access);
	if (last > VI_MESSAGE_LAST) {
		uint64_t from = vi_max(first, VI_MESSAGE_LAST + 1);

		join(t, from, last, gpa + (from - first), access);
	}
}

/*
 * What of iova first..last, which leads to `gpa`, is memory. A region is a step; one is always
 * granted. Returns the iova to go on at: last + 1 when all of it was told.
 */
static uint64_t tell_memory(struct viommu *v, struct teller *t, uint64_t first, uint64_t last, uint64_t gpa,
			    unsigned access, uint64_t *io_budget)
{
	while (!t->stopped) {
		const struct vi_region *r = vi_guestmem_find_next(&v->mem, gpa);
		uint64_t skip, len;

		*io_budget -= *io_budget > 0;
		if (!r || (r->first > gpa && r->first - gpa > last - first))
			return last + 1;
		skip = r->first > gpa ? r->first - gpa : 0;
		first += skip;
		gpa += skip;
		len = vi_min(r->last - gpa, last - first) + 1;
		if (vi_is_message(gpa))
			len = vi_min(len, VI_MESSAGE_LAST + 1 - gpa);
		else if (gpa < VI_MESSAGE_FIRST)
			len = vi_min(len, VI_MESSAGE_FIRST - gpa);
		if (access & r->flags && !vi_is_message(gpa))
			tell(t, first, first + (len - 1), gpa, access & r->flags);
		if (len - 1 == last - first)
			return last + 1;
		first += len;
		gpa += len;
		if (*io_budget == 0)
			break;
	}
	return first;
}

/* These three tell from *io_iova on. False when the end was reached. */

static bool tell_paged(struct viommu *v, struct teller *t, const struct vi_translation *c, uint64_t *io_iova,
		       uint64_t *io_budget) VI_WITH(v->lock)
{
	*io_iova = vi_max(*io_iova, c->first);
	while (*io_iova <= c->last && !t->stopped) {
		struct vi_leaf leaf;
		enum vi_next_result result =
			c->translator.ops->next(&c->translator, &v->mem, io_iova, io_budget, &leaf);
		uint64_t first, last;

		if (result != VI_NEXT_FOUND)
			return result != VI_NEXT_END;
		if (leaf.first > c->last)
			return false;
		first = vi_max(leaf.first, *io_iova); /* a piece may have ended inside the leaf */
		last = vi_min(leaf.last, c->last);
		*io_iova = last + 1;
		if (leaf.access & c->rights)
			*io_iova = tell_memory(v, t, first, last, leaf.address + (first - leaf.first),
					       leaf.access & c->rights, io_budget);
		if (last == c->last && *io_iova == last + 1) /* which may have wrapped */
			return false;
	}
	return *io_iova <= c->last;
}

/* Protected regions begin and end at this granule or a larger one. */
#define PROTECTED_GRANULE UINT64_C(0x200000)

/* All memory, but for what the model protects from untranslated accesses. */
static bool tell_guarded(struct viommu *v, struct teller *t, const struct vi_translation *c, uint64_t end,
			 uint64_t *io_iova, uint64_t *io_budget) VI_WITH(v->lock)
{
	while (*io_iova <= end && *io_budget > 0 && !t->stopped) {
		const struct vi_region *r = vi_guestmem_find_next(&v->mem, *io_iova);
		uint64_t first, last, granule;

		if (!r)
			return false;
		first = vi_max(*io_iova, r->first);
		granule = vi_align_down(first, PROTECTED_GRANULE);
		last = vi_min(end, granule + PROTECTED_GRANULE - 1);
		*io_iova = last + 1;
		if (first > end ||
		    v->model->is_protected(v->model_state, granule, granule + PROTECTED_GRANULE - 1))
			--*io_budget;
		else
			*io_iova = tell_memory(v, t, first, last, first, c->rights, io_budget);
	}
	return *io_iova <= end;
}

static bool tell_untranslated(struct viommu *v, struct teller *t, const struct vi_translation *c,
			      uint64_t *io_iova, uint64_t *io_budget) VI_WITH(v->lock)
{
	uint64_t end = vi_min(c->last, VI_BITS(v->address_width - 1, 0));

	*io_iova = vi_max(*io_iova, c->first);
	if (*io_iova > end || !c->rights)
		return false;
	if (c->guarded)
		return tell_guarded(v, t, c, end, io_iova, io_budget);
	*io_iova = tell_memory(v, t, *io_iova, end, *io_iova, c->rights, io_budget);
	return *io_iova <= end;
}

/* 1: there is more, 0, or -ENOENT. */
static int tell_piece(struct viommu_requester *r, struct teller *t, uint64_t *io_iova, uint64_t *io_budget)
{
	const struct vi_model_ops *model = vi_requester_model(r);
	struct viommu *v = r->unit;
	struct vi_translation c = vi_translation_none();
	int ret = -ENOENT;

	vi_lock_take(&v->lock);
	if (!model || model->resolve(v->model_state, r->rid, r->pasid, &c) == 0) {
		ret = c.kind == VI_TRANSLATION_IDENTITY ? tell_untranslated(v, t, &c, io_iova, io_budget)
							: tell_paged(v, t, &c, io_iova, io_budget);
	}
	vi_lock_give(&v->lock);
	return ret;
}

int viommu_reach_some(struct viommu_requester *r, uint64_t *io_iova, uint64_t budget, viommu_reach_fn fn,
		      void *arg)
{
	struct teller t = {.fn = fn, .arg = arg};
	int ret;

	if (budget == 0)
		return -EINVAL;
	ret = tell_piece(r, &t, io_iova, &budget);
	flush(&t);
	return t.stopped ? t.stopped : ret;
}

/* Between two pieces the guest's invalidations come through; it may block the device there, too. */
int viommu_reach(struct viommu_requester *r, uint64_t max_entries, viommu_reach_fn fn, void *arg)
{
	struct teller t = {.fn = fn, .arg = arg};
	uint64_t iova = 0;
	int ret = 1;

	while (ret == 1 && max_entries > 0 && !t.stopped) {
		uint64_t given = vi_min(ENTRIES_AT_ONCE, max_entries), left = given;

		ret = tell_piece(r, &t, &iova, &left);
		max_entries -= given - left;
	}
	flush(&t);
	if (t.stopped)
		return t.stopped;
	return ret == 1 || (ret == -ENOENT && t.told) ? -E2BIG : ret;
}
