/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA_READ and DMA_WRITE towards the client, and the wait for its replies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "vfio_user/server_state.h"

/* Posted messages stop here, well before the client would be cut off for its queue. */
#define POSTED_QUEUE_BYTES (64u << 10)
#define POSTED_MAX	   8
/* Always leaves an id that nobody has. */
#define MAX_WAITS (UINT16_MAX - VFU_MAX_CANCELLED)

/*
 * One who waits, on its own stack. In the server's list while `done` is false;
 * all fields under the server's lock. `in` stays valid as long as it is in the
 * list, so the processing thread copies the reply straight to where it goes.
 */
struct vfu_dma_wait {
	struct vfu_dma_wait *next;
	pthread_cond_t cond;
	uint16_t id, command;
	uint64_t address;
	size_t size;
	void *in; /* DMA_READ */
	bool done;
	int result;
};

/* A message to send: DMA_READ has no data behind the access. */
struct request {
	struct vfio_user_header header;
	struct vfio_user_dma_access access;
	uint8_t data[];
};

static struct vfu_dma_wait **find_wait(struct vfu_server *s, uint16_t id)
{
	struct vfu_dma_wait **w = &s->waits;

	while (*w && (*w)->id != id)
		w = &(*w)->next;
	return w;
}

static void complete(struct vfu_dma_wait **link, int result)
{
	struct vfu_dma_wait *w = *link;

	*link = w->next;
	w->result = result;
	w->done = true;
	pthread_cond_signal(&w->cond);
}

void vfu_dma_message_fail_all(struct vfu_server *s)
{
	while (s->waits)
		complete(&s->waits, -ENOTCONN);
}

void vfu_dma_hold(struct vfu_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->held = true;
	while (s->waits && s->cancelled_count < VFU_MAX_CANCELLED) {
		s->cancelled[s->cancelled_count++] = s->waits->id;
		complete(&s->waits, -ECANCELED);
	}
	if (s->waits)
		vfu_server_doom(s, "too many DMA messages without an answer");
	pthread_mutex_unlock(&s->lock);
}

void vfu_dma_release(struct vfu_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->held = false;
	pthread_mutex_unlock(&s->lock);
}

/* Index in `cancelled`, or its count. */
static unsigned find_cancelled(const struct vfu_server *s, uint16_t id)
{
	unsigned i = 0;

	while (i < s->cancelled_count && s->cancelled[i] != id)
		i++;
	return i;
}

/* True: the reply to something cancelled has come. */
static bool forget_cancelled(struct vfu_server *s, uint16_t id)
{
	unsigned i = find_cancelled(s, id);

	if (i == s->cancelled_count)
		return false;
	s->cancelled[i] = s->cancelled[--s->cancelled_count];
	return true;
}

/*
 * Replies to DMA_WRITE come in three shapes: a bare header (QEMU before
 * 2026-04), the access with a count of 4 bytes as the specification's table
 * has it, and the access with one of 8. What they say beyond success is not
 * needed, so only the shape is checked.
 */
static int check_reply(const struct vfu_dma_wait *w, const struct vfu_message *m)
{
	struct vfio_user_dma_access access;

	if (m->error)
		return m->error;
	if (m->header.flags & VFIO_USER_ERROR)
		return m->header.error > 0 && m->header.error < 4096 ? -(int)m->header.error : -EIO;
	if (w->command == VFIO_USER_DMA_WRITE)
		return m->payload_size == 0 || m->payload_size == 12 || m->payload_size == sizeof(access)
			       ? 0
			       : -EPROTO;
	if (m->payload_size != sizeof(access) + w->size)
		return -EPROTO;
	memcpy(&access, m->payload, sizeof(access));
	return access.address == w->address && access.count == w->size ? 0 : -EPROTO;
}

