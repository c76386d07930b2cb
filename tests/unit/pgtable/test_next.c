/* SPDX-License-Identifier: BSD-3-Clause */
/* vi_pgtable_next() against the oracle's list of all leaves. */
#include "testing.h"

#include "tables.h"

enum { ENTRIES = 512, TABLES = 6, MOST_LEAVES = 4096 };

#define PLENTY (UINT64_C(1) << 40)

struct bed {
	struct tables m;
	const struct format_case *f;
	struct vi_pgtable t;
	uint64_t end; /* where a search ends: the first iova that the levels do not reach, or the last of all
		       */
	struct leaves want;
	struct vi_leaf room[MOST_LEAVES];
};

/* The first leaf of the list that ends at or after iova; its length when there is none. */
static unsigned first_from(const struct bed *b, uint64_t iova)
{
	unsigned i = 0;

	while (i < b->want.count && b->want.leaf[i].last < iova)
		i++;
	return i;
}

static void check_leaf(const struct vi_leaf *got, const struct vi_leaf *want)
{
	assert_int_equal(got->first, want->first);
	assert_int_equal(got->last, want->last);
	assert_int_equal(got->address, want->address);
	assert_int_equal(got->access, want->access);
}

/* One call; says the truth about its budget and about how far it came. */
static enum vi_next_result next(struct bed *b, uint64_t *io_iova, uint64_t budget, struct vi_leaf *ret_leaf)
{
	uint64_t left = budget, iova = *io_iova;
	enum vi_next_result result;

	b->m.loads = 0;
	result = vi_pgtable_next(&b->t, &b->m.gm, io_iova, &left, ret_leaf);
	assert_true(*io_iova >= iova || result == VI_NEXT_END);
	assert_true(b->m.loads < budget + b->t.levels); /* a walk that was begun is ended */
	assert_true(left <= budget && budget - left >= vi_min(b->m.loads, budget));
	if (result == VI_NEXT_BUDGET) {
		assert_int_equal(left, 0);
		assert_true(budget == 0 || *io_iova > iova);
		assert_int_equal(first_from(b, *io_iova), first_from(b, iova)); /* none is passed over */
	}
	return result;
}

/* All leaves from iova on, with at most `budget` entries a call. Returns the calls that ran out. */
static unsigned check_from(struct bed *b, uint64_t iova, uint64_t budget)
{
	unsigned i = first_from(b, iova), exhausted = 0;
	enum vi_next_result result;
	struct vi_leaf leaf;

	while ((result = next(b, &iova, budget, &leaf)) != VI_NEXT_END) {
		if (result == VI_NEXT_BUDGET) {
			exhausted++;
			continue;
		}
		assert_true(i < b->want.count);
		check_leaf(&leaf, &b->want.leaf[i++]);
		assert_in_range(iova, leaf.first, leaf.last);
		if (leaf.last == UINT64_MAX)
			break;
		iova = leaf.last + 1;
	}
	assert_int_equal(i, b->want.count);
	if (result == VI_NEXT_END)
		assert_int_equal(iova, b->end);
	return exhausted;
}

static uint64_t random_entry(const struct bed *b, struct chance *c)
{
	unsigned level = (unsigned)chance_between(c, 1, b->f->leaf_most),
		 access = chance_one_in(c, 3) ? chance_below(c, 4) & RW : RW;
	uint64_t entry = b->f->compose(chance_below(c, 4096) << 30, true, level, access);

	if (chance_one_in(c, 2)) /* also itself, one above, and no memory */
		entry = b->f->compose(tables_gpa((unsigned)chance_below(c, TABLES + 1)), false,
				      b->f->names_level ? (unsigned)chance_between(c, 2, 6) : 4, access);
	else if (b->f->compose_sized && chance_one_in(c, 2))
		entry = b->f->compose_sized(chance_below(c, 4096) << 30, (unsigned)chance_between(c, 13, 35),
					    access);
	if (chance_one_in(c, 8))
		entry ^= UINT64_C(1) << chance_below(c, 64);
	return entry;
}

