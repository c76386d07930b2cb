/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every format x levels x page size allowed or not x rights at every level.
 * Here the expectation comes from how the tables were built; that the oracle
 * says the same is checked on the way.
 */
#include "testing.h"

#include "tables.h"

#define ADDRESS_WIDTH 46

typedef void (*table_fn)(struct tables *m, const struct format_case *f, struct vi_pgtable *t);

/* With each format, number of levels, set of page sizes, and kind of memory. */
static void with_each(table_fn fn)
{
	for (unsigned i = 0; i < format_count * 2; i++) {
		const struct format_case *f = &format_cases[i / 2];
		struct tables m;

		tables_init(&m, i % 2);
		for (unsigned levels = f->fewest_levels; levels <= f->most_levels; levels++) {
			for (unsigned sizes = 0; sizes < 8; sizes++) {
				struct vi_pgtable t = {f->format, TABLE_GPA, (uint8_t)levels, ADDRESS_WIDTH,
						       leaf_levels_of(f, sizes)};

				tables_clear(&m);
				fn(&m, f, &t);
			}
		}
		tables_finish(&m);
	}
}

/* Where in its table each level's entry lies, [0] for level 1. */
static const unsigned index_sets[][LEVELS_MOST] = {
	{0, 0, 0, 0, 0, 0},
	{511, 511, 511, 511, 511, 127},
	{1, 2, 3, 4, 5, 6},
	{256, 0, 511, 7, 0, 64},
};

/* The highest level that has leaves in these tables, allowed or not, within the width of the address. */
static unsigned highest_leaf(const struct format_case *f, const struct vi_pgtable *t)
{
	return (unsigned)vi_min(vi_min(t->levels, f->leaf_most), 4);
}

/* A chain of tables, page 0 for the top level, page 1 the next; a leaf at `leaf`. Returns its address. */
static uint64_t build_chain(struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
			    const unsigned index[LEVELS_MOST], unsigned leaf,
			    const unsigned rights[LEVELS_MOST + 1])
{
	uint64_t page = PAGE << 9 * (leaf - 1),
		 address = (UINT64_C(0x2a5a5a5a5a5a5a5a) % (UINT64_C(1) << ADDRESS_WIDTH)) / page * page;

	for (unsigned level = t->levels; level > leaf; level--)
		tables_set(m, t->levels - level, index[level - 1],
			   f->compose(tables_gpa(t->levels - level + 1), false, level, rights[level]));
	tables_set(m, t->levels - leaf, index[leaf - 1], f->compose(address, true, leaf, rights[leaf]));
	return address;
}

/* The result by the rules in words: from the top, the first level that is wrong ends it. */
static struct vi_walk expected_of(const struct format_case *f, const struct vi_pgtable *t, unsigned leaf,
				  const unsigned rights[LEVELS_MOST + 1], unsigned need, bool any,
				  uint64_t address)
{
	struct vi_walk w = {.access = RW, .size_lg2 = (uint8_t)(12 + 9 * (leaf - 1))};
	bool rights_first = f->absent == VI_WALK_DENIED;

	for (w.level = t->levels; w.level >= leaf; w.level--) {
		bool lacking, bad = w.level == leaf && !(t->leaf_levels >> leaf & 1);

		w.access &= granted_by(f, rights[w.level]);
		lacking = any ? (w.access & need) == 0 : (w.access & need) != need;
		w.result = bad && !(lacking && rights_first) ? f->bad_leaf : VI_WALK_DENIED;
		if (lacking || bad)
			return w;
	}
	w.level = leaf;
	w.result = VI_WALK_OK;
	w.address = address;
	return w;
}

static void check_rights(struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
			 const unsigned index[LEVELS_MOST], unsigned leaf, unsigned combination)
{
	unsigned rights[LEVELS_MOST + 1] = {0};
	unsigned loads;
	uint64_t address, iova = iova_of(index) & last_iova(t->levels);

	for (unsigned level = leaf; level <= t->levels; level++)
		rights[level] = combination >> 2 * (level - 1) & RW;
	address = build_chain(m, f, t, index, leaf, rights);
	check_walks(m, f, t, iova);
	for (unsigned ask = 0; ask < 6; ask++) {
		unsigned need = ask % 3 + 1;
		struct vi_walk want = expected_of(f, t, leaf, rights, need, ask >= 3, address);
		struct vi_walk got = oracle_walk(m, f, t, iova, need, ask >= 3, &loads);

		assert_true(is_same_walk(&got, &want));
	}
}

static void check_all_rights(struct tables *m, const struct format_case *f, struct vi_pgtable *t)
{
	for (unsigned leaf = 1; leaf <= highest_leaf(f, t); leaf++) {
		for (unsigned s = 0; s < VI_ARRAY_SIZE(index_sets); s++) {
			for (unsigned combination = 0; combination < 1u << 2 * t->levels; combination++)
				if (combination % (1u << 2 * (leaf - 1)) == 0)
					check_rights(m, f, t, index_sets[s], leaf, combination);
			tables_clear(m);
		}
	}
}

static void test_rights_at_every_level(void **state)
{
	with_each(check_all_rights);
}

