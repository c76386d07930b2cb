/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/saved_state.h"

#include <stdio.h>
#include <time.h>

#include "cli/command.h"
#include "control/message.h"

#define PAUSE_MS 5

int saved_state_ask(const struct query *q, struct json_object *request, struct json_object **ret_reply)
{
	struct json_object *reply = NULL;
	int err = 0;

	for (unsigned waited = 0; waited < SAVED_STATE_PATIENCE_MS; waited += PAUSE_MS) {
		err = query_call(q, request, &reply);
		if (err || !control_get_bool(reply, "busy") || waited + PAUSE_MS >= SAVED_STATE_PATIENCE_MS)
			break;
		json_object_put(reply);
		reply = NULL;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	json_object_put(request);
	if (!err && control_get_string(reply, "error"))
		err = failure("%s", control_get_string(reply, "error"));
	if (!err) {
		*ret_reply = reply;
		return 0;
	}
	json_object_put(reply);
	return err;
}

const char *saved_state_units(struct json_object *reply, char text[32])
{
	uint64_t units = control_get_u64(reply, "units", 0);

	text[0] = '\0';
	if (units > 1)
		snprintf(text, 32, ", of %u IOMMUs", (unsigned)units);
	return text;
}
