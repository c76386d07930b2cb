/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/protocol.h"
#include "control/message.h"
#include "os/clock.h"
#include "os/sentence.h"

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline - os_now_ms();
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int open_connection(const char *directory)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME, directory);
	int fd, err;

	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	/* EAGAIN: the daemon's backlog is full, it does not get to accept. */
	err = errno == EAGAIN ? ETIMEDOUT : errno;
	close(fd);
	return -err;
}

static int send_all(int fd, const char *data, size_t len, int64_t deadline)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		int err = n < 0 && errno == EAGAIN ? wait_for(fd, POLLOUT, deadline) : 0;

		if (err)
			return err;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int send_request(int fd, struct json_object *request, int64_t deadline)
{
	size_t len;
	char *line = control_line(request, &len);
	int err = line ? send_all(fd, line, len, deadline) : -ENOMEM;

	free(line);
	return err;
}

struct reply_text {
	char *data;
	size_t used, size;
};

static int grow(struct reply_text *r)
{
	size_t size = r->size ? r->size * 2 : 4096;
	char *data;

	if (r->size >= CONTROL_REPLY_MAX)
		return -EPROTO;
	data = realloc(r->data, size);
	if (!data)
		return -ENOMEM;
	r->data = data;
	r->size = size;
	return 0;
}

/* One step: 1 when the line is complete, 0 to go on. */
static int receive_some(int fd, struct reply_text *r, int64_t deadline)
{
	int err = r->used == r->size ? grow(r) : 0;
	ssize_t n;

	if (!err)
		err = wait_for(fd, POLLIN, deadline);
	if (err)
		return err;
	n = recv(fd, r->data + r->used, r->size - r->used, 0);
	if (n == 0)
		return -EPROTO;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	r->used += (size_t)n;
	return memchr(r->data + r->used - n, '\n', (size_t)n) != NULL;
}

static int receive_reply(int fd, int64_t deadline, struct json_object **ret_reply)
{
	struct reply_text r = {0};
	char why[OS_WHY_SIZE];
	char *end;
	int done = 0;

	while (!done)
		done = receive_some(fd, &r, deadline);
	if (done > 0) {
		end = memchr(r.data, '\n', r.used);
		*ret_reply = control_parse(r.data, (size_t)(end - r.data), why, sizeof(why));
		done = *ret_reply ? 0 : errno == ENOMEM ? -ENOMEM : -EPROTO;
	}
	free(r.data);
	return done;
}

int control_call(const char *directory, struct json_object *request, unsigned timeout_ms,
		 struct json_object **ret_reply)
{
	int64_t deadline = os_now_ms() + timeout_ms;
	struct json_object *reply = NULL;
	int fd = open_connection(directory), err;

	if (fd < 0)
		return fd;
	err = send_request(fd, request, deadline);
	if (!err)
		err = receive_reply(fd, deadline, &reply);
	close(fd);
	if (!err)
		*ret_reply = reply;
	return err;
}

int control_ask(const char *directory, const char *command, unsigned timeout_ms,
		struct json_object **ret_reply)
{
	struct json_object *request = control_object();
	int err;

	control_set_string(request, "command", command);
	err = control_call(directory, request, timeout_ms, ret_reply);
	json_object_put(request);
	return err;
}
