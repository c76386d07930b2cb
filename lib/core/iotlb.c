/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol and its proof are in iotlb.h. */
#include "core/iotlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* Tag: asid 63..44, page number 43..4, class 3..2, valid 0. A 52-bit iova fits. */
#define TAG_VALID      1u
#define TAG_CLASS(c)   ((uint64_t)(c) << 2)
#define TAG_PAGE_SHIFT 4
#define TAG_ASID_SHIFT 44
#define ASID_LAST      ((1u << 20) - 1)

/* Beyond this many 4 KiB pages a range costs more to look for than the domain costs to drop. */
#define RANGE_PAGES_LOOKED_UP 64

static unsigned class_shift(unsigned class)
{
	return 12 + 9 * class;
}

static uint64_t tag_of(uint32_t asid, uint64_t iova, unsigned class)
{
	return (uint64_t)asid << TAG_ASID_SHIFT | (iova >> class_shift(class)) << TAG_PAGE_SHIFT |
	       TAG_CLASS(class) | TAG_VALID;
}

/* Neighbouring pages lie in neighbouring buckets: a run of pages as long as the table has no conflicts. */
static struct vi_iotlb_bucket *bucket_of(const struct vi_iotlb *t, uint32_t asid, uint64_t iova,
					 unsigned class)
{
	uint64_t page = iova >> class_shift(class);
	uint64_t spread = (asid * UINT64_C(4) + class) * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	return &t->buckets[(page + (page >> 18) * 5 + spread) & t->mask];
}

int vi_iotlb_init(struct vi_iotlb *t, unsigned entries_lg2)
{
	size_t count = (size_t)1 << (entries_lg2 - 1), size = count * sizeof(t->buckets[0]);

	t->buckets = aligned_alloc(_Alignof(struct vi_iotlb_bucket), size);
	if (!t->buckets)
		return -ENOMEM;
	memset(t->buckets, 0, size);
	t->mask = count - 1;
	t->next_asid = 1;
	t->wiping = false;
	return 0;
}

void vi_iotlb_finish(struct vi_iotlb *t)
{
	free(t->buckets);
}

bool vi_iotlb_lookup(const struct vi_iotlb *t, uint32_t asid, uint64_t iova, unsigned class,
		     uint64_t *ret_value)
{
	const struct vi_iotlb_bucket *b = bucket_of(t, asid, iova, class);
	uint64_t tag = tag_of(asid, iova, class);
	uint32_t sequence = atomic_load_explicit(&b->sequence, memory_order_acquire); /* L1 */

	if (sequence & 1)
		return false;
	for (unsigned way = 0; way < VI_IOTLB_WAYS; way++) {
		uint64_t value;

		if (atomic_load_explicit(&b->tags[way], memory_order_acquire) != tag) /* L2 */
			continue;
		value = atomic_load_explicit(&b->values[way], memory_order_acquire);	  /* L3 */
		if (atomic_load_explicit(&b->sequence, memory_order_relaxed) != sequence) /* L4 */
			return false;
		*ret_value = value;
		return true;
	}
	return false;
}

static bool try_lock(struct vi_iotlb_bucket *b)
{
	uint32_t sequence = atomic_load_explicit(&b->sequence, memory_order_relaxed);

	return !(sequence & 1) &&
	       atomic_compare_exchange_strong_explicit(&b->sequence, &sequence, sequence + 1,
						       memory_order_acq_rel, memory_order_relaxed);
}

static void unlock(struct vi_iotlb_bucket *b)
{
	uint32_t sequence = atomic_load_explicit(&b->sequence, memory_order_relaxed);

	atomic_store_explicit(&b->sequence, sequence + 1, memory_order_release);
}

/* The way that holds `tag`, else a free one, else the next victim. */
static unsigned choose_way(struct vi_iotlb_bucket *b, uint64_t tag)
{
	unsigned chosen = VI_IOTLB_WAYS;

	for (unsigned way = 0; way < VI_IOTLB_WAYS; way++) {
		uint64_t found = atomic_load_explicit(&b->tags[way], memory_order_relaxed);

		if (found == tag)
			return way;
		if (found == 0 && chosen == VI_IOTLB_WAYS)
			chosen = way;
	}
	if (chosen == VI_IOTLB_WAYS) {
		chosen = b->victim;
		b->victim = (b->victim + 1) % VI_IOTLB_WAYS;
	}
	return chosen;
}

