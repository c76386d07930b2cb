/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the kernel lets one sendmsg() carry (SCM_MAX_FD): with room for all of them none can get lost. */
#define KERNEL_MAX_FDS 253
#define SKIP_CHUNK     65536u

int vfu_connection_init(struct vfu_connection *c, int sock, int epoll, void *tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

	memset(c, 0, sizeof(*c));
	c->sock = sock;
	c->epoll = epoll;
	c->epoll_tag = tag;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event) < 0 ? -errno : 0;
}

static void drop_queue(struct vfu_connection *c)
{
	while (c->queue_first) {
		struct vfu_queued *q = c->queue_first;

		c->queue_first = q->next;
		free(q);
	}
	c->queue_last = NULL;
	c->queued_bytes = 0;
}

void vfu_connection_finish(struct vfu_connection *c)
{
	vfu_connection_consume(c);
	drop_queue(c);
	free(c->body);
	c->body = NULL;
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->sock, NULL);
	close(c->sock);
	c->sock = -1;
}

static void keep_fd(struct vfu_message *m, int fd)
{
	if (m->fd_count < VFU_MAX_MSG_FDS) {
		m->fds[m->fd_count++] = fd;
		return;
	}
	close(fd);
	m->fd_excess = true;
}

static void collect_fds(struct vfu_message *m, struct msghdr *mh)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(mh); cmsg; cmsg = CMSG_NXTHDR(mh, cmsg)) {
		size_t i, n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			keep_fd(m, fd);
		}
	}
	if (mh->msg_flags & MSG_CTRUNC)
		m->fds_lost = true;
}

/*
 * Descriptors arrive with the first byte of the sendmsg() that carried them.
 * Reading never reaches over the end of the current message, so what arrives
 * here belongs to it, however the peer splits or merges its messages.
 */
static ssize_t receive_some(struct vfu_connection *c, void *buf, size_t size)
{
	union {
		char bytes[CMSG_SPACE(KERNEL_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	do {
		n = recvmsg(c->sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	collect_fds(&c->message, &mh);
	return n ? n : -ECONNRESET;
}

static int reserve_body(struct vfu_connection *c, size_t size)
{
	uint8_t *body;

	if (size <= c->body_capacity)
		return 0;
	body = realloc(c->body, size);
	if (!body)
		return -ENOMEM;
	c->body = body;
	c->body_capacity = size;
	return 0;
}

/* The header is here: find out whether the rest can be taken. */
static void begin_body(struct vfu_connection *c)
{
	struct vfu_message *m = &c->message;

	if (m->header.size < sizeof(m->header)) {
		m->error = -EINVAL;
		m->fatal = true;
		m->header.size = sizeof(m->header);
		return;
	}
	m->payload_size = m->header.size - sizeof(m->header);
	m->error = m->header.size > VFU_MAX_MESSAGE ? -EMSGSIZE : reserve_body(c, m->payload_size);
}

static int receive_header(struct vfu_connection *c)
{
	uint8_t *to = (uint8_t *)&c->message.header + c->received;
	ssize_t n = receive_some(c, to, sizeof(c->message.header) - c->received);

	if (n < 0)
		return (int)n;
	c->received += (size_t)n;
	if (c->received == sizeof(c->message.header))
		begin_body(c);
	return 0;
}

static int receive_body(struct vfu_connection *c)
{
	size_t at = c->received - sizeof(c->message.header);
	size_t want = c->message.payload_size - at;
	ssize_t n;

	if (c->message.error) {
		uint8_t skipped[SKIP_CHUNK];

		n = receive_some(c, skipped, want < sizeof(skipped) ? want : sizeof(skipped));
	} else {
		n = receive_some(c, c->body + at, want);
	}
	if (n < 0)
		return (int)n;
	c->received += (size_t)n;
	return 0;
}

static bool is_complete(const struct vfu_connection *c)
{
	return c->received >= sizeof(c->message.header) && c->received == c->message.header.size;
}

int vfu_connection_receive(struct vfu_connection *c)
{
	int err = c->received < sizeof(c->message.header) ? receive_header(c) : receive_body(c);

	if (err || !is_complete(c))
		return err;
	c->message.payload = c->message.error ? NULL : c->body;
	return 1;
}

void vfu_message_close_fds(struct vfu_message *m)
{
	unsigned i;

	for (i = 0; i < m->fd_count; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	m->fd_count = 0;
}

void vfu_connection_consume(struct vfu_connection *c)
{
	vfu_message_close_fds(&c->message);
	memset(&c->message, 0, sizeof(c->message));
	c->received = 0;
}

bool vfu_connection_is_partial(const struct vfu_connection *c)
{
	return c->received > 0;
}

static void watch_writable(struct vfu_connection *c, bool on)
{
	struct epoll_event event = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c->epoll_tag};

	epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->sock, &event);
}

/*
 * One message per sendmsg(): QEMU expects a whole header in its first read,
 * which holds because the kernel never splits so small a piece.
 */
static ssize_t send_some(struct vfu_connection *c, const void *data, size_t size, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(c->sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? 0 : -errno;
	return n;
}

static int enqueue(struct vfu_connection *c, const void *data, size_t size, size_t sent, int fd)
{
	struct vfu_queued *q = malloc(sizeof(*q) + size);

	if (!q)
		return -ENOMEM;
	*q = (struct vfu_queued){.size = size, .sent = sent, .fd = sent ? -1 : fd};
	memcpy(q->data, data, size);
	if (c->queue_last)
		c->queue_last->next = q;
	else
		c->queue_first = q;
	c->queue_last = q;
	c->queued_bytes += size - sent;
	return 0;
}

int vfu_connection_send(struct vfu_connection *c, const void *data, size_t size, int fd, size_t limit)
{
	ssize_t sent = 0;
	int err;

	if (!c->queue_first) {
		sent = send_some(c, data, size, fd);
		if (sent < 0)
			return (int)sent;
		if ((size_t)sent == size)
			return 0;
	} else if (c->queued_bytes + size > limit) {
		return -ENOBUFS;
	}
	err = enqueue(c, data, size, (size_t)sent, fd);
	if (!err && c->queue_first == c->queue_last)
		watch_writable(c, true);
	/* Whatever came next would be taken for the rest of this one. */
	return err && sent ? -EPIPE : err;
}

int vfu_connection_flush(struct vfu_connection *c)
{
	while (c->queue_first) {
		struct vfu_queued *q = c->queue_first;
		ssize_t n = send_some(c, q->data + q->sent, q->size - q->sent, q->fd);

		if (n <= 0)
			return (int)n;
		q->fd = -1;
		q->sent += (size_t)n;
		c->queued_bytes -= (size_t)n;
		if (q->sent < q->size)
			continue;
		c->queue_first = q->next;
		if (!q->next) {
			c->queue_last = NULL;
			watch_writable(c, false);
		}
		free(q);
	}
	return 0;
}
