/* SPDX-License-Identifier: BSD-3-Clause */
/* What the command line tool can ask a running daemon. */
#ifndef DAEMON_COMMANDS_COMMANDS_H
#define DAEMON_COMMANDS_COMMANDS_H

#include <json-c/json.h>

struct control_work;

/* A control_handler_fn; opaque is the struct vm. Main thread. */
struct json_object *commands_handle(void *vm, struct json_object *request, struct control_work **ret_work);

#endif
