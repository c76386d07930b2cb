/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that ask a running daemon about a device, or about each device behind a unit. */
#ifndef CLI_DEVICE_QUERY_H
#define CLI_DEVICE_QUERY_H

#include <json-c/json.h>

/* Take the command line, ask, and show each reply, unless it was to be shown as JSON. Returns the exit
 * status. */
int device_query(int argc, char **argv, const char *command,
		 void (*show)(struct json_object *reply, const char *device));

#endif