/* Few entries in each table, else loops have too many leaves; often at the ends of the table. */
static void fill(struct bed *b, struct chance *c)
{
	unsigned of_a_table = b->t.levels > 4 ? 5 : 8;

	tables_clear(&b->m);
	for (unsigned i = 0; i < TABLES * of_a_table; i++) {
		unsigned index = (unsigned)chance_below(c, ENTRIES);

		if (chance_one_in(c, 4))
			index = chance_one_in(c, 2) ? 0 : ENTRIES - 1;
		tables_set(&b->m, i / of_a_table, index, random_entry(b, c));
	}
}

static void begin(struct bed *b, const struct format_case *f, unsigned levels)
{
	tables_init(&b->m, true);
	b->f = f;
	b->t = (struct vi_pgtable){f->format, TABLE_GPA, (uint8_t)levels, 46, 0xe};
	b->end = vi_max(last_iova(levels), last_iova(levels) + 1);
}

static void list(struct bed *b)
{
	b->want = (struct leaves){0, MOST_LEAVES, b->room};
	oracle_enumerate(&b->m, b->f, &b->t, &b->want);
}

static void random_round(struct bed *b, struct chance *c)
{
	static const uint64_t budgets[] = {1, 2, 5, 100, 4096};

	fill(b, c);
	b->t.leaf_levels = leaf_levels_of(b->f, chance_one_in(c, 2) ? 7 : (unsigned)chance_below(c, 8));
	list(b);
	check_from(b, 0, PLENTY);
	check_from(b, 0, budgets[chance_below(c, VI_ARRAY_SIZE(budgets))]);
	for (unsigned i = 0; i < 4; i++) {
		const struct vi_leaf *leaf =
			&b->want.leaf[b->want.count ? chance_below(c, b->want.count) : 0];
		uint64_t iova = b->want.count ? chance_between(c, leaf->first, leaf->last) : 0;

		check_from(b, iova, PLENTY);
	}
	check_from(b, chance_below(c, b->end), PLENTY);
}

static void test_random(void **state)
{
	static struct bed b;
	struct chance c = {5};
	unsigned leaves = 0;

	for (unsigned i = 0; i < format_count; i++) {
		for (unsigned levels = format_cases[i].fewest_levels; levels <= format_cases[i].most_levels;
		     levels++) {
			begin(&b, &format_cases[i], levels);
			for (unsigned round = 0; round < 30; round++) {
				random_round(&b, &c);
				leaves += b.want.count;
			}
			tables_finish(&b.m);
		}
	}
	assert_true(leaves > 1000); /* or the tables are too dull */
}

static void with_bed(void (*fn)(struct bed *b))
{
	static struct bed b;

	for (unsigned i = 0; i < format_count; i++) {
		for (unsigned levels = format_cases[i].fewest_levels; levels <= format_cases[i].most_levels;
		     levels++) {
			begin(&b, &format_cases[i], levels);
			fn(&b);
			tables_finish(&b.m);
		}
	}
}

/* The last entry of a table that the iova reaches. */
static unsigned last_index(unsigned level)
{
	return level < LEVELS_MOST ? ENTRIES - 1 : 127;
}

/* A chain of tables 0, 1, ..., by their last entries; the lowest has two leaves. */
static void chain(struct bed *b)
{
	for (unsigned i = 0; i + 1 < b->t.levels; i++)
		tables_set(&b->m, i, last_index(b->t.levels - i),
			   b->f->compose(tables_gpa(i + 1), false, b->t.levels - i, RW));
	tables_set(&b->m, b->t.levels - 1u, 3, b->f->compose(0x5000, true, 1, READ));
	tables_set(&b->m, b->t.levels - 1u, ENTRIES - 1, b->f->compose(0x6000, true, 1, RW));
	list(b);
	assert_int_equal(b->want.count, 2);
}

