/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watched page with a model of five words: what a guest writes, in any order
 * with the looks, against what each rule says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "regs/page.h"

enum { FIXED = 0x08, PLAIN = 0x10, COMMAND = 0x18, STATUS = 0x20, TAIL = 0x28, OWN = 0x30 };

#define LASTING	 0x03u
#define ONE_SHOT 0x0cu
#define BITS	 0x0fu /* of STATUS */
#define RESERVED 0x7fff0000u
#define STEPS	 300000

struct model {
	struct vi_regs_page page;
	uint32_t lasting, status, tail;
	unsigned one_shots; /* how many were carried out */
	bool busy;
};

static uint8_t shared[VI_REGS_PAGE_SIZE] __attribute__((aligned(VI_REGS_PAGE_SIZE)));

static void command(void *model, uint32_t value)
{
	struct model *m = model;

	m->lasting = value & LASTING;
	m->one_shots += (value & ONE_SHOT) != 0;
}

static uint32_t status(void *arg)
{
	const struct model *m = arg;

	return m->status;
}

static void clear(void *arg, uint32_t written)
{
	struct model *m = arg;

	m->status &= ~written;
}

static void show_status(struct model *m)
{
	vi_regs_show(&m->page, STATUS, status, clear, m);
}

static void write_status(void *model, uint32_t value)
{
	clear(model, value);
	show_status(model);
}

static void write_tail(void *model, uint32_t value)
{
	struct model *m = model;

	m->tail = value;
}

static bool is_busy(const void *model)
{
	const struct model *m = model;

	return m->busy;
}

static bool is_own(const void *model, unsigned offset)
{
	(void)model;
	return offset == OWN;
}

static const struct vi_regs_word words[] = {
	{FIXED, VI_REGS_READ_ONLY, 0, ~0u, NULL},
	{PLAIN, VI_REGS_PLAIN, 0xffu, ~0u, NULL},
	{COMMAND, VI_REGS_COMMAND, BITS, 0, command, .lasting = LASTING, .is_busy = is_busy},
	{STATUS, VI_REGS_CLEAR, BITS, ~RESERVED, write_status, .sentinel = RESERVED},
	{TAIL, VI_REGS_LEVEL, 0xffu, 0xffu, write_tail},
};
static const struct vi_regs_layout layout = {words, VI_ARRAY_SIZE(words), is_own};

static void init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	memset(shared, 0, sizeof(shared));
	vi_regs_init(&m->page, &layout, m);
	vi_regs_store32(&m->page, FIXED, 0x1234);
	vi_regs_share(&m->page, shared);
}

static uint32_t get(unsigned offset)
{
	return vi_load_le32(shared + offset);
}

static void put(unsigned offset, uint32_t value)
{
	vi_store_le32(shared + offset, value);
}

static unsigned random_below(unsigned n)
{
	static uint32_t state = 1;

	state = state * 1664525u + 1013904223u;
	return (state >> 16) % n;
}

/* What a driver writes that has read `found`. */
static uint32_t choose(uint32_t found)
{
	const uint32_t bit = 1u << random_below(4);
	const uint32_t values[] = {random_below(BITS + 1), found, found | bit, found & ~bit};

	return values[random_below(VI_ARRAY_SIZE(values))];
}

/* The last write before a look counts, and each look that comes after one carries it out. */
static void test_commands(void **state)
{
	struct model m;
	uint32_t lasting = 0, last = 0;
	unsigned one_shots = 0;
	bool written = false;

	(void)state;
	init(&m);
	for (unsigned i = 0; i < STEPS; i++) {
		if (random_below(2)) {
			last = choose(get(COMMAND));
			put(COMMAND, last);
			written = true;
			continue;
		}
		m.busy = random_below(4) == 0;
		vi_regs_poll(&m.page);
		if (written && !m.busy) {
			lasting = last & LASTING;
			one_shots += (last & ONE_SHOT) != 0;
			written = false;
		}
		assert_int_equal(m.lasting, lasting);
		assert_int_equal(m.one_shots, one_shots);
		if (!written)
			assert_int_equal(get(COMMAND), lasting);
	}
}

