/* SPDX-License-Identifier: BSD-3-Clause */
/* The ranges of memory that a device can reach, as `reach` and `dump` show them. */
#ifndef CLI_RANGES_H
#define CLI_RANGES_H

#include <json-c/json.h>

void ranges_show(struct json_object *reply, const char *device);

#endif
