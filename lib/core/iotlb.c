/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol and its proof are in iotlb.h. */
#include "core/iotlb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"

/* Smaller in a test, so that wipes are frequent. */
#ifndef VI_IOTLB_ASID_LAST
#define VI_IOTLB_ASID_LAST ((1u << 20) - 1)
#endif

/* Beyond this many 4 KiB pages a range costs more to look for than the domain costs to drop. */
#define RANGE_PAGES_LOOKED_UP 64

#define HUGE_PAGE ((size_t)2 << 20)

int vi_iotlb_init(struct vi_iotlb *t, unsigned entries_lg2)
{
	size_t lines = ((size_t)1 << entries_lg2) / VI_IOTLB_PAGES_OF_A_LINE,
	       size = lines * sizeof(t->lines[0]);

	t->lines = aligned_alloc(size >= HUGE_PAGE ? HUGE_PAGE : _Alignof(struct vi_iotlb_line), size);
	if (!t->lines)
		return -ENOMEM;
	/* Random look-ups in small pages would miss the CPU's own TLB. Where that cannot be had nothing is
	 * lost. */
	if (size >= HUGE_PAGE)
		(void)madvise(t->lines, size, MADV_HUGEPAGE);
	memset(t->lines, 0, size);
	t->set_mask = lines / VI_IOTLB_LINES_OF_A_SET - 1;
	t->next_asid = 1;
	t->wiping = false;
	return 0;
}

void vi_iotlb_finish(struct vi_iotlb *t)
{
	free(t->lines);
}

static bool try_lock(struct vi_iotlb_line *l)
{
	uint32_t sequence = atomic_load_explicit(&l->sequence, memory_order_relaxed);

	return !(sequence & 1) &&
	       atomic_compare_exchange_strong_explicit(&l->sequence, &sequence, sequence + 1,
						       memory_order_acq_rel, memory_order_relaxed);
}

static void unlock(struct vi_iotlb_line *l)
{
	uint32_t sequence = atomic_load_explicit(&l->sequence, memory_order_relaxed);

	atomic_store_explicit(&l->sequence, sequence + 1, memory_order_release);
}

/* The line of the set that holds `tag`, else an empty one, else the next victim. */
static struct vi_iotlb_line *choose_line(struct vi_iotlb *t, struct vi_iotlb_line *set, uint64_t tag)
{
	struct vi_iotlb_line *chosen = NULL;

	for (unsigned i = 0; i < VI_IOTLB_LINES_OF_A_SET; i++) {
		uint64_t found = atomic_load_explicit(&set[i].tag, memory_order_relaxed);

		if (found == tag)
			return &set[i];
		if (found == 0 && !chosen)
			chosen = &set[i];
	}
	if (!chosen)
		chosen = &set[atomic_fetch_add_explicit(&t->victim, 1, memory_order_relaxed) %
			      VI_IOTLB_LINES_OF_A_SET];
	return chosen;
}

/* I3: under the line's lock. */
static void fill(struct vi_iotlb_line *l, uint64_t tag, unsigned page, uint64_t value)
{
	if (atomic_load_explicit(&l->tag, memory_order_relaxed) != tag) {
		for (unsigned i = 0; i < VI_IOTLB_PAGES_OF_A_LINE; i++)
			atomic_store_explicit(&l->values[i], 0, memory_order_release);
		atomic_store_explicit(&l->tag, tag, memory_order_release);
	}
	atomic_store_explicit(&l->values[page], value, memory_order_release);
}

/* As a class's bit: before the entry can be found. */
void vi_iotlb_note_pieces(struct vi_iotlb_space *s)
{
	if (!(atomic_load_explicit(&s->classes, memory_order_seq_cst) & VI_IOTLB_PIECES))
		atomic_fetch_or_explicit(&s->classes, VI_IOTLB_PIECES, memory_order_seq_cst);
}

void vi_iotlb_insert(struct vi_iotlb *t, struct vi_iotlb_space *s, uint64_t changes, uint32_t asid,
		     uint64_t iova, unsigned class, uint64_t value)
{
	uint64_t tag = vi_iotlb_tag(asid, iova, class);
	struct vi_iotlb_line *l = choose_line(t, vi_iotlb_set(t, asid, iova, class), tag);

	if (asid == 0 || !try_lock(l)) /* I1 */
		return;
	/* Before the entry can be found, so that who drops a range looks for this class too. */
	if (!(atomic_load_explicit(&s->classes, memory_order_seq_cst) & 1u << class))
		atomic_fetch_or_explicit(&s->classes, 1u << class, memory_order_seq_cst);
	if (atomic_load_explicit(&s->changes, memory_order_seq_cst) == changes) /* I2 */
		fill(l, tag, vi_iotlb_page_of_line(iova, class), value);
	unlock(l); /* I4 */
}

static void drop_page(struct vi_iotlb *t, uint32_t asid, uint64_t iova, unsigned class)
{
	struct vi_iotlb_line *l = vi_iotlb_set(t, asid, iova, class);
	uint64_t tag = vi_iotlb_tag(asid, iova, class);

	for (unsigned i = 0; i < VI_IOTLB_LINES_OF_A_SET; i++, l++) {
		while (!try_lock(l)) /* V2 */
			;
		if (atomic_load_explicit(&l->tag, memory_order_relaxed) == tag) /* V3 */
			atomic_store_explicit(&l->values[vi_iotlb_page_of_line(iova, class)], 0,
					      memory_order_release);
		unlock(l); /* V4 */
	}
}

void vi_iotlb_drop_range(struct vi_iotlb *t, struct vi_iotlb_space *s, uint64_t first, uint64_t last)
{
	uint32_t asid = atomic_load_explicit(&s->asid, memory_order_relaxed), classes;

	if ((last >> 12) - (first >> 12) >= RANGE_PAGES_LOOKED_UP) {
		vi_iotlb_drop_space(t, s);
		return;
	}
	atomic_fetch_add_explicit(&s->changes, 1, memory_order_seq_cst); /* V1 */
	if (asid == 0)
		return;
	classes = atomic_load_explicit(&s->classes, memory_order_seq_cst);
	if (classes & VI_IOTLB_PIECES) {
		vi_iotlb_drop_space(t, s);
		return;
	}
	for (unsigned class = 0; class < VI_IOTLB_CLASSES; class ++) {
		uint64_t size = UINT64_C(1) << vi_iotlb_shift(class);

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
	return t->next_asid > VI_IOTLB_ASID_LAST;
}

/*
 * `classes` is cleared before the new asid can be seen. A late inserter under
 * the old asid may set a bit again: it costs a look-up, nothing else.
 */
void vi_iotlb_assign(struct vi_iotlb *t, struct vi_iotlb_space *s)
{
	uint32_t asid = t->wiping || vi_iotlb_is_exhausted(t) ? 0 : t->next_asid++;

	atomic_store_explicit(&s->classes, 0, memory_order_seq_cst);
	atomic_store_explicit(&s->asid, asid, memory_order_seq_cst);
}

void vi_iotlb_drop_space(struct vi_iotlb *t, struct vi_iotlb_space *s)
{
	atomic_fetch_add_explicit(&s->changes, 1, memory_order_seq_cst); /* V1 */
	vi_iotlb_assign(t, s);
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
	for (uint64_t i = 0; i < (t->set_mask + 1) * VI_IOTLB_LINES_OF_A_SET; i++)
		atomic_store_explicit(&t->lines[i].tag, 0, memory_order_relaxed);
	t->wiping = false;
	t->next_asid = 1;
	return true;
}
