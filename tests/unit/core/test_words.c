/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Aligned words move in one access. The processor's single step looks at memory
 * between any two instructions of an access, so no race has to be won.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define ONES UINT64_MAX

/* Sanitizers deliver signals when it suits them; gcc and older clang tell of them in different ways. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#endif
#if defined(__x86_64__) && !defined(SANITIZED)

#define TRAP_FLAG 0x100

static struct {
	volatile bool on;
	volatile uint64_t *word;
	uint64_t mask;
	unsigned flip_every; /* so many steps change the word, all of it; 0: never */
	unsigned steps, torn, changes;
	uint64_t last;
} step;

static void begin_steps(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void look(int number, siginfo_t *info, void *context)
{
	uint64_t now = *step.word & step.mask;

	(void)number;
	(void)info;
	if (!step.on) {
		((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		return;
	}
	step.steps++;
	step.torn += now != 0 && now != step.mask;
	step.changes += now != step.last;
	step.last = now;
	if (step.flip_every && step.steps % step.flip_every == 0)
		*step.word = ~*step.word;
}

static void stepwise(struct machine *m, bool write, uint64_t *buf, size_t len)
{
	struct sigaction begin = {.sa_sigaction = begin_steps, .sa_flags = SA_SIGINFO},
			 trap = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};

	assert_int_equal(sigaction(SIGUSR1, &begin, NULL), 0);
	assert_int_equal(sigaction(SIGTRAP, &trap, NULL), 0);
	step.on = true;
	raise(SIGUSR1);
	if (write)
		viommu_write(m->thread, m->device, IOVA, buf, len);
	else
		viommu_read(m->thread, m->device, IOVA, buf, len);
	step.on = false;
	signal(SIGUSR1, SIG_DFL);
}

/* flip_every 0: write. */
static void check(struct machine *m, size_t len, unsigned flip_every)
{
	bool write = flip_every == 0;
	uint64_t buf = write ? ONES : 0;

	memset((void *)&step, 0, sizeof(step));
	step.word = (volatile uint64_t *)(void *)(m->ram + GPA);
	step.mask = ONES >> (64 - 8 * len);
	step.flip_every = flip_every;
	*step.word = 0;
	stepwise(m, write, &buf, len);
	assert_true(step.steps > 10);
	assert_int_equal(step.torn, 0);
	assert_true(step.changes > 0);
	buf &= step.mask;
	assert_true(buf == step.mask || (!write && buf == 0));
}

static void test_words_in_one_access(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_read(&m, IOVA, 0);
	for (size_t len = 2; len <= 8; len *= 2) {
		check(&m, len, 0);
		/* With as many steps as lie between the loads of two halves, they differ. */
		for (unsigned every = 1; every <= 16; every++)
			check(&m, len, every);
	}
	machine_finish(&m);
}

#else

static void test_words_in_one_access(void **state)
{
	(void)state;
	skip();
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_in_one_access),
	};

	return cmocka_run_group_tests_name("core words", tests, NULL, NULL);
}
