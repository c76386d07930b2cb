/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/metrics_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/openmetrics.h"
#include "os/clock.h"
#include "os/sentence.h"

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* --------------------------------------------------------------------- open */

static int refuse(char *why, size_t why_size, const char *address, const char *what)
{
	return os_say(why, why_size, "%s: %s", address, what);
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* HOST:PORT, [HOST]:PORT or PORT. */
static bool parse_host(const char *text, union address *ret, socklen_t *ret_len)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	char host[64] = "127.0.0.1", *end;
	unsigned long number = strtoul(port, &end, 10);

	if (*port < '0' || *port > '9' || *end || number > UINT16_MAX || len >= sizeof(host))
		return false;
	if (len)
		snprintf(host, sizeof(host), "%.*s", (int)len, text);
	if (!strcmp(host, "localhost"))
		strcpy(host, "127.0.0.1");
	*ret = (union address){.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)}};
	*ret_len = sizeof(ret->v4);
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1)
		return true;
	if (host[0] != '[' || host[strlen(host) - 1] != ']')
		return false;
	host[strlen(host) - 1] = '\0';
	*ret = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number)}};
	*ret_len = sizeof(ret->v6);
	return inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) == 1;
}

/* Nobody listens there: what is left of a server that was killed. */
static void remove_stale(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return;
	if (!lstat(a->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
		unlink(a->sun_path);
	close(fd);
}

static int listen_at(struct metrics_server *s, const union address *a, socklen_t len)
{
	int on = 1;

	s->fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s->fd, &a->any, len) || listen(s->fd, 16))
		return -errno;
	return 0;
}

static int open_local(struct metrics_server *s, const char *address, char *why, size_t why_size)
{
	union address a = {.local = {.sun_family = AF_UNIX}};
	int err;

	if (strlen(address) >= sizeof(a.local.sun_path))
		return refuse(why, why_size, address, "the path of a socket has at most 107 bytes");
	strcpy(a.local.sun_path, address);
	remove_stale(&a.local);
	err = listen_at(s, &a, sizeof(a.local));
	if (err)
		return refuse(why, why_size, address, strerror(-err));
	strcpy(s->path, address);
	snprintf(s->where, sizeof(s->where), "socket %s, page /metrics", address);
	return 0;
}

static int open_tcp(struct metrics_server *s, const char *address, char *why, size_t why_size)
{
	char host[INET6_ADDRSTRLEN];
	union address a;
	socklen_t len;
	bool v6;
	int err;

	if (!parse_host(address, &a, &len))
		return refuse(why, why_size, address, "write the path of a socket, PORT or 127.0.0.1:PORT");
	if (!is_loopback(&a))
		return refuse(why, why_size, address,
			      "this serves the own machine only; write 127.0.0.1 or [::1]");
	err = listen_at(s, &a, len);
	if (err)
		return refuse(why, why_size, address, strerror(-err));
	getsockname(s->fd, &a.any, &len);
	v6 = a.any.sa_family == AF_INET6;
	inet_ntop(a.any.sa_family, v6 ? (void *)&a.v6.sin6_addr : (void *)&a.v4.sin_addr, host, sizeof(host));
	snprintf(s->where, sizeof(s->where), "http://%s%s%s:%u/metrics", v6 ? "[" : "", host, v6 ? "]" : "",
		 ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port));
	return 0;
}

int metrics_server_open(struct metrics_server *s, const char *address, char *why, size_t why_size)
{
	int err;

	*s = (struct metrics_server){.fd = -1};
	err = strchr(address, '/') ? open_local(s, address, why, why_size)
				   : open_tcp(s, address, why, why_size);
	if (err)
		metrics_server_close(s);
	return err;
}

void metrics_server_close(struct metrics_server *s)
{
	if (s->path[0])
		unlink(s->path);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* -------------------------------------------------------------------- client */

static bool wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline - os_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* Up to the empty line that ends a request without a body. False: it does not come. */
static bool receive(int fd, char request[METRICS_REQUEST_MAX], int64_t deadline)
{
	size_t used = 0;

	request[0] = '\0';
	while (!strstr(request, "\r\n\r\n")) {
		ssize_t n;

		if (used == METRICS_REQUEST_MAX - 1 || !wait_for(fd, POLLIN, deadline))
			return false;
		n = recv(fd, request + used, METRICS_REQUEST_MAX - 1 - used, 0);
		if (n <= 0 || memchr(request + used, '\0', (size_t)n))
			return false;
		used += (size_t)n;
		request[used] = '\0';
	}
	return true;
}

static void send_all(int fd, const char *data, size_t len, int64_t deadline)
{
	while (len && wait_for(fd, POLLOUT, deadline)) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

struct answer {
	const char *status, *type, *body;
	size_t len;
};

static void send_answer(int fd, const struct answer *a, bool with_body, int64_t deadline)
{
	char head[256];
	int n = snprintf(
		head, sizeof(head),
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
		a->status, a->type, a->len, !strncmp(a->status, "405", 3) ? "Allow: GET, HEAD\r\n" : "");

	send_all(fd, head, (size_t)n, deadline);
	if (with_body)
		send_all(fd, a->body, a->len, deadline);
}

static struct answer in_words(const char *status, const char *body)
{
	return (struct answer){status, "text/plain; charset=utf-8", body, strlen(body)};
}

static bool is_path(const char *target, const char *path)
{
	size_t len = strlen(path);

	return !strncmp(target, path, len) && strchr(" ?", target[len]) && target[len];
}

/* The request line alone decides. */
static struct answer answer_to(const char *target, metrics_page_fn page, void *arg, char **ret_page)
{
	size_t len = 0;

	if (!target)
		return in_words("405 Method Not Allowed", "only GET and HEAD are understood\n");
	if (is_path(target, "/"))
		return in_words("200 OK", "viommu: the metrics are at /metrics\n");
	if (!is_path(target, "/metrics"))
		return in_words("404 Not Found", "the only page is /metrics\n");
	*ret_page = page(arg, &len);
	if (!*ret_page)
		return in_words("503 Service Unavailable", "viommud does not answer\n");
	return (struct answer){"200 OK", OPENMETRICS_CONTENT_TYPE, *ret_page, len};
}

static void serve_client(int fd, metrics_page_fn page, void *arg)
{
	int64_t deadline = os_now_ms() + METRICS_CLIENT_MS;
	char request[METRICS_REQUEST_MAX], *text = NULL;
	bool get, head;
	struct answer a;

	if (!receive(fd, request, deadline)) {
		a = in_words("400 Bad Request", "this is no HTTP request\n");
		send_answer(fd, &a, true, deadline);
		return;
	}
	get = !strncmp(request, "GET ", 4);
	head = !strncmp(request, "HEAD ", 5);
	a = answer_to(get ? request + 4 : head ? request + 5 : NULL, page, arg, &text);
	send_answer(fd, &a, !head, deadline);
	free(text);
}

void metrics_server_serve(struct metrics_server *s, metrics_page_fn page, void *arg)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	serve_client(fd, page, arg);
	close(fd);
}
