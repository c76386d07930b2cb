/* SPDX-License-Identifier: BSD-3-Clause */
/* The proof is in ranges.h. */
#include "core/ranges.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/state.h"
#include "pgtable/pgtable.h"

#define RIGHTS (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

struct node {
	struct vi_interval interval;
	uint64_t address;
	unsigned rights;
};

static struct node *node_of(struct vi_interval *i)
{
	return VI_CONTAINER_OF(i, struct node, interval);
}

static void free_all(struct vi_interval_tree *t)
{
	while (t->root) {
		struct node *n = node_of(t->root);

		vi_interval_tree_remove(t, t->root);
		free(n);
	}
}

void vi_ranges_init(struct vi_ranges *r, uint64_t most)
{
	vi_lock_init(&r->lock);
	vi_interval_tree_init(&r->tree);
	r->count = 0;
	r->most = most;
}

void vi_ranges_finish(struct vi_ranges *r)
{
	free_all(&r->tree);
	vi_lock_finish(&r->lock);
}

bool vi_ranges_find_next(struct vi_ranges *r, uint64_t iova, struct vi_range *ret_range)
{
	struct vi_interval *i;

	vi_lock_take(&r->lock);
	i = vi_interval_tree_first(&r->tree, iova, UINT64_MAX);
	if (i)
		*ret_range = (struct vi_range){i->first, i->last, node_of(i)->address, node_of(i)->rights};
	vi_lock_give(&r->lock);
	return i != NULL;
}

static bool is_possible(const struct vi_range *range)
{
	uint64_t length = range->last - range->first + 1, unused; /* 0: of all addresses */

	return range->first <= range->last && !(range->rights & ~RIGHTS) &&
	       vi_is_aligned(range->first | length | range->address, VI_PAGE_SIZE) &&
	       !__builtin_add_overflow(range->address, range->last - range->first, &unused);
}

static int insert(struct vi_ranges *r, struct node *n)
{
	int err = 0;

	vi_lock_take(&r->lock);
	if (vi_interval_tree_first(&r->tree, n->interval.first, n->interval.last))
		err = -EEXIST;
	else if (r->count >= r->most)
		err = -ENOSPC;
	else
		vi_interval_tree_insert(&r->tree, &n->interval);
	r->count += !err;
	vi_lock_give(&r->lock);
	return err;
}

int vi_ranges_add(struct vi_ranges *r, const struct vi_range *range)
{
	struct node *n;
	int err;

	if (!is_possible(range))
		return -EINVAL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->interval.first = range->first;
	n->interval.last = range->last;
	n->address = range->address;
	n->rights = range->rights;
	err = insert(r, n);
	if (err)
		free(n);
	return err;
}

/* Does a range hold both the byte at `iova` and the one before it? */
static bool is_split_at(struct vi_ranges *r, uint64_t iova)
{
	struct vi_range range;

	return iova > 0 && vi_ranges_find_next(r, iova, &range) && range.first < iova;
}

/* The first in first..last, taken out. NULL: there is none. */
static struct node *take_first(struct vi_ranges *r, uint64_t first, uint64_t last)
{
	struct vi_interval *i;

	vi_lock_take(&r->lock);
	i = vi_interval_tree_first(&r->tree, first, last);
	if (i) {
		vi_interval_tree_remove(&r->tree, i);
		r->count--;
	}
	vi_lock_give(&r->lock);
	return i ? node_of(i) : NULL;
}

int64_t vi_ranges_remove(struct vi_ranges *r, uint64_t first, uint64_t last, unsigned budget)
{
	unsigned taken = 0;
	struct node *n;

	if (is_split_at(r, first) || (last < UINT64_MAX && is_split_at(r, last + 1)))
		return -ERANGE;
	while (taken < budget && (n = take_first(r, first, last))) {
		free(n);
		taken++;
	}
	return taken;
}

static void go_through(struct vi_range *range, struct vi_state *s)
{
	vi_state_number(s, &range->first, UINT64_MAX);
	vi_state_number(s, &range->last, UINT64_MAX);
	vi_state_number(s, &range->address, UINT64_MAX);
	VI_STATE_MEMBER(s, range->rights, RIGHTS);
}

static int load(struct vi_ranges *r, uint64_t count, struct vi_state *s)
{
	for (; count > 0; count--) {
		struct vi_range range = {0};
		int err;

		go_through(&range, s);
		err = s->bad ? -EBADMSG : vi_ranges_add(r, &range);
		if (err)
			return err == -ENOMEM ? err : -EBADMSG;
	}
	return 0;
}

int vi_ranges_state(struct vi_ranges *r, struct vi_state *s)
{
	struct vi_range range = {0};
	uint64_t count = r->count;

	vi_state_number(s, &count, r->most);
	if (s->loading)
		return s->bad ? -EBADMSG : load(r, count, s);
	for (; count > 0; count--) {
		vi_ranges_find_next(r, range.last, &range);
		go_through(&range, s);
		range.last++;
	}
	return 0;
}

void vi_ranges_exchange(struct vi_ranges *r, struct vi_ranges *spare)
{
	struct vi_interval *root = spare->tree.root;
	uint64_t count = spare->count;

	vi_lock_take(&r->lock);
	spare->tree.root = r->tree.root;
	spare->count = r->count;
	r->tree.root = root;
	r->count = count;
	vi_lock_give(&r->lock);
}
