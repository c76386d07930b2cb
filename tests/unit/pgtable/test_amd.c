/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only the formats of AMD-Vi have: levels that entries name, leaves of all
 * sizes, entries of users and supervisors. The numbers are written out, so that
 * the oracle is not its own witness.
 */
#include "testing.h"

#include "tables.h"

enum { ENTRIES = 512 };

#define V1_RW  UINT64_C(0x6000000000000001)
#define SIZED  (UINT64_C(7) << 9)
#define V2_RWU UINT64_C(7)

static const struct vi_pgtable v1 = {&vi_pgtable_amd_v1, TABLE_GPA, 6, 52, 0x3e};
static const struct vi_pgtable v2 = {&vi_pgtable_amd_v2, TABLE_GPA, 5, 46, 0xe};

static enum vi_pte_kind kind_of(const struct vi_pgtable *t, uint64_t entry, unsigned level)
{
	return t->format->decode(t, entry, level).kind;
}

/* Address bits: ones up to the one before the last below the size. */
static uint64_t sized(unsigned size_lg2)
{
	return V1_RW | SIZED | ((UINT64_C(1) << (size_lg2 - 1)) - PAGE);
}

/* Larger than what the level has by default, smaller than what the next one has. */
static void test_v1_each_size_at_each_level(void **state)
{
	for (unsigned level = 1; level <= 6; level++) {
		for (unsigned size_lg2 = 13; size_lg2 <= 52; size_lg2++) {
			unsigned usual = 3 + 9 * level;
			struct vi_pte pte = v1.format->decode(&v1, sized(size_lg2), level);

			if (level == 6 || size_lg2 <= usual || size_lg2 >= usual + 9) {
				assert_int_equal(pte.kind, VI_PTE_BAD_LEVEL);
				continue;
			}
			assert_int_equal(pte.kind, VI_PTE_LEAF);
			assert_int_equal(pte.size_lg2, size_lg2);
			assert_int_equal(pte.address, 0);
		}
		assert_int_equal(kind_of(&v1, V1_RW, level), level == 6 ? VI_PTE_BAD_LEVEL : VI_PTE_LEAF);
		/* No 0 in the address at all: 2^53 bytes. */
		assert_int_equal(kind_of(&v1, V1_RW | SIZED | VI_BITS(51, 12), level),
				 level == 5 ? VI_PTE_RESERVED : VI_PTE_BAD_LEVEL);
	}
}

/* A page that is larger than all there can be of physical memory. */
static void test_v1_size_beyond_the_address_width(void **state)
{
	struct vi_pgtable t = v1;

	for (t.address_width = 40; t.address_width <= 52; t.address_width++) {
		assert_int_equal(kind_of(&t, V1_RW, 5), t.address_width < 48 ? VI_PTE_RESERVED : VI_PTE_LEAF);
		for (unsigned size_lg2 = 40; size_lg2 < 48; size_lg2++)
			assert_int_equal(kind_of(&t, sized(size_lg2), 4),
					 t.address_width < size_lg2 ? VI_PTE_RESERVED : VI_PTE_LEAF);
	}
}

/* As Linux writes 64 KiB: sixteen equal entries of level 1. */
static void test_v1_leaf_of_many_entries(void **state)
{
	static const struct vi_pgtable t = {&vi_pgtable_amd_v1, TABLE_GPA, 1, 52, 0x3e};
	uint64_t iova = 0, budget = 100;
	struct tables m;
	struct vi_leaf leaf;

	tables_init(&m, false);
	for (unsigned i = 16; i < 32; i++)
		tables_set(&m, 0, i, UINT64_C(0x6000000012347e01));
	for (unsigned i = 0; i < 64; i++) {
		struct vi_walk w = vi_pgtable_walk(&t, &m.gm, i * PAGE + 5, RW, false);

		assert_int_equal(w.result, i / 16 == 1 ? VI_WALK_OK : VI_WALK_NOT_PRESENT);
		if (i / 16 == 1) {
			assert_int_equal(w.size_lg2, 16);
			assert_int_equal(w.address, 0x12340000);
		}
	}
	/* One that differs counts for itself alone, in walks and in what is reachable. */
	tables_set(&m, 0, 18, UINT64_C(0x2000000056787e01));
	tables_set(&m, 0, 19, 0);
	for (unsigned i = 16; i < 32; i++, iova = leaf.last + 1) {
		if (i == 19)
			continue;
		assert_int_equal(vi_pgtable_next(&t, &m.gm, &iova, &budget, &leaf), VI_NEXT_FOUND);
		assert_int_equal(leaf.first, i * PAGE);
		assert_int_equal(leaf.last, i * PAGE + PAGE - 1);
		assert_int_equal(leaf.address, (i == 18 ? 0x56780000 : 0x12340000) + (i - 16) * PAGE);
		assert_int_equal(leaf.access, i == 18 ? READ : RW);
	}
	tables_finish(&m);
}

