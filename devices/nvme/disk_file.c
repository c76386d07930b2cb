/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening the file behind a disk: what it may be, and who else may use it meanwhile. */
#include "nvme/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * QEMU's convention for disk images: who does something holds a lock on the
 * byte for it, who does not bear that others do it holds one on another byte.
 * None of the bytes need exist.
 */
#define DOES_FIRST	100
#define DOES_READ	100
#define DOES_WRITE	101 /* write, write what is there already, resize */
#define FORBIDS_WRITE	201
#define WRITE_COUNT	3
#define CONVENTION_LAST 299

/*
 * A process that was killed holds its locks until the kernel has put its ring
 * away, which a worker of the kernel does in its own time: on a busy machine
 * that took longer than half a second.
 */
#define PATIENCE_MS 3000
#define STEP_MS	    20

static const char not_a_disk[] = "the disk must be a regular file or a block device";

static int lock(int fd, short type, off_t first, off_t count)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = count};

	if (!fcntl(fd, F_OFD_SETLK, &l))
		return 0;
	/* A file system without locks has none that others could hold. */
	return errno == EAGAIN || errno == EACCES ? -EBUSY : 0;
}

static bool somebody_writes(int fd)
{
	struct flock l = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = DOES_WRITE, .l_len = WRITE_COUNT};

	return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

/* Forbid first, then look: of two who come at once at most one is let in. */
static int lock_for_reading(int fd)
{
	int err = lock(fd, F_RDLCK, DOES_READ, 1);

	if (!err)
		err = lock(fd, F_RDLCK, FORBIDS_WRITE, WRITE_COUNT);
	return !err && somebody_writes(fd) ? -EBUSY : err;
}

static int try_lock(int fd, bool read_only)
{
	return read_only ? lock_for_reading(fd)
			 : lock(fd, F_WRLCK, DOES_FIRST, CONVENTION_LAST - DOES_FIRST + 1);
}

static int wait_for_lock(int fd, bool read_only)
{
	int err = try_lock(fd, read_only);

	for (unsigned waited = 0; err && waited < PATIENCE_MS; waited += STEP_MS) {
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
		err = try_lock(fd, read_only);
	}
	return err;
}

void disk_unlock_file(int fd)
{
	/* All of the file; there is nothing to do about a file system without locks. */
	lock(fd, F_UNLCK, 0, 0);
}

int disk_check_type(const struct stat *st, char *why, size_t why_size)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	snprintf(why, why_size, "%s", not_a_disk);
	return -EINVAL;
}

static int prepare(int fd, bool read_only, char *why, size_t why_size)
{
	struct stat st;
	int err = fstat(fd, &st) ? -errno : disk_check_type(&st, why, why_size);

	if (err)
		return err;
	/* It was for opening; io_uring would take it for reading and writing too. */
	if (fcntl(fd, F_SETFL, 0))
		return -errno;
	err = wait_for_lock(fd, read_only);
	if (err)
		snprintf(why, why_size,
			 "another program (a viommud or QEMU) uses the disk file; end that one, or take "
			 "another file");
	return err;
}

/* Why open() failed. */
static int explain(int error, char *why, size_t why_size)
{
	if (error == EISDIR) {
		snprintf(why, why_size, "%s", not_a_disk);
		return -EINVAL;
	}
	if (error == ENOENT)
		snprintf(why, why_size, "the disk file does not exist; make one with truncate -s 1G FILE");
	else
		snprintf(why, why_size, "the disk file cannot be opened; check its permissions");
	return -error;
}

int disk_open_file(const char *path, bool read_only, char *why, size_t why_size)
{
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK), err;

	if (fd < 0)
		return explain(errno, why, why_size);
	snprintf(why, why_size, "the disk file cannot be used");
	err = prepare(fd, read_only, why, why_size);
	if (!err)
		return fd;
	close(fd);
	return err;
}
