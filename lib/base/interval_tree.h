/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intervals first..last (inclusive), which may overlap and repeat, in a treap
 * whose nodes know the largest end below them. Insert, remove and "the next
 * one that overlaps" are O(log n) expected. The owner serialises.
 */
#ifndef BASE_INTERVAL_TREE_H
#define BASE_INTERVAL_TREE_H

#include <stdint.h>

struct vi_interval {
	uint64_t first, last; /* set by the owner before insertion */
	/* the tree's */
	uint64_t largest_last;
	uint64_t priority;
	struct vi_interval *left, *right;
};

struct vi_interval_tree {
	struct vi_interval *root;
	uint64_t seed;
};

void vi_interval_tree_init(struct vi_interval_tree *t);
void vi_interval_tree_insert(struct vi_interval_tree *t, struct vi_interval *node);
/* `node` must be in the tree. */
void vi_interval_tree_remove(struct vi_interval_tree *t, struct vi_interval *node);
/* The one of lowest `first` among those that overlap first..last. NULL: none does. */
struct vi_interval *vi_interval_tree_first(const struct vi_interval_tree *t, uint64_t first, uint64_t last);
/* Call `fn` for each that overlaps first..last, in ascending order; it must not change the tree. */
void vi_interval_tree_visit(const struct vi_interval_tree *t, uint64_t first, uint64_t last,
			    void (*fn)(void *arg, struct vi_interval *node), void *arg);

#endif
