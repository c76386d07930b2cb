/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of regions: a top array of leaves, each a sorted array of regions.
 * A published leaf or top never changes. 65,536 regions are 256 full leaves,
 * so an update copies a few KiB and a look-up is two short binary searches.
 */
#include "guestmem/guestmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define REGIONS_PER_LEAF 256

struct part {
	struct vi_list retired; /* on vi_guestmem.retired once unpublished */
};

struct leaf {
	struct part part;
	unsigned count;
	struct vi_region regions[];
};

struct vi_region_map {
	struct part part;
	unsigned count;
	struct {
		uint64_t first; /* of the leaf's first region */
		struct leaf *leaf;
	} entries[];
};

static struct leaf *leaf_alloc(unsigned count)
{
	struct leaf *l = malloc(sizeof(*l) + count * sizeof(l->regions[0]));

	if (l)
		l->count = count;
	return l;
}

static struct vi_region_map *map_alloc(unsigned count)
{
	struct vi_region_map *m = malloc(sizeof(*m) + count * sizeof(m->entries[0]));

	if (m)
		m->count = count;
	return m;
}

static void retire(struct vi_guestmem *gm, struct part *p)
{
	vi_list_append(&gm->retired, &p->retired);
}

static struct vi_region_map *current(const struct vi_guestmem *gm)
{
	return atomic_load_explicit(&gm->map, memory_order_acquire);
}

int vi_guestmem_init(struct vi_guestmem *gm, const struct viommu_host_ops *ops, void *opaque)
{
	struct vi_region_map *empty = map_alloc(0);

	gm->slots = calloc(VI_GUESTMEM_SLOTS, sizeof(*gm->slots));
	if (!empty || !gm->slots) {
		free(empty);
		free(gm->slots);
		return -ENOMEM;
	}
	gm->slot_count = 1; /* 0 means none */
	gm->empty = empty;
	atomic_init(&gm->map, empty);
	gm->ops = ops;
	gm->opaque = opaque;
	gm->total = 0;
	vi_list_init(&gm->retired);
	return 0;
}

void vi_guestmem_reclaim(struct vi_guestmem *gm)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, &gm->retired)
		free(VI_CONTAINER_OF(node, struct part, retired));
	vi_list_init(&gm->retired);
	if (gm->total == 0)
		gm->slot_count = 1;
}

void vi_guestmem_finish(struct vi_guestmem *gm)
{
	struct vi_region_map *m = current(gm);

	vi_guestmem_reclaim(gm);
	for (unsigned i = 0; i < m->count; i++)
		free(m->entries[i].leaf);
	if (m != gm->empty)
		free(m);
	free(gm->empty);
	free(gm->slots);
}

#define SLOTS_SEARCHED 32 /* ranges of one mapping share an offset; more than a few offsets share nothing */

/* The slot for this host offset. */
static uint16_t slot_for(struct vi_guestmem *gm, const struct vi_region *region)
{
	uintptr_t offset = (uintptr_t)region->host - (uintptr_t)region->first;

	if (!region->host)
		return 0;
	for (unsigned i = 1; i < gm->slot_count && i <= SLOTS_SEARCHED; i++)
		if (atomic_load_explicit(&gm->slots[i], memory_order_relaxed) == offset)
			return (uint16_t)i;
	if (gm->slot_count == VI_GUESTMEM_SLOTS)
		return 0;
	atomic_store_explicit(&gm->slots[gm->slot_count], offset, memory_order_relaxed);
	return (uint16_t)gm->slot_count++;
}

