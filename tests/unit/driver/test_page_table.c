/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mapping and unmapping against an array that holds, for each page of 4 KiB,
 * what is mapped there; and every table page comes back in the end.
 */
#include "testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/viommu.h>

#include "base/bits.h"
#include "driver/page_table.h"

#define PAGE UINT64_C(4096)
#define MB2  (UINT64_C(2) << 20)
#define GB1  (UINT64_C(1) << 30)

#define READ  VI_PGTABLE_READ
#define WRITE VI_PGTABLE_WRITE
#define RW    (READ | WRITE)

#define TABLE_GPA    UINT64_C(0x7000000000)
#define TABLE_PAGES  4200 /* enough for each 2 MiB of the window in a table of its own */
#define WINDOW_PAGES (4u << 18)

struct shape {
	const struct vi_pgtable_format *format;
	unsigned levels;
	unsigned sizes; /* bit L: leaves at level L */
};

struct mapped {
	uint64_t gpa;
	uint8_t access; /* 0: not mapped */
	uint8_t level;	/* of its leaf */
};

/* The window is 4 GiB of iova and begins at a multiple of 1 GiB. */
struct bed {
	struct vi_driver_memory memory;
	struct vi_driver_page_table p;
	struct vi_guestmem gm;
	uint8_t *host;
	uint64_t pages; /* of tables */
	uint64_t base;	/* iova of the window */
	struct mapped *window;
	bool has_table[4][WINDOW_PAGES >> 9]; /* [L]: this entry of level L leads to a table */
};

static const struct viommu_host_ops no_ops = {.sz = sizeof(no_ops)};

static void begin(struct bed *b, const struct shape *s, uint64_t base, unsigned table_pages)
{
	struct vi_region r = {TABLE_GPA, TABLE_GPA + table_pages * PAGE - 1, NULL, VIOMMU_MEM_READ, 0};

	memset(b, 0, sizeof(*b));
	b->host = aligned_alloc(PAGE, table_pages * PAGE);
	b->window = calloc(WINDOW_PAGES, sizeof(*b->window));
	assert_true(b->host && b->window);
	b->base = base;
	b->pages = table_pages;
	r.host = b->host;
	assert_int_equal(vi_guestmem_init(&b->gm, &no_ops, NULL), 0);
	assert_int_equal(vi_guestmem_add(&b->gm, &r), 0);
	vi_driver_memory_init(&b->memory, TABLE_GPA, b->host, table_pages * PAGE);
	assert_int_equal(vi_driver_page_table_init(&b->p, s->format, s->levels, 46, s->sizes, &b->memory), 0);
}

/* All pages are there again, each once. */
static void check_no_leak(struct bed *b)
{
	bool *seen = calloc(b->pages, sizeof(*seen));
	uint64_t gpa, count = 0;

	while ((gpa = vi_driver_page_alloc(&b->memory)) != 0) {
		assert_false(seen[(gpa - TABLE_GPA) / PAGE]);
		seen[(gpa - TABLE_GPA) / PAGE] = true;
		count++;
	}
	assert_int_equal(count, b->pages);
	free(seen);
}

static void finish(struct bed *b)
{
	vi_driver_page_table_finish(&b->p);
	check_no_leak(b);
	vi_guestmem_finish(&b->gm);
	free(b->window);
	free(b->host);
}

static uint64_t page_at(unsigned level)
{
	return level == 1 ? PAGE : level == 2 ? MB2 : GB1;
}

/* The largest page that fits: allowed, aligned at both sides, not too long, and no table in its place. */
static unsigned level_for(const struct bed *b, uint64_t i, uint64_t gpa, uint64_t count)
{
	for (unsigned level = 3; level > 1; level--) {
		uint64_t pages = page_at(level) / PAGE;

		if (b->p.table.leaf_levels >> level & 1 && i % pages == 0 && gpa % page_at(level) == 0 &&
		    count >= pages && !b->has_table[level][i / pages])
			return level;
	}
	return 1;
}

