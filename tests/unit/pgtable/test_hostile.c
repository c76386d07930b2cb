/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables that a guest would only write out of malice: loops, no memory, reserved bits, noise. */
#include "testing.h"

#include "tables.h"

enum { ENTRIES = 512, ROUNDS = 12, WALKS = 400, RESULTS = VI_WALK_BAD_LEVEL + 1 };

static uint64_t random_address(struct chance *c, unsigned level)
{
	switch (chance_below(c, 8)) {
	case 0:
		return chance_word(c) & VI_BITS(51, 12); /* most likely no memory there */
	case 1:
		return (chance_word(c) & VI_BITS(45, 12)) >> 9 * (level - 1) << 9 * (level - 1) &
		       VI_BITS(45, 12);
	case 2:
		return TABLE_GPA - PAGE; /* the page before the memory */
	case 3:
		return chance_below(c, 1024) << 30;
	default: /* itself, one above, one below, the half page, the unreadable one */
		return tables_gpa((unsigned)chance_below(c, TABLE_MOST + 2));
	}
}

static uint64_t random_entry(const struct format_case *f, struct chance *c)
{
	unsigned level = (unsigned)chance_between(c, 1, f->most_levels);
	bool leaf = chance_one_in(c, 4);
	uint64_t entry = f->compose(random_address(c, level), leaf, level,
				    chance_one_in(c, 3) ? chance_below(c, 4) & RW : RW);

	if (f->compose_sized && chance_one_in(c, 8))
		entry = f->compose_sized(entry & VI_BITS(45, 12), (unsigned)chance_between(c, 13, 40), RW);
	if (chance_one_in(c, 6))
		entry ^= UINT64_C(1) << chance_below(c, 64);
	if (chance_one_in(c, 10))
		entry |= chance_word(c) & f->ignored;
	return chance_one_in(c, 16) ? chance_word(c) : entry;
}

static void fill(struct tables *m, const struct format_case *f, struct chance *c)
{
	for (unsigned page = 0; page < TABLE_MOST; page++)
		for (unsigned i = 0; i < ENTRIES; i++)
			tables_set(m, page, i, random_entry(f, c));
}

/* Each round other tables; walks from any table as the root, and from none. */
static void random_round(struct tables *m, const struct format_case *f, struct chance *c,
			 unsigned seen[RESULTS])
{
	fill(m, f, c);
	for (unsigned i = 0; i < WALKS; i++) {
		struct vi_pgtable t = {
			.format = f->format,
			.root = tables_gpa((unsigned)chance_below(c, TABLE_MOST + 2)),
			.levels = (uint8_t)chance_between(c, f->fewest_levels, f->most_levels),
			.address_width = (uint8_t)(chance_one_in(c, 4) ? chance_between(c, 32, 52) : 46),
			.leaf_levels =
				leaf_levels_of(f, chance_one_in(c, 2) ? 7 : (unsigned)chance_below(c, 8)),
		};
		uint64_t iova = chance_word(c) & last_iova(t.levels);
		unsigned loads;

		check_walks(m, f, &t, iova);
		seen[oracle_walk(m, f, &t, iova, RW, true, &loads).result]++;
	}
}

static void test_random(void **state)
{
	struct chance c = {4};

	for (unsigned i = 0; i < format_count * 2; i++) {
		unsigned seen[RESULTS] = {0};
		struct tables m;

		tables_init(&m, i % 2);
		for (unsigned round = 0; round < ROUNDS; round++)
			random_round(&m, &format_cases[i / 2], &c, seen);
		tables_finish(&m);
		for (unsigned result = VI_WALK_OK; result <= VI_WALK_TABLE_ACCESS; result++)
			assert_true(seen[result] > WALKS / 20); /* or the tables are too dull */
		assert_true(seen[format_cases[i / 2].absent] > WALKS / 20);
		assert_true(seen[format_cases[i / 2].bad_leaf] > WALKS / 20);
	}
}

/* One table that is each level of itself: a walk ends after as many loads as there are levels; or after two,
 * as the level that an entry names is not below itself. */
static void test_self_reference(void **state)
{
	for (unsigned i = 0; i < format_count; i++) {
		const struct format_case *f = &format_cases[i];
		struct tables m;

		tables_init(&m, true);
		for (unsigned index = 0; index < ENTRIES; index++)
			tables_set(&m, 0, index, f->compose(TABLE_GPA, false, 2, RW));
		for (unsigned levels = f->fewest_levels; levels <= f->most_levels; levels++) {
			struct vi_pgtable t = {f->format, TABLE_GPA, (uint8_t)levels, 46, 0xe};
			unsigned most = f->names_level && levels > 2 ? 2 : levels;

			for (unsigned index = 0; index < ENTRIES; index++) {
				const unsigned same[LEVELS_MOST] = {index, index, index, index, index, index};

				check_walks(&m, f, &t, iova_of(same) & last_iova(levels));
				assert_in_range(m.loads, f->names_level ? 1 : most, most);
			}
		}
		tables_finish(&m);
	}
}

