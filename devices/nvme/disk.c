/* SPDX-License-Identifier: BSD-3-Clause */
/* What a disk request means in system calls, and the choice of the engine that runs them. */
#include "nvme/disk_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct disk {
	int fd, eventfd;
	uint64_t size;
	struct stat st;
	unsigned in_flight;
	uint64_t end; /* of the file now, when looked_at; submit() looks once between two kicks */
	bool looked_at;
	struct disk_request *refused;
	const struct disk_engine_ops *ops;
	void *engine;
};

/* Written from, never to. */
static uint8_t zeroes[DISK_ZEROES_SIZE];

/* DISK_ZERO tries one after the other: the two modes, then plain writes. */
enum { ZERO_FIRST_MODE, ZERO_SECOND_MODE, ZERO_WRITES, ZERO_SYNC };

static int zero_mode(const struct disk_request *r)
{
	bool unmap = (r->flags & DISK_UNMAP) != 0;
	bool punch = (r->attempt == ZERO_FIRST_MODE) == unmap;

	return (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
}

static struct disk_step zero_step(const struct disk_request *r)
{
	struct disk_step s = {.offset = r->offset, .len = r->len};

	if (r->attempt == ZERO_SYNC) {
		s.call = DISK_CALL_SYNC;
	} else if (r->attempt == ZERO_WRITES) {
		s.call = DISK_CALL_WRITE;
		s.buf = zeroes;
		s.durable = (r->flags & DISK_DURABLE) != 0;
		s.offset += r->done;
		s.len -= r->done;
		if (s.len > sizeof(zeroes))
			s.len = sizeof(zeroes);
	} else {
		s.call = DISK_CALL_FALLOCATE;
		s.mode = zero_mode(r);
	}
	return s;
}

struct disk_step disk_next_step(const struct disk_request *r)
{
	struct disk_step s = {.offset = r->offset + r->done, .len = r->len - r->done};

	switch (r->op) {
	case DISK_READ:
		s.call = DISK_CALL_READ;
		s.buf = (uint8_t *)r->buf + r->done;
		break;
	case DISK_WRITE:
		s.call = DISK_CALL_WRITE;
		s.buf = (uint8_t *)r->buf + r->done;
		s.durable = (r->flags & DISK_DURABLE) != 0;
		break;
	case DISK_FLUSH:
		s.call = DISK_CALL_SYNC;
		break;
	case DISK_ZERO:
		return zero_step(r);
	case DISK_DISCARD:
		s.call = DISK_CALL_FALLOCATE;
		s.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
		break;
	}
	return s;
}

static bool unsupported(int64_t result)
{
	return result == -EOPNOTSUPP || result == -EINVAL || result == -ENODEV || result == -EPERM ||
	       result == -ENOSYS;
}

/* Each function below: true when the request is at its end, with r->result set. */

static bool end(struct disk_request *r, int64_t result)
{
	r->result = result < 0 ? (int)result : 0;
	return true;
}

static bool advance_transfer(struct disk_request *r, int64_t result)
{
	if (result == 0)
		return end(r, -EIO); /* the file is shorter than it was */
	r->done += (uint64_t)result;
	return r->done < r->len ? false : end(r, 0);
}

static bool advance_zero(struct disk_request *r, int64_t result)
{
	if (r->attempt < ZERO_WRITES && unsupported(result)) {
		r->attempt++;
		return false;
	}
	if (result < 0 || r->attempt == ZERO_SYNC)
		return end(r, result);
	if (r->attempt == ZERO_WRITES)
		return advance_transfer(r, result);
	if (!(r->flags & DISK_DURABLE))
		return end(r, 0);
	r->attempt = ZERO_SYNC;
	return false;
}

static bool advance(struct disk_request *r, int64_t result)
{
	if (result == -EINTR || result == -EAGAIN)
		return false;
	if (r->op == DISK_ZERO)
		return advance_zero(r, result);
	if (r->op == DISK_DISCARD)
		return end(r, unsupported(result) ? 0 : result);
	if (result < 0 || r->op == DISK_FLUSH)
		return end(r, result);
	return advance_transfer(r, result);
}

/*
 * Writing behind the end of a file that was made shorter meanwhile would make
 * it longer again, with zeroes where data was.
 */
static bool is_behind_the_end(struct disk *d, const struct disk_request *r)
{
	struct statx st;

	if ((r->op != DISK_WRITE && r->op != DISK_ZERO) || !S_ISREG(d->st.st_mode))
		return false;
	if (!d->looked_at) {
		/* Of what this machine knows: a file server is not waited for. */
		d->end = statx(d->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &st) ? 0
											       : st.stx_size;
		d->looked_at = true;
	}
	return d->end < r->len || r->offset > d->end - r->len;
}

void disk_submit(struct disk *d, struct disk_request *r)
{
	r->done = 0;
	r->attempt = 0;
	r->result = 0;
	d->in_flight++;
	if (!is_behind_the_end(d, r)) {
		d->ops->submit(d->engine, r);
		return;
	}
	r->result = -EIO;
	r->next = d->refused;
	d->refused = r;
}

void disk_kick(struct disk *d)
{
	d->looked_at = false;
	d->ops->kick(d->engine);
}

static bool was_refused(const struct disk *d, const struct disk_request *r)
{
	for (const struct disk_request *q = d->refused; q; q = q->next) {
		if (q == r)
			return true;
	}
	return false;
}

void disk_cancel(struct disk *d, struct disk_request *r)
{
	if (!was_refused(d, r))
		d->ops->cancel(d->engine, r);
}

struct disk_request *disk_reap(struct disk *d)
{
	struct disk_request *r = d->refused;
	int64_t result;

	if (r) {
		d->refused = r->next;
		d->in_flight--;
		return r;
	}
	r = d->ops->reap(d->engine, &result);
	if (!r)
		return NULL;
	if (advance(r, result)) {
		d->in_flight--;
		return r;
	}
	/* Its next step may be carried out by the kick itself: no more than one, others have work too. */
	d->ops->submit(d->engine, r);
	d->ops->kick(d->engine);
	return NULL;
}

bool disk_arm(struct disk *d)
{
	uint64_t count;

	/* Order: clear what was signalled, let signals through, look. A completion after the look signals. */
	if (read(d->eventfd, &count, sizeof(count)) < 0)
		count = 0;
	d->ops->arm(d->engine, true);
	d->ops->kick(d->engine);
	return !d->refused && !d->ops->ready(d->engine);
}

void disk_disarm(struct disk *d)
{
	d->ops->arm(d->engine, false);
}

int disk_fd(const struct disk *d)
{
	return d->eventfd;
}

uint64_t disk_size(const struct disk *d)
{
	return d->size;
}

void disk_identity(const struct disk *d, uint8_t ret_id[16])
{
	bool device = S_ISBLK(d->st.st_mode);
	uint64_t a = device ? d->st.st_rdev : d->st.st_dev, b = device ? 0 : d->st.st_ino;

	memcpy(ret_id, &a, 8);
	memcpy(ret_id + 8, &b, 8);
}

static int open_file(struct disk *d, const struct disk_options *opts, char *why, size_t why_size)
{
	if (opts->path) {
		d->fd = disk_open_file(opts->path, opts->read_only, why, why_size);
		if (d->fd < 0)
			return d->fd;
	} else {
		d->fd = fcntl(opts->fd, F_DUPFD_CLOEXEC, 0);
		if (d->fd < 0)
			return -errno;
	}
	if (fstat(d->fd, &d->st) < 0)
		return -errno;
	if (disk_check_type(&d->st, why, why_size) < 0)
		return -EINVAL;
	d->size = (uint64_t)d->st.st_size;
	if (S_ISBLK(d->st.st_mode) && ioctl(d->fd, BLKGETSIZE64, &d->size) < 0)
		return -errno;
	return 0;
}

static int open_engine(struct disk *d, const struct disk_options *opts)
{
	int ret = -ENOSYS;

	if (opts->engine != DISK_ENGINE_THREADS) {
		d->ops = &disk_uring_ops;
		ret = d->ops->open(d->fd, d->eventfd, opts->depth, &d->engine);
	}
	if (ret < 0 && opts->engine != DISK_ENGINE_URING) {
		d->ops = &disk_threads_ops;
		ret = d->ops->open(d->fd, d->eventfd, opts->depth, &d->engine);
	}
	return ret;
}

int disk_open(const struct disk_options *opts, struct disk **ret_disk, char *why, size_t why_size)
{
	struct disk *d = calloc(1, sizeof(*d));
	int ret;

	snprintf(why, why_size, "the disk cannot be opened");
	if (!d)
		return -ENOMEM;
	d->fd = -1;
	d->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = d->eventfd < 0 ? -errno : open_file(d, opts, why, why_size);
	if (ret == 0) {
		ret = open_engine(d, opts);
		if (ret < 0)
			snprintf(why, why_size, "no engine for disk requests can be started");
	}
	if (ret < 0) {
		disk_close(d);
		return ret;
	}
	*ret_disk = d;
	return 0;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	while (d->engine && d->in_flight) {
		if (!disk_reap(d))
			d->ops->wait(d->engine);
	}
	if (d->engine)
		d->ops->close(d->engine);
	if (d->fd >= 0) {
		disk_unlock_file(d->fd);
		close(d->fd);
	}
	if (d->eventfd >= 0)
		close(d->eventfd);
	free(d);
}
