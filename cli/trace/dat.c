/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/dat.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/trace/cage.h"
#include "cli/trace/dat_records.h"
#include "cli/trace/lines.h"

/* libtracecmd needs a few MiB and 20 ms for each MiB of a file. */
#define MEMORY	     (UINT64_C(512) << 20)
#define MEMORY_TIMES 4 /* the size of the file */
#define CPU_S	     10
#define CPU_S_MIB    1 /* for each MiB of it */
#define CPU_S_MOST   3600
#define QUIET_S	     60

#define BUFFER (2 * LINES_LONGEST)

struct dat {
	struct cage cage;
	uint64_t number;
	bool ended, too_long;
	size_t at, filled;
	char error[160];
	char buffer[BUFFER + 1];
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void dat_limits(const struct stat *st, struct cage_limits *ret_limits)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t size = (uint64_t)st->st_size, held = (uint64_t)st->st_blocks * 512;

	/* Of holes a file may have any number; some file systems do not say what it holds. */
	if (held)
		size = least(size, held);
	*ret_limits = (struct cage_limits){
		.memory = least(all, MEMORY + MEMORY_TIMES * least(size, all)),
		.cpu_s = (unsigned)least(CPU_S_MOST, CPU_S + CPU_S_MIB * (size >> 20)),
		.quiet_s = QUIET_S,
	};
}

/* The library seeks, and reads what is there. -ESPIPE, -EMEDIUMTYPE. */
static int check(int fd, struct stat *ret_st)
{
	char magic[DAT_MAGIC_LEN];

	if (fstat(fd, ret_st))
		return -errno;
	if (!S_ISREG(ret_st->st_mode))
		return -ESPIPE;
	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && !memcmp(magic, DAT_MAGIC, sizeof(magic))
		       ? 0
		       : -EMEDIUMTYPE;
}

static int start(struct dat *d, int fd)
{
	struct cage_limits limits;
	struct stat st;
	int err = check(fd, &st);

	if (err)
		return err;
	dat_limits(&st, &limits);
	return cage_start(&d->cage, fd, dat_records_write, &limits);
}

int dat_open(const char *path, struct dat **ret_dat)
{
	struct dat *d;
	int fd, err;

	if (!dat_records_possible())
		return -EOPNOTSUPP;
	/* A pipe whose writer has gone would be waited for. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	d = calloc(1, sizeof(*d));
	err = d ? start(d, fd) : -ENOMEM;
	close(fd);
	if (err) {
		free(d);
		return err;
	}
	*ret_dat = d;
	return 0;
}

void dat_close(struct dat *d)
{
	if (!d)
		return;
	cage_stop(&d->cage);
	free(d);
}

static int explain(struct dat *d, int err)
{
	if (err == -ECANCELED && cage_code(&d->cage) == DAT_NO_SECONDS)
		return -EDOM;
	if (err == -ETIMEDOUT)
		snprintf(d->error, sizeof(d->error), "reading takes longer than a file of this size may");
	else if (err == -EFAULT && cage_signal(&d->cage) == SIGKILL)
		snprintf(d->error, sizeof(d->error),
			 "the reading process was killed, as the kernel does where memory is short");
	else if (err == -EFAULT)
		snprintf(d->error, sizeof(d->error), "the reading process crashed (%s)",
			 strsignal(cage_signal(&d->cage)));
	else if (err == -ECANCELED && cage_code(&d->cage) == DAT_NO_MEMORY)
		snprintf(d->error, sizeof(d->error), "the reading process has too little memory");
	else if (err == -ECANCELED && cage_code(&d->cage) == DAT_NOT_UNDERSTOOD)
		snprintf(d->error, sizeof(d->error), "the file does not make sense to libtracecmd");
	else if (err == -ECANCELED)
		snprintf(d->error, sizeof(d->error), "the reading process cannot be closed off");
	else
		snprintf(d->error, sizeof(d->error), "%s", strerror(-err));
	return -EBADMSG;
}

/* What is left goes to the front, and more behind it. */
static int fill(struct dat *d)
{
	ssize_t got;

	memmove(d->buffer, d->buffer + d->at, d->filled - d->at);
	d->filled -= d->at;
	d->at = 0;
	got = cage_read(&d->cage, d->buffer + d->filled, BUFFER - d->filled);
	if (got < 0)
		return explain(d, (int)got);
	d->filled += (size_t)got;
	d->ended = got == 0;
	return 0;
}

/* The rest of a line that is too long is left out, too. */
static int take(struct dat *d, size_t len, char **ret_text, size_t *ret_len)
{
	bool too_long = d->too_long || len > LINES_LONGEST;

	d->too_long = false;
	d->number++;
	*ret_text = d->buffer + d->at;
	(*ret_text)[len] = '\0';
	*ret_len = len;
	d->at += len + 1;
	return too_long ? -EMSGSIZE : 1;
}

int dat_next(struct dat *d, char **ret_text, size_t *ret_len)
{
	size_t searched = 0;

	for (;;) {
		char *text = d->buffer + d->at;
		size_t len = d->filled - d->at;
		char *end = memchr(text + searched, '\n', len - searched);
		int err;

		if (end)
			return take(d, (size_t)(end - text), ret_text, ret_len);
		/* Each line is ended by a newline, so one that is not was cut. */
		if (d->ended)
			return len || d->too_long ? explain(d, -EIO) : 0;
		if (len > LINES_LONGEST) {
			d->too_long = true;
			d->at = d->filled;
			len = 0;
		}
		searched = len;
		err = fill(d);
		if (err)
			return err;
	}
}

uint64_t dat_number(const struct dat *d)
{
	return d->number;
}

const char *dat_error(const struct dat *d)
{
	return d->error;
}
