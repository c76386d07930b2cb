/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash and the sparse array against naive copies of themselves. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/sparse_array.h"
#include "testing.h"

#define ITEMS 5000
#define KEYS  700 /* fewer: keys come more than once */

struct item {
	struct vi_hash_link link; /* first: the hash hands back its address */
	bool is_in;
};

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (random_state >> 33) % n;
}

/* Spread over all 64 bits, with neighbours. */
static uint64_t key_of(uint64_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15) >> (number % 3 * 16);
}

static unsigned count_found(const struct vi_hash *h, uint64_t key)
{
	unsigned n = 0;

	for (const struct vi_hash_link *l = vi_hash_find(h, key); l; l = vi_hash_find_next(l)) {
		assert_true(l->key == key);
		assert_true(((const struct item *)(const void *)l)->is_in);
		n++;
	}
	return n;
}

static unsigned count_naively(const struct item *items, uint64_t key)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ITEMS; i++)
		n += items[i].is_in && items[i].link.key == key;
	return n;
}

static void hash_like_a_naive_one(void **state)
{
	struct item *items = calloc(ITEMS, sizeof(*items));
	struct vi_hash_link *any;
	struct vi_hash h;
	uint64_t count = 0;

	assert_non_null(items);
	assert_true(vi_hash_init(&h));
	assert_null(vi_hash_any(&h));
	for (unsigned turn = 0; turn < 40000; turn++) {
		struct item *item = &items[random_below(ITEMS)];

		if (item->is_in)
			vi_hash_remove(&h, &item->link);
		else
			vi_hash_insert(&h, &item->link, key_of(random_below(KEYS)));
		item->is_in = !item->is_in;
		count += item->is_in ? 1 : UINT64_MAX;
		assert_int_equal(h.count, count);
		if (turn % 64 == 0) {
			uint64_t key = key_of(random_below(KEYS));

			assert_int_equal(count_found(&h, key), count_naively(items, key));
		}
	}
	while ((any = vi_hash_any(&h))) {
		struct item *item = (struct item *)(void *)any;

		assert_true(item->is_in);
		item->is_in = false;
		vi_hash_remove(&h, any);
		count--;
	}
	assert_int_equal(count, 0);
	vi_hash_finish(&h);
	free(items);
}

static void sparse_array_keeps_words_apart(void **state)
{
	static const uint64_t indexes[] = {0,
					   1,
					   511,
					   512,
					   513,
					   UINT64_C(1) << 18,
					   UINT64_C(1) << 27,
					   (UINT64_C(1) << 36) - 1,
					   UINT64_C(1) << 36,
					   VI_SPARSE_LAST - 1,
					   VI_SPARSE_LAST};
	struct vi_sparse_array a;

	vi_sparse_init(&a);
	assert_null(vi_sparse_find(&a, 0));
	for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		uint64_t *word = vi_sparse_make(&a, indexes[i]);

		assert_non_null(word);
		assert_int_equal(*word, 0);
		*word = indexes[i] ^ 0x5a5a;
	}
	for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		assert_int_equal(*vi_sparse_find(&a, indexes[i]), indexes[i] ^ 0x5a5a);
		assert_ptr_equal(vi_sparse_make(&a, indexes[i]), vi_sparse_find(&a, indexes[i]));
	}
	assert_null(vi_sparse_find(&a, UINT64_C(1) << 40));
	vi_sparse_finish(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_like_a_naive_one),
		cmocka_unit_test(sparse_array_keeps_words_apart),
	};

	return cmocka_run_group_tests_name("base hash", tests, NULL, NULL);
}
