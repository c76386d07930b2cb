/* SPDX-License-Identifier: BSD-3-Clause */
/* Each allocation of each change of the map fails in turn: nothing changes and nothing leaks. */
#include "testing.h"

#include <errno.h>
#include <string.h>

#include <viommu/viommu.h>

#include "base/bits.h"
#include "failing_alloc.h"
#include "guestmem/guestmem.h"

#define PAGE	    UINT64_C(4096)
#define STRIDE	    (4 * PAGE)
#define MOST	    2048
#define HOST	    ((uint8_t *)(uintptr_t)UINT64_C(0x100000000))
#define FULL_LEAF   256
#define MANY_LEAVES 1500

static const struct viommu_host_ops no_ops = {.sz = sizeof(no_ops)};

struct snapshot {
	unsigned count;
	uint64_t total;
	struct vi_region regions[MOST];
};

static void snapshot_take(struct snapshot *s, const struct vi_guestmem *gm)
{
	const struct vi_region *r = vi_guestmem_find_next(gm, 0);

	memset(s, 0, sizeof(*s));
	s->total = gm->total;
	while (r) {
		assert_true(s->count < MOST);
		s->regions[s->count++] = *r;
		r = r->last == UINT64_MAX ? NULL : vi_guestmem_find_next(gm, r->last + 1);
	}
}

/* A map of `count` regions, three pages each with a hole of one page after it; then one change of it. */
static const struct change {
	const char *name;
	unsigned count;
	bool add;
	uint64_t first, last; /* pages */
	unsigned least;	      /* allocations that there must at least be to fail; 0: none at all */
} changes[] = {
	{"add to an empty map", 0, true, 0, 0, 2},
	{"add to a leaf", 10, true, 3, 3, 2},
	{"add to a full leaf", FULL_LEAF, true, 3, 3, 3},
	{"add with many leaves", MANY_LEAVES, true, 403, 403, 2},
	{"remove the only region", 1, false, 0, 2, 0},
	{"remove one of some", 10, false, 4, 6, 2},
	{"remove the end of one", 10, false, 6, 6, 2},
	{"make a hole", 10, false, 5, 5, 2},
	{"remove from a full leaf", FULL_LEAF, false, 4, 4, 2},
	{"make a hole in a region of a full leaf", FULL_LEAF, false, 5, 5, 3},
	{"remove across leaves", MANY_LEAVES, false, 401, 5000, 3},
	{"remove all of many leaves", MANY_LEAVES, false, 0, 6000, 0},
};

static void fill(struct vi_guestmem *gm, unsigned count)
{
	assert_int_equal(vi_guestmem_init(gm, &no_ops, NULL), 0);
	for (unsigned i = 0; i < count; i++) {
		struct vi_region r = {i * STRIDE, (i + 1) * STRIDE - PAGE - 1, HOST + i * STRIDE,
				      VIOMMU_MEM_READ, 0};

		assert_int_equal(vi_guestmem_add(gm, &r), 0);
	}
	vi_guestmem_reclaim(gm);
}

/* Bytes more or fewer, or the error. */
static int64_t apply(struct vi_guestmem *gm, const struct change *c)
{
	struct vi_region r = {c->first * PAGE, (c->last + 1) * PAGE - 1, HOST + c->first * PAGE,
			      VIOMMU_MEM_WRITE, 0};

	if (!c->add)
		return vi_guestmem_remove(gm, r.first, r.last);
	return vi_guestmem_add(gm, &r);
}

static void check_unchanged(const struct vi_guestmem *gm, const struct snapshot *before, long live)
{
	static struct snapshot after;

	snapshot_take(&after, gm);
	assert_memory_equal(&after, before, sizeof(after));
	assert_int_equal(alloc_live(), live);
	assert_true(vi_list_is_empty(&gm->retired));
}

/* How many allocations failed before the change went through. */
static unsigned fail_each(struct vi_guestmem *gm, const struct change *c)
{
	static struct snapshot before;
	long live = alloc_live();
	unsigned nth = 0;
	int64_t ret;

	snapshot_take(&before, gm);
	for (;;) {
		alloc_fail_at(++nth);
		ret = apply(gm, c);
		alloc_fail_at(0);
		if (ret >= 0)
			return nth - 1;
		assert_int_equal(ret, -ENOMEM);
		check_unchanged(gm, &before, live);
	}
}

static void test_changes(void **state)
{
	for (unsigned i = 0; i < VI_ARRAY_SIZE(changes); i++) {
		const struct change *c = &changes[i];
		struct vi_guestmem gm;
		unsigned failed;

		fill(&gm, c->count);
		failed = fail_each(&gm, c);
		if (failed < c->least || (c->least == 0 && failed > 0))
			fail_msg("%s: %u allocations failed", c->name, failed);
		assert_int_equal(vi_guestmem_find(&gm, c->first * PAGE) != NULL, c->add);
		vi_guestmem_finish(&gm);
		assert_int_equal(alloc_live(), 0);
	}
}

static void test_init(void **state)
{
	struct vi_guestmem gm;

	for (unsigned nth = 1; nth <= 2; nth++) {
		alloc_fail_at(nth);
		assert_int_equal(vi_guestmem_init(&gm, &no_ops, NULL), -ENOMEM);
		assert_int_equal(alloc_live(), 0);
	}
	alloc_fail_at(0);
	assert_int_equal(vi_guestmem_init(&gm, &no_ops, NULL), 0);
	vi_guestmem_finish(&gm);
	assert_int_equal(alloc_live(), 0);
}

/* What changes nothing needs no memory that it could lack, and leaves nothing to reclaim. */
static void test_refusals(void **state)
{
	struct change overlap = {"overlap", 10, true, 2, 3, 0}, nothing = {"hole", 10, false, 3, 3, 0};
	static struct snapshot before;
	struct vi_guestmem gm;
	long live;

	fill(&gm, 10);
	live = alloc_live();
	snapshot_take(&before, &gm);
	assert_int_equal(apply(&gm, &overlap), -EEXIST);
	check_unchanged(&gm, &before, live);
	assert_int_equal(apply(&gm, &nothing), 0);
	check_unchanged(&gm, &before, live);
	vi_guestmem_finish(&gm);
	assert_int_equal(alloc_live(), 0);
}

/* Unreclaimed parts go with the map. */
static void test_finish_without_reclaim(void **state)
{
	struct vi_guestmem gm;

	fill(&gm, FULL_LEAF);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(changes); i++)
		apply(&gm, &changes[i]);
	assert_false(vi_list_is_empty(&gm.retired));
	vi_guestmem_finish(&gm);
	assert_int_equal(alloc_live(), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_finish_without_reclaim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
