/* SPDX-License-Identifier: BSD-3-Clause */
/* The socket in the file system. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user/server_state.h"

static int fill_address(const char *path, struct sockaddr_un *ret_address)
{
	size_t len = strlen(path);

	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!len)
		return -EINVAL;
	if (len >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_address->sun_path, path, len + 1);
	return 0;
}

/* A socket that refuses connections belongs to nobody any more. */
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, err;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	if (err != ECONNREFUSED)
		return err == ENOENT ? 0 : -EADDRINUSE;
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, dev_t *ret_dev, ino_t *ret_ino)
{
	struct stat st;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	if (listen(fd, SOMAXCONN) < 0 || lstat(address->sun_path, &st) < 0) {
		int err = -errno;

		unlink(address->sun_path);
		return err;
	}
	*ret_dev = st.st_dev;
	*ret_ino = st.st_ino;
	return 0;
}

int vfu_listen(const char *path, int *ret_fd, dev_t *ret_dev, ino_t *ret_ino)
{
	struct sockaddr_un address;
	int fd, err = fill_address(path, &address);

	if (!err)
		err = remove_stale(&address);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = bind_and_listen(fd, &address, ret_dev, ret_ino);
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

void vfu_unlisten(const char *path, dev_t dev, ino_t ino)
{
	struct stat st;

	if (!lstat(path, &st) && S_ISSOCK(st.st_mode) && st.st_dev == dev && st.st_ino == ino)
		unlink(path);
}