static void check_empty(struct bed *b)
{
	list(b);
	assert_int_equal(b->want.count, 0);
	check_from(b, 0, PLENTY);
	assert_int_equal(b->m.loads, last_index(b->t.levels) + 1);
	assert_int_equal(check_from(b, 0, 100), last_index(b->t.levels) / 100);
	check_from(b, b->end - 1, PLENTY);
}

static void test_empty(void **state)
{
	with_bed(check_empty);
}

/* The cost is counted to the entry, and no budget at all is no progress. */
static void check_budgets(struct bed *b)
{
	struct vi_leaf leaf;
	uint64_t iova = 0, budget = 0;

	chain(b);
	for (budget = 1; budget < 40; budget++)
		assert_true(check_from(b, 0, budget) > 0);
	budget = 0;
	assert_int_equal(vi_pgtable_next(&b->t, &b->m.gm, &iova, &budget, &leaf), VI_NEXT_BUDGET);
	assert_int_equal(iova, 0);
	budget = 10000;
	iova = b->want.leaf[0].first + 17;
	assert_int_equal(vi_pgtable_next(&b->t, &b->m.gm, &iova, &budget, &leaf), VI_NEXT_FOUND);
	assert_int_equal(budget, 10000 - b->t.levels);
	if (b->end == UINT64_MAX)
		return;
	iova = b->end;
	budget = 0;
	assert_int_equal(vi_pgtable_next(&b->t, &b->m.gm, &iova, &budget, &leaf), VI_NEXT_END);
	assert_int_equal(iova, b->end);
}

static void test_budgets(void **state)
{
	with_bed(check_budgets);
}

/* A table with nothing but itself, or one of each level, has a leaf nowhere, and would take 512^levels
 * entries to say so. */
static void check_endless(struct bed *b)
{
	uint64_t iova = 0;
	struct vi_leaf leaf;

	if (b->t.levels < 3)
		return; /* too few entries */
	for (unsigned i = 0; i < ENTRIES * b->t.levels; i++) {
		unsigned page = b->f->names_level ? i / ENTRIES : 0, next = b->f->names_level ? page + 1 : 0;

		tables_set(&b->m, page, i % ENTRIES,
			   b->f->compose(tables_gpa(next), false, vi_max(b->t.levels - page, 2), RW));
	}
	b->t.leaf_levels = 0;
	b->want.count = 0;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(next(b, &iova, 1000, &leaf), VI_NEXT_BUDGET);
	assert_int_equal(iova / PAGE, 50 * ((1000 + b->t.levels - 1u) / b->t.levels));
}

static void test_endless_tables_stop_at_the_budget(void **state)
{
	with_bed(check_endless);
}

/* The n-th load fails: what it would have led to is passed over, all else is found. */
static void check_failing_loads(struct bed *b)
{
	unsigned nth = 1, missed = 0;

	chain(b);
	do {
		uint64_t iova = b->want.leaf[0].first, budget = PLENTY;
		struct vi_leaf leaf;
		unsigned found = 0;

		b->m.loads = 0;
		b->m.fail_load = nth;
		while (vi_pgtable_next(&b->t, &b->m.gm, &iova, &budget, &leaf) == VI_NEXT_FOUND) {
			const struct vi_leaf *want = &b->want.leaf[first_from(b, iova)];

			check_leaf(&leaf, want);
			found++;
			if (leaf.last == UINT64_MAX)
				break;
			iova = leaf.last + 1;
		}
		missed += found < b->want.count;
		assert_true(found < b->want.count || nth > b->t.levels);
	} while (b->m.loads >= nth++);
	assert_true(missed >= b->t.levels * 2u);
	b->m.fail_load = 0;
}

static void test_failing_loads(void **state)
{
	with_bed(check_failing_loads);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_budgets),
		cmocka_unit_test(test_endless_tables_stop_at_the_budget),
		cmocka_unit_test(test_failing_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