/* Two tables that lead to each other, for each way in; and a table below that is the root. */
static void test_loops(void **state)
{
	for (unsigned i = 0; i < format_count; i++) {
		const struct format_case *f = &format_cases[i];
		struct tables m;

		tables_init(&m, true);
		for (unsigned index = 0; index < ENTRIES; index++) {
			tables_set(&m, 0, index, f->compose(tables_gpa(1), false, 2, index % 3 ? RW : READ));
			tables_set(&m, 1, index, f->compose(tables_gpa(0), false, 2, index % 5 ? RW : WRITE));
		}
		for (unsigned n = 0; n < 1000; n++) {
			const unsigned index[LEVELS_MOST] = {n % 512,	   n * 7 % 512,	 n * 11 % 512,
							     n * 13 % 512, n * 17 % 512, n % 128};
			struct vi_pgtable t = {f->format, tables_gpa(n % 2), (uint8_t)f->most_levels, 46,
					       0xe};

			check_walks(&m, f, &t, iova_of(index) & last_iova(t.levels));
		}
		tables_finish(&m);
	}
}

/* A format whose entries are as the guest wrote them: bits 2..0 are the next level, bit 3 a leaf. */
static struct vi_pte decode_as_written(const struct vi_pgtable *t, uint64_t entry, unsigned level)
{
	(void)t;
	(void)level;
	return (struct vi_pte){.kind = entry & 8 ? VI_PTE_LEAF : VI_PTE_TABLE,
			       .access = RW,
			       .address = entry & VI_BITS(51, 12),
			       .size_lg2 = 12,
			       .next = entry & 7};
}

static const struct vi_pgtable_format as_written = {
	.name = "as written", .max_levels = 4, .index_bits = 9, .decode = decode_as_written};

/* Levels fall, whatever a format makes of an entry: no walk is longer than there are levels. */
static void test_levels_that_do_not_fall(void **state)
{
	struct vi_pgtable t = {&as_written, TABLE_GPA, 4, 46, 0xe};
	uint64_t iova = 0, budget = 100;
	struct vi_leaf leaf;
	struct tables m;

	(void)state;
	tables_init(&m, true);
	for (unsigned next = 0; next < 8; next++) {
		struct vi_walk w;

		for (unsigned index = 0; index < ENTRIES; index++)
			tables_set(&m, 0, index, TABLE_GPA | next);
		m.loads = 0;
		w = vi_pgtable_walk(&t, &m.gm, 0, RW, false);
		assert_int_equal(w.result, VI_WALK_BAD_LEVEL);
		assert_in_range(m.loads, 1, 4);
		assert_int_equal(w.reads, m.loads);
		iova = 0;
		budget = 100;
		assert_int_equal(vi_pgtable_next(&t, &m.gm, &iova, &budget, &leaf), VI_NEXT_BUDGET);
	}
	tables_finish(&m);
}

/* A table at level 4 leads to one at level 1: the bits between them must be 0, else each page had aliases. */
static void test_skipped_levels(void **state)
{
	struct vi_pgtable t = {&as_written, TABLE_GPA, 4, 46, 0xe};
	uint64_t iova = UINT64_C(1) << 39, budget = 3000;
	struct vi_leaf leaf;
	struct tables m;

	(void)state;
	tables_init(&m, false);
	for (unsigned index = 0; index < ENTRIES; index++) {
		tables_set(&m, 0, index, 0);
		tables_set(&m, 1, index, (uint64_t)(index + 1) << 12 | 8);
	}
	tables_set(&m, 0, 1, tables_gpa(1) | 1);
	assert_int_equal(vi_pgtable_walk(&t, &m.gm, iova + 0x3000, RW, false).result, VI_WALK_OK);
	for (unsigned bit = 21; bit < 39; bit++)
		assert_int_equal(vi_pgtable_walk(&t, &m.gm, iova | UINT64_C(1) << bit, RW, false).result,
				 VI_WALK_BAD_LEVEL);
	for (unsigned page = 0; page < ENTRIES; page++) {
		assert_int_equal(vi_pgtable_next(&t, &m.gm, &iova, &budget, &leaf), VI_NEXT_FOUND);
		assert_int_equal(leaf.first, (UINT64_C(1) << 39) + page * PAGE);
		assert_int_equal(leaf.address, (page + 1) * PAGE);
		iova = leaf.last + 1;
	}
	assert_int_equal(vi_pgtable_next(&t, &m.gm, &iova, &budget, &leaf), VI_NEXT_END);
	tables_finish(&m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),	       cmocka_unit_test(test_self_reference),
		cmocka_unit_test(test_loops),	       cmocka_unit_test(test_levels_that_do_not_fall),
		cmocka_unit_test(test_skipped_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
