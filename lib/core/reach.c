/* SPDX-License-Identifier: BSD-3-Clause */
/* Which memory a device can reach, read from the guest's tables. */
#include <errno.h>

#include "base/bits.h"
#include "core/unit.h"

/* Entries read under one hold of the unit lock. */
#define ENTRIES_AT_ONCE 4096

/* The range that is being joined; told when something does not continue it. */
struct teller {
	viommu_reach_fn fn;
	void *arg;
	uint64_t first, last, gpa;
	unsigned access; /* 0: nothing yet */
	int stopped;
};

static void flush(struct teller *t)
{
	if (t->access && !t->stopped)
		t->stopped = t->fn(t->arg, t->first, t->last, t->gpa, t->access);
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

/* What of iova first..last, which leads to `gpa`, is memory. */
static void tell_memory(struct viommu *v, struct teller *t, uint64_t first, uint64_t last, uint64_t gpa,
			unsigned access)
{
	while (first <= last && !t->stopped) {
		const struct vi_region *r = vi_guestmem_find_next(&v->mem, gpa);
		uint64_t skip, len;

		if (!r || (r->first > gpa && r->first - gpa > last - first))
			return;
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
			return;
		first += len;
		gpa += len;
	}
}

/* With the unit lock. One stretch of the tables; false when the end was reached. */
static bool tell_stretch(struct viommu *v, struct teller *t, const struct vi_context *c, uint64_t *io_iova,
			 uint64_t *io_max)
{
	uint64_t budget = vi_min(ENTRIES_AT_ONCE, *io_max), given = budget;
	enum vi_next_result result = VI_NEXT_FOUND;
	struct vi_leaf leaf;

	while (result == VI_NEXT_FOUND && !t->stopped && *io_iova <= c->last) {
		result = vi_pgtable_next(&c->table, &v->mem, io_iova, &budget, &leaf);
		if (result != VI_NEXT_FOUND)
			break;
		tell_memory(v, t, leaf.first, vi_min(leaf.last, c->last), leaf.address, leaf.access);
		*io_iova = leaf.last + 1;
	}
	*io_max -= given - budget;
	return result != VI_NEXT_END && !t->stopped && *io_iova <= c->last;
}

/* Protected regions begin and end at this granule or a larger one. */
#define PROTECTED_GRANULE UINT64_C(0x200000)

/* With the unit lock. All memory, but for what the model protects from untranslated accesses. */
static void tell_untranslated(struct viommu *v, struct teller *t, const struct vi_context *c)
{
	uint64_t end = vi_min(c->last, VI_BITS(v->address_width - 1, 0));

	if (!c->guarded) {
		tell_memory(v, t, 0, end, 0, VIOMMU_READ | VIOMMU_WRITE);
		return;
	}
	for (uint64_t first = 0; first <= end && !t->stopped; first += PROTECTED_GRANULE) {
		const struct vi_region *r = vi_guestmem_find_next(&v->mem, first);

		if (!r)
			return;
		first = vi_max(first, vi_align_down(r->first, PROTECTED_GRANULE));
		if (!v->model->is_protected(v->model_state, first, first + PROTECTED_GRANULE - 1))
			tell_memory(v, t, first, vi_min(end, first + PROTECTED_GRANULE - 1), first,
				    VIOMMU_READ | VIOMMU_WRITE);
	}
}

int viommu_reach(struct viommu_requester *r, uint64_t max_entries, viommu_reach_fn fn, void *arg)
{
	struct viommu *v = r->unit;
	struct vi_context c = {.kind = VI_CONTEXT_IDENTITY, .last = UINT64_MAX};
	struct teller t = {.fn = fn, .arg = arg};
	uint64_t iova = 0;
	bool more = true;

	pthread_mutex_lock(&v->lock);
	if (v->model && v->model->resolve(v->model_state, r->rid, &c) != 0) {
		pthread_mutex_unlock(&v->lock);
		return -ENOENT;
	}
	if (c.kind == VI_CONTEXT_IDENTITY) {
		tell_untranslated(v, &t, &c);
		more = false;
	}
	while (more && max_entries > 0) {
		more = tell_stretch(v, &t, &c, &iova, &max_entries);
		pthread_mutex_unlock(&v->lock); /* let the guest's invalidations through */
		pthread_mutex_lock(&v->lock);
	}
	flush(&t);
	pthread_mutex_unlock(&v->lock);
	if (t.stopped)
		return t.stopped;
	return more ? -E2BIG : 0;
}
