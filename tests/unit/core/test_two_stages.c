/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page tables of two stages under a model that has nothing else. The tables of the
 * first lie in the memory that it sees, at INNER_TABLES, and are VT-d's second-stage
 * tables as those of the second are.
 */
#include "model_bed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/page_table.h"

#define LARGE	     (UINT64_C(2) << 20)
#define INNER_TABLES (UINT64_C(1) << 30)
#define TABLES_SIZE  (UINT64_C(1) << 20)
#define DATA	     (2 * TABLES_SIZE) /* gpa of the memory that is no table */
#define MOST_READS   (5 * 5 - 1)

/* The first stage at `first`, the second at `second`. */
struct stages {
	struct bed bed;
	struct vi_driver_memory inner_pages, outer_pages;
	struct vi_driver_page_table first, second;
};

static void init_table(struct vi_driver_page_table *p, struct vi_driver_memory *memory, unsigned levels)
{
	assert_int_equal(vi_driver_page_table_init(p, &vi_pgtable_vtd_second_stage, levels, 52, 0xe, memory),
			 0);
}

static void begin(struct stages *s, unsigned first_levels, unsigned second_levels)
{
	bed_begin(&s->bed, 0);
	vi_driver_memory_init(&s->outer_pages, 0, s->bed.ram, TABLES_SIZE);
	vi_driver_memory_init(&s->inner_pages, INNER_TABLES, s->bed.ram + TABLES_SIZE, TABLES_SIZE);
	init_table(&s->first, &s->inner_pages, first_levels);
	init_table(&s->second, &s->outer_pages, second_levels);
	assert_int_equal(vi_driver_map(&s->second, INNER_TABLES, TABLES_SIZE, TABLES_SIZE, RW), 0);
	s->bed.t.last = vi_pgtable_last(&s->first.table);
	s->bed.t.translator = vi_translator_of_two_stages(
		&(struct vi_two_stages){.first = s->first.table, .second = s->second.table});
}

static void end(struct stages *s)
{
	bed_end(&s->bed);
}

static void map_first(struct stages *s, uint64_t iova, uint64_t inner, uint64_t size, unsigned access)
{
	assert_int_equal(vi_driver_map(&s->first, iova, inner, size, access), 0);
}

static void map_second(struct stages *s, uint64_t inner, uint64_t gpa, uint64_t size, unsigned access)
{
	assert_int_equal(vi_driver_map(&s->second, inner, gpa, size, access), 0);
}

static struct vi_walk walk(struct stages *s, uint64_t iova, unsigned need, bool any)
{
	const struct vi_translator *t = &s->bed.t.translator;

	return t->ops->walk(t, &s->bed.viommu->mem, iova, need, any);
}

/* ------------------------------------------------------------------ translation */

static void test_translates_and_caches(void **state)
{
	struct stages s;

	(void)state;
	begin(&s, 4, 4);
	map_first(&s, 16 * PAGE, 32 * PAGE, 2 * PAGE, RW);
	map_second(&s, 32 * PAGE, DATA + 5 * PAGE, PAGE, RW);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(bed_put(&s.bed, 16 * PAGE + 5, (uint8_t)(7 + i)), 0);
		assert_int_equal(s.bed.ram[DATA + 5 * PAGE + 5], 7 + i);
	}
	assert_int_equal(bed_counter(&s.bed, VI_COUNT_iotlb_hits), 2);
	assert_int_equal(bed_counter(&s.bed, VI_COUNT_walks), 1);
	/* 4 entries of the first stage, each by 3 of the second, as its tables lie in a large page each. */
	assert_in_range(bed_counter(&s.bed, VI_COUNT_walk_reads), 4 + 4 * 3 + 4, MOST_READS);
	/* Used until it is invalidated. */
	assert_int_equal(vi_driver_unmap(&s.second, 32 * PAGE, PAGE), PAGE);
	assert_int_equal(bed_put(&s.bed, 16 * PAGE, 1), 0);
	bed_invalidate_all(&s.bed);
	bed_expect_fault(&s.bed, 16 * PAGE, BED_REASON_OF(VI_WALK_DENIED, 2, VI_WALK_FOR_PAGE));
	end(&s);
}

