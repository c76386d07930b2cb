/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's end of the control socket: many clients, none of which can make
 * it wait. Everything happens in the thread that calls
 * control_server_process().
 */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

struct control_server;

/*
 * A reply as an object, and what is long in it as text already: `rest`, malloc'ed or
 * NULL, goes before the closing brace of the object, and begins with a comma.
 */
struct control_reply {
	struct json_object *object; /* NULL: no memory */
	char *rest;
	size_t rest_len;
};

/*
 * A reply that takes longer than a turn of the thread. step() is called once in a
 * turn until it returns true, with the reply, which is the server's then; then drop(),
 * and drop() alone when the client has gone.
 */
struct control_work {
	bool (*step)(struct control_work *w, struct control_reply *ret_reply);
	void (*drop)(struct control_work *w);
};

/*
 * Answer one request, which is a JSON object. Returns the reply, which the server puts; NULL: no memory. Or
 * sets *ret_work, which is NULL before, and the server's then.
 */
typedef struct json_object *(*control_handler_fn)(void *opaque, struct json_object *request,
						  struct control_work **ret_work);

/*
 * Listen at `path`; a socket that is there already is taken to be stale (the
 * caller holds the lock of the directory). 0 or a negative errno; -EEXIST:
 * something that is not a socket is there. -ENAMETOOLONG.
 */
int control_server_create(const char *path, control_handler_fn handler, void *opaque,
			  struct control_server **ret_server);
/* Close all, remove the socket. NULL is fine. */
void control_server_destroy(struct control_server *s);

/* Readable when control_server_process() has something to do. Owned by the server. */
int control_server_fd(const struct control_server *s);
/* Accept, read, answer: everything that can be done without waiting. */
void control_server_process(struct control_server *s);

#endif
