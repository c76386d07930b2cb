/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/interval_tree.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/bits.h"

/*
 * xorshift64 from a seed that differs from run to run: who chooses the order of
 * insertions (a guest that decides what is pinned) must not know the priorities,
 * or it could build a path in place of a tree.
 */
static uint64_t next_priority(struct vi_interval_tree *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed;
}

/* Total order: by first byte, ties by address, so that a node can be found again. */
static bool is_before(const struct vi_interval *a, const struct vi_interval *b)
{
	return a->first != b->first ? a->first < b->first : a < b;
}

static void update(struct vi_interval *n)
{
	n->largest_last = n->last;
	if (n->left)
		n->largest_last = vi_max(n->largest_last, n->left->largest_last);
	if (n->right)
		n->largest_last = vi_max(n->largest_last, n->right->largest_last);
}

/* Nodes of `n` before and not before `pivot`. */
static void split(struct vi_interval *n, const struct vi_interval *pivot, struct vi_interval **ret_before,
		  struct vi_interval **ret_rest)
{
	if (!n) {
		*ret_before = *ret_rest = NULL;
		return;
	}
	if (is_before(n, pivot)) {
		split(n->right, pivot, &n->right, ret_rest);
		*ret_before = n;
	} else {
		split(n->left, pivot, ret_before, &n->left);
		*ret_rest = n;
	}
	update(n);
}

/* All of `a` is before all of `b`. */
static struct vi_interval *merge(struct vi_interval *a, struct vi_interval *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->priority > b->priority) {
		a->right = merge(a->right, b);
		update(a);
		return a;
	}
	b->left = merge(a, b->left);
	update(b);
	return b;
}

void vi_interval_tree_init(struct vi_interval_tree *t)
{
	t->root = NULL;
	/* The address is random where addresses are; what matters is that no guest sees it. */
	t->seed = UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(uintptr_t)t;
	for (unsigned i = 0; i < 8; i++)
		next_priority(t);
}

void vi_interval_tree_insert(struct vi_interval_tree *t, struct vi_interval *node)
{
	struct vi_interval *before, *rest;

	node->left = node->right = NULL;
	node->priority = next_priority(t);
	update(node);
	split(t->root, node, &before, &rest);
	t->root = merge(merge(before, node), rest);
}

static struct vi_interval *remove_below(struct vi_interval *n, struct vi_interval *node)
{
	if (n == node)
		return merge(n->left, n->right);
	if (is_before(node, n))
		n->left = remove_below(n->left, node);
	else
		n->right = remove_below(n->right, node);
	update(n);
	return n;
}

void vi_interval_tree_remove(struct vi_interval_tree *t, struct vi_interval *node)
{
	t->root = remove_below(t->root, node);
}

/*
 * Where something on the left ends at or after `first`, it overlaps or begins
 * behind `last`, and so does all that comes after it: there is no way back.
 */
struct vi_interval *vi_interval_tree_first(const struct vi_interval_tree *t, uint64_t first, uint64_t last)
{
	struct vi_interval *n = t->root;

	while (n && n->largest_last >= first) {
		if (n->left && n->left->largest_last >= first)
			n = n->left;
		else if (n->last >= first)
			return n->first <= last ? n : NULL;
		else
			n = n->right;
	}
	return NULL;
}

static void visit(struct vi_interval *n, uint64_t first, uint64_t last,
		  void (*fn)(void *arg, struct vi_interval *node), void *arg)
{
	if (!n || n->largest_last < first)
		return;
	visit(n->left, first, last, fn, arg);
	if (n->first <= last) {
		if (n->last >= first)
			fn(arg, n);
		visit(n->right, first, last, fn, arg);
	}
}

void vi_interval_tree_visit(const struct vi_interval_tree *t, uint64_t first, uint64_t last,
			    void (*fn)(void *arg, struct vi_interval *node), void *arg)
{
	visit(t->root, first, last, fn, arg);
}