static void test_number_of_reads_is_bounded(void **state)
{
	struct stages s;

	(void)state;
	for (unsigned first = 3; first <= 4; first++) {
		for (unsigned second = 3; second <= 4; second++) {
			uint64_t root = 0;

			begin(&s, first, second);
			/* All by small pages, tables too. */
			assert_int_equal(vi_driver_unmap(&s.second, INNER_TABLES, TABLES_SIZE), TABLES_SIZE);
			for (; root < TABLES_SIZE; root += PAGE)
				map_second(&s, INNER_TABLES + root, TABLES_SIZE + root, PAGE, RW);
			map_first(&s, 0, 0, PAGE, RW);
			map_second(&s, 0, DATA, PAGE, RW);
			assert_int_equal(walk(&s, 0, RW, false).result, VI_WALK_OK);
			assert_int_equal(walk(&s, 0, RW, false).reads, (first + 1) * (second + 1) - 1);
			end(&s);
		}
	}
}

static void test_rights_are_those_of_both(void **state)
{
	struct vi_walk w;
	struct stages s;

	(void)state;
	begin(&s, 3, 4);
	for (unsigned first = 1; first <= RW; first++) {
		for (unsigned second = 0; second <= RW; second++) {
			uint64_t page = (4 * first + second) * PAGE;

			map_first(&s, page, page, PAGE, first);
			if (second)
				map_second(&s, page, DATA + page, PAGE, second);
			for (unsigned need = 1; need <= RW; need++) {
				bool granted = (need & ~(first & second)) == 0;

				w = walk(&s, page, need, false);
				assert_int_equal(w.result, granted ? VI_WALK_OK : VI_WALK_DENIED);
				assert_int_equal(w.stage, need & ~first ? 1 : 2);
				if (granted)
					assert_int_equal(w.access, first & second);
			}
			/* A read of nothing wants one right that both grant. */
			w = walk(&s, page, RW, true);
			assert_int_equal(w.result, first & second ? VI_WALK_OK : VI_WALK_DENIED);
		}
	}
	end(&s);
}

/* 2 MiB in both stages, in either and in none. */
static void test_size_is_the_smaller_one(void **state)
{
	struct stages s;

	(void)state;
	begin(&s, 4, 3);
	map_first(&s, 0, 0, LARGE, RW);
	map_first(&s, LARGE, LARGE, LARGE, RW);
	for (unsigned i = 0; i < 512; i++)
		map_first(&s, 2 * LARGE + i * PAGE, 2 * LARGE + i * PAGE, PAGE, RW);
	map_second(&s, 0, LARGE, LARGE, RW);
	for (unsigned i = 0; i < 512; i++)
		map_second(&s, LARGE + i * PAGE, LARGE + (511 - i) * PAGE, PAGE, RW);
	map_second(&s, 2 * LARGE, LARGE, LARGE, RW);
	for (unsigned i = 0; i < 2; i++) { /* looked up, and cached */
		assert_int_equal(bed_room(&s.bed, 0), LARGE);
		assert_int_equal(bed_room(&s.bed, LARGE + 3 * PAGE), PAGE);
		assert_int_equal(bed_room(&s.bed, 2 * LARGE + 3 * PAGE), PAGE);
		for (unsigned at = 0; at < 512; at += 73) {
			assert_int_equal(bed_put(&s.bed, at * PAGE, 1), 0);
			assert_int_equal(s.bed.ram[LARGE + at * PAGE], 1);
			assert_int_equal(bed_put(&s.bed, LARGE + at * PAGE + 1, 2), 0);
			assert_int_equal(s.bed.ram[LARGE + (511 - at) * PAGE + 1], 2);
			assert_int_equal(bed_put(&s.bed, 2 * LARGE + at * PAGE + 2, 3), 0);
			assert_int_equal(s.bed.ram[LARGE + at * PAGE + 2], 3);
		}
	}
	end(&s);
}

