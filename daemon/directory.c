/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/protocol.h"
#include "daemon/path_walk.h"
#include "os/sentence.h"

/* Is it a folder where what we make stays ours? Such is /tmp, being sticky. */
static bool is_safe(const char *base)
{
	struct path_walk_result walked;
	char within[PATH_MAX];
	int len = snprintf(within, sizeof(within), "%s/.", base), fd;

	if (len < 0 || (size_t)len >= sizeof(within))
		return false;
	fd = path_walk_open(within, &walked);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int make_fresh(struct directory *d, char *why, size_t why_size)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int len;

	if (!base || base[0] != '/' || access(base, W_OK) || !is_safe(base))
		base = "/tmp";
	len = snprintf(d->path, sizeof(d->path), "%s/viommud-XXXXXX", base);
	if (len < 0 || (size_t)len >= sizeof(d->path))
		return os_say(why, why_size,
			      "$XDG_RUNTIME_DIR is too long for sockets; choose a folder with --dir");
	if (!mkdtemp(d->path))
		return os_say(why, why_size, "no folder can be made in %s: %s; choose one with --dir", base,
			      strerror(errno));
	d->made = true;
	return 0;
}

/* The path without links, for others to use; who may not write there cannot make it lead elsewhere. */
static int take_path(struct directory *d, const char *wanted, char *why, size_t why_size)
{
	char absolute[PATH_MAX];
	struct stat by_path, opened;

	if (!realpath(wanted, absolute) || stat(absolute, &by_path) || fstat(d->fd, &opened))
		return os_say(why, why_size, "--dir %s cannot be used: %s", wanted, strerror(errno));
	if (by_path.st_dev != opened.st_dev || by_path.st_ino != opened.st_ino)
		return os_say(why, why_size, "--dir %s is another folder than a moment ago", wanted);
	if (strlen(absolute) > DIRECTORY_PATH_MAX) {
		os_say(why, why_size, "--dir %s is too long for sockets; at most %d characters", wanted,
		       DIRECTORY_PATH_MAX);
		if (d->made)
			rmdir(absolute);
		return -1;
	}
	strcpy(d->path, absolute);
	return 0;
}

static void explain(const struct path_walk_result *walked, const char *wanted, int err, char *why,
		    size_t why_size)
{
	if (walked->strange_link)
		os_say(why, why_size,
		       "--dir %s leads over a symbolic link of another user, who can make it lead anywhere; "
		       "give the folder itself",
		       wanted);
	else if (walked->strange_folder)
		os_say(why, why_size,
		       "--dir %s leads through %s, which belongs to another user, who can make it lead "
		       "anywhere; choose a folder below those of your own",
		       wanted, walked->folder);
	else if (walked->open_folder)
		os_say(why, why_size,
		       "--dir %s leads through %s, where others may write and can make it lead anywhere; "
		       "take that right away (chmod go-w), or choose another folder",
		       wanted, walked->folder);
	else
		os_say(why, why_size, "--dir %s cannot be %s: %s", wanted, err == -ENOENT ? "made" : "used",
		       strerror(-err));
}

static int make_named(struct directory *d, const char *wanted, char *why, size_t why_size)
{
	struct path_walk_result walked;

	d->fd = path_walk_open(wanted, &walked);
	d->made = walked.made;
	if (d->fd >= 0)
		return take_path(d, wanted, why, why_size);
	explain(&walked, wanted, d->fd, why, why_size);
	return -1;
}

/* Who may write here may replace our sockets; only the user himself may. */
static int check_owner(struct directory *d, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(d->fd, &st))
		return os_say(why, why_size, "--dir %s: %s", d->path, strerror(errno));
	if (st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	return os_say(why, why_size,
		      "--dir %s can be written by others; choose a folder of your own (mode 0700)", d->path);
}

static int lock(struct directory *d, char *why, size_t why_size)
{
	if (d->fd < 0)
		d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->fd < 0)
		return os_say(why, why_size, "--dir %s cannot be used: %s", d->path, strerror(errno));
	if (check_owner(d, why, why_size))
		return -1;
	if (!flock(d->fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return os_say(why, why_size, "another viommud serves in %s; choose another folder with --dir",
			      d->path);
	return os_say(why, why_size, "%s cannot be locked: %s", d->path, strerror(errno));
}

int directory_open(struct directory *d, const char *wanted, char *why, size_t why_size)
{
	*d = (struct directory){.fd = -1};
	if (!(wanted ? make_named(d, wanted, why, why_size) : make_fresh(d, why, why_size)) &&
	    !lock(d, why, why_size))
		return 0;
	directory_close(d);
	return -1;
}

int directory_open_within(struct directory *d, struct directory *parent, const char *name, char *why,
			  size_t why_size)
{
	char path[PATH_MAX];

	parent->has_folders = true;
	snprintf(path, sizeof(path), "%s/%s", parent->path, name);
	return directory_open(d, path, why, why_size);
}

void directory_close(struct directory *d)
{
	static const char *const tables[] = {DMAR_FILE_NAME, IVRS_FILE_NAME, VIOT_FILE_NAME};
	char table[SOCKET_PATH_MAX];

	/* Tables are there when viommu was killed. */
	if (d->made && *d->path) {
		for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
			directory_socket(d, tables[i], table);
			unlink(table);
		}
		rmdir(d->path);
	}
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

void directory_socket(const struct directory *d, const char *name, char path[SOCKET_PATH_MAX])
{
	snprintf(path, SOCKET_PATH_MAX, "%s/%.12s", d->path, name);
}