/*
 * The last write before a look counts. One that is what the page shows was read
 * there since it was shown, or there is nothing to clear.
 */
static void test_status(void **state)
{
	uint32_t expected = 0, shown = 0, found = 0, last = 0;
	bool fresh = false; /* `found` is of the time since the word was shown */
	struct model m;

	(void)state;
	init(&m);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned step = random_below(4);

		if (step == 0) {
			found = get(STATUS);
			fresh = true;
		} else if (step == 1) {
			last = choose(found);
			put(STATUS, last);
			assert_true(last != shown || fresh || last == 0);
		}
		if (step < 2)
			continue;
		if (step == 3)
			m.status |= 1u << random_below(4);
		expected = (step == 3 ? m.status : expected) & ~(get(STATUS) == shown ? 0 : last);
		if (step == 3)
			show_status(&m);
		else
			vi_regs_poll(&m.page);
		assert_int_equal(m.status, expected);
		assert_int_equal(get(STATUS) & ~RESERVED, expected);
		assert_int_equal((get(STATUS) & RESERVED) != 0, expected != 0);
		assert_true(expected == 0 || get(STATUS) != shown);
		shown = get(STATUS);
		fresh = false;
	}
}

static void test_tail(void **state)
{
	struct model m;
	uint32_t last = 0;

	(void)state;
	init(&m);
	for (unsigned i = 0; i < STEPS; i++) {
		if (random_below(2)) {
			last = choose(get(TAIL));
			put(TAIL, last);
			continue;
		}
		vi_regs_poll(&m.page);
		assert_int_equal(m.tail, last);
	}
}

/* Read-only words at the next look, all others within as many looks as the page has words; own ones never. */
static void test_what_a_guest_may_not_change(void **state)
{
	struct model m;

	(void)state;
	init(&m);
	put(FIXED, ~0u);
	put(PLAIN, ~0u);
	put(OWN, ~0u);
	put(VI_REGS_PAGE_SIZE - 4, ~0u);
	vi_regs_poll(&m.page);
	assert_int_equal(get(FIXED), 0x1234);
	for (unsigned i = 0; i < VI_REGS_PAGE_SIZE / 4; i++)
		vi_regs_poll(&m.page);
	assert_int_equal(get(PLAIN), 0xff);
	assert_int_equal(get(VI_REGS_PAGE_SIZE - 4), 0);
	assert_int_equal(get(OWN), ~0u);
}

/* Trapped, the same words by the same rules. */
static void test_trapped(void **state)
{
	struct model m;

	(void)state;
	init(&m);
	vi_regs_share(&m.page, NULL);
	m.status = 0x5;
	show_status(&m);
	assert_int_equal(vi_regs_read(&m.page, STATUS), 0x5);
	vi_regs_write(&m.page, STATUS, vi_regs_read(&m.page, STATUS) & ~1u);
	assert_int_equal(vi_regs_read(&m.page, STATUS), 0x1);
	vi_regs_write(&m.page, STATUS, vi_regs_read(&m.page, STATUS));
	assert_int_equal(vi_regs_read(&m.page, STATUS), 0);
	vi_regs_write(&m.page, FIXED, 0);
	assert_int_equal(vi_regs_read(&m.page, FIXED), 0x1234);
	vi_regs_write(&m.page, PLAIN, ~0u);
	assert_int_equal(vi_regs_read(&m.page, PLAIN), 0xff);
	for (unsigned i = 0; i < 3; i++) {
		vi_regs_write(&m.page, COMMAND, 0x5);
		assert_int_equal(m.one_shots, i + 1);
	}
	vi_regs_share(&m.page, shared);
	assert_int_equal(get(COMMAND), 0x1);
	put(COMMAND, 0x5);
	vi_regs_poll(&m.page);
	assert_int_equal(m.one_shots, 4);
	assert_int_equal(m.lasting, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands), cmocka_unit_test(test_status),
		cmocka_unit_test(test_tail),	 cmocka_unit_test(test_what_a_guest_may_not_change),
		cmocka_unit_test(test_trapped),
	};

	return cmocka_run_group_tests_name("regs page", tests, NULL, NULL);
}
