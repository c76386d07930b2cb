/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/signaller.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How many completions may lie there unread. */
#define DEPTH 64

int vfu_signaller_init(struct vfu_signaller *s)
{
	aio_context_t context = 0;

	*s = (struct vfu_signaller){.nothing = memfd_create("nothing", MFD_CLOEXEC)};
	if (s->nothing < 0)
		return -errno;
	if (!syscall(SYS_io_setup, DEPTH, &context))
		s->context = context;
	return 0;
}

void vfu_signaller_finish(struct vfu_signaller *s)
{
	if (s->context)
		syscall(SYS_io_destroy, s->context);
	if (s->nothing >= 0)
		close(s->nothing);
	*s = (struct vfu_signaller){.nothing = -1};
}

/* The completions say nothing, but take up room. */
static void drop_completions(struct vfu_signaller *s)
{
	struct io_event events[DEPTH];
	struct timespec now = {0};

	syscall(SYS_io_getevents, s->context, 0L, (long)DEPTH, events, &now);
}

static bool submit(struct vfu_signaller *s, int fd)
{
	struct iocb read_nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)s->nothing,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list[] = {&read_nothing};

	return syscall(SYS_io_submit, s->context, 1L, list) == 1;
}

static bool write_at_once(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	uint64_t one = 1;

	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
		return false;
	/* EAGAIN: the counter is full, so the peer has not seen the last 2^64 - 2 either. */
	return write(fd, &one, sizeof(one)) > 0 || errno == EAGAIN;
}

bool vfu_signaller_signal(struct vfu_signaller *s, int fd)
{
	if (!s->context)
		return write_at_once(fd);
	if (submit(s, fd))
		return true;
	if (errno != EAGAIN && errno != ENOMEM)
		return false;
	drop_completions(s);
	/* For want of kernel memory no interrupt must get lost: a guest would wait for it for ever. */
	return submit(s, fd) || ((errno == EAGAIN || errno == ENOMEM) && write_at_once(fd));
}
