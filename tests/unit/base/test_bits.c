/* SPDX-License-Identifier: BSD-3-Clause */
/* bits.h, endian.h and list.h. */
#include "testing.h"

#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/list.h"

#define MAX UINT64_MAX

static void test_bit_masks(void **state)
{
	for (unsigned hi = 0; hi < 64; hi++) {
		assert_int_equal(VI_BIT(hi), UINT64_C(1) << hi);
		for (unsigned lo = 0; lo <= hi; lo++) {
			uint64_t expected = 0;

			for (unsigned bit = lo; bit <= hi; bit++)
				expected |= UINT64_C(1) << bit;
			assert_int_equal(VI_BITS(hi, lo), expected);
		}
	}
}

static void test_fields(void **state)
{
	static const struct {
		uint64_t mask, word, field;
	} cases[] = {
		{VI_BITS(0, 0), MAX, 1},
		{VI_BITS(63, 63), MAX, 1},
		{VI_BITS(63, 0), MAX, MAX},
		{VI_BITS(63, 0), 0, 0},
		{VI_BITS(15, 8), 0x12345678, 0x56},
		{VI_BITS(63, 60), UINT64_C(0xa) << 60, 0xa},
		{VI_BITS(23, 8), ~VI_BITS(23, 8), 0},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		assert_int_equal(vi_field(cases[i].word, cases[i].mask), cases[i].field);
		assert_int_equal(vi_to_field(cases[i].mask, cases[i].field), cases[i].word & cases[i].mask);
	}
}

static void test_field_cuts_off_what_does_not_fit(void **state)
{
	assert_int_equal(vi_to_field(VI_BITS(15, 8), 0x1ff), 0xff00);
	assert_int_equal(vi_to_field(VI_BITS(63, 60), MAX), VI_BITS(63, 60));
	assert_int_equal(vi_to_field(VI_BIT(63), 2), 0);
}

static void test_alignment(void **state)
{
	static const struct {
		uint64_t value, size, down;
	} cases[] = {
		{0, 1, 0},	    {MAX, 1, MAX},
		{0, 4096, 0},	    {4095, 4096, 0},
		{4096, 4096, 4096}, {MAX, 4096, MAX - 4095},
		{7, VI_BIT(63), 0}, {MAX, VI_BIT(63), VI_BIT(63)},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		assert_int_equal(vi_align_down(cases[i].value, cases[i].size), cases[i].down);
		assert_int_equal(vi_is_aligned(cases[i].value, cases[i].size),
				 cases[i].value == cases[i].down);
	}
}

static void test_last_of(void **state)
{
	static const struct {
		uint64_t first, len;
		bool fits;
		uint64_t last;
	} cases[] = {
		{0, 0, false, 0},	  {MAX, 0, false, 0},	   {0, 1, true, 0},
		{0, MAX, true, MAX - 1},  {1, MAX, true, MAX},	   {2, MAX, false, 0},
		{MAX, 1, true, MAX},	  {MAX, 2, false, 0},	   {MAX, MAX, false, 0},
		{MAX - 9, 10, true, MAX}, {MAX - 9, 11, false, 0}, {4096, 4096, true, 8191},
	};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(cases); i++) {
		uint64_t last = 0;

		assert_int_equal(vi_last_of(cases[i].first, cases[i].len, &last), cases[i].fits);
		if (cases[i].fits)
			assert_int_equal(last, cases[i].last);
	}
}

static void test_min_max(void **state)
{
	static const uint64_t values[] = {0, 1, VI_BIT(63) - 1, VI_BIT(63), MAX};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(values); i++) {
		for (unsigned j = i; j < VI_ARRAY_SIZE(values); j++) {
			assert_int_equal(vi_min(values[i], values[j]), values[i]);
			assert_int_equal(vi_min(values[j], values[i]), values[i]);
			assert_int_equal(vi_max(values[i], values[j]), values[j]);
			assert_int_equal(vi_max(values[j], values[i]), values[j]);
		}
	}
}

static void test_ceil_lg2(void **state)
{
	(void)state;
	assert_int_equal(vi_ceil_lg2(0), 0);
	assert_int_equal(vi_ceil_lg2(1), 0);
	assert_int_equal(vi_ceil_lg2(2), 1);
	assert_int_equal(vi_ceil_lg2(3), 2);
	for (unsigned i = 2; i < 63; i++) {
		assert_int_equal(vi_ceil_lg2(VI_BIT(i) - 1), i);
		assert_int_equal(vi_ceil_lg2(VI_BIT(i)), i);
		assert_int_equal(vi_ceil_lg2(VI_BIT(i) + 1), i + 1);
	}
	assert_int_equal(vi_ceil_lg2(UINT64_MAX), 64);
}

static void test_little_endian(void **state)
{
	static const uint8_t bytes[8] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81};
	_Alignas(8) uint8_t memory[24] = {0};

	memcpy(memory + 8, bytes, sizeof(bytes));
	assert_int_equal(vi_load_le64(memory + 8), UINT64_C(0x8123456789abcdef));
	assert_int_equal(vi_load_le32(memory + 8), UINT32_C(0x89abcdef));
	assert_int_equal(vi_load_le32(memory + 12), UINT32_C(0x81234567));

	memset(memory, 0x55, sizeof(memory));
	vi_store_le64(memory + 8, UINT64_C(0x8123456789abcdef));
	assert_memory_equal(memory + 8, bytes, 8);
	assert_int_equal(memory[7], 0x55);
	assert_int_equal(memory[16], 0x55);

	memset(memory, 0x55, sizeof(memory));
	vi_store_le32(memory + 12, UINT32_C(0x89abcdef));
	assert_memory_equal(memory + 12, bytes, 4);
	assert_int_equal(memory[11], 0x55);
	assert_int_equal(memory[16], 0x55);
}

struct listed {
	unsigned number;
	struct vi_list link;
};

/* The numbers on the ring as decimal digits, forwards; and the ring is sound backwards. */
static unsigned digits_of(const struct vi_list *head)
{
	const struct vi_list *node;
	unsigned digits = 0;

	vi_list_for_each (node, head) {
		assert_ptr_equal(node->next->prev, node);
		assert_ptr_equal(node->prev->next, node);
		digits = digits * 10 + VI_CONTAINER_OF(node, const struct listed, link)->number;
	}
	return digits;
}

static void test_list(void **state)
{
	struct listed items[4] = {{1}, {2}, {3}, {4}};
	struct vi_list head, *node, *after;

	vi_list_init(&head);
	assert_true(vi_list_is_empty(&head));
	for (unsigned i = 0; i < 4; i++)
		vi_list_append(&head, &items[i].link);
	assert_false(vi_list_is_empty(&head));
	assert_int_equal(digits_of(&head), 1234);
	vi_list_remove(&items[1].link);
	vi_list_remove(&items[1].link); /* once removed it is a ring of its own */
	assert_true(vi_list_is_empty(&items[1].link));
	assert_int_equal(digits_of(&head), 134);
	vi_list_append(&head, &items[1].link);
	assert_int_equal(digits_of(&head), 1342);
	vi_list_for_each_safe (node, after, &head)
		vi_list_remove(node);
	assert_true(vi_list_is_empty(&head));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bit_masks),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_field_cuts_off_what_does_not_fit),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_last_of),
		cmocka_unit_test(test_min_max),
		cmocka_unit_test(test_ceil_lg2),
		cmocka_unit_test(test_little_endian),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