void vi_iotlb_insert(struct vi_iotlb *t, struct vi_domain *d, uint64_t changes, uint32_t asid, uint64_t iova,
		     unsigned class, uint64_t value)
{
	struct vi_iotlb_bucket *b = bucket_of(t, asid, iova, class);
	uint64_t tag = tag_of(asid, iova, class);

	if (asid == 0 || !try_lock(b)) /* I1 */
		return;
	/* Before the entry can be found, so that who drops a range looks for this class too. */
	atomic_fetch_or_explicit(&d->classes, 1u << class, memory_order_seq_cst);
	if (atomic_load_explicit(&d->changes, memory_order_seq_cst) == changes) { /* I2 */
		unsigned way = choose_way(b, tag);

		atomic_store_explicit(&b->tags[way], tag, memory_order_release); /* I3 */
		atomic_store_explicit(&b->values[way], value, memory_order_release);
	}
	unlock(b); /* I4 */
}

static void drop_page(struct vi_iotlb *t, uint32_t asid, uint64_t iova, unsigned class)
{
	struct vi_iotlb_bucket *b = bucket_of(t, asid, iova, class);
	uint64_t tag = tag_of(asid, iova, class);

	while (!try_lock(b)) /* V2 */
		;
	for (unsigned way = 0; way < VI_IOTLB_WAYS; way++)
		if (atomic_load_explicit(&b->tags[way], memory_order_relaxed) == tag)
			atomic_store_explicit(&b->tags[way], 0, memory_order_release); /* V3 */
	unlock(b);								       /* V4 */
}

void vi_iotlb_drop_range(struct vi_iotlb *t, struct vi_domain *d, uint64_t first, uint64_t last)
{
	uint32_t asid = atomic_load_explicit(&d->asid, memory_order_relaxed), classes;

	if ((last >> 12) - (first >> 12) >= RANGE_PAGES_LOOKED_UP) {
		vi_iotlb_drop_domain(t, d);
		return;
	}
	atomic_fetch_add_explicit(&d->changes, 1, memory_order_seq_cst); /* V1 */
	if (asid == 0)
		return;
	classes = atomic_load_explicit(&d->classes, memory_order_seq_cst);
	for (unsigned class = 0; class < VI_IOTLB_CLASSES; class ++) {
		uint64_t size = UINT64_C(1) << class_shift(class);

		if (!(classes & (1u << class)))
			continue;
		for (uint64_t iova = vi_align_down(first, size);; iova += size) {
			drop_page(t, asid, iova, class);
			if (last - iova < size)
				break;
		}
	}
}

bool vi_iotlb_is_exhausted(const struct vi_iotlb *t)
{
	return t->next_asid > ASID_LAST;
}

/*
 * `classes` is cleared before the new asid can be seen. A late inserter under
 * the old asid may set a bit again: it costs a look-up, nothing else.
 */
void vi_iotlb_assign(struct vi_iotlb *t, struct vi_domain *d)
{
	uint32_t asid = t->wiping || vi_iotlb_is_exhausted(t) ? 0 : t->next_asid++;

	atomic_store_explicit(&d->classes, 0, memory_order_seq_cst);
	atomic_store_explicit(&d->asid, asid, memory_order_seq_cst);
}

void vi_iotlb_drop_domain(struct vi_iotlb *t, struct vi_domain *d)
{
	atomic_fetch_add_explicit(&d->changes, 1, memory_order_seq_cst); /* V1 */
	vi_iotlb_assign(t, d);
}

void vi_iotlb_begin_wipe(struct vi_iotlb *t, struct vi_epoch *epoch)
{
	t->wiping = true;
	t->wipe_epoch = vi_epoch_begin(epoch);
}

bool vi_iotlb_poll_wipe(struct vi_iotlb *t, struct vi_epoch *epoch)
{
	if (!t->wiping || !vi_epoch_passed(epoch, t->wipe_epoch))
		return false;
	for (uint64_t i = 0; i <= t->mask; i++)
		for (unsigned way = 0; way < VI_IOTLB_WAYS; way++)
			atomic_store_explicit(&t->buckets[i].tags[way], 0, memory_order_relaxed);
	t->wiping = false;
	t->next_asid = 1;
	return true;
}