/* Entries of `m` that begin at or before `gpa`. */
static unsigned count_leaves_upto(const struct vi_region_map *m, uint64_t gpa)
{
	unsigned low = 0, high = m->count;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (m->entries[mid].first <= gpa)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static unsigned count_regions_upto(const struct leaf *l, uint64_t gpa)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (l->regions[mid].first <= gpa)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The region with the largest `first` that is <= gpa. */
static const struct vi_region *last_upto(const struct vi_region_map *m, uint64_t gpa)
{
	unsigned i = count_leaves_upto(m, gpa);
	const struct leaf *l;

	if (i == 0)
		return NULL;
	l = m->entries[i - 1].leaf;
	return &l->regions[count_regions_upto(l, gpa) - 1];
}

const struct vi_region *vi_guestmem_find(const struct vi_guestmem *gm, uint64_t gpa)
{
	const struct vi_region *r = last_upto(current(gm), gpa);

	return r && gpa <= r->last ? r : NULL;
}

const struct vi_region *vi_guestmem_find_next(const struct vi_guestmem *gm, uint64_t gpa)
{
	const struct vi_region_map *m = current(gm);
	unsigned i = count_leaves_upto(m, gpa);

	if (i > 0) {
		const struct leaf *l = m->entries[i - 1].leaf;
		unsigned n = count_regions_upto(l, gpa);

		if (l->regions[n - 1].last >= gpa)
			return &l->regions[n - 1];
		if (n < l->count)
			return &l->regions[n];
	}
	return i < m->count ? &m->entries[i].leaf->regions[0] : NULL;
}

/*
 * The update both operations are made of: leaves at..at + drop - 1 give way to
 * `add` new ones. The new leaves are owned by the map afterwards.
 */
static int replace_leaves(struct vi_guestmem *gm, unsigned at, unsigned drop, struct leaf *const *leaves,
			  unsigned add)
{
	struct vi_region_map *old = current(gm);
	unsigned count = old->count - drop + add, n = at;
	struct vi_region_map *m = count ? map_alloc(count) : gm->empty;

	if (!m)
		return -ENOMEM;
	memcpy(m->entries, old->entries, at * sizeof(m->entries[0]));
	for (unsigned i = 0; i < add; i++, n++) {
		m->entries[n].first = leaves[i]->regions[0].first;
		m->entries[n].leaf = leaves[i];
	}
	memcpy(&m->entries[n], &old->entries[at + drop], (old->count - at - drop) * sizeof(m->entries[0]));
	atomic_store_explicit(&gm->map, m, memory_order_release);
	for (unsigned i = 0; i < drop; i++)
		retire(gm, &old->entries[at + i].leaf->part);
	if (old != gm->empty)
		retire(gm, &old->part);
	return 0;
}

/* The regions of `l` (NULL: none) with `region` put in at `at`, in one leaf or two. */
static unsigned leaves_with(const struct leaf *l, unsigned at, const struct vi_region *region,
			    struct leaf *ret_leaves[2])
{
	unsigned old = l ? l->count : 0, count = old + 1;
	unsigned half = count > REGIONS_PER_LEAF ? count / 2 : count;
	unsigned n = half < count ? 2 : 1;

	ret_leaves[0] = leaf_alloc(half);
	ret_leaves[1] = n == 2 ? leaf_alloc(count - half) : NULL;
	if (!ret_leaves[0] || (n == 2 && !ret_leaves[1])) {
		free(ret_leaves[0]);
		free(ret_leaves[1]);
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		struct leaf *to = ret_leaves[i >= half];

		to->regions[i < half ? i : i - half] = i == at ? *region : l->regions[i < at ? i : i - 1];
	}
	return n;
}

int vi_guestmem_add(struct vi_guestmem *gm, const struct vi_region *region)
{
	struct vi_region_map *m = current(gm);
	const struct vi_region *before = last_upto(m, region->last);
	unsigned i = count_leaves_upto(m, region->first), n;
	struct leaf *leaves[2], *old = NULL;
	struct vi_region added = *region;

	if (before && before->last >= region->first)
		return -EEXIST;
	if (i > 0)
		i--;
	if (m->count > 0)
		old = m->entries[i].leaf;
	added.slot = slot_for(gm, region);
	n = leaves_with(old, old ? count_regions_upto(old, region->first) : 0, &added, leaves);
	if (n == 0)
		return -ENOMEM;
	if (replace_leaves(gm, i, old ? 1 : 0, leaves, n) != 0) {
		free(leaves[0]);
		free(n == 2 ? leaves[1] : NULL);
		return -ENOMEM;
	}
	gm->total += region->last - region->first + 1;
	return 0;
}

/* What of `r` lies before or after first..last, written to `out`; how many pieces. */
static unsigned pieces_outside(const struct vi_region *r, uint64_t first, uint64_t last,
			       struct vi_region out[2])
{
	unsigned n = 0;

	if (r->last < first || r->first > last) {
		out[n++] = *r;
		return n;
	}
	if (r->first < first) {
		out[n] = *r;
		out[n++].last = first - 1;
	}
	if (r->last > last) {
		out[n] = *r;
		out[n].host = r->host ? r->host + (last + 1 - r->first) : NULL;
		out[n++].first = last + 1;
	}
	return n;
}

static uint64_t bytes_within(const struct leaf *l, uint64_t first, uint64_t last)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < l->count; i++) {
		const struct vi_region *r = &l->regions[i];

		if (r->first <= last && r->last >= first)
			bytes += vi_min(r->last, last) - vi_max(r->first, first) + 1;
	}
	return bytes;
}

static bool vanishes(const struct leaf *l, uint64_t first, uint64_t last)
{
	return l->regions[0].first >= first && l->regions[l->count - 1].last <= last;
}

/* One new leaf that keeps what lies outside first..last. */
static struct leaf *leaf_without(const struct leaf *l, uint64_t first, uint64_t last)
{
	struct leaf *kept = leaf_alloc(l->count + 1); /* one region may become two */
	unsigned n = 0;

	if (!kept)
		return NULL;
	for (unsigned i = 0; i < l->count; i++)
		n += pieces_outside(&l->regions[i], first, last, &kept->regions[n]);
	kept->count = n;
	return kept;
}

/* Move the upper half to a leaf of its own. */
static struct leaf *upper_half(struct leaf *l)
{
	unsigned half = l->count / 2;
	struct leaf *upper = leaf_alloc(l->count - half);

	if (!upper)
		return NULL;
	memcpy(upper->regions, &l->regions[half], upper->count * sizeof(upper->regions[0]));
	l->count = half;
	return upper;
}

/*
 * The leaves that change are a run; inside it all but the first and last vanish
 * whole. A hole in one region makes it two: then the run is that leaf alone.
 */
int64_t vi_guestmem_remove(struct vi_guestmem *gm, uint64_t first, uint64_t last)
{
	struct vi_region_map *m = current(gm);
	unsigned from = count_leaves_upto(m, first), to = count_leaves_upto(m, last), add = 0;
	struct leaf *leaves[2];
	uint64_t taken = 0;

	if (from > 0)
		from--;
	for (unsigned i = from; i < to; i++) {
		const struct leaf *l = m->entries[i].leaf;

		taken += bytes_within(l, first, last);
		if (vanishes(l, first, last))
			continue;
		leaves[add] = leaf_without(l, first, last);
		if (!leaves[add++])
			goto no_memory;
	}
	if (add == 1 && leaves[0]->count > REGIONS_PER_LEAF) {
		leaves[1] = upper_half(leaves[0]);
		if (!leaves[1])
			goto no_memory;
		add = 2;
	}
	if (taken == 0 || replace_leaves(gm, from, to - from, leaves, add) != 0) {
		while (add > 0)
			free(leaves[--add]);
		return taken == 0 ? 0 : -ENOMEM;
	}
	gm->total -= taken;
	return (int64_t)taken;

no_memory:
	while (add > 0)
		free(leaves[--add]);
	return -ENOMEM;
}
