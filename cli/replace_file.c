/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replace_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int fill(int fd, const char *data, size_t len, mode_t mode)
{
	int err = write_all(fd, data, len);

	if (!err && fchmod(fd, mode))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

int replace_file(const char *path, const char *data, size_t len, mode_t mode)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char temporary[PATH_MAX];
	int n = snprintf(temporary, sizeof(temporary), "%.*s.%s.XXXXXX", (int)(name - path), path, name), fd,
	    err;

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkstemp(temporary);
	if (fd < 0)
		return -errno;
	err = fill(fd, data, len, mode);
	if (!err && rename(temporary, path))
		err = -errno;
	if (err)
		unlink(temporary);
	return err;
}
