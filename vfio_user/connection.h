/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connected socket: messages in, with the file descriptors that came
 * along; messages out, through a bounded queue. Never blocks.
 *
 * The receiving half belongs to one thread. The sending half has no lock of
 * its own: callers of send() and flush() hold the server's.
 */
#ifndef VFIO_USER_CONNECTION_H
#define VFIO_USER_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio_user/protocol.h"

/* Descriptors that one message may carry (capability max_msg_fds). */
#define VFU_MAX_MSG_FDS 16
/* The largest message in either direction: a full transfer and what stands before it. */
#define VFU_MAX_MESSAGE (VFIO_USER_DEFAULT_MAX_DATA_XFER + 64)
/* A client that leaves more than this unread is cut off. */
#define VFU_MAX_QUEUED_BYTES (16u << 20)

struct vfu_message {
	struct vfio_user_header header;
	const uint8_t *payload; /* 8-byte aligned; NULL when error is set */
	size_t payload_size;
	int fds[VFU_MAX_MSG_FDS]; /* who takes one leaves -1 */
	unsigned fd_count;
	bool fd_excess; /* more came than fit; they are closed already */
	bool fds_lost; /* the kernel had none left for us (RLIMIT_NOFILE), or a security module kept some back
			*/
	int error;     /* negative errno: too large or no memory, the payload was skipped */
	bool fatal;    /* framing is lost after this one */
};

struct vfu_queued {
	struct vfu_queued *next;
	size_t size, sent;
	int fd; /* goes with the first byte; borrowed; -1: none */
	uint8_t data[];
};

struct vfu_connection {
	int sock, epoll;
	void *epoll_tag;

	/* receiving thread only */
	struct vfu_message message;
	size_t received; /* bytes of the current message, header included */
	uint8_t *body;
	size_t body_capacity;

	/* the server's lock */
	struct vfu_queued *queue_first, *queue_last;
	size_t queued_bytes;
};

/* Those that nobody took. */
void vfu_message_close_fds(struct vfu_message *m);

/* Takes over `sock` and watches it in `epoll`, its events carrying `tag`. 0 or a negative errno, the socket
 * is the caller's then. */
int vfu_connection_init(struct vfu_connection *c, int sock, int epoll, void *tag);
void vfu_connection_finish(struct vfu_connection *c);

/*
 * 1: c->message is complete, call consume() when done with it. 0: some
 * progress, call again. -EAGAIN: nothing there. -ECONNRESET: the peer has
 * closed. Other negative errno: the socket failed.
 */
int vfu_connection_receive(struct vfu_connection *c);
/* Closes the descriptors that nobody took and makes room for the next message. */
void vfu_connection_consume(struct vfu_connection *c);
/* True when the peer closed with half a message sent. */
bool vfu_connection_is_partial(const struct vfu_connection *c);

/*
 * Sends or queues one whole message. `fd` is borrowed until it is sent.
 * -ENOBUFS: more than `limit` bytes would be queued; -ENOMEM: nothing of it was
 * sent. Any other error, of the socket or -EPIPE (no memory for the rest of it),
 * leaves nothing to be sent on this connection.
 */
int vfu_connection_send(struct vfu_connection *c, const void *data, size_t size, int fd, size_t limit);
/* Sends what is queued, as far as the socket takes it. 0 or the socket's error. */
int vfu_connection_flush(struct vfu_connection *c);

#endif