/* A guest that invalidates one page of its large leaf means all of it, in how many pieces ever it is cached.
 */
static void test_pieces_of_a_leaf_go_together(void **state)
{
	struct stages s;

	(void)state;
	begin(&s, 4, 4);
	map_first(&s, 0, 0, LARGE, RW);
	for (unsigned i = 0; i < 512; i++)
		map_second(&s, i * PAGE, DATA + i * PAGE, PAGE, RW);
	assert_int_equal(bed_put(&s.bed, 0, 1), 0);
	assert_int_equal(bed_put(&s.bed, 7 * PAGE, 1), 0);
	assert_int_equal(vi_driver_unmap(&s.first, 0, LARGE), LARGE);
	bed_invalidate(&s.bed, 0, PAGE - 1);
	bed_expect_fault(&s.bed, 7 * PAGE, BED_REASON_OF(VI_WALK_DENIED, 1, 0));
	/* Of small leaves one goes alone. */
	map_first(&s, 0, 0, PAGE, RW);
	map_first(&s, PAGE, PAGE, PAGE, RW);
	assert_int_equal(bed_put(&s.bed, 0, 1), 0);
	assert_int_equal(bed_put(&s.bed, PAGE, 1), 0);
	assert_int_equal(vi_driver_unmap(&s.first, 0, 2 * PAGE), 2 * PAGE);
	bed_invalidate(&s.bed, 0, PAGE - 1);
	bed_expect_fault(&s.bed, 0, BED_REASON_OF(VI_WALK_DENIED, 1, 0));
	assert_int_equal(bed_put(&s.bed, PAGE, 1), 0);
	end(&s);
}

/* A format may have leaves whose address is aligned to less than they are long. */
static struct vi_pte decode_unaligned(const struct vi_pgtable *t, uint64_t entry, unsigned level)
{
	struct vi_pte pte = vi_pgtable_vtd_second_stage.decode(t, entry, level);

	if (pte.kind == VI_PTE_LEAF)
		pte.address += 3 * PAGE;
	return pte;
}

static void test_leaves_that_are_not_aligned(void **state)
{
	struct vi_pgtable_format format = vi_pgtable_vtd_second_stage;
	struct stages s;

	(void)state;
	begin(&s, 3, 3);
	format.decode = decode_unaligned;
	format.walk = NULL;
	s.bed.t.translator.stages.first.format = &format;
	map_first(&s, 0, 0, LARGE, RW);
	map_second(&s, 0, LARGE, LARGE, RW);
	map_second(&s, LARGE, 2 * LARGE, LARGE, RW);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(bed_put(&s.bed, 0, 1), 0);
		assert_int_equal(s.bed.ram[LARGE + 3 * PAGE], 1);
		assert_int_equal(bed_put(&s.bed, 511 * PAGE, 2), 0);
		assert_int_equal(s.bed.ram[2 * LARGE + 2 * PAGE], 2);
	}
	end(&s);
}

/* ----------------------------------------------------------------------- faults */

static void expect(struct stages *s, enum vi_walk_result result, unsigned stage, enum vi_walk_purpose purpose)
{
	bed_invalidate_all(&s->bed);
	bed_expect_fault(&s->bed, 0, (vi_reason)BED_REASON_OF(result, stage, purpose));
}

/* The word is another one while the fault is looked for. */
static void spoil(struct stages *s, const struct vi_driver_memory *m, uint64_t gpa, uint64_t word,
		  enum vi_walk_result result, unsigned stage, enum vi_walk_purpose purpose)
{
	uint64_t before = vi_driver_load64(m, gpa);

	vi_driver_store64(m, gpa, word);
	expect(s, result, stage, purpose);
	vi_driver_store64(m, gpa, before);
	bed_invalidate_all(&s->bed);
	assert_int_equal(bed_put(&s->bed, 0, 1), 0);
}

