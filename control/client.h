/* SPDX-License-Identifier: BSD-3-Clause */
/* The other end: ask a daemon one thing. */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <json-c/json.h>

/*
 * Connect to the daemon that serves in `directory`, send `request`, wait at
 * most `timeout_ms` for the reply. 0 and *ret_reply, which the caller puts
 * (it may be an error reply). Otherwise a negative errno: -ENOENT or
 * -ECONNREFUSED: no daemon is there; -ETIMEDOUT; -EPROTO: what came back is
 * no reply; -ENAMETOOLONG.
 */
int control_call(const char *directory, struct json_object *request, unsigned timeout_ms,
		 struct json_object **ret_reply);

/* control_call() with {"command": command} and nothing else. */
int control_ask(const char *directory, const char *command, unsigned timeout_ms,
		struct json_object **ret_reply);

#endif