void vfu_dma_message_reply(struct vfu_server *s, const struct vfu_message *m)
{
	struct vfu_dma_wait **link;
	int err;

	pthread_mutex_lock(&s->lock);
	link = find_wait(s, m->header.id);
	if (*link && (*link)->command == m->header.command) {
		err = check_reply(*link, m);
		if (!err && (*link)->in)
			memcpy((*link)->in, m->payload + sizeof(struct vfio_user_dma_access), (*link)->size);
		complete(link, err);
		link = NULL;
	} else if (forget_cancelled(s, m->header.id)) {
		link = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	/* QEMU answers even what wants no reply, when it fails. */
	if (link)
		vfu_server_log(s, "reply %u to command %u, which nobody waits for (error %u)", m->header.id,
			       m->header.command, m->header.error);
}

/* Under the lock, which it gives up while it sleeps. */
static int wait_for_reply(struct vfu_server *s, struct vfu_dma_wait *w)
{
	struct timespec deadline = os_deadline(s->reply_timeout_ms);
	int err = 0;

	while (!w->done && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&w->cond, &s->lock, &deadline);
	if (w->done)
		return w->result;
	complete(find_wait(s, w->id), -ETIMEDOUT);
	vfu_server_doom(s, "no answer to a DMA message in time");
	return -ETIMEDOUT;
}

static uint16_t unused_id(struct vfu_server *s)
{
	while (*find_wait(s, s->next_id) || find_cancelled(s, s->next_id) < s->cancelled_count)
		s->next_id++;
	return s->next_id++;
}

/* Under the lock. The queue is bounded for messages too: each waiting thread has one of them at most. */
static int send_request(struct vfu_server *s, struct request *r, size_t size, size_t limit)
{
	int err;

	if (!s->connected)
		return -ENOTCONN;
	err = vfu_connection_send(&s->connection, r, size, -1, limit);
	if (err == 0 || err == -ENOBUFS || err == -ENOMEM)
		return err;
	vfu_server_doom(s, "sending failed");
	return -ENOTCONN;
}

static int exchange(struct vfu_server *s, struct vfu_dma_wait *w, struct request *r, size_t size)
{
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);

	pthread_mutex_lock(&s->lock);
	r->header.id = w->id = unused_id(s);
	if (s->held)
		err = -ECANCELED;
	else if (s->wait_count >= MAX_WAITS)
		err = -EAGAIN;
	else
		err = send_request(s, r, size, VFU_MAX_QUEUED_BYTES);
	if (!err) {
		w->next = s->waits;
		s->waits = w;
		s->wait_count++;
		err = wait_for_reply(s, w);
		if (--s->wait_count == 0)
			pthread_cond_broadcast(&s->no_waits);
	}
	pthread_mutex_unlock(&s->lock);
	pthread_cond_destroy(&w->cond);
	return err;
}

static void fill_request(struct request *r, uint16_t command, uint32_t flags, uint64_t address,
			 const void *out, size_t len)
{
	*r = (struct request){
		.header = {.command = command, .flags = VFIO_USER_TYPE_COMMAND | flags},
		.access = {.address = address, .count = len},
	};
	r->header.size = (uint32_t)(sizeof(*r) + (out ? len : 0));
	if (out)
		memcpy(r->data, out, len);
}

static int transfer_one(struct vfu_server *s, uint64_t address, void *in, const void *out, size_t len)
{
	struct vfu_dma_wait w = {
		.command = out ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ,
		.address = address,
		.size = len,
		.in = in,
	};
	struct request *r = malloc(sizeof(*r) + (out ? len : 0));
	int err;

	if (!r)
		return -ENOMEM;
	fill_request(r, w.command, 0, address, out, len);
	err = exchange(s, &w, r, r->header.size);
	free(r);
	return err;
}

static size_t transfer_limit(struct vfu_server *s)
{
	uint64_t limit;

	pthread_mutex_lock(&s->lock);
	limit = s->connected ? s->peer.max_data_xfer_size : VFIO_USER_DEFAULT_MAX_DATA_XFER;
	pthread_mutex_unlock(&s->lock);
	return limit < VFIO_USER_DEFAULT_MAX_DATA_XFER ? (size_t)limit : VFIO_USER_DEFAULT_MAX_DATA_XFER;
}

/* Waiting in the thread that receives the reply would be for ever. */
static bool would_deadlock(struct vfu_server *s)
{
	return atomic_load(&s->processing) && pthread_equal(atomic_load(&s->processor), pthread_self());
}

static int transfer(struct vfu_server *s, uint64_t address, uint8_t *in, const uint8_t *out, size_t len)
{
	size_t limit = transfer_limit(s), done = 0;

	if (would_deadlock(s))
		return -EDEADLK;
	while (done < len) {
		size_t n = len - done < limit ? len - done : limit;
		int err = transfer_one(s, address + done, in ? in + done : NULL, out ? out + done : NULL, n);

		if (err)
			return err;
		done += n;
	}
	return 0;
}

int vfu_dma_read(struct vfu_server *s, uint64_t address, void *buf, size_t len)
{
	return transfer(s, address, buf, NULL, len);
}

int vfu_dma_write(struct vfu_server *s, uint64_t address, const void *buf, size_t len)
{
	return transfer(s, address, NULL, buf, len);
}

int vfu_dma_write_posted(struct vfu_server *s, uint64_t address, const void *buf, size_t len)
{
	_Alignas(struct request) uint8_t bytes[sizeof(struct request) + POSTED_MAX];
	struct request *r = (struct request *)bytes;
	int err;

	if (!len || len > POSTED_MAX)
		return -EINVAL;
	fill_request(r, VFIO_USER_DMA_WRITE, VFIO_USER_NO_REPLY, address, buf, len);
	pthread_mutex_lock(&s->lock);
	r->header.id = unused_id(s);
	err = send_request(s, r, r->header.size, POSTED_QUEUE_BYTES);
	pthread_mutex_unlock(&s->lock);
	return err == -ENOBUFS ? -EAGAIN : err;
}
