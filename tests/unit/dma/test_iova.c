/* SPDX-License-Identifier: BSD-3-Clause */
/* The allocator of device addresses against a map of who owns which page. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/bits.h"
#include "dma/iova.h"

#define LOW_LAST  ((UINT64_C(1) << 20) - 1) /* the last page below 4 GiB */
#define WIDE_LAST ((UINT64_C(1) << 36) - 1) /* of 48 bits */

static void begin(uint64_t first, uint64_t last, struct vi_iova_space **ret_space,
		  struct vi_iova_cache **ret_cache)
{
	assert_int_equal(vi_iova_space_create(first, last, ret_space), 0);
	assert_int_equal(vi_iova_cache_create(*ret_space, ret_cache), 0);
}

static void end(struct vi_iova_space *s, struct vi_iova_cache *c)
{
	vi_iova_cache_destroy(c);
	vi_iova_space_destroy(s);
}

static uint64_t rounded(uint64_t pages)
{
	uint64_t size = 1;

	while (size < pages)
		size *= 2;
	return size;
}

/* --------------------------------------------------- nobody owns a page twice */

#define OWNED_PAGES 8192
#define LIVE	    700

struct live {
	uint64_t page, pages;
};

static void own(uint8_t *owned, const struct live *l, uint8_t value)
{
	for (uint64_t i = 0; i < rounded(l->pages); i++) {
		assert_int_equal(owned[l->page + i], !value);
		owned[l->page + i] = value;
	}
}

static void test_no_page_twice(void **state)
{
	static uint8_t owned[OWNED_PAGES];
	struct chance c = {42};
	struct live live[LIVE] = {{0}};
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	unsigned refused = 0;

	(void)state;
	begin(1, OWNED_PAGES - 1, &s, &cache);
	for (unsigned turn = 0; turn < 400000; turn++) {
		struct live *l = &live[chance_below(&c, LIVE)];

		if (l->pages) {
			own(owned, l, 0);
			vi_iova_free(cache, l->page, l->pages);
			l->pages = 0;
			continue;
		}
		l->pages = chance_one_in(&c, 40) ? chance_between(&c, 33, 300) : chance_between(&c, 1, 32);
		if (vi_iova_alloc(cache, l->pages, OWNED_PAGES - 1, &l->page)) {
			l->pages = 0;
			refused++;
			continue;
		}
		assert_true(l->page >= 1 && l->page + rounded(l->pages) <= OWNED_PAGES);
		assert_true(vi_is_aligned(l->page, rounded(l->pages)));
		own(owned, l, 1);
	}
	assert_true(refused > 100); /* it was full at times, which is where mistakes are */
	end(s, cache);
}

/* ---------------------------------------------------- all of it can be had, again */

static void take_all(struct vi_iova_cache *c, uint64_t pages, uint64_t last, uint64_t *ret_got,
		     uint64_t expected)
{
	uint64_t count = 0, page;

	while (vi_iova_alloc(c, pages, last, &page) == 0)
		ret_got[count++] = page;
	assert_int_equal(count, expected);
}

static void test_exhaustion_is_an_error(void **state)
{
	static uint64_t got[4096];
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	uint64_t page;

	(void)state;
	begin(1, 4095, &s, &cache);
	for (unsigned round = 0; round < 3; round++) {
		take_all(cache, 1, 4095, got, 4095);
		assert_int_equal(vi_iova_alloc(cache, 1, 4095, &page), -ENOSPC);
		for (unsigned i = 0; i < 4095; i++)
			vi_iova_free(cache, got[i], 1);
		/* Joined again: the largest block is there. */
		assert_int_equal(vi_iova_alloc(cache, 2048, 4095, &page), 0);
		assert_int_equal(page, 2048);
		vi_iova_free(cache, page, 2048);
	}
	assert_int_equal(vi_iova_alloc(cache, 4096, 4095, &page), -ENOSPC);
	assert_int_equal(vi_iova_alloc(cache, 0, 4095, &page), -EINVAL);
	assert_int_equal(vi_iova_alloc(cache, UINT64_MAX, 4095, &page), -EINVAL);
	end(s, cache);
}

/* What another thread keeps for itself is asked back before an allocation fails. */
static void test_other_caches_give_back(void **state)
{
	static uint64_t got[64];
	struct vi_iova_space *s;
	struct vi_iova_cache *a, *b;
	uint64_t page;

	(void)state;
	begin(1, 63, &s, &a);
	assert_int_equal(vi_iova_cache_create(s, &b), 0);
	take_all(a, 1, 63, got, 63);
	for (unsigned i = 0; i < 63; i++)
		vi_iova_free(a, got[i], 1); /* all of them in a's magazine */
	for (unsigned i = 0; i < 63; i++)
		assert_int_equal(vi_iova_alloc(b, 1, 63, &got[i]), 0);
	assert_int_equal(vi_iova_alloc(b, 1, 63, &page), -ENOSPC);
	for (unsigned i = 0; i < 63; i++)
		vi_iova_free(a, got[i], 1);
	vi_iova_cache_destroy(b);
	end(s, a);
}

/* ------------------------------------------------------------ which come first */

