/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What daemon/sandbox/sandbox.c refuses: a line a case. Each case is a child that goes
 * into the sandbox as viommud does and then tries it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox/sandbox.h"

#define KILLED	    1000 /* by the filter */
#define SKIPPED	    1001
#define NOT_STARTED 255

static struct directory folder; /* what the sandbox leaves us */
static char outside[64];	/* a file beside it */

/* The errno of a call that fails, 0 of one that does not. */
static int outcome(long result)
{
	return result < 0 ? errno : 0;
}

/* ------------------------------------------------------- system calls: the end */

static int try_execve(void)
{
	char name[] = "true", *argv[] = {name, NULL}, *envp[] = {NULL};

	return outcome(execve("/bin/true", argv, envp));
}

static int try_fork(void)
{
	return outcome(syscall(SYS_fork));
}

static int try_clone_process(void)
{
	return outcome(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_ptrace(void)
{
	return outcome(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_process_vm_readv(void)
{
	return outcome(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}

static int try_socket(void)
{
	return outcome(socket(AF_INET, SOCK_STREAM, 0));
}

static int open_before; /* a socket */

static int try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};

	return outcome(connect(open_before, (struct sockaddr *)&address, sizeof(address)));
}

static int try_bind(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/x"};

	return outcome(bind(open_before, (struct sockaddr *)&address, sizeof(address)));
}

static int try_map_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NOT_STARTED;
	return outcome(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int try_open_to_write(void)
{
	return outcome(open(outside, O_WRONLY));
}

static int try_create(void)
{
	return outcome(open("/tmp/viommu-must-not-be", O_RDONLY | O_CREAT | O_EXCL, 0600));
}

static int try_rename(void)
{
	return outcome(rename(outside, "/tmp/viommu-must-not-be"));
}

static int try_second_ring(void)
{
	return outcome(syscall(SYS_io_uring_setup, 1, NULL));
}

/* --------------------------------------------------------- system calls: EPERM */

static int try_open_to_read(void)
{
	return outcome(open("/etc/hostname", O_RDONLY));
}

static int try_openat2(void)
{
	uint64_t how[3] = {O_RDWR};

	return outcome(syscall(437, AT_FDCWD, outside, how, sizeof(how)));
}

static int try_clone3(void)
{
	return outcome(syscall(435, NULL, 0));
}

static int try_kill(void)
{
	return outcome(kill(getppid(), 0));
}

static int try_signal_to_a_thread(void)
{
	return outcome(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int try_push_input(void)
{
	return outcome(ioctl(0, TIOCSTI, "x"));
}

static int try_limit(void)
{
	struct rlimit limit = {0, 0};

	return outcome(setrlimit(RLIMIT_CPU, &limit));
}

static int try_send_elsewhere(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};

	return outcome(sendto(open_before, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)));
}

static int try_dup(void)
{
	return outcome(dup(0));
}

static int try_wider_dumps(void)
{
	return outcome(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

/* ------------------------------------------------------------ before the filter */

static int try_read_elsewhere(void)
{
	return outcome(open(outside, O_RDONLY));
}

static int try_list(void)
{
	return outcome(open("/", O_RDONLY | O_DIRECTORY));
}

static int try_file_in_folder(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", folder.path);
	return outcome(open(path, O_WRONLY | O_CREAT, 0600));
}

static int try_folder_in_folder(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/folder", folder.path);
	return outcome(mkdir(path, 0700));
}

static int try_unlink_elsewhere(void)
{
	return outcome(unlink(outside));
}

static int try_signal_outside(void)
{
	return outcome(kill(getppid(), 0));
}

static int try_tcp(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return outcome(connect(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int try_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return NOT_STARTED;
	return data[0].permitted | data[1].permitted | data[0].effective | data[1].effective ? 0 : EPERM;
}

/* ------------------------------------------------------------- what is still fine */

static int try_own_sockets(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), err;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder.path);
	err = outcome(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	return err ? err : outcome(unlink(address.sun_path));
}

static int try_daily_work(void)
{
	void *p = malloc(1 << 20);

	if (!p || raise(SIGUSR1) || getpid() < 1)
		return NOT_STARTED;
	memset(p, 1, 1 << 20);
	free(p);
	return outcome(write(STDERR_FILENO, "", 0));
}

/* -------------------------------------------------------------------- the runner */

enum depth { BEGUN = 1, ENTERED, ENTERED_IN_THREAD };

static const struct refusal {
	const char *name;
	enum depth depth;
	int (*attempt)(void);
	int expected;
	int since; /* version of Landlock that it takes */
} refusals[] = {
	{"no other program: execve", ENTERED, try_execve, KILLED},
	{"nor in a thread that was there before", ENTERED_IN_THREAD, try_execve, KILLED},
	{"no child: fork", ENTERED, try_fork, KILLED},
	{"no child: clone", ENTERED, try_clone_process, KILLED},
	{"no child: clone3, whose flags a filter cannot see", ENTERED, try_clone3, EPERM},
	{"no ptrace", ENTERED, try_ptrace, KILLED},
	{"no memory of others: process_vm_readv", ENTERED, try_process_vm_readv, KILLED},
	{"no socket", ENTERED, try_socket, KILLED},
	{"no connect", ENTERED, try_connect, KILLED},
	{"no bind", ENTERED, try_bind, KILLED},
	{"nothing is sent to an address", ENTERED, try_send_elsewhere, EPERM},
	{"no code is mapped", ENTERED, try_map_executable, KILLED},
	{"no memory becomes code", ENTERED, try_make_executable, KILLED},
	{"no file is opened to be written", ENTERED, try_open_to_write, KILLED},
	{"no file is made", ENTERED, try_create, KILLED},
	{"no file is renamed", ENTERED, try_rename, KILLED},
	{"no file is opened to be read", ENTERED, try_open_to_read, EPERM},
	{"no file is opened: openat2, whose flags a filter cannot see", ENTERED, try_openat2, EPERM},
	{"no ring without restrictions", ENTERED, try_second_ring, KILLED},
	{"no signal to another process", ENTERED, try_kill, EPERM},
	{"no signal to another process's thread", ENTERED, try_signal_to_a_thread, EPERM},
	{"nothing is typed into a terminal", ENTERED, try_push_input, EPERM},
	{"no change of limits", ENTERED, try_limit, EPERM},
	{"no dup", ENTERED, try_dup, EPERM},
	{"no prctl but two", ENTERED, try_wider_dumps, EPERM},
	{"work goes on", ENTERED, try_daily_work, 0},
	{"Landlock: no file outside is read", BEGUN, try_read_elsewhere, EACCES, 1},
	{"Landlock: no folder is listed", BEGUN, try_list, EACCES, 1},
	{"Landlock: no file in the folder", BEGUN, try_file_in_folder, EACCES, 1},
	{"Landlock: no folder in the folder", BEGUN, try_folder_in_folder, EACCES, 1},
	{"Landlock: no file outside is removed", BEGUN, try_unlink_elsewhere, EACCES, 1},
	{"Landlock: no TCP", BEGUN, try_tcp, EACCES, 4},
	{"Landlock: no signal to another process", BEGUN, try_signal_outside, EPERM, 6},
	{"sockets in the folder come and go", BEGUN, try_own_sockets, 0},
	{"no capability is left", BEGUN, try_capabilities, EPERM},
};

static long landlock_version(void)
{
	return syscall(444, NULL, 0, 1);
}

static int entered[2]; /* pipe: the thread may go */

static void *run_in_thread(void *arg)
{
	const struct refusal *r = arg;
	char byte;

	if (read(entered[0], &byte, 1) != 1)
		_exit(NOT_STARTED);
	_exit(r->attempt());
}

static void run_in_child(const struct refusal *r)
{
	struct rlimit no_core = {0, 0};
	pthread_t thread;

	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGUSR1, SIG_IGN);
	sandbox_begin(&folder);
	if (r->depth == ENTERED_IN_THREAD &&
	    pthread_create(&thread, NULL, run_in_thread, (void *)(uintptr_t)r))
		_exit(NOT_STARTED);
	if (r->depth >= ENTERED)
		sandbox_enter();
	while (r->depth == ENTERED_IN_THREAD && write(entered[1], "", 1) == 1)
		poll(NULL, 0, -1);
	_exit(r->attempt());
}

static int run(const struct refusal *r)
{
	pid_t child;
	int status;

	if (r->since > landlock_version())
		return SKIPPED;
	child = fork();
	if (child == 0)
		run_in_child(r);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return NOT_STARTED;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : NOT_STARTED;
	return WEXITSTATUS(status);
}

/* ------------------------------------------------------- all calls that there are */

/*
 * What serving may call with any arguments. A second list beside that of
 * daemon/sandbox/syscalls.c: a call is added there and here, or this test tells of it.
 */
static const int served[] = {
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64),
	SCMP_SYS(accept4),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getrandom),
	SCMP_SYS(io_submit),
	SCMP_SYS(io_getevents),
	SCMP_SYS(io_destroy),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fsync),
	SCMP_SYS(fallocate),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	SCMP_SYS(membarrier),
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getcpu),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrusage),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rmdir),
	SCMP_SYS(lseek),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

#define CALLS	      512 /* more than any architecture has */
#define CALL_DEADLINE 20  /* seconds: a call that waits is one that was let through */

/* What a child has come to, seen by its parent. */
static volatile int *call_at;

/* uretprobe and uprobe of x86-64, which the kernel lets past every filter; no use outside of a probe. */
static bool is_never_filtered(int call)
{
#ifdef __x86_64__
	return call == 335 || call == 336;
#else
	return false;
#endif
}

static bool is_served(int call)
{
	for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++) {
		if (served[i] == call)
			return true;
	}
	return is_never_filtered(call);
}

