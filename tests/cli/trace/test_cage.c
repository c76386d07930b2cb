/* SPDX-License-Identifier: BSD-3-Clause */
/* A cage holds what goes on in it: each way out is tried from within. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/trace/cage.h"

#define MIB (UINT64_C(1) << 20)

static const struct cage_limits usual = {.memory = 64 * MIB, .cpu_s = 10, .quiet_s = 60};

/* All that comes out, and what cage_read() says at the end. */
static ssize_t run_with(struct cage *c, int (*run)(int in, int out), const struct cage_limits *limits,
			char *ret_text, size_t size)
{
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t filled = 0;
	ssize_t got;

	assert_true(in >= 0);
	assert_int_equal(cage_start(c, in, run, limits), 0);
	close(in);
	while ((got = cage_read(c, ret_text + filled, size - 1 - filled)) > 0)
		filled += (size_t)got;
	ret_text[filled] = '\0';
	return got;
}

static ssize_t outcome(struct cage *c, int (*run)(int in, int out))
{
	char text[256];

	return run_with(c, run, &usual, text, sizeof(text));
}

static int copy_elf_magic(int in, int out)
{
	char bytes[4];

	return read(in, bytes, 4) == 4 && write(out, bytes + 1, 3) == 3 ? 0 : 1;
}

static void test_what_it_reads_comes_out(void **state)
{
	struct cage c;
	char text[16];

	assert_int_equal(run_with(&c, copy_elf_magic, &usual, text, sizeof(text)), 0);
	assert_string_equal(text, "ELF");
	cage_stop(&c); /* twice does no harm */
}

static int give_up(int in, int out)
{
	return 3;
}

static int fall(int in, int out)
{
	*(volatile int *)(uintptr_t)in = 1; /* `in` is 0 */
	return 0;
}

static int abandon(int in, int out)
{
	abort();
}

static void test_ends_are_told_apart(void **state)
{
	struct cage c;

	assert_int_equal(outcome(&c, give_up), -ECANCELED);
	assert_int_equal(cage_code(&c), 3);
	assert_int_equal(outcome(&c, fall), -EFAULT);
	assert_int_equal(cage_signal(&c), SIGSEGV);
	assert_int_equal(outcome(&c, abandon), -EFAULT);
	assert_int_equal(cage_signal(&c), SIGABRT);
}

static int spin(int in, int out)
{
	for (volatile unsigned i = 1; i; i |= 1)
		;
	return 0;
}

/* Of futexes one can wait for ever, as a C library does whose heap was broken. */
static int sleep_for_ever(int in, int out)
{
	volatile int word = 0;

	while (!word)
		syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	return 0;
}

static int close_and_sleep(int in, int out)
{
	close(out);
	return sleep_for_ever(in, out);
}

static void test_time_is_bounded(void **state)
{
	const struct cage_limits one_second = {.memory = 64 * MIB, .cpu_s = 1, .quiet_s = 600},
				 quiet = {.memory = 64 * MIB, .cpu_s = 600, .quiet_s = 1};
	struct cage c;
	char text[16];

	assert_int_equal(run_with(&c, spin, &one_second, text, sizeof(text)), -ETIMEDOUT);
	assert_int_equal(run_with(&c, sleep_for_ever, &quiet, text, sizeof(text)), -ETIMEDOUT);
	assert_int_equal(outcome(&c, close_and_sleep), -ETIMEDOUT);
}

static int say_and_sleep(int in, int out)
{
	return write(out, "x", 1) == 1 ? sleep_for_ever(in, out) : 1;
}

/* As the kernel does where memory is short: it is not told that time was over. */
static void test_killed_by_others(void **state)
{
	static const struct cage_limits quiet = {.memory = 64 * MIB, .cpu_s = 600, .quiet_s = 60};
	int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct cage c;
	char text;

	assert_true(in >= 0);
	assert_int_equal(cage_start(&c, in, say_and_sleep, &quiet), 0);
	assert_int_equal(cage_read(&c, &text, 1), 1);
	assert_int_equal(kill(c.pid, SIGKILL), 0);
	assert_int_equal(cage_read(&c, &text, 1), -EFAULT);
	assert_int_equal(cage_signal(&c), SIGKILL);
	close(in);
}

static int take_memory(int in, int out)
{
	size_t got = 0;

	while (got < 1024 * MIB &&
	       mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		got += MIB;
	/* Not all of it: what reserves an address space for itself (sanitizers) may have had some. */
	return got > 32 * MIB && got <= 64 * MIB ? 0 : 1;
}

static void test_memory_is_bounded(void **state)
{
	struct cage c;

	assert_int_equal(outcome(&c, take_memory), 0);
}

#define REFUSED(call) (errno = 0, (call) < 0 && errno == EPERM)

/* The number of the first that is not refused. */
static int try_calls(int in, int out)
{
	char *const none[] = {NULL};

	if (!REFUSED(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY)))
		return 1;
	if (!REFUSED(syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0)))
		return 2;
	if (!REFUSED(syscall(SYS_execve, "/bin/true", none, none)))
		return 3;
	if (!REFUSED(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)))
		return 4;
	if (!REFUSED(syscall(SYS_kill, getppid(), 0)))
		return 5;
	if (!REFUSED(syscall(SYS_unlinkat, AT_FDCWD, "/nowhere", 0)))
		return 6;
	if (!REFUSED(syscall(SYS_memfd_create, "x", 0)))
		return 7;
	if (!REFUSED(syscall(SYS_ptrace, 0, 0, 0, 0)))
		return 8;
	if (!REFUSED((long)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0)))
		return 9;
	if (!REFUSED(syscall(SYS_prlimit64, 0, 0, NULL, NULL)))
		return 10;
	return 0;
}

static int try_descriptors(int in, int out)
{
	for (int fd = CAGE_OUT + 1; fd < 1024; fd++)
		if (close(fd) == 0)
			return 1;
	errno = 0;
	return write(in, "x", 1) < 0 && errno == EBADF ? 0 : 2;
}

static void test_there_is_no_way_out(void **state)
{
	int beside[2] = {open("/dev/null", O_RDONLY), dup2(STDIN_FILENO, 600)};
	struct cage c;

	/* cage_code() first, so that a failure tells which. */
	outcome(&c, try_calls);
	assert_int_equal(cage_code(&c), 0);
	assert_int_equal(cage_signal(&c), 0);
	outcome(&c, try_descriptors);
	assert_int_equal(cage_code(&c), 0);
	assert_int_equal(cage_signal(&c), 0);
	close(beside[0]);
	close(beside[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_reads_comes_out), cmocka_unit_test(test_ends_are_told_apart),
		cmocka_unit_test(test_time_is_bounded),		cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_killed_by_others),	cmocka_unit_test(test_there_is_no_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
