/* SPDX-License-Identifier: BSD-3-Clause */
/* Words in guest memory: where they may lie, who may touch them, and how. */
#include "testing.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <viommu/viommu.h>

#include "base/bits.h"
#include "guestmem/guestmem.h"

#define RW	  (VIOMMU_MEM_READ | VIOMMU_MEM_WRITE)
#define UNTOUCHED UINT64_C(0x0123456789abcdef)
#define TOP	  (UINT64_MAX - 4095)

/* What each region is there for. `skew`: the host address is so many bytes off the gpa's alignment. */
enum place {
	PLAIN,
	FOUR_BYTES,
	AFTER_FOUR,
	READ_ONLY,
	WRITE_ONLY,
	NEITHER,
	ODD_EDGES,
	SKEWED,
	CALLED,
	LAST_PAGE,
	PLACES
};

static const struct {
	uint64_t first, last;
	unsigned flags, skew;
} places[PLACES] = {
	[PLAIN] = {0x1000, 0x1fff, RW, 0},
	[FOUR_BYTES] = {0x2000, 0x2003, RW, 0},
	[AFTER_FOUR] = {0x2004, 0x2fff, RW, 4},
	[READ_ONLY] = {0x3000, 0x3fff, VIOMMU_MEM_READ, 0},
	[WRITE_ONLY] = {0x4000, 0x4fff, VIOMMU_MEM_WRITE, 0},
	[NEITHER] = {0x5000, 0x5fff, 0, 0},
	[ODD_EDGES] = {0x6001, 0x6ffe, RW, 1},
	[SKEWED] = {0x7000, 0x7fff, RW, 3},
	[CALLED] = {0x8000, 0x8fff, RW, 0},
	[LAST_PAGE] = {TOP, UINT64_MAX, RW, 0},
};

struct bed {
	struct vi_guestmem gm;
	_Alignas(8) uint8_t memory[PLACES][4096 + 8];
	unsigned calls;
	int answer;
	uint64_t gpa;
	size_t len;
};

static int note_call(struct bed *b, uint64_t gpa, size_t len)
{
	b->calls++;
	b->gpa = gpa;
	b->len = len;
	return b->answer;
}

static int table_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct bed *b = opaque;
	int ret = note_call(b, gpa, len);

	memcpy(buf, &b->memory[CALLED][gpa - places[CALLED].first], len); /* also when it fails */
	return ret;
}

static int table_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	struct bed *b = opaque;
	int ret = note_call(b, gpa, len);

	if (ret == 0)
		memcpy(&b->memory[CALLED][gpa - places[CALLED].first], buf, len);
	return ret;
}

static const struct viommu_host_ops with_callbacks = {
	.sz = sizeof(with_callbacks),
	.table_read = table_read,
	.table_write = table_write,
};
static const struct viommu_host_ops without_callbacks = {.sz = sizeof(without_callbacks)};

/* Where the test itself finds the byte. */
static uint8_t *at(struct bed *b, uint64_t gpa)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (gpa >= places[i].first && gpa <= places[i].last)
			return b->memory[i] + places[i].skew + (gpa - places[i].first);
	return NULL;
}

static void begin(struct bed *b, const struct viommu_host_ops *ops)
{
	memset(b, 0, sizeof(*b));
	assert_int_equal(vi_guestmem_init(&b->gm, ops, b), 0);
	for (unsigned i = 0; i < PLACES; i++) {
		struct vi_region r = {places[i].first, places[i].last,
				      i == CALLED ? NULL : at(b, places[i].first), (uint16_t)places[i].flags,
				      0};

		assert_int_equal(vi_guestmem_add(&b->gm, &r), 0);
	}
}

static void finish(struct bed *b)
{
	vi_guestmem_finish(&b->gm);
}

/* Words of 8 bytes are asked for only where gpa is a multiple of 8. */
static const struct word_case {
	uint64_t gpa;
	bool load64, store64, store32;
} words[] = {
	{0x0ff8, false, false, false},
	{0x0ffc, false, false, false},
	{0x1000, true, true, true},
	{0x1ff8, true, true, true},
	{0x1ffc, false, false, true},
	{0x2000, false, false, true}, /* a word in two regions is in none */
	{0x2004, false, false, true},
	{0x2008, true, true, true},
	{0x2ff8, true, true, true},
	{0x3000, true, false, false},
	{0x3ff8, true, false, false},
	{0x4000, false, true, true},
	{0x4ff8, false, true, true},
	{0x5000, false, false, false},
	{0x6000, false, false, false}, /* begins inside the word */
	{0x6004, false, false, true},
	{0x6008, true, true, true},
	{0x6ff0, true, true, true},
	{0x6ff8, false, false, true}, /* ends inside the word */
	{0x6ffc, false, false, false},
	{0x7000, true, true, true},
	{0x7ff8, true, true, true},
	{0x8000, true, true, true},
	{0x8ff8, true, true, true},
	{0x9000, false, false, false},
	{TOP, true, true, true},
	{UINT64_MAX - 7, true, true, true},
	{UINT64_MAX - 3, false, false, true},
};

