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

static void tell(struct teller *t, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
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
		if (access & r->flags)
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
		tell_memory(v, &t, 0, c.last, 0, VIOMMU_READ | VIOMMU_WRITE);
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