static void test_faults_tell_the_stage(void **state)
{
	const uint64_t bad = VI_BIT(62) | 3; /* TM is reserved */
	uint64_t first, second, table, root;
	struct stages s;

	(void)state;
	begin(&s, 4, 4);
	map_first(&s, 0, 0, PAGE, RW);
	map_second(&s, 0, DATA, PAGE, RW);
	assert_int_equal(bed_put(&s.bed, 0, 1), 0);
	first = vi_driver_entry_gpa(&s.first, 0, 1);
	second = vi_driver_entry_gpa(&s.second, 0, 1);
	root = vi_driver_entry_gpa(&s.first, 0, 4);
	spoil(&s, &s.inner_pages, first, 0, VI_WALK_DENIED, 1, VI_WALK_FOR_PAGE);
	spoil(&s, &s.inner_pages, first, bad, VI_WALK_RESERVED, 1, VI_WALK_FOR_PAGE);
	spoil(&s, &s.outer_pages, second, 0, VI_WALK_DENIED, 2, VI_WALK_FOR_PAGE);
	spoil(&s, &s.outer_pages, second, 1, VI_WALK_DENIED, 2, VI_WALK_FOR_PAGE);
	spoil(&s, &s.outer_pages, second, bad, VI_WALK_RESERVED, 2, VI_WALK_FOR_PAGE);
	/* A table of the first stage that the second has no memory for, and its top one. */
	spoil(&s, &s.inner_pages, root, (UINT64_C(5) << 30) | 3, VI_WALK_DENIED, 2, VI_WALK_FOR_TABLE);
	table = vi_driver_entry_gpa(&s.second, INNER_TABLES + (root & (TABLES_SIZE - 1)), 1);
	spoil(&s, &s.outer_pages, table, 0, VI_WALK_DENIED, 2, VI_WALK_FOR_TOP_TABLE);
	spoil(&s, &s.outer_pages, table, 2, VI_WALK_DENIED, 2, VI_WALK_FOR_TOP_TABLE); /* not readable */
	spoil(&s, &s.outer_pages, table, bad, VI_WALK_RESERVED, 2, VI_WALK_FOR_TOP_TABLE);
	/* Both stages agree on a place where no memory is. */
	spoil(&s, &s.outer_pages, table, VI_BIT(40) | 3, VI_WALK_TABLE_ACCESS, 1, 0);
	/* A table of the second stage that is none. */
	spoil(&s, &s.outer_pages, vi_driver_entry_gpa(&s.second, 0, 2), VI_BIT(40) | 3, VI_WALK_TABLE_ACCESS,
	      2, VI_WALK_FOR_PAGE);
	end(&s);
}

static void test_beyond_the_second_stage(void **state)
{
	struct stages s;

	(void)state;
	begin(&s, 4, 3);
	map_first(&s, 0, 0, PAGE, RW);
	map_second(&s, 0, DATA, PAGE, RW);
	assert_int_equal(bed_put(&s.bed, 0, 1), 0);
	spoil(&s, &s.inner_pages, vi_driver_entry_gpa(&s.first, 0, 1), VI_BIT(39) | 3, VI_WALK_BEYOND, 2,
	      VI_WALK_FOR_PAGE);
	spoil(&s, &s.inner_pages, vi_driver_entry_gpa(&s.first, 0, 2), VI_BIT(39) | 3, VI_WALK_BEYOND, 2,
	      VI_WALK_FOR_TABLE);
	s.bed.t.translator.stages.first.root = VI_BIT(39);
	viommu_reset(s.bed.viommu);
	expect(&s, VI_WALK_BEYOND, 2, VI_WALK_FOR_TOP_TABLE);
	end(&s);
}

/* ------------------------------------------------- against pages one at a time */

#define SLOTS 8 /* of 2 MiB, on each side */
#define PAGES (SLOTS * 512)