/* Long mode has no entries that can be written and not read. */
static unsigned granted_by(const struct bed *b, unsigned access)
{
	return b->p.table.format == &vi_pgtable_amd_v2 && access == WRITE ? RW : access;
}

static int oracle_pass(struct bed *b, uint64_t first, uint64_t gpa, uint64_t count, unsigned access,
		       bool write)
{
	while (count > 0) {
		unsigned level = level_for(b, first, gpa, count);
		uint64_t pages = page_at(level) / PAGE;

		if (b->window[first].access)
			return -EEXIST;
		for (uint64_t i = 0; write && i < pages; i++)
			b->window[first + i] = (struct mapped){gpa + i * PAGE, (uint8_t)granted_by(b, access),
							       (uint8_t)level};
		for (unsigned above = level + 1; above <= 3; above++)
			b->has_table[above][first / (page_at(above) / PAGE)] = true;
		first += pages;
		gpa += pages * PAGE;
		count -= pages;
	}
	return 0;
}

/* Page by page; where something is mapped already nothing is, but the tables before it stay. */
static int oracle_map(struct bed *b, uint64_t first, uint64_t gpa, uint64_t count, unsigned access)
{
	int ret = oracle_pass(b, first, gpa, count, access, false);

	return ret ? ret : oracle_pass(b, first, gpa, count, access, true);
}

/* A leaf that reaches out of the range ends it. */
static int64_t oracle_unmap(struct bed *b, uint64_t first, uint64_t count)
{
	int64_t unmapped = 0;

	for (uint64_t i = first, pages; i < first + count; i += pages) {
		pages = 1;
		if (!b->window[i].access)
			continue;
		pages = page_at(b->window[i].level) / PAGE;
		if (i % pages != 0 || i + pages > first + count)
			return -EINVAL;
		memset(&b->window[i], 0, pages * sizeof(b->window[i]));
		unmapped += (int64_t)(pages * PAGE);
	}
	return unmapped;
}

static void map(struct bed *b, uint64_t first, uint64_t gpa, uint64_t count, unsigned access)
{
	int want = oracle_map(b, first, gpa, count, access);

	assert_int_equal(vi_driver_map(&b->p, b->base + first * PAGE, gpa, count * PAGE, access), want);
}

static void unmap(struct bed *b, uint64_t first, uint64_t count)
{
	int64_t want = oracle_unmap(b, first, count);

	assert_int_equal(vi_driver_unmap(&b->p, b->base + first * PAGE, count * PAGE), want);
}

static void check_page(struct bed *b, uint64_t i)
{
	const struct mapped *want = &b->window[i];
	struct vi_walk w = vi_pgtable_walk(&b->p.table, &b->gm, b->base + i * PAGE, RW, true);

	if (!want->access) {
		assert_int_equal(w.result,
				 b->p.table.format->has_present_bit ? VI_WALK_NOT_PRESENT : VI_WALK_DENIED);
		return;
	}
	assert_int_equal(w.result, VI_WALK_OK);
	assert_int_equal(w.level, want->level);
	assert_int_equal(w.access, want->access);
	assert_int_equal(w.address + i * PAGE % page_at(w.level), want->gpa);
}

/* The leaves in order are the array's, and no others. */
static void check_all(struct bed *b)
{
	uint64_t iova = 0, budget = UINT64_MAX, i = 0;
	struct vi_leaf leaf;

	while (vi_pgtable_next(&b->p.table, &b->gm, &iova, &budget, &leaf) == VI_NEXT_FOUND) {
		while (i < WINDOW_PAGES && !b->window[i].access)
			i++;
		assert_true(i < WINDOW_PAGES);
		assert_int_equal(leaf.first, b->base + i * PAGE);
		assert_int_equal(leaf.last, leaf.first + page_at(b->window[i].level) - 1);
		assert_int_equal(leaf.address, b->window[i].gpa);
		assert_int_equal(leaf.access, b->window[i].access);
		i += (leaf.last - leaf.first + 1) / PAGE;
		iova = leaf.last + 1;
	}
	while (i < WINDOW_PAGES && !b->window[i].access)
		i++;
	assert_int_equal(i, WINDOW_PAGES);
}

