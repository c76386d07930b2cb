/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/protocol.h"
#include "control/message.h"
#include "os/clock.h"
#include "os/sentence.h"

struct client {
	int fd;	       /* -1: the slot is free */
	bool ended;    /* nothing more will be read; goes when `out` is sent */
	int64_t moved; /* ms when it last moved a byte */
	size_t in_used;
	char in[CONTROL_REQUEST_MAX];
	struct control_work *work; /* that the reply comes from; no request is taken meanwhile */
	struct reply_text {
		char *head, *rest; /* rest: NULL, or what follows the head */
		size_t head_len, len;
	} out; /* the reply on its way while it has a head; no request is taken meanwhile */
	size_t out_sent;
};

static char no_memory[] = "{\"error\":\"there is no memory for the reply; try again\"}\n";
static const char end_of_reply[] = "}\n";

struct control_server {
	int epoll, listener, timer;
	int again;     /* an eventfd: readable while there is work */
	unsigned turn; /* whose work was done last */
	int spare;     /* given up for a moment when descriptors run out */
	control_handler_fn handler;
	void *opaque;
	struct sockaddr_un address;
	struct client clients[CONTROL_CLIENTS_MAX];
};

/* What an epoll event is about: a client's number, or one of these. */
enum { TAG_LISTENER = CONTROL_CLIENTS_MAX, TAG_TIMER, TAG_AGAIN, TAG_END };

static int watch(struct control_server *s, int operation, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = {.events = events, .data.u32 = tag};

	return epoll_ctl(s->epoll, operation, fd, &event) ? -errno : 0;
}

static void forget_reply(struct client *c)
{
	if (c->out.head != no_memory)
		free(c->out.head);
	free(c->out.rest);
	c->out = (struct reply_text){.head = NULL};
}

static void drop(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	forget_reply(c);
	if (c->work)
		c->work->drop(c->work);
	*c = (struct client){.fd = -1};
}

/* ----------------------------------------------------------------- replies */

/* What is to be sent next: of the head, or of the rest. */
static const char *rest_of_reply(const struct client *c, size_t *ret_len)
{
	const struct reply_text *out = &c->out;

	if (c->out_sent < out->head_len) {
		*ret_len = out->head_len - c->out_sent;
		return out->head + c->out_sent;
	}
	*ret_len = out->len - c->out_sent;
	return out->rest + (c->out_sent - out->head_len);
}

/* False: the client is gone. */
static bool send_reply(struct client *c)
{
	while (c->out.head && c->out_sent < c->out.len) {
		size_t len;
		const char *bytes = rest_of_reply(c, &len);
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->out_sent += (size_t)n;
		c->moved = os_now_ms();
	}
	forget_reply(c);
	return true;
}

/* The rest is not copied: it can be a megabyte, and the thread has others to serve. */
static struct reply_text text_of(const struct control_reply *reply)
{
	struct reply_text t = {.rest = reply->rest};

	t.head = control_line(reply->object, &t.head_len);
	if (!t.head) {
		free(t.rest);
		return (struct reply_text){no_memory, NULL, strlen(no_memory), strlen(no_memory)};
	}
	t.len = t.head_len;
	if (t.rest) {
		t.head_len -= strlen(end_of_reply);
		t.len = t.head_len + reply->rest_len;
	}
	return t;
}

static void begin_reply(struct client *c, const struct control_reply *reply)
{
	c->out = text_of(reply);
	json_object_put(reply->object);
	if (c->out.len > CONTROL_REPLY_MAX) {
		struct json_object *error = control_error("the reply would be too long; ask for less");

		forget_reply(c);
		c->out = text_of(&(struct control_reply){.object = error});
		json_object_put(error);
	}
	c->out_sent = 0;
}

static void begin_error(struct client *c, struct json_object *error)
{
	begin_reply(c, &(struct control_reply){.object = error});
}

/* ---------------------------------------------------------------- requests */