static void check_load(struct bed *b, const struct word_case *w)
{
	uint64_t stored = htole64(UINT64_C(0xf1e2d3c4b5a69788) ^ w->gpa), value = UNTOUCHED;

	if (w->load64)
		memcpy(at(b, w->gpa), &stored, 8);
	assert_int_equal(vi_guestmem_load64(&b->gm, w->gpa, &value), w->load64);
	assert_int_equal(value, w->load64 ? le64toh(stored) : UNTOUCHED);
}

/* A store changes its own bytes and no others. */
static void check_store(struct bed *b, const struct word_case *w, unsigned size)
{
	uint64_t value = UINT64_C(0xf1e2d3c4b5a69788) ^ w->gpa << 7, stored = htole64(value);
	static struct bed before;
	bool fits = size == 8 ? w->store64 : w->store32;
	bool done;

	memset(b->memory, 0x5a, sizeof(b->memory));
	memcpy(&before, b, sizeof(before));
	done = size == 8 ? vi_guestmem_store64(&b->gm, w->gpa, value)
			 : vi_guestmem_store32(&b->gm, w->gpa, (uint32_t)value);
	assert_int_equal(done, fits);
	if (fits)
		memcpy((uint8_t *)before.memory + (at(b, w->gpa) - (uint8_t *)b->memory), &stored, size);
	assert_memory_equal(b->memory, before.memory, sizeof(b->memory));
}

static void test_words(void **state)
{
	static struct bed b;

	begin(&b, &with_callbacks);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(words); i++) {
		check_store(&b, &words[i], 4);
		if (words[i].gpa % 8 == 0) {
			check_store(&b, &words[i], 8);
			check_load(&b, &words[i]);
		}
	}
	finish(&b);
}

/* Whatever word was loaded before, each is in memory or is not. */
static void test_words_near_others(void **state)
{
	static struct bed b;

	begin(&b, &with_callbacks);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(words) * VI_ARRAY_SIZE(words); i++) {
		const struct word_case *before = &words[i / VI_ARRAY_SIZE(words)],
				       *w = &words[i % VI_ARRAY_SIZE(words)];
		uint64_t alone = UNTOUCHED, near = UNTOUCHED, unused;
		struct vi_guestmem_cursor c = {.gm = &b.gm};

		if (before->gpa % 8 != 0 || w->gpa % 8 != 0)
			continue;
		assert_int_equal(vi_guestmem_load64_near(&c, before->gpa, &unused), before->load64);
		assert_int_equal(vi_guestmem_load64_near(&c, w->gpa, &near), w->load64);
		vi_guestmem_load64(&b.gm, w->gpa, &alone);
		assert_int_equal(near, alone);
	}
	finish(&b);
}

static void test_callback_sees_the_word_once(void **state)
{
	static struct bed b;
	uint64_t value;

	begin(&b, &with_callbacks);
	assert_true(vi_guestmem_load64(&b.gm, 0x8010, &value));
	assert_true(b.calls == 1 && b.gpa == 0x8010 && b.len == 8);
	assert_true(vi_guestmem_store64(&b.gm, 0x8018, 1));
	assert_true(b.calls == 2 && b.gpa == 0x8018 && b.len == 8);
	assert_true(vi_guestmem_store32(&b.gm, 0x8024, 1));
	assert_true(b.calls == 3 && b.gpa == 0x8024 && b.len == 4);
	finish(&b);
}

static void test_failing_callback(void **state)
{
	static struct bed b;
	uint64_t value = UNTOUCHED;

	begin(&b, &with_callbacks);
	b.answer = -EIO;
	assert_false(vi_guestmem_load64(&b.gm, 0x8000, &value));
	assert_int_equal(value, UNTOUCHED);
	assert_false(vi_guestmem_store64(&b.gm, 0x8000, 1));
	assert_false(vi_guestmem_store32(&b.gm, 0x8000, 1));
	assert_int_equal(b.calls, 3);
	finish(&b);
}

static void test_no_callbacks(void **state)
{
	static struct bed b;
	uint64_t value = UNTOUCHED;

	begin(&b, &without_callbacks);
	assert_false(vi_guestmem_load64(&b.gm, 0x8000, &value));
	assert_int_equal(value, UNTOUCHED);
	assert_false(vi_guestmem_store64(&b.gm, 0x8000, 1));
	assert_false(vi_guestmem_store32(&b.gm, 0x8000, 1));
	finish(&b);
}

/* What is left of a region after a removal leads to the same bytes as before. */
static void test_words_of_a_divided_region(void **state)
{
	static struct bed b;
	uint64_t value;

	begin(&b, &with_callbacks);
	*at(&b, 0x1000) = 1;
	*at(&b, 0x1810) = 2;
	assert_int_equal(vi_guestmem_remove(&b.gm, 0x1800, 0x180b), 12);
	assert_true(vi_guestmem_load64(&b.gm, 0x1000, &value));
	assert_int_equal(value, 1);
	assert_true(vi_guestmem_load64(&b.gm, 0x1810, &value));
	assert_int_equal(value, 2);
	assert_false(vi_guestmem_load64(&b.gm, 0x1808, &value));
	assert_false(vi_guestmem_store32(&b.gm, 0x1808, 0));
	assert_true(vi_guestmem_store32(&b.gm, 0x180c, 0));
	finish(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_near_others),
		cmocka_unit_test(test_callback_sees_the_word_once),
		cmocka_unit_test(test_failing_callback),
		cmocka_unit_test(test_no_callbacks),
		cmocka_unit_test(test_words_of_a_divided_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