/* From *call_at on, until one is let through. A child of its own, as some of them end it. */
static void try_calls(void)
{
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	sandbox_begin(&folder);
	alarm(CALL_DEADLINE);
	sandbox_enter();
	for (; *call_at < CALLS; ++*call_at) {
		if (!is_served(*call_at) && outcome(syscall(*call_at, -1L, -1L, -1L, -1L, -1L, -1L)) != EPERM)
			_exit(1);
	}
	_exit(0);
}

/* True when every other call was refused. */
static bool try_all_calls(void)
{
	int status = 0;

	call_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (call_at == MAP_FAILED)
		return false;
	for (*call_at = 0; *call_at < CALLS; ++*call_at) {
		pid_t child = fork();

		if (child == 0)
			try_calls();
		if (child < 0 || waitpid(child, &status, 0) != child ||
		    !(WIFSIGNALED(status) ? WTERMSIG(status) == SIGSYS : WEXITSTATUS(status) == 0))
			break;
	}
	if (*call_at < CALLS)
		printf("     call %d was let through: is it of serving? Then it belongs into the list here, "
		       "too\n",
		       *call_at);
	return *call_at >= CALLS;
}

static const char *words(int result)
{
	switch (result) {
	case 0:
		return "it works";
	case KILLED:
		return "ended by the filter";
	case SKIPPED:
		return "skipped, this kernel's Landlock is too old";
	case NOT_STARTED:
		return "could not be tried";
	default:
		return strerror(result);
	}
}

static void make_places(void)
{
	int fd;

	snprintf(folder.path, sizeof(folder.path), "/tmp/viommu-sandbox-XXXXXX");
	snprintf(outside, sizeof(outside), "/tmp/viommu-outside-XXXXXX");
	fd = mkstemp(outside);
	open_before = socket(AF_UNIX, SOCK_STREAM, 0);
	if (!mkdtemp(folder.path) || fd < 0 || open_before < 0 || pipe(entered))
		exit(EXIT_FAILURE);
	close(fd);
}

int main(void)
{
	unsigned passed = 0, failed = 0;
	bool good;

	make_places();
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		int result = run(&refusals[i]);

		good = result == refusals[i].expected || result == SKIPPED;

		printf("%s %s: %s\n", good ? "ok  " : "FAIL", refusals[i].name, words(result));
		fflush(stdout);
		passed += good;
		failed += !good;
	}
	good = try_all_calls();
	printf("%s no call but those of serving\n", good ? "ok  " : "FAIL");
	passed += good;
	failed += !good;
	unlink(outside);
	rmdir(folder.path);
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
