/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of a VM in control messages: to whoever saves it, and back in pieces. Main thread. */
#ifndef DAEMON_COMMANDS_TRANSFER_H
#define DAEMON_COMMANDS_TRANSFER_H

#include <json-c/json.h>

struct vm;

/* Replies "state", in hexadecimal, and of how many "units" it is; or an error, with "busy" when asking again
 * soon helps. */
struct json_object *transfer_save(struct vm *vm, struct json_object *request);
/* {"offset", "data"}: a piece; without "data": go on from the pieces that have come, which are of so many
 * "units". */
struct json_object *transfer_restore(struct vm *vm, struct json_object *request);

#endif
