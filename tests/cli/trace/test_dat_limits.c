/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process that reads a trace.dat may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/trace/dat.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

static struct cage_limits limits_of(uint64_t size, uint64_t held)
{
	const struct stat st = {.st_mode = S_IFREG,
				.st_size = (off_t)size,
				.st_blocks = (blkcnt_t)(held / 512)};
	struct cage_limits limits;

	dat_limits(&st, &limits);
	return limits;
}

static uint64_t memory_of_this_machine(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_more_for_a_longer_file(void **state)
{
	const struct cage_limits small = limits_of(1, 4096), large = limits_of(64 * MIB, 64 * MIB);

	assert_true(small.memory >= 256 * MIB && small.cpu_s >= 5 && small.cpu_s < 60 && small.quiet_s);
	assert_true(large.memory > small.memory && large.cpu_s >= small.cpu_s + 30);
}

static void test_holes_give_nothing(void **state)
{
	const struct cage_limits small = limits_of(4096, 4096), sparse = limits_of(TIB, 4096);

	assert_int_equal(sparse.memory, small.memory);
	assert_int_equal(sparse.cpu_s, small.cpu_s);
	/* Where a file system does not say what a file holds, its length counts. */
	assert_true(limits_of(64 * MIB, 0).cpu_s > small.cpu_s);
}

static void test_there_is_a_bound(void **state)
{
	static const uint64_t sizes[] = {TIB, UINT64_C(1) << 61, (UINT64_C(1) << 62) - 1, INT64_MAX};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct cage_limits limits = limits_of(sizes[i], sizes[i]);

		assert_int_equal(limits.memory, memory_of_this_machine());
		assert_int_equal(limits.cpu_s, 3600);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_more_for_a_longer_file),
		cmocka_unit_test(test_holes_give_nothing),
		cmocka_unit_test(test_there_is_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