/* What each page of a side leads to; rights 0: to nothing. */
struct side {
	struct {
		uint64_t address;
		unsigned rights;
	} page[PAGES];
};

static uint64_t random_below(uint64_t limit)
{
	return (uint64_t)rand() % limit; /* not seeded: the same each time */
}

static void lay(struct side *side, struct vi_driver_page_table *p, unsigned page, unsigned pages,
		uint64_t address, unsigned rights)
{
	assert_int_equal(vi_driver_map(p, page * PAGE, address, pages * PAGE, rights), 0);
	for (unsigned i = 0; i < pages; i++) {
		side->page[page + i].address = address + i * PAGE;
		side->page[page + i].rights = rights;
	}
}

static unsigned random_rights(void)
{
	return random_below(4) ? RW : 1 + (unsigned)random_below(2);
}

/* Large leaves, tables with some pages, and nothing. */
static void lay_randomly(struct side *side, struct vi_driver_page_table *p)
{
	memset(side, 0, sizeof(*side));
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		unsigned kind = (unsigned)random_below(4), first = slot * 512;

		if (kind == 0)
			continue;
		if (kind < 3) {
			lay(side, p, first, 512, random_below(SLOTS) * LARGE, random_rights());
			continue;
		}
		for (unsigned i = 0; i < 512; i += 1 + (unsigned)random_below(3))
			lay(side, p, first + i, 1, random_below(PAGES) * PAGE, random_rights());
	}
}

/* The page of the second side that this one of the first leads to; of both rights. */
static unsigned through(const struct side *first, const struct side *second, unsigned page,
			uint64_t *ret_address)
{
	unsigned inner = (unsigned)(first->page[page].address / PAGE);

	if (!first->page[page].rights || !second->page[inner].rights)
		return 0;
	*ret_address = second->page[inner].address;
	return first->page[page].rights & second->page[inner].rights;
}

static void check_walks(struct stages *s, const struct side *first, const struct side *second)
{
	for (unsigned page = 0; page < PAGES; page++) {
		uint64_t address = 0, iova = page * PAGE + 8;
		unsigned rights = through(first, second, page, &address);
		struct vi_walk w = walk(s, iova, RW, true);

		assert_int_equal(w.result == VI_WALK_OK, rights != 0);
		assert_true(w.reads <= MOST_READS);
		if (!rights)
			continue;
		assert_int_equal(w.access, rights);
		/* What is said of this page holds for the whole leaf. */
		assert_int_equal(w.address + vi_align_down(iova & (VI_BIT(w.size_lg2) - 1), PAGE), address);
		for (uint64_t i = 0; i < VI_BIT(w.size_lg2) / PAGE; i += 37) {
			uint64_t other = vi_align_down(iova, VI_BIT(w.size_lg2)) / PAGE + i;

			assert_int_equal(through(first, second, (unsigned)other, &address), rights);
			assert_int_equal(address, w.address + i * PAGE);
		}
	}
}

/* All leaves, with so many steps in each call; each call comes further and none costs more than it may. */
static void check_next(struct stages *s, const struct side *first, const struct side *second, uint64_t budget)
{
	const struct vi_translator *t = &s->bed.t.translator;
	uint64_t iova = 0, before, address = 0;
	enum vi_next_result result;
	unsigned page = 0;

	do {
		uint64_t left = budget;
		struct vi_leaf leaf;

		before = iova;
		result = t->ops->next(t, &s->bed.viommu->mem, &iova, &left, &leaf);
		if (result == VI_NEXT_BUDGET)
			assert_true(iova > before && left == 0);
		/* Nothing was passed over. */
		for (; page < PAGES && page < (result == VI_NEXT_FOUND ? leaf.first : iova) / PAGE; page++)
			assert_int_equal(through(first, second, page, &address), 0);
		if (result != VI_NEXT_FOUND)
			continue;
		for (; page <= leaf.last / PAGE; page++) {
			assert_int_equal(through(first, second, page, &address), leaf.access);
			assert_int_equal(address, leaf.address + (page * PAGE - leaf.first));
		}
		iova = leaf.last + 1;
	} while (result != VI_NEXT_END);
	assert_int_equal(page, PAGES);
}