static void test_low_addresses_first(void **state)
{
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	uint64_t page, block = 1 << 15, low = 0;

	(void)state;
	begin(1, WIDE_LAST, &s, &cache);
	/* Blocks of 128 MiB: as long as there is one below 4 GiB, none from above. Page 0 and interrupts cut
	 * two. */
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(vi_iova_alloc(cache, block, WIDE_LAST, &page), 0);
		low += page <= LOW_LAST;
	}
	assert_int_equal(low, 30);
	assert_int_equal(vi_iova_alloc(cache, block, WIDE_LAST, &page), 0);
	assert_true(page > LOW_LAST);
	/* A 32-bit device gets an error rather than that. */
	assert_int_equal(vi_iova_alloc(cache, block, LOW_LAST, &page), -ENOSPC);
	end(s, cache);
}

static void test_limits_of_width(void **state)
{
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	struct chance c = {7};

	(void)state;
	begin(1, WIDE_LAST, &s, &cache);
	for (unsigned turn = 0; turn < 20000; turn++) {
		uint64_t last = VI_BIT(chance_between(&c, 8, 36)) - 1, pages = chance_between(&c, 1, 40),
			 page;
		int err = vi_iova_alloc(cache, pages, last, &page);

		assert_true(err == 0 || err == -ENOSPC);
		if (err)
			continue;
		assert_true(page + rounded(pages) - 1 <= last);
		if (chance_one_in(&c, 2))
			vi_iova_free(cache, page, pages);
	}
	end(s, cache);
}

/* A space whose ends are no powers of two. */
/* A write there would be an interrupt. */
static void test_interrupts_are_left_out(void **state)
{
	const uint64_t before = VI_IOVA_INTERRUPTS_FIRST - 100, behind = VI_IOVA_INTERRUPTS_LAST + 100;
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	uint64_t page, count = 0;

	(void)state;
	begin(before, behind, &s, &cache);
	while (!vi_iova_alloc(cache, 1, LOW_LAST, &page)) {
		assert_true(page < 0xfee00 || page > 0xfeeff);
		count++;
	}
	assert_int_equal(count, 200);
	end(s, cache);
}

static void test_odd_ends(void **state)
{
	static uint64_t got[1000];
	struct vi_iova_space *s;
	struct vi_iova_cache *cache;
	uint64_t sum = 0;

	(void)state;
	begin(1001, 1777, &s, &cache);
	take_all(cache, 1, 1777, got, 777);
	for (unsigned i = 0; i < 777; i++) {
		assert_true(got[i] >= 1001 && got[i] <= 1777);
		sum += got[i];
	}
	assert_int_equal(sum, (UINT64_C(1001) + 1777) * 777 / 2); /* each once */
	end(s, cache);
	assert_int_equal(vi_iova_space_create(0, 10, &s), -EINVAL);
	assert_int_equal(vi_iova_space_create(11, 10, &s), -EINVAL);
}

/* --------------------------------------------------------------- many threads */

#define THREADS	    4
#define SHARED_LAST 16383

struct crowd {
	struct vi_iova_space *space;
	_Atomic uint8_t owned[SHARED_LAST + 1];
	_Atomic unsigned wrong;
};

struct member {
	struct crowd *crowd;
	uint64_t seed;
};

static void own_shared(struct crowd *w, uint64_t page, uint64_t pages, uint8_t value)
{
	for (uint64_t i = 0; i < rounded(pages); i++)
		if (atomic_exchange(&w->owned[page + i], value) == value)
			w->wrong++;
}

static void *run_member(void *arg)
{
	struct member *m = arg;
	struct chance c = {m->seed};
	struct live live[64] = {{0}};
	struct vi_iova_cache *cache;

	if (vi_iova_cache_create(m->crowd->space, &cache))
		return NULL;
	for (unsigned turn = 0; turn < 100000; turn++) {
		struct live *l = &live[chance_below(&c, 64)];

		if (l->pages) {
			own_shared(m->crowd, l->page, l->pages, 0);
			vi_iova_free(cache, l->page, l->pages);
			l->pages = 0;
		} else {
			l->pages = chance_between(&c, 1, 70);
			if (vi_iova_alloc(cache, l->pages, SHARED_LAST, &l->page))
				l->pages = 0;
			else
				own_shared(m->crowd, l->page, l->pages, 1);
		}
	}
	for (unsigned i = 0; i < 64; i++) {
		if (!live[i].pages)
			continue;
		own_shared(m->crowd, live[i].page, live[i].pages, 0);
		vi_iova_free(cache, live[i].page, live[i].pages);
	}
	vi_iova_cache_destroy(cache);
	return NULL;
}

static void test_threads(void **state)
{
	static struct crowd crowd;
	struct member members[THREADS];
	pthread_t threads[THREADS];
	struct vi_iova_cache *cache;
	uint64_t page;

	(void)state;
	begin(1, SHARED_LAST, &crowd.space, &cache);
	for (unsigned i = 0; i < THREADS; i++) {
		members[i] = (struct member){&crowd, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, run_member, &members[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crowd.wrong, 0);
	/* Nothing is lost: the largest block there was is there. */
	assert_int_equal(vi_iova_alloc(cache, 8192, SHARED_LAST, &page), 0);
	end(crowd.space, cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_page_twice),
		cmocka_unit_test(test_exhaustion_is_an_error),
		cmocka_unit_test(test_other_caches_give_back),
		cmocka_unit_test(test_low_addresses_first),
		cmocka_unit_test(test_limits_of_width),
		cmocka_unit_test(test_interrupts_are_left_out),
		cmocka_unit_test(test_odd_ends),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
