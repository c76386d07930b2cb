/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOTLB: translations of all domains in one table of fixed size.
 *
 * A key is (address space id, page number, page size). A domain has an address
 * space with an id (asid) of its own; invalidating a whole domain gives it a new one,
 * so that no entry has to be looked for. Page-selective invalidation looks in
 * the set of each page, once for each page size in use.
 *
 * The table is an array of lines, one cache line each: a line holds four
 * neighbouring pages under one tag, so that many pages need few cache lines.
 * Two lines are a set. A line has a sequence number that is odd while one
 * thread changes it.
 *
 *	look-up		inserter			invalidator
 *	L1 load seq	I1 lock: CAS seq even->odd	V1 space->changes++
 *	L2 load tag	I2 load space->changes		V2 lock (spins)
 *	L3 load value	I3 store tag, values		V3 clear value
 *	L4 load seq	I4 unlock			V4 unlock
 *
 * A look-up that finds seq odd (L1) or changed (L4) misses: it never waits.
 * The tag and value loads acquire, so L4 comes after them; data stores release,
 * so the odd seq is visible before them: L1 == L4 even means tag and value
 * belong together.
 *
 * No stale entry survives an invalidation: the inserter read space->changes
 * before it walked the tables and compares under the line's lock (I2). The
 * invalidator locks both lines of the set, whatever their tags. If an inserter
 * locks before V2, V3 finds the entry. If after, the lock hands it V1, and it
 * does not insert. A domain-wide invalidation swaps the asid instead of V2-V4:
 * what is inserted under the old one later is never looked up again, because
 * asids are used anew only after a wipe, and a wipe waits until no reader is
 * inside that could hold an old asid (vi_iotlb_poll_wipe()).
 * Which tables it walked, the inserter knows from a context: after it has read
 * `changes` it looks whether that context is still the device's (translate.c). A
 * model drops contexts before it invalidates, so a context that is still there was
 * there before V1.
 *
 * Progress: look-ups are wait-free, an inserter that finds the line locked
 * gives up, an invalidator spins while inserters hold the line for a few stores.
 */
#ifndef CORE_IOTLB_H
#define CORE_IOTLB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/epoch.h"

#define VI_IOTLB_LINES_OF_A_SET	 2
#define VI_IOTLB_PAGES_OF_A_LINE 4

/* Page sizes: class c has pages of 4096 << (9 * c) bytes. */
#define VI_IOTLB_CLASSES 3

struct vi_iotlb_line {
	_Alignas(64) _Atomic uint32_t sequence;
	_Atomic uint64_t tag;				   /* 0: empty */
	_Atomic uint64_t values[VI_IOTLB_PAGES_OF_A_LINE]; /* 0: not cached */
};

/* What is cached for a page; bits 51..12 are the gpa of the page. */
#define VI_IOTLB_READ	    (1u << 0) /* the guest's tables allow it */
#define VI_IOTLB_WRITE	    (1u << 1)
#define VI_IOTLB_MEM_READ   (1u << 2) /* the memory behind it allows it; meaningful with a slot */
#define VI_IOTLB_MEM_WRITE  (1u << 3)
#define VI_IOTLB_GPA	    UINT64_C(0x000ffffffffff000)
#define VI_IOTLB_SLOT_SHIFT 52 /* slot of guestmem, 0: ask the region map */

/*
 * Some of those pages are pieces of larger leaves. A guest that invalidates one
 * page of a leaf means all of the leaf, so that a range is not dropped by pages.
 */
#define VI_IOTLB_PIECES (UINT32_C(1) << 31)

/* Whose translations are cached: one for each domain. */
struct vi_iotlb_space {
	_Atomic uint32_t asid;	  /* written under the context lock; 0: not cached for now */
	_Atomic uint32_t classes; /* bit c: pages of class c were cached under this asid; VI_IOTLB_PIECES */
	_Atomic uint64_t changes; /* counts invalidations */
};

struct vi_iotlb {
	struct vi_iotlb_line *lines;
	uint64_t set_mask;
	_Atomic uint32_t victim; /* any thread; only its lowest bits matter */
	_Atomic bool wiping;	 /* written under the context lock */
	uint32_t next_asid;	 /* under the context lock, as below */
	uint64_t wipe_epoch;
};

