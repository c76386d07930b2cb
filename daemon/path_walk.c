/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/path_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_LINKS 40 /* as many as the kernel follows */

struct walk {
	int at; /* the folder that we stand in */
	unsigned links;
	bool made, stranger;
	char rest[2 * PATH_MAX]; /* of the path, from there */
};

static int stand_in(struct walk *w, int fd)
{
	if (w->at >= 0)
		close(w->at);
	w->at = fd;
	return fd < 0 ? -errno : 0;
}

static int begin(struct walk *w, const char *path)
{
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!*path)
		return -ENOENT;
	strcpy(w->rest, path);
	return stand_in(w, open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* The next part of the path into `part`. False: there is none. */
static bool take_part(struct walk *w, char part[NAME_MAX + 1], int *ret_err)
{
	char *from = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(from, "/");

	if (!len)
		return false;
	if (len > NAME_MAX) {
		*ret_err = -ENAMETOOLONG;
		return false;
	}
	memcpy(part, from, len);
	part[len] = '\0';
	memmove(w->rest, from + len, strlen(from + len) + 1);
	return true;
}

static bool is_last(const struct walk *w)
{
	return !w->rest[strspn(w->rest, "/")];
}

/* What the link says stands before what is left. */
static int follow(struct walk *w, int link, uid_t owner)
{
	char to[2 * PATH_MAX];
	ssize_t len;

	w->stranger = owner && owner != geteuid();
	if (w->stranger || ++w->links > MOST_LINKS)
		return -ELOOP;
	len = readlinkat(link, "", to, PATH_MAX);
	if (len < 0)
		return -errno;
	if ((size_t)len + strlen(w->rest) + 1 > PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(to + len, w->rest);
	strcpy(w->rest, to);
	return *to == '/' ? stand_in(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) : 0;
}

static int open_part(struct walk *w, const char *part)
{
	int fd = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && is_last(w) && !mkdirat(w->at, part, 0700)) {
		w->made = true;
		fd = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	return fd;
}

static int step(struct walk *w, const char *part)
{
	int fd = open_part(w, part), err;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		err = -errno;
		close(fd);
		return err;
	}
	if (!S_ISLNK(st.st_mode))
		return stand_in(w, fd);
	err = follow(w, fd, st.st_uid);
	close(fd);
	return err;
}

int path_walk_open(const char *path, bool *ret_made, bool *ret_stranger)
{
	struct walk w = {.at = -1};
	char part[NAME_MAX + 1];
	int err = begin(&w, path), fd;

	while (!err && take_part(&w, part, &err))
		err = step(&w, part);
	fd = err ? -1 : openat(w.at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && fd < 0)
		err = -errno;
	if (w.at >= 0)
		close(w.at);
	*ret_made = w.made;
	*ret_stranger = w.stranger;
	return err ? err : fd;
}