static void answer(struct control_server *s, struct client *c, size_t len)
{
	char why[OS_WHY_SIZE];
	struct json_object *request = control_parse(c->in, len, why, sizeof(why)), *reply;

	if (!request) {
		begin_error(c, control_error("this request was not understood: %s", why));
		return;
	}
	reply = s->handler(s->opaque, request, &c->work);
	json_object_put(request);
	if (!c->work)
		begin_reply(c, &(struct control_reply){.object = reply});
}

/* A line is complete, or longer than it may be, and nothing of the client's is on its way. */
static bool has_request(const struct client *c)
{
	return c->fd >= 0 && !c->out.head && !c->work &&
	       (c->in_used == sizeof(c->in) || memchr(c->in, '\n', c->in_used));
}

/* Take the first line out of the buffer and answer it. */
static void take_request(struct control_server *s, struct client *c)
{
	char *end = memchr(c->in, '\n', c->in_used);
	size_t len;

	if (!end) {
		begin_error(c,
			    control_error("a request is one line of at most %d bytes", CONTROL_REQUEST_MAX));
		c->ended = true;
		c->in_used = 0;
		return;
	}
	len = (size_t)(end - c->in);
	answer(s, c, len);
	c->in_used -= len + 1;
	memmove(c->in, end + 1, c->in_used);
}

/* False: the client is gone. */
static bool receive_some(struct client *c)
{
	ssize_t n;

	if (c->ended || c->in_used == sizeof(c->in))
		return true;
	n = recv(c->fd, c->in + c->in_used, sizeof(c->in) - c->in_used, 0);
	if (n == 0)
		c->ended = true;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_used += (size_t)n;
	c->moved = os_now_ms();
	return true;
}

/* Bytes are moved, both ways; go_on takes the requests that have come. False: the client is gone. */
static bool move_bytes(struct client *c)
{
	if (!send_reply(c))
		return false;
	if (!c->out.head && !c->work && !has_request(c) && !receive_some(c))
		return false;
	return c->out.head || c->work || has_request(c) || !c->ended;
}

static void serve_client(struct control_server *s, uint32_t number)
{
	struct client *c = &s->clients[number];
	uint64_t one = 1;
	bool waits; /* for its turn */

	if (c->fd < 0)
		return;
	if (!move_bytes(c)) {
		drop(c);
		return;
	}
	waits = c->work || has_request(c);
	if (watch(s, EPOLL_CTL_MOD, c->fd, waits ? 0 : c->out.head ? EPOLLOUT : EPOLLIN, number))
		drop(c);
	else if (waits && write(s->again, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is readable then anyway */
}

/* The next client whose turn it is. NULL: nobody waits for one. */
static struct client *next_client(struct control_server *s)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c;

		s->turn = (s->turn + 1) % CONTROL_CLIENTS_MAX;
		c = &s->clients[s->turn];
		if (c->work || has_request(c))
			return c;
	}
	return NULL;
}

static void step_work(struct control_server *s, struct client *c)
{
	struct control_reply reply = {.object = NULL};

	if (!c->work->step(c->work, &reply))
		return;
	c->work->drop(c->work);
	c->work = NULL;
	begin_reply(c, &reply);
	/* To send a long one is for the next turn. */
	if (watch(s, EPOLL_CTL_MOD, c->fd, EPOLLOUT, s->turn))
		drop(c);
}

/* A request or a step for one of the clients, so that a turn is short, however many there are and whatever
 * they have sent. */
static void go_on(struct control_server *s)
{
	struct client *c = next_client(s);
	uint64_t count;

	if (!c) {
		if (read(s->again, &count, sizeof(count)) < 0)
			return;
		return;
	}
	c->moved = os_now_ms();
	if (c->work) {
		step_work(s, c);
		return;
	}
	take_request(s, c);
	serve_client(s, s->turn);
}

/* ----------------------------------------------------------------- clients */

static struct client *free_slot(struct control_server *s)
{
	struct client *oldest = &s->clients[0];

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0)
			return c;
		if (c->moved < oldest->moved)
			oldest = c;
	}
	drop(oldest);
	return oldest;
}