/* Every bit of every entry on the way, turned over, at every place. */
static void check_each_bit(struct tables *m, const struct format_case *f, struct vi_pgtable *t)
{
	static const unsigned rights[LEVELS_MOST + 1] = {RW, RW, RW, RW, RW, RW, RW};
	const unsigned *index = index_sets[2];
	uint64_t iova = iova_of(index) & last_iova(t->levels);

	for (unsigned leaf = 1; leaf <= highest_leaf(f, t); leaf++) {
		tables_clear(m);
		build_chain(m, f, t, index, leaf, rights);
		for (unsigned i = 0; i < 64 * (t->levels - leaf + 1); i++) {
			unsigned level = leaf + i / 64, page = t->levels - level;
			uint64_t good = tables_get(m, page, index[level - 1]);

			tables_set(m, page, index[level - 1], good ^ UINT64_C(1) << i % 64);
			check_walks(m, f, t, iova);
			tables_set(m, page, index[level - 1], (good ^ UINT64_C(1) << i % 64) & ~UINT64_C(3));
			check_walks(m, f, t, iova);
			tables_set(m, page, index[level - 1], good);
		}
	}
}

static void test_each_bit(void **state)
{
	with_each(check_each_bit);
}

/* The reserved bits once more as plain masks, so that the oracle is not its own witness. */
static void test_vtd_second_stage_reserved_bits(void **state)
{
	static const struct {
		unsigned level;
		bool leaf;
		uint64_t reserved; /* with 46 bits of address */
	} cases[] = {
		{4, false, UINT64_C(0x400fc00000000800)}, {3, false, UINT64_C(0x400fc00000000800)},
		{2, false, UINT64_C(0x400fc00000000800)}, {3, true, UINT64_C(0x400fc0003ffff800)},
		{2, true, UINT64_C(0x400fc000001ff800)},  {1, true, UINT64_C(0x400fc00000000800)},
	};
	struct vi_pgtable t = {&vi_pgtable_vtd_second_stage, 0, 4, 46, 0xe};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		for (unsigned bit = 2; bit < 64; bit++) {
			uint64_t entry =
				UINT64_C(1) << bit | 3 | (cases[i].leaf && cases[i].level > 1 ? 0x80 : 0);
			enum vi_pte_kind kind = t.format->decode(&t, entry, cases[i].level).kind;
			bool becomes_leaf = bit == 7 && !cases[i].leaf;

			if (cases[i].reserved >> bit & 1)
				assert_int_equal(kind, VI_PTE_RESERVED);
			else if (becomes_leaf)
				assert_int_equal(kind, cases[i].level == 4 ? VI_PTE_RESERVED : VI_PTE_LEAF);
			else
				assert_int_equal(kind, cases[i].leaf ? VI_PTE_LEAF : VI_PTE_TABLE);
		}
	}
}

/* With each width of physical address the bits above it are reserved and none below. */
static void test_address_widths(void **state)
{
	for (unsigned i = 0; i < format_count; i++) {
		const struct format_case *f = &format_cases[i];

		for (unsigned width = 32; width <= 52; width++) {
			struct vi_pgtable t = {f->format, 0, (uint8_t)f->most_levels, (uint8_t)width, 0xe};

			for (unsigned bit = 12; bit < 52; bit++) {
				struct vi_pte pte =
					f->format->decode(&t, f->compose(UINT64_C(1) << bit, true, 1, RW), 1);

				assert_int_equal(pte.kind, bit < width ? VI_PTE_LEAF : VI_PTE_RESERVED);
				if (bit < width)
					assert_int_equal(pte.address, UINT64_C(1) << bit);
			}
		}
	}
}

/* What the library writes is what the specification means. */
static void test_encodings(void **state)
{
	for (unsigned i = 0; i < format_count * 3; i++) {
		const struct format_case *f = &format_cases[i / 3];
		unsigned level = i % 3 + 1;
		struct vi_pgtable t = {f->format, 0, (uint8_t)f->most_levels, 52, 0xe};
		uint64_t address = UINT64_C(0xa5a5a) << 30;
		struct meaning e;

		for (unsigned access = 1; access <= RW; access++) {
			e = f->interpret(f->format->encode_leaf(address, level, access), level, &t);
			assert_true(e.kind == PAGE_LEAF && e.access == granted_by(f, access) &&
				    e.address == address);
		}
		e = f->interpret(f->format->encode_table(address + PAGE, level + 1), level + 1, &t);
		assert_true(e.kind == NEXT_TABLE && e.access == RW && e.address == address + PAGE);
		assert_int_equal(e.next, level);
	}
}

/* The n-th load fails: the walk ends there, and says so. */
static void check_failing_loads(struct tables *m, const struct format_case *f, struct vi_pgtable *t)
{
	static const unsigned rights[LEVELS_MOST + 1] = {RW, RW, RW, RW, RW, RW, RW};
	const unsigned *index = index_sets[3];
	uint64_t iova = iova_of(index) & last_iova(t->levels);

	if (!m->called)
		return;
	build_chain(m, f, t, index, 1, rights);
	for (m->fail_load = t->levels + 1u; m->fail_load > 0; m->fail_load--)
		check_walks(m, f, t, iova);
}

static void test_failing_loads(void **state)
{
	with_each(check_failing_loads);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights_at_every_level),
		cmocka_unit_test(test_each_bit),
		cmocka_unit_test(test_vtd_second_stage_reserved_bits),
		cmocka_unit_test(test_address_widths),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_failing_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
