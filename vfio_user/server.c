/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a server and of its sessions. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/sentence.h"
#include "vfio_user/server_state.h"

#define DEFAULT_REPLY_TIMEOUT_MS 5000
/* See struct vfu_turn. The time is for what takes longer than the others of its kind. */
#define TURN_UNITS 256
#define TURN_NS	   1000000
/* A client must not fill the disk with our log. */
#define MAX_LOG_LINES 200

void vfu_server_log(struct vfu_server *s, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!s->ops.log || s->log_lines > MAX_LOG_LINES)
		return;
	va_start(args, format);
	os_say_v(line, sizeof(line), format, args);
	va_end(args);
	if (s->log_lines++ == MAX_LOG_LINES)
		snprintf(line, sizeof(line), "more of this session is not logged");
	s->ops.log(s->device, line);
}

void vfu_server_wake(struct vfu_server *s)
{
	uint64_t one = 1;

	if (write(s->wake, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is readable then anyway */
}

/* --------------------------------------------------------------------- turns */

static void begin_turn(struct vfu_server *s)
{
	s->turn = (struct vfu_turn){.left = TURN_UNITS, .end_ns = os_now_ns() + TURN_NS};
}

bool vfu_turn_is_over(struct vfu_server *s)
{
	return s->turn.begun && (!s->turn.left || os_now_ns() >= s->turn.end_ns);
}

void vfu_turn_end(struct vfu_server *s)
{
	s->turn.begun = true;
	s->turn.left = 0;
}

void vfu_turn_spend(struct vfu_server *s, unsigned units)
{
	s->turn.begun = true;
	s->turn.left -= units < s->turn.left ? units : s->turn.left;
}

/* --------------------------------------------------------------- begin and end */

void vfu_server_doom(struct vfu_server *s, const char *why)
{
	if (s->doomed)
		return;
	s->doomed = true;
	s->connected = false;
	snprintf(s->why, sizeof(s->why), "%s", why);
	vfu_dma_message_fail_all(s);
	vfu_server_wake(s);
}

static int copy_regions(struct vfu_server *s, const struct vfu_region *regions)
{
	unsigned i;

	for (i = 0; i < VFU_NUM_REGIONS; i++) {
		struct vfu_region *r = &s->regions[i];
		size_t size = regions[i].area_count * sizeof(*s->areas[i]);

		*r = regions[i];
		r->areas = NULL;
		if (!r->size)
			r->fd = -1;
		if (!size)
			continue;
		s->areas[i] = malloc(size);
		if (!s->areas[i])
			return -ENOMEM;
		memcpy(s->areas[i], regions[i].areas, size);
		r->areas = s->areas[i];
	}
	return 0;
}

static int watch(struct vfu_server *s, int fd, void *tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_descriptors(struct vfu_server *s)
{
	int err;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->spare = eventfd(0, EFD_CLOEXEC);
	if (s->epoll < 0 || s->wake < 0 || s->spare < 0)
		return -errno;
	err = vfu_listen(s->path, &s->listener, &s->path_dev, &s->path_ino);
	if (!err)
		err = watch(s, s->wake, &s->wake);
	if (!err)
		err = watch(s, s->listener, &s->listener);
	return err;
}

static void close_descriptors(struct vfu_server *s)
{
	if (s->listener >= 0) {
		vfu_unlisten(s->path, s->path_dev, s->path_ino);
		close(s->listener);
	}
	if (s->wake >= 0)
		close(s->wake);
	if (s->spare >= 0)
		close(s->spare);
	if (s->epoll >= 0)
		close(s->epoll);
}

static void free_server(struct vfu_server *s)
{
	unsigned i;

	close_descriptors(s);
	for (i = 0; i < VFU_NUM_REGIONS; i++)
		free(s->areas[i]);
	pthread_cond_destroy(&s->no_waits);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static void init_server(struct vfu_server *s, const struct vfu_server_options *opts)
{
	s->ops = *opts->ops;
	s->device = opts->device;
	s->epoll = s->wake = s->listener = s->spare = -1;
	s->max_dma_maps = VFIO_USER_DEFAULT_MAX_DMA_MAPS;
	if (opts->max_dma_maps && opts->max_dma_maps < s->max_dma_maps)
		s->max_dma_maps = opts->max_dma_maps;
	s->max_lent_bytes = vfu_fd_maps_limit();
	if (opts->max_lent_bytes && opts->max_lent_bytes < s->max_lent_bytes)
		s->max_lent_bytes = opts->max_lent_bytes;
	s->unmapper = opts->unmapper;
	s->reply_timeout_ms = opts->reply_timeout_ms ? opts->reply_timeout_ms : DEFAULT_REPLY_TIMEOUT_MS;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->no_waits, NULL);
}

int vfu_server_create(const struct vfu_server_options *opts, struct vfu_server **ret_server)
{
	struct vfu_server *s;
	int err = -ENOMEM;

	if (!opts->path || !opts->regions || !opts->irq_counts || !opts->ops || !opts->ops->region_read ||
	    !opts->ops->region_write)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	init_server(s, opts);
	s->path = strdup(opts->path);
	if (s->path)
		err = copy_regions(s, opts->regions);
	if (!err)
		err = open_descriptors(s);
	if (!err)
		err = vfu_irqs_init(&s->irqs, opts->irq_counts, s->epoll);
	if (err) {
		free_server(s);
		return err;
	}
	s->sigbus.wake_fd = s->wake;
	*ret_server = s;
	return 0;
}

/* From here on nobody sends to the client, and nobody waits for it. */
static void close_connection(struct vfu_server *s, char *ret_why, size_t why_size)
{
	pthread_mutex_lock(&s->lock);
	vfu_server_doom(s, "closed");
	snprintf(ret_why, why_size, "%s", s->why);
	vfu_connection_finish(&s->connection);
	s->doomed = s->open = false;
	s->cancelled_count = 0;
	pthread_mutex_unlock(&s->lock);
}

static void begin_to_end(struct vfu_server *s)
{
	close_connection(s, s->ended_why, sizeof(s->ended_why));
	vfu_dispatch_forget(s);
	vfu_irqs_reset(&s->irqs);
	if (s->negotiated && s->ops.reset)
		s->ops.reset(s->device);
	s->ending = true;
}

/* A client may have left 65,535 ranges, so this takes some turns. */
static void go_on_ending(struct vfu_server *s)
{
	uint64_t bytes = 0;

	if (!vfu_dma_remove_some(s, 0, UINT64_MAX, &bytes))
		return;
	vfu_fd_maps_finish(&s->files);
	atomic_store(&s->sigbus.hit, false);
	s->ending = s->in_session = false;
	if (s->negotiated) {
		s->negotiated = false;
		if (s->ops.disconnected)
			s->ops.disconnected(s->device, s->ended_why);
	}
}

/* All of it, however long that takes. */
static void end_session(struct vfu_server *s)
{
	if (!s->ending)
		begin_to_end(s);
	while (s->ending) {
		begin_turn(s);
		go_on_ending(s);
	}
}

static bool is_served(const struct vfu_server *s)
{
	return s->in_session && !s->ending;
}

static void end_session_if_doomed(struct vfu_server *s)
{
	bool doomed;

	if (s->ending)
		go_on_ending(s);
	if (!is_served(s))
		return;
	pthread_mutex_lock(&s->lock);
	if (atomic_load(&s->sigbus.hit))
		vfu_server_doom(s, "the client truncated memory that it had lent");
	doomed = s->doomed;
	pthread_mutex_unlock(&s->lock);
	if (!doomed)
		return;
	begin_to_end(s);
	go_on_ending(s);
}

static void start_session(struct vfu_server *s, int sock)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = vfu_connection_init(&s->connection, sock, s->epoll, &s->connection);
	s->open = !err;
	pthread_mutex_unlock(&s->lock);
	if (err) {
		close(sock);
		return;
	}
	s->in_session = true;
	s->log_lines = 0;
	vfu_dma_table_init(&s->dma);
	vfu_fd_maps_init(&s->files, &s->sigbus, s->unmapper, s->max_lent_bytes);
}

/* It is lost when others take the descriptor that turn_away() gives up for a moment. */
static void keep_spare(struct vfu_server *s)
{
	if (s->spare < 0)
		s->spare = eventfd(0, EFD_CLOEXEC);
}

/* Without a descriptor left, a caller would stand in the door and keep us busy for ever. */
static void turn_away(struct vfu_server *s)
{
	int sock;

	if (s->spare < 0)
		return;
	close(s->spare);
	sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (sock >= 0)
		close(sock);
	s->spare = eventfd(0, EFD_CLOEXEC);
	vfu_server_log(s, "a client was refused: no file descriptors left");
}

/* A device has one client: who comes while there is one is shown out. */
static void accept_client(struct vfu_server *s)
{
	int sock;

	keep_spare(s);
	sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(s);
	if (sock < 0)
		return;
	if (s->in_session) {
		close(sock);
		vfu_server_log(s, "a second client was refused");
		return;
	}
	start_session(s, sock);
}

static void receive_failed(struct vfu_server *s, int err)
{
	const char *why = strerror(-err);

	if (err == -ECONNRESET)
		why = vfu_connection_is_partial(&s->connection)
			      ? "the client has gone in the middle of a message"
			      : "the client has gone";
	pthread_mutex_lock(&s->lock);
	vfu_server_doom(s, why);
	pthread_mutex_unlock(&s->lock);
}

static bool is_doomed(struct vfu_server *s)
{
	bool doomed;

	pthread_mutex_lock(&s->lock);
	doomed = s->doomed;
	pthread_mutex_unlock(&s->lock);
	return doomed;
}

static int receive_some(struct vfu_server *s)
{
	vfu_turn_spend(s, 1);
	return vfu_connection_receive(&s->connection);
}

/* One after the other: the next when this one is done with. */
static void receive_messages(struct vfu_server *s)
{
	while (!is_doomed(s) && !vfu_turn_is_over(s)) {
		int got = s->unfinished ? 1 : receive_some(s);

		if (got == -EAGAIN)
			return;
		if (got < 0)
			receive_failed(s, got);
		else if (got > 0 && vfu_dispatch(s, &s->connection.message))
			vfu_connection_consume(&s->connection);
	}
}

static void flush_replies(struct vfu_server *s)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = vfu_connection_flush(&s->connection);
	if (err)
		vfu_server_doom(s, strerror(-err));
	pthread_mutex_unlock(&s->lock);
}

static void handle_event(struct vfu_server *s, const struct epoll_event *event)
{
	uint64_t count;

	if (event->data.ptr == &s->wake) {
		if (read(s->wake, &count, sizeof(count)) < 0)
			return;
	} else if (event->data.ptr == &s->connection) {
		if (event->events & EPOLLOUT)
			flush_replies(s);
		if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			receive_messages(s);
	} else if (event->data.ptr == &s->irqs.controls[VFU_IRQ_CONTROL_MASK]) {
		vfu_irq_control(s, VFU_IRQ_CONTROL_MASK);
	} else if (event->data.ptr == &s->irqs.controls[VFU_IRQ_CONTROL_UNMASK]) {
		vfu_irq_control(s, VFU_IRQ_CONTROL_UNMASK);
	}
}

/*
 * The listener comes last: a client that has gone makes room for the next one, once
 * what it asked for is done.
 */
static void process_events(struct vfu_server *s)
{
	struct epoll_event events[8];
	int i, n = epoll_wait(s->epoll, events, sizeof(events) / sizeof(events[0]), 0);
	bool knocks = false, hung_up = false;

	if (s->unfinished)
		receive_messages(s);
	for (i = 0; i < n; i++) {
		if (events[i].data.ptr == &s->connection)
			hung_up = events[i].events & EPOLLHUP;
		if (events[i].data.ptr == &s->listener)
			knocks = true;
		else if (is_served(s) || events[i].data.ptr == &s->wake)
			handle_event(s, &events[i]);
	}
	end_session_if_doomed(s);
	if (knocks && !s->ending && !(s->in_session && hung_up))
		accept_client(s);
}

void vfu_server_process(struct vfu_server *s)
{
	atomic_store(&s->processor, pthread_self());
	atomic_store(&s->processing, true);
	begin_turn(s);
	end_session_if_doomed(s);
	process_events(s);
	if (s->unfinished || s->ending)
		vfu_server_wake(s); /* nothing else makes us readable for that */
	atomic_store(&s->processing, false);
}

void vfu_server_end(struct vfu_server *s, const char *why)
{
	vfu_server_disconnect(s, why);
	atomic_store(&s->processor, pthread_self());
	atomic_store(&s->processing, true);
	if (s->in_session)
		end_session(s);
	atomic_store(&s->processing, false);
}

void vfu_server_destroy(struct vfu_server *s)
{
	if (!s)
		return;
	if (s->in_session)
		end_session(s);
	/* Those who waited have their answer by now; they may still be on their way out. */
	pthread_mutex_lock(&s->lock);
	while (s->wait_count)
		pthread_cond_wait(&s->no_waits, &s->lock);
	pthread_mutex_unlock(&s->lock);
	vfu_irqs_finish(&s->irqs);
	free_server(s);
}

int vfu_server_fd(const struct vfu_server *s)
{
	return s->epoll;
}

void vfu_server_disconnect(struct vfu_server *s, const char *why)
{
	pthread_mutex_lock(&s->lock);
	if (s->open)
		vfu_server_doom(s, why);
	pthread_mutex_unlock(&s->lock);
}

bool vfu_server_connected(const struct vfu_server *s)
{
	struct vfu_server *w = (struct vfu_server *)(uintptr_t)s;
	bool connected;

	pthread_mutex_lock(&w->lock);
	connected = w->connected;
	pthread_mutex_unlock(&w->lock);
	return connected;
}

bool vfu_irq_trigger(struct vfu_server *s, unsigned index, unsigned vector)
{
	return vfu_irqs_trigger(&s->irqs, index, vector, true);
}

bool vfu_irq_raise(struct vfu_server *s, unsigned index, unsigned vector)
{
	return vfu_irqs_trigger(&s->irqs, index, vector, false);
}