/* With each format, number of levels and set of page sizes; the window at the end of what the levels reach.
 */
static void with_each_shape(void (*fn)(struct bed *b))
{
	static const struct vi_pgtable_format *const vtd = &vi_pgtable_vtd_second_stage,
						     *const amd_v1 = &vi_pgtable_amd_v1,
						     *const amd_v2 = &vi_pgtable_amd_v2;
	const struct shape shapes[] = {
		{vtd, 3, 0x2},	  {vtd, 3, 0x6},    {vtd, 3, 0xe},    {vtd, 4, 0x2},
		{vtd, 4, 0x6},	  {vtd, 4, 0xa},    {vtd, 4, 0xe},    {amd_v1, 3, 0xe},
		{amd_v1, 4, 0x6}, {amd_v1, 5, 0xe}, {amd_v2, 4, 0xe}, {amd_v2, 5, 0x6},
	};
	static struct bed b;

	for (unsigned i = 0; i < VI_ARRAY_SIZE(shapes); i++) {
		const struct shape *s = &shapes[i];

		begin(&b, s, (UINT64_C(1) << (12 + 9 * s->levels)) - WINDOW_PAGES * PAGE, TABLE_PAGES);
		fn(&b);
		finish(&b);
	}
}

#define PAGES_2M (MB2 / PAGE)
#define PAGES_1G (GB1 / PAGE)

/* What begins and ends at odd places has small pages at its ends and large ones between. */
static void check_page_choice(struct bed *b)
{
	static const struct {
		uint64_t first, gpa, count;
	} ranges[] = {
		{0, GB1, 1},
		{1, GB1 + PAGE, 511},
		{PAGES_2M, MB2 * 3, PAGES_2M},
		{PAGES_2M * 3 - 2, MB2 * 6 - 2 * PAGE, PAGES_2M + 4}, /* 2 + one large + 2 */
		{PAGES_2M * 5, MB2 * 6 + PAGE, PAGES_2M * 2},	      /* gpa is not aligned */
		{PAGES_1G - PAGES_2M - 1, GB1 * 5 - MB2 - PAGE,
		 PAGES_1G + PAGES_2M + 2},			  /* up and down again */
		{WINDOW_PAGES - PAGES_2M * 3, GB1, PAGES_2M * 3}, /* to the last page there is */
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(ranges); i++) {
		map(b, ranges[i].first, ranges[i].gpa, ranges[i].count, i % 3 + 1);
		check_page(b, ranges[i].first);
		check_page(b, ranges[i].first + ranges[i].count - 1);
	}
	check_all(b);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(ranges); i++) {
		unmap(b, ranges[i].first, ranges[i].count);
		if (i % 3 == 2)
			check_all(b);
	}
}

static void test_page_choice(void **state)
{
	with_each_shape(check_page_choice);
}

/* Onto what is mapped: at its first page, its last, in its middle, by a larger page, by a smaller one. */
static void check_exists(struct bed *b)
{
	map(b, PAGES_2M * 4, GB1, PAGES_2M * 2, READ);
	map(b, PAGES_2M * 4, GB1, 1, READ);
	map(b, PAGES_2M * 6 - 1, GB1, 1, READ);
	map(b, PAGES_2M * 5, GB1, PAGES_2M, READ);
	map(b, PAGES_2M * 4 - 3, GB1, 10, WRITE); /* three of it stay */
	check_all(b);
	map(b, PAGES_2M * 8 + 100, GB1, 1, RW);
	map(b, PAGES_2M * 8, GB1, PAGES_2M, RW); /* a large page over a small one: 100 pages stay */
	check_all(b);
	map(b, PAGES_2M * 5 + 1, GB1, 4, RW);
	check_all(b);
}

