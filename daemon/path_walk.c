/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/path_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_LINKS 40 /* as many as the kernel follows */

struct walk {
	int at; /* the folder that we stand in */
	unsigned links;
	struct path_walk_result *result;
	char rest[2 * PATH_MAX]; /* of the path, from there */
};

static int stand_in(struct walk *w, int fd)
{
	if (w->at >= 0)
		close(w->at);
	w->at = fd;
	return fd < 0 ? -errno : 0;
}

/* From the root, since a folder above the one that we are in counts as well. */
static int begin(struct walk *w, const char *path)
{
	char here[PATH_MAX] = "";
	int len;

	if (!*path)
		return -ENOENT;
	if (*path != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	len = snprintf(w->rest, PATH_MAX, "%s/%s", here, path);
	if (len < 0 || len >= PATH_MAX)
		return -ENAMETOOLONG;
	return stand_in(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
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

static bool is_stranger(uid_t owner)
{
	return owner && owner != geteuid();
}

/* What is in the folder that we stand in stays what it is, unless the user or root changes it. */
static int check_folder(struct walk *w)
{
	char link[32];
	struct stat st;
	ssize_t len;

	if (fstat(w->at, &st))
		return -errno;
	w->result->strange_folder = is_stranger(st.st_uid);
	w->result->open_folder = (st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX);
	if (!w->result->strange_folder && !w->result->open_folder)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", w->at);
	len = readlink(link, w->result->folder, sizeof(w->result->folder) - 1);
	w->result->folder[len < 0 ? 0 : len] = '\0';
	return -EPERM;
}

/* What the link says stands before what is left. */
static int follow(struct walk *w, int link, uid_t owner)
{
	char to[2 * PATH_MAX];
	ssize_t len;

	w->result->strange_link = is_stranger(owner);
	if (w->result->strange_link || ++w->links > MOST_LINKS)
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
		w->result->made = true;
		fd = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	return fd;
}

static int step(struct walk *w, const char *part)
{
	int err = check_folder(w), fd;
	struct stat st;

	if (err)
		return err;
	fd = open_part(w, part);
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

int path_walk_open(const char *path, struct path_walk_result *ret)
{
	struct walk w = {.at = -1, .result = ret};
	char part[NAME_MAX + 1];
	int err, fd;

	*ret = (struct path_walk_result){.made = false};
	err = begin(&w, path);
	while (!err && take_part(&w, part, &err))
		err = step(&w, part);
	fd = err ? -1 : openat(w.at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && fd < 0)
		err = -errno;
	if (w.at >= 0)
		close(w.at);
	return err ? err : fd;
}
