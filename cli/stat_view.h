/* SPDX-License-Identifier: BSD-3-Clause */
/* What happened between two replies to the control command `stat`, for people. */
#ifndef CLI_STAT_VIEW_H
#define CLI_STAT_VIEW_H

#include <stdio.h>

#include <json-c/json.h>

/* Of domains at most `domains` are shown one by one, the rest as a sum; of the last faults `faults`. */
struct stat_limits {
	unsigned domains, faults;
};

/* Lines of rates. `now` comes later than `before`, from the same daemon. */
void stat_view(FILE *out, struct json_object *before, struct json_object *now,
	       const struct stat_limits *limits);

/* How many lines stat_view() takes beside the domains and faults it is limited to. */
unsigned stat_view_height(struct json_object *now);

#endif