static void test_exists(void **state)
{
	with_each_shape(check_exists);
}

/* Where small pages were, large ones may come: nothing is mapped there. */
static void check_again_larger(struct bed *b)
{
	map(b, 7, GB1, 1, RW);
	unmap(b, 7, 1);
	map(b, 0, GB1, PAGES_1G, RW);
	check_page(b, 7);
	check_all(b);
	unmap(b, 0, PAGES_1G);
	check_all(b);
}

static void test_larger_pages_where_small_ones_were(void **state)
{
	with_each_shape(check_again_larger);
}

static void check_unmap_of_parts(struct bed *b)
{
	map(b, PAGES_1G, GB1, PAGES_1G + PAGES_2M, RW);
	unmap(b, PAGES_1G + 1, 5);
	unmap(b, PAGES_2M, PAGES_1G); /* ends inside the large pages */
	unmap(b, 2 * PAGES_1G + 1, PAGES_2M - 1);
	unmap(b, 0, PAGES_2M); /* nothing there */
	unmap(b, 0, WINDOW_PAGES);
	check_all(b);
}

static void test_unmap_of_parts(void **state)
{
	with_each_shape(check_unmap_of_parts);
}

static void check_invalid(struct bed *b)
{
	uint64_t end = b->base + WINDOW_PAGES * PAGE; /* the first iova beyond the levels */
	const struct {
		uint64_t iova, gpa, size;
	} cases[] = {
		{0, 0, 0},
		{1, 0, PAGE},
		{0, 1, PAGE},
		{0, 0, PAGE + 1},
		{0x800, 0, PAGE},
		{end, 0, PAGE},
		{end - PAGE, 0, 2 * PAGE},
		{UINT64_MAX - 4095, 0, PAGE},
		{UINT64_MAX - 4095, 0, 2 * PAGE},
		{PAGE, 0, UINT64_MAX - 4095},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		assert_int_equal(vi_driver_map(&b->p, cases[i].iova, cases[i].gpa, cases[i].size, RW),
				 -EINVAL);
		if (cases[i].gpa == 0)
			assert_int_equal(vi_driver_unmap(&b->p, cases[i].iova, cases[i].size), -EINVAL);
	}
	check_all(b);
	assert_int_equal(b->memory.used, PAGE); /* the root, and no table was made */
}

static void test_invalid(void **state)
{
	with_each_shape(check_invalid);
}

/* Ranges that like to begin, end and lie where large pages do. */
static uint64_t random_page(struct chance *c)
{
	uint64_t i = chance_below(c, WINDOW_PAGES);

	switch (chance_below(c, 4)) {
	case 0:
		return i;
	case 1:
		return i / PAGES_1G * PAGES_1G;
	default:
		return i / PAGES_2M * PAGES_2M;
	}
}

static void random_step(struct bed *b, struct chance *c)
{
	static const uint64_t lengths[] = {1, 8, PAGES_2M, PAGES_2M * 3, PAGES_1G};
	uint64_t first = random_page(c), count = chance_between(c, 1, lengths[chance_below(c, 5)]);
	uint64_t gpa = chance_one_in(c, 4) ? random_page(c) * PAGE
					   : (first + random_page(c) / PAGES_1G * PAGES_1G) * PAGE;

	if (chance_one_in(c, 2))
		count = (count + PAGES_2M - 1) / PAGES_2M * PAGES_2M;
	count = vi_min(count, WINDOW_PAGES - first);
	if (chance_one_in(c, 2))
		map(b, first, gpa, count, (unsigned)chance_between(c, 1, RW));
	else
		unmap(b, first, count);
	check_page(b, first);
	check_page(b, first + count - 1);
	check_page(b, (first + count) % WINDOW_PAGES);
	check_page(b, random_page(c));
}

