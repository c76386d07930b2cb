/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small HTTP server for one page, /metrics, on this machine only: a UNIX
 * socket or a port of the loopback interface.
 *
 * One client at a time, each with METRICS_CLIENT_MS in all: a slow one makes
 * others wait that long and no longer.
 */
#ifndef CLI_METRICS_SERVER_H
#define CLI_METRICS_SERVER_H

#include <stddef.h>

#define METRICS_CLIENT_MS   2000
#define METRICS_REQUEST_MAX 8192

struct metrics_server {
	int fd;
	char where[160]; /* the page's address, for people */
	char path[108];	 /* of a UNIX socket, to be removed; "" otherwise */
};

/*
 * `address`: /PATH or ./PATH of a UNIX socket (one that nobody listens at any
 * more is replaced), PORT, or HOST:PORT with a host of the loopback interface.
 * 0, or -1 and a sentence in `why`.
 */
int metrics_server_open(struct metrics_server *s, const char *address, char *why, size_t why_size);
void metrics_server_close(struct metrics_server *s);

/* The page, malloc'ed, and its length. NULL: it cannot be made now. */
typedef char *(*metrics_page_fn)(void *arg, size_t *ret_len);

/* Serve who has come; `fd` is readable. */
void metrics_server_serve(struct metrics_server *s, metrics_page_fn page, void *arg);

#endif