/* 0 or -ENOMEM. */
int vi_iotlb_init(struct vi_iotlb *t, unsigned entries_lg2);
void vi_iotlb_finish(struct vi_iotlb *t);

/* Tag: asid 63..44, number of the group of pages 43..4, class 3..2, valid 0. A 52-bit iova fits. */
static inline unsigned vi_iotlb_shift(unsigned class)
{
	return 12 + 9 * class;
}

/* The largest class whose pages fit into a leaf of 2^size_lg2 bytes, which is at least 4 KiB. */
static inline unsigned vi_iotlb_class_of(unsigned size_lg2)
{
	unsigned class = (size_lg2 - 12) / 9;

	return class < VI_IOTLB_CLASSES ? class : VI_IOTLB_CLASSES - 1;
}

static inline uint64_t vi_iotlb_tag(uint32_t asid, uint64_t iova, unsigned class)
{
	return (uint64_t)asid << 44 | (iova >> (vi_iotlb_shift(class) + 2)) << 4 | (uint64_t) class << 2 | 1;
}

static inline unsigned vi_iotlb_page_of_line(uint64_t iova, unsigned class)
{
	return (iova >> vi_iotlb_shift(class)) % VI_IOTLB_PAGES_OF_A_LINE;
}

/* Neighbouring groups lie in neighbouring sets: a run as long as half the table has no conflicts. */
static inline struct vi_iotlb_line *vi_iotlb_set(const struct vi_iotlb *t, uint32_t asid, uint64_t iova,
						 unsigned class)
{
	uint64_t group = iova >> (vi_iotlb_shift(class) + 2);
	uint64_t spread = (asid * UINT64_C(4) + class) * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	return &t->lines[((group + (group >> 16) * 5 + spread) & t->set_mask) * VI_IOTLB_LINES_OF_A_SET];
}

/* Any thread, inside its section. The page of class `class` that holds iova, by the asid that the caller
 * loaded. */
static inline bool vi_iotlb_lookup(const struct vi_iotlb *t, uint32_t asid, uint64_t iova, unsigned class,
				   uint64_t *ret_value)
{
	const struct vi_iotlb_line *l = vi_iotlb_set(t, asid, iova, class);
	uint64_t tag = vi_iotlb_tag(asid, iova, class);

	for (unsigned i = 0; i < VI_IOTLB_LINES_OF_A_SET; i++, l++) {
		uint32_t sequence = atomic_load_explicit(&l->sequence, memory_order_acquire); /* L1 */
		uint64_t value;

		if (atomic_load_explicit(&l->tag, memory_order_acquire) != tag) /* L2 */
			continue;
		value = atomic_load_explicit(&l->values[vi_iotlb_page_of_line(iova, class)],
					     memory_order_acquire); /* L3 */
		if (sequence & 1 || value == 0 ||
		    atomic_load_explicit(&l->sequence, memory_order_relaxed) != sequence) /* L4 */
			continue;
		*ret_value = value;
		return true;
	}
	return false;
}

/* Any thread, inside its section, before it inserts a piece of a leaf that is larger than the class's pages.
 */
void vi_iotlb_note_pieces(struct vi_iotlb_space *s);
/* Any thread, inside its section. `changes` and `asid` were loaded from the space before the tables were
 * read. */
void vi_iotlb_insert(struct vi_iotlb *t, struct vi_iotlb_space *s, uint64_t changes, uint32_t asid,
		     uint64_t iova, unsigned class, uint64_t value);

/* Under the context lock: make the pages first_iova..last_iova, or all of the space, not found any more. */
void vi_iotlb_drop_range(struct vi_iotlb *t, struct vi_iotlb_space *s, uint64_t first, uint64_t last);
void vi_iotlb_drop_space(struct vi_iotlb *t, struct vi_iotlb_space *s);

/* Under the context lock. A new space gets its first asid. */
void vi_iotlb_assign(struct vi_iotlb *t, struct vi_iotlb_space *s);
/* Asids ran out: begin a wipe. The caller has set the asid of every space to 0. */
void vi_iotlb_begin_wipe(struct vi_iotlb *t, struct vi_epoch *epoch);
/* True when a wipe has just been done; the caller then assigns asids again. */
bool vi_iotlb_poll_wipe(struct vi_iotlb *t, struct vi_epoch *epoch);
/* No asid is left for a further drop or assign. */
bool vi_iotlb_is_exhausted(const struct vi_iotlb *t);

#endif
