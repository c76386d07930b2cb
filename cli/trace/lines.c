/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUFFER (2 * LINES_LONGEST)

struct lines {
	gzFile file; /* reads what is not compressed, too */
	uint64_t size, number;
	bool ended, too_long;
	size_t at, filled;
	char buffer[BUFFER + 1];
};

static int open_file(const char *path)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);

	return fd < 0 ? -errno : fd;
}

int lines_open(const char *path, struct lines **ret_lines)
{
	struct lines *l;
	struct stat st;
	int fd = open_file(path), err;

	if (fd < 0)
		return fd;
	l = calloc(1, sizeof(*l));
	err = fstat(fd, &st) ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
	if (l && !err)
		l->file = gzdopen(fd, "rb");
	if (!l || err || !l->file) {
		free(l);
		close(fd);
		return err ? -err : -ENOMEM;
	}
	gzbuffer(l->file, 128u << 10);
	l->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	*ret_lines = l;
	return 0;
}

void lines_close(struct lines *l)
{
	if (!l)
		return;
	gzclose(l->file);
	free(l);
}

/* A gzip file whose end is missing. */
static bool is_cut_short(const struct lines *l)
{
	int code;

	gzerror(l->file, &code);
	return code == Z_BUF_ERROR;
}

/* What is left goes to the front, and more behind it. */
static int fill(struct lines *l)
{
	int got;

	memmove(l->buffer, l->buffer + l->at, l->filled - l->at);
	l->filled -= l->at;
	l->at = 0;
	if (l->ended || l->filled == BUFFER)
		return 0;
	got = gzread(l->file, l->buffer + l->filled, (unsigned)(BUFFER - l->filled));
	if (got < 0 || (got == 0 && is_cut_short(l)))
		return -EIO;
	l->filled += (size_t)got;
	l->ended = got == 0;
	return 0;
}

size_t lines_peek(struct lines *l, void *ret_bytes, size_t size)
{
	while (!l->ended && l->filled - l->at < size && fill(l) == 0)
		;
	if (size > l->filled - l->at)
		size = l->filled - l->at;
	memcpy(ret_bytes, l->buffer + l->at, size);
	return size;
}

/* The rest of a line that is too long is left out, too. */
static int take(struct lines *l, size_t len, size_t skip, char **ret_text, size_t *ret_len)
{
	bool too_long = l->too_long || len > LINES_LONGEST;

	l->too_long = false;
	l->number++;
	*ret_text = l->buffer + l->at;
	(*ret_text)[len] = '\0';
	*ret_len = len;
	l->at += len + skip;
	return too_long ? -EMSGSIZE : 1;
}

int lines_next(struct lines *l, char **ret_text, size_t *ret_len)
{
	size_t searched = 0;

	for (;;) {
		char *text = l->buffer + l->at;
		size_t len = l->filled - l->at;
		char *end = memchr(text + searched, '\n', len - searched);
		int err;

		if (end)
			return take(l, (size_t)(end - text), 1, ret_text, ret_len);
		if (l->ended)
			return len || l->too_long ? take(l, len, 0, ret_text, ret_len) : 0;
		if (len > LINES_LONGEST) {
			l->too_long = true;
			l->at = l->filled;
			len = 0;
		}
		searched = len;
		err = fill(l);
		if (err)
			return err;
	}
}

uint64_t lines_number(const struct lines *l)
{
	return l->number;
}

void lines_progress(const struct lines *l, uint64_t *ret_read, uint64_t *ret_size)
{
	z_off_t at = gzoffset(l->file);

	*ret_read = at > 0 ? (uint64_t)at : 0;
	*ret_size = l->size;
}

const char *lines_error(const struct lines *l)
{
	int code;
	const char *text = gzerror(l->file, &code);

	return code == Z_ERRNO || !*text ? strerror(errno) : text;
}
