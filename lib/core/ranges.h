/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges: mappings that are the model's own state, as virtio-iommu has them, in
 * place of tables in guest memory. Those of a set do not overlap, and each is
 * whole pages.
 *
 * A model changes a set under the unit lock, while device threads look up inside
 * their sections. Between the two stands the set's own lock, the innermost of all.
 *
 * Claim: a look-up finds the range as it was at one moment, and touches no node
 * that was freed.
 * Proof: a look-up searches under the lock, copies the range out and keeps no
 * pointer. A change of the tree is made under the lock, and a node is freed by the
 * one who took it out, after the lock was given back. So a node needs no epoch to
 * pass before it is freed, and nothing is copied for a change: a range can be
 * taken away without memory.
 *
 * Claim: once an invalidation is complete no access uses what was taken away.
 * Proof: the model changes the set before it invalidates (V1 in iotlb.h). A look-up
 * that takes the lock after the change finds what is now. One that took it before
 * is a walk that had loaded `changes` before V1, which iotlb.h keeps from the cache
 * or drops from it, and whose section the drain waits for.
 *
 * Progress: the lock is held for one search, one insertion or one removal, O(log n)
 * expected whatever the guest chooses (interval_tree.c); never for a wait, an
 * allocation or a free. An IOTLB hit does not come here.
 */
#ifndef CORE_RANGES_H
#define CORE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/interval_tree.h"
#include "base/lock.h"

struct vi_state;

struct vi_range {
	uint64_t first, last; /* iova */
	uint64_t address;     /* of `first` */
	unsigned rights;      /* VI_PGTABLE_* */
};

struct vi_ranges {
	struct vi_lock lock;
	struct vi_interval_tree tree; /* under the lock */
	uint64_t count;		      /* under the lock */
	uint64_t most;		      /* never changes */
};

/* At most so many ranges at a time: what a guest can make us keep is bounded. */
void vi_ranges_init(struct vi_ranges *r, uint64_t most);
/* Nobody looks up any more. */
void vi_ranges_finish(struct vi_ranges *r);

/* The owner serialises these, by the unit lock once devices know the set. */

/* -EINVAL: not whole pages, one of the ends wraps, or other rights. -EEXIST: it overlaps one. -ENOSPC: there
 * are as many as there may be. -ENOMEM. */
int vi_ranges_add(struct vi_ranges *r, const struct vi_range *range);
/*
 * Take away the ranges in first..last, at most `budget` of them; where as many were
 * taken there may be more: call again. Returns how many. The caller invalidates
 * first..last then. -ERANGE: one of them reaches out of first..last; nothing was
 * taken.
 */
int64_t vi_ranges_remove(struct vi_ranges *r, uint64_t first, uint64_t last, unsigned budget);
/* Save the set, or load one into `r`, which is empty. -EBADMSG: the numbers are no such set. -ENOMEM. What
 * was loaded until then stays. */
int vi_ranges_state(struct vi_ranges *r, struct vi_state *s);
/* Exchange the ranges of `r` and of `spare`, a set that nobody else knows. Each set keeps its own `most`. */
void vi_ranges_exchange(struct vi_ranges *r, struct vi_ranges *spare);

/* Any thread: the first that ends at or after `iova`. False: none does. */
bool vi_ranges_find_next(struct vi_ranges *r, uint64_t iova, struct vi_range *ret_range);

#endif
