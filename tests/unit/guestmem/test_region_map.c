/* SPDX-License-Identifier: BSD-3-Clause */
/* The map of regions against an array that holds, for each byte, whose it is. */
#include "testing.h"

#include <errno.h>

#include <viommu/viommu.h>

#include "base/bits.h"
#include "failing_alloc.h"
#include "guestmem/guestmem.h"

#define UNIVERSE 6000

/* Nothing is looked up in host memory here: any address serves. */
#define HOST(n) ((uint8_t *)(uintptr_t)(UINT64_C(0x100000000) * (n)))

static const struct viommu_host_ops no_ops = {.sz = sizeof(no_ops)};

struct owner {
	unsigned id; /* of the addition; never used twice; 0: none */
	uint8_t *host;
	uint16_t flags;
};

struct bed {
	struct vi_guestmem gm;
	uint64_t base; /* of the universe */
	uint64_t total;
	unsigned last_id;
	struct owner owners[UNIVERSE];
};

static struct bed *bed_create(uint64_t base)
{
	struct bed *b = test_calloc(1, sizeof(*b));

	assert_int_equal(vi_guestmem_init(&b->gm, &no_ops, NULL), 0);
	b->base = base;
	return b;
}

static void bed_destroy(struct bed *b)
{
	vi_guestmem_finish(&b->gm);
	test_free(b);
	assert_int_equal(alloc_live(), 0);
}

static bool is_free(const struct bed *b, unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++)
		if (b->owners[i].id)
			return false;
	return true;
}

static void add(struct bed *b, unsigned first, unsigned last, uint8_t *host, unsigned flags)
{
	struct vi_region r = {b->base + first, b->base + last, host, (uint16_t)flags, 0xffff};
	bool room = is_free(b, first, last);

	assert_int_equal(vi_guestmem_add(&b->gm, &r), room ? 0 : -EEXIST);
	if (!room)
		return;
	b->last_id++;
	for (unsigned i = first; i <= last; i++)
		b->owners[i] = (struct owner){b->last_id, host ? host + (i - first) : NULL, (uint16_t)flags};
	b->total += last - first + 1;
}

static void take(struct bed *b, unsigned first, unsigned last)
{
	int64_t taken = 0;

	for (unsigned i = first; i <= last; i++) {
		taken += b->owners[i].id != 0;
		b->owners[i] = (struct owner){0};
	}
	assert_int_equal(vi_guestmem_remove(&b->gm, b->base + first, b->base + last), taken);
	b->total -= (uint64_t)taken;
}

/* The region that holds byte `at`, as the array has it. */
static struct vi_region expected_at(const struct bed *b, unsigned at)
{
	unsigned first = at, last = at, id = b->owners[at].id;

	while (first > 0 && b->owners[first - 1].id == id)
		first--;
	while (last + 1 < UNIVERSE && b->owners[last + 1].id == id)
		last++;
	return (struct vi_region){b->base + first, b->base + last, b->owners[first].host,
				  b->owners[first].flags, 0};
}

static bool is_same(const struct bed *b, const struct vi_region *r, const struct vi_region *expected)
{
	if (!r || r->first != expected->first || r->last != expected->last || r->host != expected->host ||
	    r->flags != expected->flags)
		return false;
	if (!r->host)
		return r->slot == 0;
	return r->slot == 0 || vi_guestmem_host(&b->gm, r->slot, r->last) == r->host + (r->last - r->first);
}

static void check_at(const struct bed *b, unsigned at)
{
	const struct vi_region *found = vi_guestmem_find(&b->gm, b->base + at);
	const struct vi_region *next = vi_guestmem_find_next(&b->gm, b->base + at);
	struct vi_region expected;
	unsigned i = at;

	while (i < UNIVERSE && !b->owners[i].id)
		i++;
	if (i != at)
		assert_null(found);
	if (i == UNIVERSE) {
		assert_null(next);
		return;
	}
	expected = expected_at(b, i);
	assert_true(is_same(b, next, &expected));
	if (i == at)
		assert_ptr_equal(found, next);
}

/* Each byte where something begins or ends, and some in between. */
static void check_all(const struct bed *b)
{
	assert_int_equal(b->gm.total, b->total);
	for (unsigned i = 0; i < UNIVERSE; i++)
		if (i % 128 == 0 || i + 1 == UNIVERSE || b->owners[i].id != b->owners[i - 1].id ||
		    b->owners[i].id != b->owners[i + 1].id)
			check_at(b, i);
	if (b->base > 0)
		assert_null(vi_guestmem_find(&b->gm, b->base - 1));
	if (b->base + UNIVERSE > b->base)
		assert_null(vi_guestmem_find_next(&b->gm, b->base + UNIVERSE));
}

/* Where the universe lies: at either end of the address space, and across 4 GiB. */
static const uint64_t bases[] = {0, UINT64_C(0xfffff000), UINT64_MAX - (UNIVERSE - 1)};

