/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous access to the file behind a namespace.
 *
 * One thread uses a disk. Submitting and reaping never wait for the disk;
 * disk_close() does.
 */
#ifndef DEVICES_NVME_DISK_H
#define DEVICES_NVME_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct stat;

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_ZERO,    /* reads give zeroes afterwards */
	DISK_DISCARD, /* the data is not needed any more; may do nothing */
};

enum disk_engine {
	DISK_ENGINE_ANY, /* io_uring, or threads where the system forbids it */
	DISK_ENGINE_URING,
	DISK_ENGINE_THREADS,
};

#define DISK_DURABLE (1u << 0) /* DISK_WRITE, DISK_ZERO: on stable storage at completion */
#define DISK_UNMAP   (1u << 1) /* DISK_ZERO: may give back the space */

/* The caller's, at rest until disk_reap() returns it. */
struct disk_request {
	enum disk_op op;
	unsigned flags;
	uint64_t offset;
	void *buf; /* READ, WRITE */
	uint64_t len;
	int result; /* at reap: 0, -EIO behind the end of the file, -ECANCELED, or the system's negative errno
		     */

	/* The disk's. */
	uint64_t done;
	unsigned attempt;
	struct disk_request *next;
};

struct disk_options {
	const char *path; /* NULL: the file is open as `fd`, which stays the caller's */
	int fd;
	bool read_only;
	enum disk_engine engine;
	unsigned depth; /* requests in flight at most; more is a bug of the caller */
};

/*
 * An fd of the file, as disk_open() opens it, else as below. It never waits for
 * the other end of a pipe. The file is locked until disk_unlock_file(), or until
 * the last copy of the fd is closed: there is one writer or any number of
 * readers, QEMUs among them. -EBUSY: others do not bear that.
 */
int disk_open_file(const char *path, bool read_only, char *why, size_t why_size);
/* Of all copies of the fd. The kernel keeps a ring's copy for some time after the ring is closed. */
void disk_unlock_file(int fd);
/* Only files and block devices are disks: 0, or -EINVAL and a sentence in `why`. */
int disk_check_type(const struct stat *st, char *why, size_t why_size);
/* 0, or a negative errno and in `why` what to do about it. */
int disk_open(const struct disk_options *opts, struct disk **ret_disk, char *why, size_t why_size);
/*
 * Waits for what is in flight; the requests are the caller's again. The file is
 * unlocked, the caller's `fd` of it too. NULL is fine.
 */
void disk_close(struct disk *d);

uint64_t disk_size(const struct disk *d);
/* 16 bytes which differ for different files of this machine. */
void disk_identity(const struct disk *d, uint8_t ret_id[16]);

/* Begin a request. What was submitted may only start at the next disk_kick(). */
void disk_submit(struct disk *d, struct disk_request *r);
void disk_kick(struct disk *d);
/* Try to end a request early. It is reaped as always, with -ECANCELED if that worked. */
void disk_cancel(struct disk *d, struct disk_request *r);
/*
 * A finished request. NULL: none, or one has begun the next of its steps, each of
 * which is a system call; disk_arm() tells whether to look again.
 */
struct disk_request *disk_reap(struct disk *d);

/*
 * About to sleep on disk_fd(): from now on completions make it readable. False:
 * there is a completion now. disk_disarm() ends that.
 */
bool disk_arm(struct disk *d);
void disk_disarm(struct disk *d);
int disk_fd(const struct disk *d);

#endif
