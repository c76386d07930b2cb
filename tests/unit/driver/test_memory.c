/* SPDX-License-Identifier: BSD-3-Clause */
/* The pages that a driver builds its tables of. */
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#include "driver/memory.h"

#define PAGE UINT64_C(4096)

enum { PAGES = 16 };

struct bed {
	struct vi_driver_memory memory;
	uint64_t first_gpa;
	uint8_t *host;
	bool out[PAGES]; /* given out and not back */
};

static void begin(struct bed *b, uint64_t gpa)
{
	*b = (struct bed){.first_gpa = gpa, .host = aligned_alloc(PAGE, PAGES * PAGE)};
	memset(b->host, 0xee, PAGES * PAGE);
	vi_driver_memory_init(&b->memory, gpa, b->host, PAGES * PAGE);
}

static void finish(struct bed *b)
{
	free(b->host);
}

/* Inside, on a page boundary, not out already, all zero; then it is dirtied. */
static void check_page(struct bed *b, uint64_t gpa)
{
	static const uint8_t zeros[4096];
	uint64_t i = (gpa - b->first_gpa) / PAGE;

	assert_true(gpa >= b->first_gpa && i < PAGES && gpa % PAGE == 0 && gpa != 0);
	assert_false(b->out[i]);
	assert_memory_equal(b->host + i * PAGE, zeros, PAGE);
	memset(b->host + i * PAGE, 0xdd, PAGE);
	b->out[i] = true;
}

static void give_back(struct bed *b, unsigned i)
{
	assert_true(b->out[i]);
	b->out[i] = false;
	vi_driver_page_free(&b->memory, b->first_gpa + i * PAGE);
}

static unsigned take_all(struct bed *b)
{
	unsigned count = 0;
	uint64_t gpa;

	while ((gpa = vi_driver_page_alloc(&b->memory)) != 0) {
		check_page(b, gpa);
		count++;
	}
	return count;
}

static void test_all_pages_and_back(void **state)
{
	static const struct {
		uint64_t gpa;
		unsigned pages;
	} cases[] = {{0, PAGES - 1},
		     {PAGE, PAGES},
		     {UINT64_C(0x123456000), PAGES},
		     {UINT64_MAX - PAGES * PAGE + 1, PAGES}};

	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct bed b;

		begin(&b, cases[n].gpa);
		for (unsigned round = 0; round < 3; round++) {
			assert_int_equal(take_all(&b), cases[n].pages);
			for (unsigned i = 0; i < PAGES; i++)
				if (b.out[i])
					give_back(&b, i);
		}
		finish(&b);
	}
}

static void test_random(void **state)
{
	struct chance c = {6};
	struct bed b;
	unsigned held = 0;

	begin(&b, PAGE * 5);
	for (unsigned step = 0; step < 5000; step++) {
		unsigned i = (unsigned)chance_below(&c, PAGES);
		uint64_t gpa;

		if (b.out[i]) {
			give_back(&b, i);
			held--;
			continue;
		}
		gpa = vi_driver_page_alloc(&b.memory);
		assert_int_equal(gpa != 0, held < PAGES);
		check_page(&b, gpa);
		held++;
	}
	finish(&b);
}

/* Pages in a row are never such as were used before, and a refusal takes nothing. */
static void test_pages_in_a_row(void **state)
{
	struct bed b;
	uint64_t gpa;

	begin(&b, PAGE);
	check_page(&b, vi_driver_page_alloc(&b.memory));
	give_back(&b, 0);
	gpa = vi_driver_pages_alloc(&b.memory, 5);
	assert_int_equal(gpa, 2 * PAGE);
	for (unsigned i = 0; i < 5; i++)
		check_page(&b, gpa + i * PAGE);
	assert_int_equal(vi_driver_pages_alloc(&b.memory, PAGES - 5), 0);
	assert_int_equal(vi_driver_pages_alloc(&b.memory, UINT32_MAX), 0);
	gpa = vi_driver_pages_alloc(&b.memory, PAGES - 6);
	assert_int_equal(gpa, 7 * PAGE);
	for (unsigned i = 0; i < PAGES - 6; i++)
		check_page(&b, gpa + i * PAGE);
	assert_int_equal(take_all(&b), 1);
	finish(&b);
}

static void test_words(void **state)
{
	static const uint8_t bytes[8] = {8, 7, 6, 5, 4, 3, 2, 1};
	struct bed b;
	uint64_t gpa;

	begin(&b, PAGE);
	gpa = vi_driver_page_alloc(&b.memory);
	vi_driver_store64(&b.memory, gpa + 16, UINT64_C(0x0102030405060708));
	assert_memory_equal(b.host + 16, bytes, 8);
	assert_int_equal(vi_driver_load64(&b.memory, gpa + 16), UINT64_C(0x0102030405060708));
	assert_int_equal(vi_driver_load32(&b.memory, gpa + 16), UINT32_C(0x05060708));
	assert_int_equal(vi_driver_load32(&b.memory, gpa + 20), UINT32_C(0x01020304));
	finish(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_pages_and_back),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_pages_in_a_row),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