static void set_timer(struct control_server *s, bool on)
{
	struct itimerspec t = {.it_value.tv_sec = on, .it_interval.tv_sec = on};

	timerfd_settime(s->timer, 0, &t, NULL);
}

/* It is lost when others take the descriptor that turn_away() gives up for a moment. */
static void keep_spare(struct control_server *s)
{
	if (s->spare < 0)
		s->spare = eventfd(0, EFD_CLOEXEC);
}

/* Without a descriptor left, a caller would stand in the door and keep us busy for ever. */
static void turn_away(struct control_server *s)
{
	int fd;

	if (s->spare < 0)
		return;
	close(s->spare);
	fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	s->spare = eventfd(0, EFD_CLOEXEC);
}

static void accept_client(struct control_server *s)
{
	struct client *c;
	int fd;

	keep_spare(s);
	fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(s);
	if (fd < 0)
		return;
	c = free_slot(s);
	c->fd = fd;
	c->moved = os_now_ms();
	if (watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, (uint32_t)(c - s->clients)))
		drop(c);
	else
		set_timer(s, true);
}

static void drop_silent(struct control_server *s)
{
	int64_t now = os_now_ms();
	uint64_t ticks;
	bool any = false;

	if (read(s->timer, &ticks, sizeof(ticks)) < 0)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if (c->fd >= 0 && now - c->moved > CONTROL_SILENCE_MS)
			drop(c);
		any = any || c->fd >= 0;
	}
	set_timer(s, any);
}

void control_server_process(struct control_server *s)
{
	struct epoll_event events[TAG_END];
	int n = epoll_wait(s->epoll, events, TAG_END, 0);

	for (int i = 0; i < n; i++) {
		if (events[i].data.u32 == TAG_LISTENER)
			accept_client(s);
		else if (events[i].data.u32 == TAG_TIMER)
			drop_silent(s);
		else if (events[i].data.u32 == TAG_AGAIN)
			go_on(s);
		else
			serve_client(s, events[i].data.u32);
	}
}

int control_server_fd(const struct control_server *s)
{
	return s->epoll;
}

/* ------------------------------------------------------------ begin and end */

static int remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlink(path) ? -errno : 0;
}

static int open_listener(struct control_server *s)
{
	int err = remove_stale(s->address.sun_path);

	if (err)
		return err;
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0)
		return -errno;
	if (bind(s->listener, (struct sockaddr *)&s->address, sizeof(s->address)) ||
	    listen(s->listener, SOMAXCONN))
		return -errno;
	return watch(s, EPOLL_CTL_ADD, s->listener, EPOLLIN, TAG_LISTENER);
}

static int open_all(struct control_server *s)
{
	int err;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	s->spare = eventfd(0, EFD_CLOEXEC);
	s->again = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll < 0 || s->timer < 0 || s->spare < 0 || s->again < 0)
		return -errno;
	err = watch(s, EPOLL_CTL_ADD, s->timer, EPOLLIN, TAG_TIMER);
	if (!err)
		err = watch(s, EPOLL_CTL_ADD, s->again, EPOLLIN, TAG_AGAIN);
	return err ? err : open_listener(s);
}

int control_server_create(const char *path, control_handler_fn handler, void *opaque,
			  struct control_server **ret_server)
{
	struct control_server *s;
	int err;

	if (strlen(path) >= sizeof(s->address.sun_path))
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->epoll = s->listener = s->timer = s->spare = s->again = -1;
	s->handler = handler;
	s->opaque = opaque;
	s->address.sun_family = AF_UNIX;
	strcpy(s->address.sun_path, path);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	err = open_all(s);
	if (err) {
		control_server_destroy(s);
		return err;
	}
	*ret_server = s;
	return 0;
}

void control_server_destroy(struct control_server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop(&s->clients[i]);
	if (s->listener >= 0) {
		unlink(s->address.sun_path);
		close(s->listener);
	}
	if (s->timer >= 0)
		close(s->timer);
	if (s->spare >= 0)
		close(s->spare);
	if (s->again >= 0)
		close(s->again);
	if (s->epoll >= 0)
		close(s->epoll);
	free(s);
}
