/* SPDX-License-Identifier: BSD-3-Clause */
/* Disk requests through io_uring: submitted and reaped by the work thread itself. */
#include "nvme/disk_engine.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISK_FILE 0 /* its number among the ring's files */

struct uring {
	struct io_uring ring;
	unsigned depth; /* of its entries, for requests; as many again are for cancellations */
};

/* By hand: liburing 2.3 declares functions for these two, but does not export them. */
static int ring_register(struct uring *u, unsigned what, const void *data, unsigned count)
{
	long ret = syscall(SYS_io_uring_register, u->ring.ring_fd, what, data, count);

	return ret < 0 ? -errno : 0;
}

/*
 * What this ring may ever do: these operations, on the disk's file, which is
 * its only one. System call filters do not see what goes through a ring, so
 * one that could open files would be a hole in them. What cannot be restricted
 * (before Linux 5.10) is not used.
 */
static int restrict_ring(struct uring *u)
{
	static const uint8_t operations[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC,
					     IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL};
	enum { COUNT = sizeof(operations) };
	struct io_uring_restriction r[COUNT + 1] = {0};

	for (unsigned i = 0; i < COUNT; i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = operations[i];
	}
	r[COUNT].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[COUNT].sqe_flags = IOSQE_FIXED_FILE;
	return ring_register(u, IORING_REGISTER_RESTRICTIONS, r, COUNT + 1);
}

static int prepare_ring(struct uring *u, int fd, int eventfd)
{
	int ret = io_uring_register_files(&u->ring, &fd, 1);

	if (ret == 0)
		ret = io_uring_register_eventfd(&u->ring, eventfd);
	if (ret == 0)
		ret = io_uring_cq_eventfd_toggle(&u->ring, false);
	if (ret == 0)
		ret = restrict_ring(u);
	return ret == 0 ? ring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0) : ret;
}

static int uring_open(int fd, int eventfd, unsigned depth, void **ret_engine)
{
	struct uring *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return -ENOMEM;
	u->depth = depth;
	ret = io_uring_queue_init(2 * depth, &u->ring, IORING_SETUP_R_DISABLED);
	if (ret < 0) {
		free(u);
		return ret;
	}
	ret = prepare_ring(u, fd, eventfd);
	if (ret < 0) {
		io_uring_queue_exit(&u->ring);
		free(u);
		return ret;
	}
	*ret_engine = u;
	return 0;
}

static void uring_close(void *engine)
{
	struct uring *u = engine;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static void uring_submit(void *engine, struct disk_request *r)
{
	struct uring *u = engine;
	struct disk_step s = disk_next_step(r);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	/* However long the kernel takes none: no more requests than entries kept for them are in flight. */
	assert(sqe);
	switch (s.call) {
	case DISK_CALL_READ:
		io_uring_prep_read(sqe, DISK_FILE, s.buf, (unsigned)s.len, s.offset);
		break;
	case DISK_CALL_WRITE:
		io_uring_prep_write(sqe, DISK_FILE, s.buf, (unsigned)s.len, s.offset);
		sqe->rw_flags = s.durable ? RWF_DSYNC : 0;
		break;
	case DISK_CALL_SYNC:
		io_uring_prep_fsync(sqe, DISK_FILE, IORING_FSYNC_DATASYNC);
		break;
	case DISK_CALL_FALLOCATE:
		io_uring_prep_fallocate(sqe, DISK_FILE, s.mode, (off_t)s.offset, (off_t)s.len);
		break;
	}
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, r);
}

static void uring_kick(void *engine)
{
	struct uring *u = engine;

	if (io_uring_sq_ready(&u->ring))
		io_uring_submit(&u->ring); /* what it could not take stays there for the next kick */
}

static void uring_cancel(void *engine, struct disk_request *r)
{
	struct uring *u = engine;
	struct io_uring_sqe *sqe;

	if (io_uring_sq_space_left(&u->ring) <= u->depth)
		return;
	sqe = io_uring_get_sqe(&u->ring);
	io_uring_prep_cancel(sqe, r, 0);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, NULL);
}

static struct disk_request *uring_reap(void *engine, int64_t *ret_result)
{
	struct uring *u = engine;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct disk_request *r = io_uring_cqe_get_data(cqe);

		*ret_result = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (r)
			return r;
	}
	return NULL;
}

static void uring_wait(void *engine)
{
	struct uring *u = engine;

	io_uring_submit_and_wait(&u->ring, 1);
}

/* What the kernel did not take needs another kick. */
static bool uring_ready(void *engine)
{
	struct uring *u = engine;

	return io_uring_cq_ready(&u->ring) > 0 || io_uring_sq_ready(&u->ring) > 0;
}

/*
 * The full fence orders the flag before uring_ready()'s load of the ring's
 * tail; the kernel stores the tail, then looks at the flag.
 */
static void uring_arm(void *engine, bool on)
{
	struct uring *u = engine;

	io_uring_cq_eventfd_toggle(&u->ring, on);
	if (on)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

const struct disk_engine_ops disk_uring_ops = {
	.open = uring_open,
	.close = uring_close,
	.submit = uring_submit,
	.kick = uring_kick,
	.cancel = uring_cancel,
	.reap = uring_reap,
	.wait = uring_wait,
	.ready = uring_ready,
	.arm = uring_arm,
};