static void test_every_overlap(void **state)
{
	static const struct {
		unsigned first, last;
		bool fits;
	} cases[] = {
		{100, 199, false}, {100, 100, false},	      {199, 199, false}, {150, 150, false},
		{99, 100, false},  {199, 200, false},	      {50, 250, false},	 {0, UNIVERSE - 1, false},
		{100, 250, false}, {50, 199, false},	      {99, 99, true},	 {200, 200, true},
		{0, 99, true},	   {200, UNIVERSE - 1, true},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases) * VI_ARRAY_SIZE(bases); i++) {
		unsigned c = i / VI_ARRAY_SIZE(bases);
		struct bed *b = bed_create(bases[i % VI_ARRAY_SIZE(bases)]);

		add(b, 100, 199, HOST(1), VIOMMU_MEM_READ);
		assert_int_equal(is_free(b, cases[c].first, cases[c].last), cases[c].fits);
		add(b, cases[c].first, cases[c].last, HOST(2), VIOMMU_MEM_WRITE);
		check_all(b);
		bed_destroy(b);
	}
}

/* Each way in which a removal can meet two regions with a hole between them and one that adjoins. */
static void test_every_removal(void **state)
{
	static const unsigned marks[] = {0,   99,  100, 101, 150, 198, 199, 200,
					 201, 250, 299, 300, 399, 400, 450, UNIVERSE - 1};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(marks); i++) {
		for (unsigned j = i; j < VI_ARRAY_SIZE(marks); j++) {
			struct bed *b = bed_create(bases[(i + j) % VI_ARRAY_SIZE(bases)]);

			add(b, 100, 199, HOST(1), VIOMMU_MEM_READ);
			add(b, 300, 399, NULL, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
			add(b, 400, UNIVERSE - 1, HOST(2), VIOMMU_MEM_WRITE);
			take(b, marks[i], marks[j]);
			check_all(b);
			take(b, marks[i], marks[j]);
			bed_destroy(b);
		}
	}
}

struct mix {
	unsigned longest_add, longest_take; /* bytes */
	unsigned long_take_in;		    /* one in so many removals is up to half the universe */
	unsigned steps;
};

static void random_step(struct bed *b, struct chance *c, const struct mix *m)
{
	unsigned first = (unsigned)chance_below(c, UNIVERSE), length;
	bool adding = chance_one_in(c, 2);

	length = (unsigned)chance_between(c, 1, adding ? m->longest_add : m->longest_take);
	if (!adding && chance_one_in(c, m->long_take_in))
		length = (unsigned)chance_between(c, 1, UNIVERSE / 2);
	length = (unsigned)vi_min(length, UNIVERSE - first);
	if (adding)
		add(b, first, first + length - 1, chance_one_in(c, 8) ? NULL : HOST(chance_below(c, 64) + 1),
		    (unsigned)chance_below(c, 4));
	else
		take(b, first, first + length - 1);
	check_at(b, first);
	check_at(b, first + length - 1);
	check_at(b, (first + length) % UNIVERSE);
}

static void test_random(void **state)
{
	static const struct mix mixes[] = {
		{200, 200, 16, 2000}, /* few regions, split at both ends */
		{3, 1, 400, 20000},   /* many leaves */
		{400, 1, 200, 8000},  /* holes: removals make more regions than additions */
	};
	struct chance c = {2};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(mixes) * VI_ARRAY_SIZE(bases); i++) {
		const struct mix *m = &mixes[i / VI_ARRAY_SIZE(bases)];
		struct bed *b = bed_create(bases[i % VI_ARRAY_SIZE(bases)]);

		for (unsigned step = 1; step <= m->steps; step++) {
			random_step(b, &c, m);
			if (chance_one_in(&c, 4))
				vi_guestmem_reclaim(&b->gm);
			if (step % (m->steps / 16) == 0)
				check_all(b);
		}
		take(b, 0, UNIVERSE - 1);
		check_all(b);
		bed_destroy(b);
	}
}

/* Fill leaves until they divide, then take away stretches that end at every place of a leaf. */
static void test_removal_across_leaves(void **state)
{
	for (unsigned length = 1; length < UNIVERSE; length += 97) {
		struct bed *b = bed_create(0);

		for (unsigned i = 0; i < UNIVERSE; i += 4)
			add(b, i, i + 2, HOST(1), VIOMMU_MEM_READ);
		take(b, UNIVERSE - length, UNIVERSE - 1 - length / 3);
		check_all(b);
		bed_destroy(b);
	}
}

