/* SPDX-License-Identifier: BSD-3-Clause */
/* The interval tree against an array that is searched from end to end. */
#include "testing.h"

#include "base/bits.h"
#include "base/interval_tree.h"

#define NODES 512

struct bed {
	struct vi_interval_tree tree;
	struct vi_interval nodes[NODES];
	bool present[NODES];
	/* of the visit under way */
	uint64_t first, last, previous;
	bool seen[NODES];
	bool wrong;
};

static void begin(struct bed *b)
{
	*b = (struct bed){0};
	vi_interval_tree_init(&b->tree);
}

static void insert(struct bed *b, unsigned i, uint64_t first, uint64_t last)
{
	b->nodes[i].first = first;
	b->nodes[i].last = last;
	vi_interval_tree_insert(&b->tree, &b->nodes[i]);
	b->present[i] = true;
}

static void drop(struct bed *b, unsigned i)
{
	vi_interval_tree_remove(&b->tree, &b->nodes[i]);
	b->present[i] = false;
}

static bool is_expected(const struct bed *b, unsigned i)
{
	return b->present[i] && b->nodes[i].first <= b->last && b->nodes[i].last >= b->first;
}

/* Of the tree and overlapping, not before what came last, and for the first time. */
static void note(void *arg, struct vi_interval *node)
{
	struct bed *b = arg;
	unsigned i = (unsigned)(node - b->nodes);

	b->wrong |= i >= NODES || !is_expected(b, i) || b->seen[i] || node->first < b->previous;
	b->previous = node->first;
	b->seen[i % NODES] = true;
}

/* Of those that the visit saw none begins before it. */
static bool is_first(const struct bed *b, const struct vi_interval *node)
{
	bool any = false;

	for (unsigned i = 0; i < NODES; i++) {
		any |= b->seen[i];
		if (b->seen[i] && (!node || b->nodes[i].first < node->first))
			return false;
	}
	return any ? b->seen[node - b->nodes] : !node;
}

static void check(struct bed *b, uint64_t first, uint64_t last)
{
	b->first = first;
	b->last = last;
	b->previous = 0;
	for (unsigned i = 0; i < NODES; i++)
		b->seen[i] = false;
	vi_interval_tree_visit(&b->tree, first, last, note, b);
	for (unsigned i = 0; i < NODES; i++)
		b->wrong |= b->seen[i] != is_expected(b, i);
	b->wrong |= !is_first(b, vi_interval_tree_first(&b->tree, first, last));
	assert_false(b->wrong);
}

/* Each node knows the largest end below it, and no larger one: else searches go where nothing is. */
static uint64_t check_bounds(const struct vi_interval *n)
{
	uint64_t largest;

	if (!n)
		return 0;
	largest = vi_max(n->last, vi_max(check_bounds(n->left), check_bounds(n->right)));
	assert_int_equal(n->largest_last, largest);
	return largest;
}

static void check_ends(struct bed *b)
{
	check(b, 0, UINT64_MAX);
	check(b, 0, 0);
	check(b, UINT64_MAX, UINT64_MAX);
}

static void test_empty(void **state)
{
	struct bed b;

	begin(&b);
	check_ends(&b);
}

static void test_duplicates(void **state)
{
	struct bed b;

	begin(&b);
	for (unsigned i = 0; i < 64; i++)
		insert(&b, i, 100, 199);
	check(&b, 0, 99);
	check(&b, 199, 199);
	check(&b, 200, UINT64_MAX);
	for (unsigned i = 0; i < 64; i += 2)
		drop(&b, i);
	check(&b, 150, 150);
	for (unsigned i = 1; i < 64; i += 2)
		drop(&b, i);
	check_ends(&b);
}

/* Each inside the one before; the largest end is far from the node that has it. */
static void test_nested(void **state)
{
	struct bed b;

	begin(&b);
	for (unsigned i = 0; i < NODES; i++)
		insert(&b, i, i, 2 * NODES - i);
	for (unsigned i = 0; i <= 2 * NODES + 1; i++)
		check(&b, i, i);
	for (unsigned i = 0; i < NODES; i += 3)
		drop(&b, i);
	for (unsigned i = 0; i <= 2 * NODES + 1; i++)
		check(&b, i, i);
}

static void test_full_range_and_ends(void **state)
{
	struct bed b;

	begin(&b);
	insert(&b, 0, 0, UINT64_MAX);
	insert(&b, 1, 0, 0);
	insert(&b, 2, UINT64_MAX, UINT64_MAX);
	insert(&b, 3, 1, UINT64_MAX - 1);
	check_ends(&b);
	check(&b, 1, UINT64_MAX - 1);
	drop(&b, 0);
	check_ends(&b);
	drop(&b, 3);
	check(&b, 1, UINT64_MAX - 1);
	check_ends(&b);
}

struct random_case {
	uint64_t base, span, longest;
	unsigned fill; /* out of 4 changes of an absent node and a present one, how many favour presence */
};

static void random_round(const struct random_case *c, struct chance *chance)
{
	struct bed b;

	begin(&b);
	for (unsigned step = 0; step < 4000; step++) {
		unsigned i = (unsigned)chance_below(chance, NODES);
		uint64_t first = c->base + chance_below(chance, c->span);
		uint64_t room = c->base + (c->span - 1) - first;
		uint64_t last = first + vi_min(chance_below(chance, c->longest), room);

		if (!b.present[i])
			insert(&b, i, first, last);
		else if (!chance_one_in(chance, c->fill))
			drop(&b, i);
		check(&b, first, last);
		check_bounds(b.tree.root);
	}
	check(&b, 0, UINT64_MAX);
	for (unsigned i = 0; i < NODES; i++)
		if (b.present[i])
			drop(&b, i);
	assert_null(b.tree.root);
}

static void test_random(void **state)
{
	static const struct random_case cases[] = {
		{0, 256, 8, 2},
		{0, 256, 256, 2},
		{UINT64_MAX - 255, 256, 64, 2},
		{0, 100000, 100, 3},
		{UINT64_C(1) << 40, UINT64_C(1) << 62, UINT64_C(1) << 60, 2},
	};
	struct chance chance = {1};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++)
		random_round(&cases[i], &chance);
}

static unsigned depth_of(const struct vi_interval *n)
{
	unsigned left, right;

	if (!n)
		return 0;
	left = depth_of(n->left);
	right = depth_of(n->right);
	return 1 + (left > right ? left : right);
}

/* Operations recurse once for each level: an orderly filler must not make a path of it. */
static void test_depth_of_ordered_insertion(void **state)
{
	enum { COUNT = 65536 };
	struct vi_interval *nodes = test_calloc(COUNT, sizeof(*nodes));
	struct vi_interval_tree tree;

	vi_interval_tree_init(&tree);
	for (unsigned i = 0; i < COUNT; i++) {
		nodes[i].first = nodes[i].last = i;
		vi_interval_tree_insert(&tree, &nodes[i]);
	}
	assert_in_range(depth_of(tree.root), 16, 64);
	test_free(nodes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),  cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_nested), cmocka_unit_test(test_full_range_and_ends),
		cmocka_unit_test(test_random), cmocka_unit_test(test_depth_of_ordered_insertion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