/* Each level with each next level: down is right, by one or by more; up, and the same, is not. */
static void test_v1_each_next_level(void **state)
{
	for (unsigned level = 1; level <= 6; level++) {
		for (unsigned next = 1; next <= 6; next++) {
			struct vi_pgtable t = v1;
			struct tables m;
			struct vi_walk w;

			t.levels = (uint8_t)level;
			tables_init(&m, true);
			tables_set(&m, 0, 0, V1_RW | next << 9 | tables_gpa(1));
			tables_set(&m, 1, 0, next < 6 ? V1_RW : V1_RW | 3 << 9);
			w = vi_pgtable_walk(&t, &m.gm, 0, RW, false);
			assert_int_equal(w.result, next < level ? VI_WALK_OK : VI_WALK_BAD_LEVEL);
			assert_int_equal(m.loads, next < level ? 2 : 1);
			assert_int_equal(w.level, next < level ? next : level);
			/* Of the levels between no bit may be set. */
			for (unsigned bit = 3 + 9 * (next + 1); next < level && bit < 3 + 9 * level; bit++)
				assert_int_equal(
					vi_pgtable_walk(&t, &m.gm, UINT64_C(1) << bit, RW, false).result,
					VI_WALK_BAD_LEVEL);
			tables_finish(&m);
		}
	}
}

static void test_v1_reserved_bits(void **state)
{
	struct vi_pgtable t = v1;

	t.address_width = 46;
	for (unsigned bit = 12; bit < 64; bit++) {
		uint64_t entry = V1_RW | UINT64_C(1) << bit;
		bool in_leaf = UINT64_C(0x07ffc00000000000) >> bit & 1,
		     in_table = UINT64_C(0x1fffc00000000000) >> bit & 1;

		assert_int_equal(kind_of(&t, entry, 1), in_leaf ? VI_PTE_RESERVED : VI_PTE_LEAF);
		assert_int_equal(kind_of(&t, entry | SIZED, 1), in_leaf ? VI_PTE_RESERVED
								: bit > 12 && bit < 46
									? VI_PTE_LEAF
									: kind_of(&t, entry | SIZED, 1));
		assert_int_equal(kind_of(&t, entry | 1 << 9, 2), in_table ? VI_PTE_RESERVED : VI_PTE_TABLE);
	}
	for (unsigned bit = 1; bit < 9; bit++)
		assert_int_equal(kind_of(&t, V1_RW | UINT64_C(1) << bit, 1), VI_PTE_LEAF);
	assert_int_equal(kind_of(&t, V1_RW - 1, 1), VI_PTE_NONE);
}

static void test_v2_reserved_bits(void **state)
{
	static const struct {
		unsigned level;
		bool leaf;
		uint64_t reserved; /* with 46 bits of address */
	} cases[] = {
		{5, false, UINT64_C(0x000fc00000000180)}, {4, false, UINT64_C(0x000fc00000000180)},
		{3, false, UINT64_C(0x000fc00000000000)}, {2, false, UINT64_C(0x000fc00000000000)},
		{3, true, UINT64_C(0x000fc0003fffe000)},  {2, true, UINT64_C(0x000fc000001fe000)},
		{1, true, UINT64_C(0x000fc00000000000)},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		uint64_t plain = V2_RWU | (cases[i].leaf && cases[i].level > 1 ? 0x80 : 0);

		for (unsigned bit = 3; bit < 64; bit++) {
			bool leaf = cases[i].leaf || (bit == 7 && cases[i].level < 4);
			enum vi_pte_kind kind = kind_of(&v2, plain | UINT64_C(1) << bit, cases[i].level);

			if (cases[i].reserved >> bit & 1)
				assert_int_equal(kind, VI_PTE_RESERVED);
			else
				assert_int_equal(kind, leaf ? VI_PTE_LEAF : VI_PTE_TABLE);
		}
	}
	/* PAT is no part of the address of a large page, and is one of a small page. */
	assert_int_equal(v2.format->decode(&v2, V2_RWU | 0x201080, 2).address, 0x200000);
	assert_int_equal(v2.format->decode(&v2, V2_RWU | 0x201080, 1).address, 0x201000);
}

static void test_v2_rights(void **state)
{
	static const unsigned access[8] = {0, 0, 0, 0, 0, READ, 0, RW}; /* by bits 2 (user), 1 (write), 0 */

	for (unsigned bits = 0; bits < 8; bits++) {
		struct vi_pte pte = v2.format->decode(&v2, bits | VI_BIT(63), 1);

		assert_int_equal(pte.access, access[bits]);
		assert_int_equal(pte.kind, bits & 1 ? VI_PTE_LEAF : VI_PTE_NONE);
	}
}

/* To the bit, what a driver writes. */
static void test_encodings(void **state)
{
	const struct vi_pgtable_format *f = &vi_pgtable_amd_v1;

	assert_int_equal(f->encode_leaf(0x12345000, 1, READ), UINT64_C(0x2000000012345001));
	assert_int_equal(f->encode_leaf(0x40000000, 3, RW), UINT64_C(0x6000000040000001));
	assert_int_equal(f->encode_table(0x12345000, 6), UINT64_C(0x6000000012345a01));
	assert_int_equal(f->encode_table(0x12345000, 2), UINT64_C(0x6000000012345201));
	f = &vi_pgtable_amd_v2;
	assert_int_equal(f->encode_leaf(0x12345000, 1, READ), 0x12345065);
	assert_int_equal(f->encode_leaf(0x40000000, 3, WRITE), 0x400000e7);
	assert_int_equal(f->encode_table(0x12345000, 5), 0x12345027);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_each_size_at_each_level),
		cmocka_unit_test(test_v1_size_beyond_the_address_width),
		cmocka_unit_test(test_v1_leaf_of_many_entries),
		cmocka_unit_test(test_v1_each_next_level),
		cmocka_unit_test(test_v1_reserved_bits),
		cmocka_unit_test(test_v2_reserved_bits),
		cmocka_unit_test(test_v2_rights),
		cmocka_unit_test(test_encodings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
