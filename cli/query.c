/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/query.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "control/client.h"
#include "control/message.h"

#define ANSWER_MS 10000

static const struct option options[] = {
	{"dir", required_argument, NULL, 'd'},
	{"json", no_argument, NULL, 'j'},
	{NULL},
};

static int take_options(struct query *q, int argc, char **argv)
{
	int code;

	opterr = 0;
	while ((code = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (code == ':')
			return usage_failure("--dir needs the folder that viommud serves in");
		if (code == '?')
			return usage_failure("'%s' is not an option of this; 'viommu %s --help' lists them",
					     argv[optind - 1], argv[0]);
		if (code == 'd')
			q->dir = optarg;
		else
			q->json = true;
	}
	return 0;
}

int query_parse(struct query *q, int argc, char **argv, const char *operand)
{
	int wanted = operand ? 1 : 0, err;

	*q = (struct query){0};
	err = take_options(q, argc, argv);
	if (err)
		return err;
	if (!q->dir)
		return usage_failure(
			"say which daemon: --dir DIR, the folder that viommud printed when it was ready");
	if (argc - optind < wanted)
		return usage_failure("%s needs a %s; 'viommu %s --help' says which", argv[0], operand,
				     argv[0]);
	if (argc - optind > wanted)
		return usage_failure("'%s' is too much; 'viommu %s --help' tells what is taken",
				     argv[optind + wanted], argv[0]);
	q->operand = operand ? argv[optind] : NULL;
	return 0;
}

static int explain(const char *dir, int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTDIR:
		return failure("no viommud serves in %s; give the folder that it printed when it was ready, "
			       "or that of one VM in it",
			       dir);
	case -ETIMEDOUT:
		return failure("the viommud in %s does not answer; end it and start again", dir);
	case -EPROTO:
		return failure("what answers in %s is not a viommud of this version", dir);
	default:
		return failure("the viommud in %s cannot be asked: %s", dir, strerror(-err));
	}
}

int query_call(const struct query *q, struct json_object *request, struct json_object **ret_reply)
{
	int err = control_call(q->dir, request, ANSWER_MS, ret_reply);

	return err ? explain(q->dir, err) : 0;
}

int query_ask(const struct query *q, const char *command, const char *operand_key,
	      struct json_object **ret_reply)
{
	struct json_object *request = control_object(), *reply;
	const char *error;
	int err;

	control_set_string(request, "command", command);
	if (operand_key)
		control_set_string(request, operand_key, q->operand);
	if (q->iommu)
		control_set_string(request, "iommu", q->iommu);
	err = query_call(q, request, &reply);
	json_object_put(request);
	if (err)
		return err;
	error = control_get_string(reply, "error");
	if (error)
		err = failure("%s", error);
	if (!err && q->json)
		puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	*ret_reply = reply;
	if (err || q->json) {
		json_object_put(reply);
		*ret_reply = NULL;
	}
	return err;
}

const char *query_size_text(uint64_t pages, char text[32])
{
	double kib = (double)pages * 4;

	if (kib < 1024)
		snprintf(text, 32, "%.0f KiB", kib);
	else if (kib < 1024 * 1024)
		snprintf(text, 32, "%.1f MiB", kib / 1024);
	else
		snprintf(text, 32, "%.1f GiB", kib / (1024 * 1024));
	return text;
}