static void test_pages_one_at_a_time(void **state)
{
	static struct side first, second;
	struct stages s;

	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		begin(&s, 3 + round % 2, 3 + round / 2 % 2);
		lay_randomly(&first, &s.first);
		lay_randomly(&second, &s.second);
		check_walks(&s, &first, &second);
		check_next(&s, &first, &second, 1);
		check_next(&s, &first, &second, 7);
		check_next(&s, &first, &second, 100000);
		end(&s);
	}
}

/* ------------------------------------------------------------------------ reach */

static void test_reach(void **state)
{
	const char *all = "0-fff:200000,3;1000-1fff:202000,1;3000-3fff:201000,2;";
	char text[256];
	struct stages s;

	(void)state;
	begin(&s, 4, 3);
	map_first(&s, 0, 0, PAGE, RW);
	map_first(&s, PAGE, 2 * PAGE, PAGE, RW);
	map_first(&s, 2 * PAGE, 3 * PAGE, PAGE, VIOMMU_READ);
	map_first(&s, 3 * PAGE, PAGE, PAGE, VIOMMU_WRITE);
	map_first(&s, 4 * PAGE, VI_BIT(40), PAGE, RW); /* beyond the second stage */
	map_second(&s, 0, DATA, PAGE, RW);
	map_second(&s, PAGE, DATA + PAGE, PAGE, RW);
	map_second(&s, 2 * PAGE, DATA + 2 * PAGE, PAGE, VIOMMU_READ);
	map_second(&s, 3 * PAGE, DATA + 3 * PAGE, PAGE, VIOMMU_WRITE);
	assert_string_equal(bed_reach(&s.bed, 0, text, sizeof(text)), all);
	assert_string_equal(bed_reach(&s.bed, 1, text, sizeof(text)), all);
	assert_string_equal(bed_reach(&s.bed, 3, text, sizeof(text)), all);
	end(&s);
}

/* One table for each level of the first stage, which all entries lead to; all leaves lead beyond the second.
 */
static void test_endless_tables_take_what_is_granted(void **state)
{
	uint64_t iova = 0, budget = 1000, table;
	const struct vi_translator *t;
	struct vi_leaf leaf;
	struct stages s;

	(void)state;
	begin(&s, 4, 3);
	t = &s.bed.t.translator;
	table = s.first.table.root;
	for (unsigned level = 4; level > 0; level--) {
		uint64_t below = level > 1 ? vi_driver_page_alloc(&s.inner_pages) : VI_BIT(40);

		for (unsigned i = 0; i < 512; i++)
			vi_driver_store64(&s.inner_pages, table + 8 * i, below | 3);
		table = below;
	}
	for (unsigned i = 1; i < 100; i++) {
		uint64_t before = iova;

		assert_int_equal(t->ops->next(t, &s.bed.viommu->mem, &iova, &budget, &leaf), VI_NEXT_BUDGET);
		assert_int_equal(budget, 0);
		assert_in_range(iova, before + PAGE, before + 1000 * PAGE);
		budget = i;
	}
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translates_and_caches),
		cmocka_unit_test(test_number_of_reads_is_bounded),
		cmocka_unit_test(test_rights_are_those_of_both),
		cmocka_unit_test(test_size_is_the_smaller_one),
		cmocka_unit_test(test_pieces_of_a_leaf_go_together),
		cmocka_unit_test(test_leaves_that_are_not_aligned),
		cmocka_unit_test(test_faults_tell_the_stage),
		cmocka_unit_test(test_beyond_the_second_stage),
		cmocka_unit_test(test_pages_one_at_a_time),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_endless_tables_take_what_is_granted),
	};

	return cmocka_run_group_tests_name("core two stages", tests, NULL, NULL);
}
