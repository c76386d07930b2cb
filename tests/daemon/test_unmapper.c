/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread that unmaps, whose munmap() is held up by the linker's --wrap. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "daemon/unmapper.h"

#define LARGE ((size_t)64 << 20)
#define MANY  1000

static sem_t go_on;
static _Atomic size_t unmapped;

int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);

/* Only what the tests mapped: the C library unmaps stacks. */
static uint8_t *arena;

int __wrap_munmap(void *at, size_t size)
{
	if ((uint8_t *)at < arena || (uint8_t *)at >= arena + MANY * LARGE)
		return __real_munmap(at, size);
	if (size < LARGE)
		sem_wait(&go_on);
	atomic_fetch_add(&unmapped, size);
	return 0;
}

static unsigned fill(const struct unmapper_share *share, unsigned first)
{
	const struct vfu_unmapper *of_servers = &share->of_servers;
	unsigned n = 0;

	for (; n < MANY / 2 && of_servers->may_unmap(of_servers->opaque, LARGE); n++)
		of_servers->unmap(of_servers->opaque, arena + (first + n) * LARGE, LARGE);
	return n;
}

static void test_shares(void **state)
{
	struct unmapper_share a, b;
	struct unmapper *u;
	unsigned of_a, of_b;

	(void)state;
	sem_init(&go_on, 0, 0);
	atomic_store(&unmapped, 0);
	assert_int_equal(unmapper_start(&u), 0);
	unmapper_share_init(&a, u);
	unmapper_share_init(&b, u);
	of_a = fill(&a, 0);
	assert_in_range(of_a, 1, MANY / 2 - 1);
	/* What takes no time waits for nobody, and neither does the other VM. */
	assert_true(a.of_servers.may_unmap(a.of_servers.opaque, 4096));
	of_b = fill(&b, of_a);
	assert_int_equal(of_b, of_a);
	assert_int_equal(atomic_load(&unmapped), 0);
	for (size_t i = 0; i < (of_a + of_b) * LARGE / 4096; i++)
		sem_post(&go_on);
	unmapper_stop(u);
	assert_int_equal(atomic_load(&unmapped), (of_a + of_b) * LARGE);
	assert_int_equal(a.count + b.count, 0);
	sem_destroy(&go_on);
}

static void test_goes_on(void **state)
{
	struct unmapper_share a;
	struct unmapper *u;
	unsigned n = 0;

	(void)state;
	sem_init(&go_on, 0, 0);
	for (size_t i = 0; i < MANY * LARGE / 4096; i++)
		sem_post(&go_on);
	atomic_store(&unmapped, 0);
	assert_int_equal(unmapper_start(&u), 0);
	unmapper_share_init(&a, u);
	for (unsigned turn = 0; turn < MANY / 2; turn++) {
		if (!a.of_servers.may_unmap(a.of_servers.opaque, LARGE))
			continue;
		a.of_servers.unmap(a.of_servers.opaque, arena + n++ * LARGE, LARGE);
	}
	unmapper_stop(u);
	assert_int_equal(atomic_load(&unmapped), n * LARGE);
	sem_destroy(&go_on);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares), cmocka_unit_test(test_goes_on)};

	arena = mmap(NULL, MANY * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests_name("unmapper", tests, NULL, NULL);
}
