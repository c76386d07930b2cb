/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A treap: ordered by address as a tree, by random priority as a heap. Split
 * and merge are all it takes to cut a range of addresses out.
 */
#include "vfio_user/dma_table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vfio_user/fd_map.h"

void vfu_dma_table_init(struct vfu_dma_table *t)
{
	*t = (struct vfu_dma_table){0};
	if (getrandom(&t->random, sizeof(t->random), GRND_NONBLOCK) != sizeof(t->random) || !t->random)
		t->random = 0x9e3779b97f4a7c15u ^ (uintptr_t)t;
}

static uint64_t next_random(struct vfu_dma_table *t)
{
	uint64_t x = t->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	t->random = x;
	return x * 0x2545f4914f6cdd1du;
}

/* Ranges that begin below `at` go to *ret_low, the others to *ret_high. */
static void split(struct vfu_dma_range *tree, uint64_t at, struct vfu_dma_range **ret_low,
		  struct vfu_dma_range **ret_high)
{
	while (tree) {
		if (tree->first < at) {
			*ret_low = tree;
			ret_low = &tree->right;
			tree = tree->right;
		} else {
			*ret_high = tree;
			ret_high = &tree->left;
			tree = tree->left;
		}
	}
	*ret_low = NULL;
	*ret_high = NULL;
}

/* All of `low` lies below all of `high`. */
static struct vfu_dma_range *merge(struct vfu_dma_range *low, struct vfu_dma_range *high)
{
	struct vfu_dma_range *tree = NULL, **to = &tree;

	while (low && high) {
		if (low->priority > high->priority) {
			*to = low;
			to = &low->right;
			low = low->right;
		} else {
			*to = high;
			to = &high->left;
			high = high->left;
		}
	}
	*to = low ? low : high;
	return tree;
}

struct vfu_dma_range *vfu_dma_table_find(const struct vfu_dma_table *t, uint64_t first, uint64_t last)
{
	struct vfu_dma_range *r = t->root, *found = NULL;

	while (r) {
		if (r->last < first) {
			r = r->right;
		} else {
			found = r;
			r = r->left;
		}
	}
	return found && found->first <= last ? found : NULL;
}

void vfu_dma_table_insert(struct vfu_dma_table *t, struct vfu_dma_range *r)
{
	struct vfu_dma_range *low, *high;

	r->left = r->right = NULL;
	r->priority = next_random(t);
	split(t->root, r->first, &low, &high);
	t->root = merge(merge(low, r), high);
	t->count++;
}

/* Cuts the range that has both at - 1 and at, if there is one. True: `spare` was used. */
static bool cut(struct vfu_dma_table *t, uint64_t at, struct vfu_dma_range *spare)
{
	struct vfu_dma_range *r = at ? vfu_dma_table_find(t, at, at) : NULL;

	if (!r || r->first == at)
		return false;
	*spare = *r;
	spare->first = at;
	spare->offset += at - r->first;
	if (spare->file)
		vfu_fd_map_ref(spare->file);
	r->last = at - 1;
	vfu_dma_table_insert(t, spare);
	return true;
}

static bool reaches_over(const struct vfu_dma_table *t, uint64_t at)
{
	const struct vfu_dma_range *r = at ? vfu_dma_table_find(t, at, at) : NULL;

	return r && r->first < at;
}

void vfu_dma_table_take(struct vfu_dma_table *t, struct vfu_dma_range *r)
{
	struct vfu_dma_range **link = &t->root;

	while (*link != r)
		link = r->first < (*link)->first ? &(*link)->left : &(*link)->right;
	*link = merge(r->left, r->right);
	r->left = r->right = NULL;
	t->count--;
}

static bool reserve_spares(struct vfu_dma_range **spare)
{
	spare[0] = calloc(1, sizeof(*spare[0]));
	spare[1] = calloc(1, sizeof(*spare[1]));
	if (spare[0] && spare[1])
		return true;
	free(spare[0]);
	free(spare[1]);
	return false;
}

/* Without a cut it needs no memory and cannot fail: a session can always be ended. */
int vfu_dma_table_cut(struct vfu_dma_table *t, uint64_t first, uint64_t last, size_t max_count)
{
	uint64_t after = last + 1; /* 0: nothing is above */
	size_t cuts = (size_t)reaches_over(t, first) + reaches_over(t, after);
	struct vfu_dma_range *spare[2] = {NULL, NULL};

	/* A range with both ends outside leaves two pieces; any other cut leaves as many as there were. */
	if (cuts == 2 && vfu_dma_table_find(t, first, last)->last > last && t->count >= max_count)
		return -ENOSPC;
	if (cuts && !reserve_spares(spare))
		return -ENOMEM;
	if (cuts && cut(t, first, spare[0]))
		spare[0] = NULL;
	if (cuts && cut(t, after, spare[1]))
		spare[1] = NULL;
	free(spare[0]);
	free(spare[1]);
	return 0;
}
