/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest physical memory: which ranges there are and how to reach them.
 *
 * Guest memory is hostile and concurrent. vi_guestmem_load64() and friends
 * touch each word exactly once, bounds-checked; callers work on the value they
 * got and never look again.
 *
 * Look-ups take no lock. The map is two levels of sorted arrays, immutable
 * once published: an update copies one leaf (at most REGIONS_PER_LEAF) and the
 * top, publishes the new top with a release store and puts the old parts on
 * the retired list. Readers load the top once, with acquire. Who frees must
 * know that no reader is inside: the owner calls vi_guestmem_reclaim() after
 * an epoch has passed. Updates and reclaim are serialised by the owner.
 */
#ifndef GUESTMEM_GUESTMEM_H
#define GUESTMEM_GUESTMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/host.h>

#include "base/list.h"

/*
 * Writes to these addresses are interrupt messages on this platform. No memory
 * lies there, whatever a region covers.
 */
#define VI_MESSAGE_FIRST UINT64_C(0xfee00000)
#define VI_MESSAGE_LAST	 UINT64_C(0xfeefffff)

static inline bool vi_is_message(uint64_t address)
{
	return address >> 20 == VI_MESSAGE_FIRST >> 20;
}

struct vi_region {
	uint64_t first, last; /* gpa */
	uint8_t *host;	      /* of `first`; NULL: through callbacks */
	uint16_t flags;	      /* VIOMMU_MEM_* */
	uint16_t slot;	      /* index of its host offset below, 0: none; set by vi_guestmem_add() */
};

/*
 * Host offsets (host address minus gpa) by small index, so that a cached
 * translation holds a gpa and still leads to the host in one load. Slots are
 * only added; they are forgotten together, when a reclaim finds the map empty.
 * Past the last slot regions have none, and look-ups go through the map.
 */
#define VI_GUESTMEM_SLOTS 4096

struct vi_region_map;

struct vi_guestmem {
	_Atomic(struct vi_region_map *) map;
	struct vi_region_map *empty; /* what is published when nothing is left; made once, never retired */
	const struct viommu_host_ops *ops;
	void *opaque;
	_Atomic(uintptr_t) *slots; /* entry written before a region that names it is published */
	unsigned slot_count;
	struct vi_list retired; /* leaves and tops that a reader may still see */
	uint64_t total;		/* bytes registered */
};

/* 0 or -ENOMEM. */
int vi_guestmem_init(struct vi_guestmem *gm, const struct viommu_host_ops *ops, void *opaque);
/* No reader may be inside. */
void vi_guestmem_finish(struct vi_guestmem *gm);

/* `slot` of the region is not looked at. 0, -EEXIST when it overlaps a region, -ENOMEM. */
int vi_guestmem_add(struct vi_guestmem *gm, const struct vi_region *region);
/*
 * Take first..last away, splitting what reaches out. Bytes taken, or -ENOMEM
 * and nothing changed. To take all there is needs no memory.
 */
int64_t vi_guestmem_remove(struct vi_guestmem *gm, uint64_t first, uint64_t last);
void vi_guestmem_reclaim(struct vi_guestmem *gm);

/* The region that holds `gpa`. The pointer is good inside the reader's section. NULL: none. */
const struct vi_region *vi_guestmem_find(const struct vi_guestmem *gm, uint64_t gpa);
/* The same, or else the first one after it. */
const struct vi_region *vi_guestmem_find_next(const struct vi_guestmem *gm, uint64_t gpa);

static inline uint8_t *vi_guestmem_host(const struct vi_guestmem *gm, unsigned slot, uint64_t gpa)
{
	/* Relaxed: the region's publication, which led the caller to the slot, orders it. */
	return (uint8_t *)(atomic_load_explicit(&gm->slots[slot], memory_order_relaxed) + (uintptr_t)gpa);
}

/*
 * Words of tables and queues, `gpa` aligned to the size. Loads acquire, stores
 * release. False: no memory there, or it may not be accessed so.
 */
bool vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value);

/* For several words that are likely to lie in one region: that of the last word is looked at first.
 * Good as long as a pointer from vi_guestmem_find() is. Begins as {.gm = gm}. */
struct vi_guestmem_cursor {
	const struct vi_guestmem *gm;
	const struct vi_region *region; /* NULL: the last word was in none, or there was none */
};

bool vi_guestmem_load64_near(struct vi_guestmem_cursor *c, uint64_t gpa, uint64_t *ret_value);

/*
 * An entry of two words, `gpa` aligned to 16 bytes: both words are of one
 * moment, though the guest may exchange the entry as a whole meanwhile. Where
 * the CPU has no such load the low word is read before and after the high one
 * (guestmem.c has the proof). False also when the entry changed in each of a
 * bounded number of looks.
 */
bool vi_guestmem_load128(const struct vi_guestmem *gm, uint64_t gpa, uint64_t ret_words[2]);
bool vi_guestmem_store32(const struct vi_guestmem *gm, uint64_t gpa, uint32_t value);
/* For what builds tables (lib/driver). */
bool vi_guestmem_store64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t value);

#endif
