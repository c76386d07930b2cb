/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/query.h"
#include "cli/ranges.h"

static int run(int argc, char **argv)
{
	struct json_object *reply;
	struct query q;
	int err = query_parse(&q, argc, argv, "device such as nvme0");

	if (!err)
		err = query_ask(&q, "reach", "device", &reply);
	if (err || !reply)
		return err;
	ranges_show(reply, q.operand);
	json_object_put(reply);
	return 0;
}

const struct command reach_command = {
	.name = "reach",
	.run = run,
	.summary = "which memory a device can reach right now",
	.help = "usage: viommu reach --dir DIR DEVICE [--json]\n\n"
		"Walks the tables that the guest has written for DEVICE (nvme0, nvme1, ...) and lists the\n"
		"addresses it can use now and the guest memory they lead to.\n",
};