static void test_same_offset_shares_a_slot(void **state)
{
	struct bed *b = bed_create(0);
	unsigned slot;

	add(b, 0, 99, HOST(1), VIOMMU_MEM_READ);
	add(b, 100, 199, HOST(1) + 100, VIOMMU_MEM_WRITE); /* one mapping */
	add(b, 200, 299, HOST(3), VIOMMU_MEM_READ);
	add(b, 300, 399, NULL, VIOMMU_MEM_READ);
	slot = vi_guestmem_find(&b->gm, 0)->slot;
	assert_int_not_equal(slot, 0);
	assert_int_equal(vi_guestmem_find(&b->gm, 100)->slot, slot);
	assert_int_not_equal(vi_guestmem_find(&b->gm, 200)->slot, 0);
	assert_int_not_equal(vi_guestmem_find(&b->gm, 200)->slot, slot);
	assert_int_equal(vi_guestmem_find(&b->gm, 300)->slot, 0);
	take(b, 50, 149);
	assert_int_equal(vi_guestmem_find(&b->gm, 0)->slot, slot);
	assert_int_equal(vi_guestmem_find(&b->gm, 199)->slot, slot);
	check_all(b);
	bed_destroy(b);
}

/* Past the last slot a region has none and is found all the same; an empty map gives all slots back. */
static void test_slots_run_out_and_return(void **state)
{
	struct bed *b = bed_create(0);

	for (unsigned i = 0; i < UNIVERSE; i++)
		add(b, i, i, HOST(i + 1), VIOMMU_MEM_READ);
	for (unsigned i = 0; i < UNIVERSE; i++)
		assert_int_equal(vi_guestmem_find(&b->gm, i)->slot != 0, i < VI_GUESTMEM_SLOTS - 1);
	check_all(b);
	take(b, 1, UNIVERSE - 1);
	vi_guestmem_reclaim(&b->gm); /* one region is left: its slot must stay what it is */
	add(b, 1, 1, HOST(UNIVERSE + 1), VIOMMU_MEM_READ);
	assert_int_equal(vi_guestmem_find(&b->gm, 1)->slot, 0);
	check_all(b);
	take(b, 0, 1);
	vi_guestmem_reclaim(&b->gm);
	add(b, 0, 0, HOST(UNIVERSE + 1), VIOMMU_MEM_READ);
	assert_int_not_equal(vi_guestmem_find(&b->gm, 0)->slot, 0);
	check_all(b);
	bed_destroy(b);
}

enum { MANY = 65536 };

/* An update copies one or two leaves and the top, however many regions there are. */
#define LARGEST_COPY 32768

static void add_page(struct vi_guestmem *gm, uint64_t page)
{
	struct vi_region r = {page * 4096, page * 4096 + 4095, HOST(1) + page * 4096, VIOMMU_MEM_READ, 0};

	assert_int_equal(vi_guestmem_add(gm, &r), 0);
	vi_guestmem_reclaim(gm);
}

/* Pages that lie apart, in ascending, descending or scattered order. */
static void test_many_regions(void **state)
{
	for (unsigned order = 0; order < 3; order++) {
		struct vi_guestmem gm;

		assert_int_equal(vi_guestmem_init(&gm, &no_ops, NULL), 0);
		alloc_largest();
		for (uint64_t i = 0; i < MANY; i++)
			add_page(&gm, 2 * (order == 0 ? i : order == 1 ? MANY - 1 - i : i * 40503 % MANY));
		assert_int_equal(gm.total, MANY * UINT64_C(4096));
		for (uint64_t i = 0; i < 2 * MANY; i++)
			assert_int_equal(vi_guestmem_find(&gm, i * 4096 + 4095) != NULL, i % 2 == 0);
		for (uint64_t i = 0; i < MANY; i++) {
			assert_int_equal(vi_guestmem_remove(&gm, i * 8192, i * 8192 + 4095), 4096);
			vi_guestmem_reclaim(&gm);
		}
		assert_null(vi_guestmem_find_next(&gm, 0));
		assert_in_range(alloc_largest(), 1, LARGEST_COPY);
		vi_guestmem_finish(&gm);
	}
}

/* One region becomes as many by holes alone. */
static void test_many_holes(void **state)
{
	struct vi_region all = {0, MANY * UINT64_C(8192) - 1, HOST(1), VIOMMU_MEM_READ, 0};
	struct vi_guestmem gm;

	assert_int_equal(vi_guestmem_init(&gm, &no_ops, NULL), 0);
	assert_int_equal(vi_guestmem_add(&gm, &all), 0);
	alloc_largest();
	for (uint64_t i = 0; i < MANY; i++) {
		uint64_t hole = i * 40503 % MANY * 8192;

		assert_int_equal(vi_guestmem_remove(&gm, hole, hole + 4095), 4096);
		vi_guestmem_reclaim(&gm);
	}
	for (uint64_t i = 0; i < 2 * MANY; i++)
		assert_int_equal(vi_guestmem_find(&gm, i * 4096) != NULL, i % 2 == 1);
	assert_in_range(alloc_largest(), 1, LARGEST_COPY);
	vi_guestmem_finish(&gm);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_overlap),
		cmocka_unit_test(test_every_removal),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_removal_across_leaves),
		cmocka_unit_test(test_same_offset_shares_a_slot),
		cmocka_unit_test(test_slots_run_out_and_return),
		cmocka_unit_test(test_many_regions),
		cmocka_unit_test(test_many_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
