/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BROKEN	     125 /* exit status: the cage could not be closed */
#define FILES	     16

/* ---------------------------------------------------------------- within the cage */

static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), /* what C libraries make of fstat() */
	SCMP_SYS(statx),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(uname),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* A call that this architecture does not have needs no rule. */
static int check(int err)
{
	return err == -EDOM ? 0 : err;
}

static int fill(scmp_filter_ctx filter)
{
	static const int without_code[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	static const int writes[] = {SCMP_SYS(write), SCMP_SYS(writev)};
	int err = 0;

	for (size_t i = 0; i < COUNT(allowed) && !err; i++)
		err = check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0));
	for (size_t i = 0; i < COUNT(without_code) && !err; i++)
		err = check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, without_code[i], 1,
					     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)));
	for (size_t i = 0; i < COUNT(writes) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, writes[i], 1, SCMP_A0(SCMP_CMP_LE, CAGE_OUT));
	/* What abort() is made of. */
	return err ? err
		   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

static int restrict_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = fill(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

/* Bytes of address space that the process has. */
static uint64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* `more`: so much later it is the end, whatever the process does about the signal. */
static int limit(int what, uint64_t value, uint64_t more)
{
	struct rlimit old, new = {.rlim_cur = value, .rlim_max = value + more};

	if (getrlimit(what, &old))
		return -errno;
	if (new.rlim_max > old.rlim_max)
		new.rlim_max = old.rlim_max;
	if (new.rlim_cur > new.rlim_max)
		new.rlim_cur = new.rlim_max;
	return setrlimit(what, &new) ? -errno : 0;
}

static int set_limits(const struct cage_limits *l)
{
	uint64_t now = address_space();

	if (!now || limit(RLIMIT_AS, now + l->memory, 0) || limit(RLIMIT_CPU, l->cpu_s, 1) ||
	    limit(RLIMIT_FSIZE, 0, 0) || limit(RLIMIT_CORE, 0, 0) || limit(RLIMIT_NOFILE, FILES, 0))
		return -EPERM;
	return 0;
}

/* `in` as CAGE_IN, `out` as CAGE_OUT, nothing behind the standard ones, and no other. */
static int keep_only(int in, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Out of the way of where they go. */
	in = fcntl(in, F_DUPFD_CLOEXEC, CAGE_OUT + 1);
	out = fcntl(out, F_DUPFD_CLOEXEC, CAGE_OUT + 1);
	if (null < 0 || in < 0 || out < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
	    dup2(in, CAGE_IN) < 0 || dup2(out, CAGE_OUT) < 0)
		return -EMFILE;
	return close_range(CAGE_OUT + 1, ~0u, 0) ? -errno : 0;
}

static void restore_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int close_cage(int in, int out, const struct cage_limits *l, pid_t parent)
{
	restore_signals();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || keep_only(in, out) || set_limits(l) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return -EPERM;
	return restrict_calls();
}

/* -------------------------------------------------------------------- outside of it */

int cage_start(struct cage *c, int in, int (*run)(int in, int out), const struct cage_limits *limits)
{
	pid_t parent = getpid(), pid;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(ends[0]);
		close(ends[1]);
		return err;
	}
	if (!pid)
		_exit(close_cage(in, ends[1], limits, parent) ? BROKEN : run(CAGE_IN, CAGE_OUT));
	close(ends[1]);
	*c = (struct cage){.pid = pid, .out = ends[0], .quiet_s = limits->quiet_s, .cpu_s = limits->cpu_s};
	return 0;
}

static void reap(struct cage *c)
{
	struct rusage used = {0};

	while (wait4(c->pid, &c->status, 0, &used) < 0 && errno == EINTR)
		;
	c->used_s = (unsigned)(used.ru_utime.tv_sec + used.ru_stime.tv_sec +
			       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000000);
	c->pid = 0;
	close(c->out);
}

void cage_stop(struct cage *c)
{
	if (!c->pid)
		return;
	kill(c->pid, SIGKILL);
	reap(c);
}

int cage_signal(const struct cage *c)
{
	return WIFSIGNALED(c->status) ? WTERMSIG(c->status) : 0;
}

int cage_code(const struct cage *c)
{
	return WIFEXITED(c->status) ? WEXITSTATUS(c->status) : 0;
}

/* Its pipe is at its end, so it has ended, or closed the pipe and goes on: that is not waited for. */
static bool has_ended(const struct cage *c)
{
	struct pollfd none = {.fd = -1};

	for (unsigned ms = 0; ms < 1000; ms += 10) {
		siginfo_t info = {0};

		if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			return true;
		poll(&none, 1, 10);
	}
	return false;
}

static int end(struct cage *c)
{
	bool by_itself = has_ended(c);

	cage_stop(c);
	if (!by_itself)
		return -ETIMEDOUT;
	if (!WIFSIGNALED(c->status))
		return WEXITSTATUS(c->status) ? -ECANCELED : 0;
	/* The kernel ends so who has used up the time; SIGKILL comes from others, too. */
	if (WTERMSIG(c->status) == SIGXCPU || (WTERMSIG(c->status) == SIGKILL && c->used_s >= c->cpu_s))
		return -ETIMEDOUT;
	return -EFAULT;
}

ssize_t cage_read(struct cage *c, void *to, size_t size)
{
	struct pollfd ready = {.fd = c->out, .events = POLLIN};
	ssize_t got;
	int count;

	do {
		count = poll(&ready, 1, (int)c->quiet_s * 1000);
	} while (count < 0 && errno == EINTR);
	if (!count) {
		cage_stop(c);
		return -ETIMEDOUT;
	}
	do {
		got = read(c->out, to, size);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		return got;
	return got < 0 ? -errno : end(c);
}
