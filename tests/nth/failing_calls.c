/* SPDX-License-Identifier: BSD-3-Clause */
#include "failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "failing_alloc.h"

static atomic_long mapped;

long calls_mapped(void)
{
	return mapped;
}

/* A call that returns a descriptor, or -1. */
#define FAILING(error, type, name, parameters, arguments)                                                    \
	type __real_##name parameters;                                                                       \
	type __wrap_##name parameters;                                                                       \
	type __wrap_##name parameters                                                                        \
	{                                                                                                    \
		return alloc_call_fails(#name, error) ? (type)-1 : __real_##name arguments;                  \
	}

FAILING(EMFILE, int, eventfd, (unsigned count, int flags), (count, flags))
FAILING(EMFILE, int, memfd_create, (const char *name, unsigned flags), (name, flags))
FAILING(EMFILE, int, epoll_create1, (int flags), (flags))
FAILING(EMFILE, int, timerfd_create, (int clock, int flags), (clock, flags))
FAILING(EMFILE, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(ENOMEM, int, bind, (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len))
FAILING(ENOBUFS, int, listen, (int fd, int backlog), (fd, backlog))
FAILING(ENOMEM, int, connect, (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len))
FAILING(ENOSPC, int, ftruncate64, (int fd, int64_t len), (fd, len))

/* The client's connection stays in the listener's queue. */
FAILING(EMFILE, int, accept4, (int fd, struct sockaddr *a, socklen_t *len, int flags), (fd, a, len, flags))

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, int64_t offset);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, int64_t offset);
int __real_munmap(void *at, size_t len);
int __wrap_munmap(void *at, size_t len);
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* What is watched already needs nothing more. */
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && alloc_call_fails("epoll_ctl", ENOSPC))
		return -1;
	return __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	if (alloc_call_fails("pthread_create", EAGAIN))
		return EAGAIN;
	return __real_pthread_create(thread, attr, run, arg);
}

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, int64_t offset)
{
	void *p;

	if (alloc_call_fails("mmap", ENOMEM))
		return MAP_FAILED;
	p = __real_mmap64(at, len, prot, flags, fd, offset);
	mapped += p != MAP_FAILED;
	return p;
}

int __wrap_munmap(void *at, size_t len)
{
	int ret = __real_munmap(at, len);

	mapped -= ret == 0;
	return ret;
}

int __wrap_fcntl64(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if (command == F_DUPFD_CLOEXEC && alloc_call_fails("fcntl(F_DUPFD_CLOEXEC)", EMFILE))
		return -1;
	return __real_fcntl64(fd, command, arg);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	unsigned mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
	va_end(args);
	return alloc_call_fails("open", EMFILE) ? -1 : __real_open64(path, flags, mode);
}

/* io_uring_register(), io_setup() and io_submit(): the others that go this way take nothing. */
static int error_of(long number)
{
	switch (number) {
	case SYS_io_uring_register:
		return ENOMEM;
	case SYS_io_setup:
	case SYS_io_submit:
		return EAGAIN;
	default:
		return 0;
	}
}

long __wrap_syscall(long number, ...)
{
	int error = error_of(number);
	va_list args;
	long a[6];

	va_start(args, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (error && alloc_call_fails("syscall", error))
		return -1;
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