static void check_random(struct bed *b)
{
	struct chance c = {7};

	for (unsigned step = 1; step <= 160; step++) {
		random_step(b, &c);
		if (step % 80 == 0)
			check_all(b);
	}
}

static void test_random(void **state)
{
	with_each_shape(check_random);
}

/* With each number of table pages too few: an error, nothing is mapped, and nothing leaks. */
static void test_no_memory(void **state)
{
	static const struct shape s = {&vi_pgtable_vtd_second_stage, 4, 0xe};
	/* One page, 1 GiB, 2 MiB, one page: a root and five tables. */
	static const uint64_t count = 1 + PAGES_1G + PAGES_2M + 1;
	static const unsigned enough = 6;
	static struct bed b;

	for (unsigned pages = 1; pages <= enough; pages++) {
		begin(&b, &s, UINT64_C(1) << 40, pages);
		assert_int_equal(vi_driver_map(&b.p, b.base + GB1 - PAGE, GB1 - PAGE, count * PAGE, RW),
				 pages < enough ? -ENOMEM : 0);
		if (pages == enough)
			oracle_map(&b, PAGES_1G - 1, GB1 - PAGE, count, RW);
		check_all(&b);
		finish(&b);
	}
}

static void test_no_memory_for_the_root(void **state)
{
	struct vi_driver_page_table p;
	struct vi_driver_memory empty;

	vi_driver_memory_init(&empty, PAGE, NULL, 0);
	assert_int_equal(vi_driver_page_table_init(&p, &vi_pgtable_vtd_second_stage, 4, 46, 0xe, &empty),
			 -ENOMEM);
}

/* Which entry a test may spoil: that of the leaf and those above it, none below. */
static void test_entry_gpa(void **state)
{
	static const struct shape s = {&vi_pgtable_vtd_second_stage, 4, 0xe};
	static struct bed b;

	begin(&b, &s, 0, TABLE_PAGES);
	map(&b, PAGES_2M * 3, MB2, PAGES_2M, READ);
	map(&b, 5, 0x9000, 1, WRITE);
	assert_int_equal(vi_driver_entry_gpa(&b.p, 0, 4), b.p.table.root);
	assert_int_equal(vi_driver_load64(&b.memory, vi_driver_entry_gpa(&b.p, 5 * PAGE, 1)), 0x9000 | 2);
	assert_int_equal(vi_driver_load64(&b.memory, vi_driver_entry_gpa(&b.p, 3 * MB2 + 17 * PAGE, 2)),
			 MB2 | 0x81);
	assert_int_equal(vi_driver_entry_gpa(&b.p, 3 * MB2, 1), 0);
	assert_int_equal(vi_driver_entry_gpa(&b.p, GB1, 2), 0);
	assert_int_not_equal(vi_driver_entry_gpa(&b.p, GB1, 3), 0);
	finish(&b);
}

/* Six levels reach the last of 64 bits, where a range ends at 0. */
static void test_last_page_of_all(void **state)
{
	static const struct shape s = {&vi_pgtable_amd_v1, 6, 0xe};
	static struct bed b;

	(void)state;
	begin(&b, &s, UINT64_MAX - WINDOW_PAGES * PAGE + 1, TABLE_PAGES);
	map(&b, WINDOW_PAGES - PAGES_2M - 1, GB1 - PAGE, PAGES_2M + 1, RW);
	check_page(&b, WINDOW_PAGES - 1);
	check_page(&b, WINDOW_PAGES - PAGES_2M - 1);
	unmap(&b, WINDOW_PAGES - PAGES_2M - 1, PAGES_2M + 1);
	check_page(&b, WINDOW_PAGES - 1);
	finish(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_choice),
		cmocka_unit_test(test_exists),
		cmocka_unit_test(test_larger_pages_where_small_ones_were),
		cmocka_unit_test(test_unmap_of_parts),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_memory_for_the_root),
		cmocka_unit_test(test_entry_gpa),
		cmocka_unit_test(test_last_page_of_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
