/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sandbox/syscalls.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ALLOW	     SCMP_ACT_ALLOW
#define END	     SCMP_ACT_KILL_PROCESS
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* With any arguments. */
static const int allowed[] = {
	/* the loops of the threads */
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
	/* clients: they come, send messages with files, go */
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
	/* interrupts (vfio_user/signaller.h) */
	SCMP_SYS(io_submit),
	SCMP_SYS(io_getevents),
	SCMP_SYS(io_destroy),
	/* disks, through the ring or by threads */
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
	/* memory; mmap and mprotect see below */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	/* threads and time, a thread that is still on its way into its function too */
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
	/* signals, and the end */
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

/*
 * What neither we nor a C library has a use for, and an attacker has. Opening
 * a file to read it is not among them: C libraries do that on their own.
 */
static const int deadly[] = {
	/* other programs, other processes */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pkey_mprotect),
	SCMP_SYS(personality),
	/* connections of our own */
	SCMP_SYS(socket),
	SCMP_SYS(socketpair),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	/* other files */
	SCMP_SYS(creat),
	SCMP_SYS(truncate),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(lchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(setxattr),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	/* ways past this filter, or into the kernel */
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(bpf),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(capset),
};

/* One argument decides: `(argument & mask) == value`. */
static const struct argument_rule {
	uint32_t action;
	int call;
	unsigned argument;
	scmp_datum_t mask, value;
} argument_rules[] = {
	{ALLOW, SCMP_SYS(mmap), 2, PROT_EXEC, 0},
	{END, SCMP_SYS(mmap), 2, PROT_EXEC, PROT_EXEC},
	{ALLOW, SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
	{END, SCMP_SYS(mprotect), 2, PROT_EXEC, PROT_EXEC},
	{END, SCMP_SYS(clone), 0, CLONE_THREAD, 0},
	{END, SCMP_SYS(open), 1, O_ACCMODE, O_WRONLY},
	{END, SCMP_SYS(open), 1, O_ACCMODE, O_RDWR},
	{END, SCMP_SYS(open), 1, O_CREAT, O_CREAT},
	{END, SCMP_SYS(openat), 2, O_ACCMODE, O_WRONLY},
	{END, SCMP_SYS(openat), 2, O_ACCMODE, O_RDWR},
	{END, SCMP_SYS(openat), 2, O_CREAT, O_CREAT},
	/* replies on a connection, to no other address */
	{ALLOW, SCMP_SYS(sendto), 4, UINT64_MAX, 0},
	{ALLOW, SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFL},
	{ALLOW, SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFL},
	{ALLOW, SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFD},
	/* a disk is unlocked at the end */
	{ALLOW, SCMP_SYS(fcntl), 1, UINT32_MAX, F_OFD_SETLK},
	{ALLOW, SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NAME},
	{ALLOW, SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_TIMERSLACK},
	/* "is this a terminal?", which C libraries ask before the first line */
	{ALLOW, SCMP_SYS(ioctl), 1, UINT32_MAX, TCGETS},
};

/* A call that this architecture does not have needs no rule. */
static int check(int err)
{
	return err == -EDOM ? 0 : err;
}

static int add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = check(seccomp_rule_add(filter, action, calls[i], 0));
	return err;
}

static int add_argument_rule(scmp_filter_ctx filter, const struct argument_rule *r)
{
	struct scmp_arg_cmp compare = {
		.arg = r->argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = r->mask, .datum_b = r->value};

	return check(seccomp_rule_add_array(filter, r->action, r->call, 1, &compare));
}

/* Signals to our own threads: what raise() and abort() are made of. */
static int add_own_signals(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, ALLOW, SCMP_SYS(tgkill), 1,
				SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

static int fill(scmp_filter_ctx filter)
{
	int err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	/* Not all systems keep a log of this. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, END);
	if (!err)
		err = add_calls(filter, ALLOW, allowed, COUNT(allowed));
	if (!err)
		err = add_calls(filter, END, deadly, COUNT(deadly));
	for (size_t i = 0; i < COUNT(argument_rules) && !err; i++)
		err = add_argument_rule(filter, &argument_rules[i]);
	return err ? err : add_own_signals(filter);
}

int syscalls_restrict(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = fill(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}
