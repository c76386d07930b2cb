/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/device_query.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/query.h"
#include "control/message.h"

typedef void (*show_fn)(struct json_object *reply, const char *device);

/* A unit with this name is the only one, or the first: viommud refuses the name for others. */
static void title_of(struct json_object *reply, const char *device, char title[64])
{
	const char *iommu = control_get_string(reply, "iommu");

	if (iommu && strcmp(iommu, "iommu"))
		snprintf(title, 64, "%.24s (behind %.24s)", device, iommu);
	else
		snprintf(title, 64, "%.60s", device);
}

/* `replies` NULL: the reply is shown, or printed as the JSON that it is. Else it goes there with --json. */
static int ask(const struct query *q, const char *command, show_fn show, struct json_object *replies)
{
	struct query plain = *q;
	struct json_object *reply;
	char title[64];
	int err;

	plain.json = q->json && !replies;
	err = query_ask(&plain, command, "device", &reply);
	if (err || !reply)
		return err;
	if (q->json) {
		control_set_string(reply, "device", q->operand);
		control_append(replies, reply);
		return 0;
	}
	title_of(reply, q->operand, title);
	show(reply, title);
	json_object_put(reply);
	return 0;
}

static bool is_unit(struct json_object *status, const char *name)
{
	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *f = control_get_item(status, "functions", i);

		if (!strcmp(control_get_text(f, "kind"), "iommu") &&
		    !strcmp(control_get_text(f, "name"), name))
			return true;
	}
	return false;
}

static int ask_each(const struct query *q, struct json_object *status, const char *command, show_fn show,
		    struct json_object *replies)
{
	struct query one = *q;
	int first_err = 0;

	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *f = control_get_item(status, "functions", i);
		int err;

		if (strcmp(control_get_text(f, "iommu"), q->operand))
			continue;
		one.operand = control_get_text(f, "name");
		err = ask(&one, command, show, replies);
		first_err = first_err ? first_err : err;
	}
	return first_err;
}

/* One JSON document, whatever became of one of the devices. */
static int ask_behind(const struct query *q, struct json_object *status, const char *command, show_fn show)
{
	struct json_object *reply = control_object(), *replies = control_array();
	int err = ask_each(q, status, command, show, replies);

	control_set_bool(reply, "ok", !err);
	control_set_string(reply, "iommu", q->operand);
	control_add(reply, "devices", replies);
	if (q->json)
		puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(reply);
	return err;
}

static int ask_status(const struct query *q, struct json_object **ret_status)
{
	struct json_object *request = control_object();
	int err;

	control_set_string(request, "command", "status");
	err = query_call(q, request, ret_status);
	json_object_put(request);
	return err;
}

int device_query(int argc, char **argv, const char *command, show_fn show)
{
	struct json_object *status;
	struct query q;
	int err = query_parse(&q, argc, argv, "device such as nvme0");

	if (!err)
		err = ask_status(&q, &status);
	if (err)
		return err;
	err = is_unit(status, q.operand) ? ask_behind(&q, status, command, show)
					 : ask(&q, command, show, NULL);
	json_object_put(status);
	return err;
}
