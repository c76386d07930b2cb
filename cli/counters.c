/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/query.h"
#include "cli/sibling.h"
#include "control/message.h"

static void show_counter(const char *name, struct json_object *counter)
{
	const char *unit = control_get_text(counter, "unit");

	printf("%20" PRIu64 " %-6s %-28s %s\n", control_get_u64(counter, "value", 0), unit, name,
	       control_get_text(counter, "doc"));
}

/* The library's own foreach is a GNU statement expression, which clang -Wpedantic refuses. */
static void show_all(struct json_object *counters)
{
	struct json_object_iterator at = json_object_iter_begin(counters),
				    end = json_object_iter_end(counters);

	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
		show_counter(json_object_iter_peek_name(&at), json_object_iter_peek_value(&at));
}

/* The table is built into the daemon, and no daemon needs to run for it. */
static int describe(void)
{
	char viommud[PATH_MAX];

	sibling_find("viommud", viommud);
	execlp(viommud, viommud, "--describe-counters", NULL);
	return failure("viommud cannot be started (%s); put it beside viommu or into PATH", strerror(errno));
}

static int run(int argc, char **argv)
{
	struct json_object *reply, *counters;
	struct query q;
	int err;

	if (argc == 2 && !strcmp(argv[1], "--describe"))
		return describe();
	err = query_parse(&q, argc, argv, NULL);
	if (!err)
		err = query_ask(&q, "counters", NULL, &reply);
	if (err || !reply)
		return err;
	if (json_object_object_get_ex(reply, "counters", &counters))
		show_all(counters);
	json_object_put(reply);
	return 0;
}

const struct command counters_command = {
	.name = "counters",
	.run = run,
	.summary = "what the IOMMU has counted since the daemon started",
	.help = "usage: viommu counters --dir DIR [--json]\n"
		"       viommu counters --describe\n\n"
		"Each counter with its value, its unit and what it counts. --describe prints what is\n"
		"counted and needs no daemon: name, unit, where and meaning, with tabs in between.\n",
};
