/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/query.h"
#include "control/message.h"

static void show_summary(struct json_object *reply, const char *device)
{
	uint64_t pages = control_get_u64(reply, "pages", 0), all = control_get_u64(reply, "memory_pages", 0);
	char reached[32], memory[32];

	if (control_get_bool(reply, "blocked")) {
		printf("%s can reach no memory right now: the guest's tables block it\n", device);
		return;
	}
	printf("%s can reach %" PRIu64 " of %" PRIu64 " pages of guest memory right now (%s of %s), "
	       "and write %" PRIu64 " of them\n",
	       device, pages, all, query_size_text(pages, reached), query_size_text(all, memory),
	       control_get_u64(reply, "writable_pages", 0));
}

static void show_range(struct json_object *range)
{
	uint64_t first = control_get_u64(range, "first", 0), last = control_get_u64(range, "last", 0);
	char size[32];
	bool readable = control_get_bool(range, "read"), writable = control_get_bool(range, "write");

	printf("  0x%012" PRIx64 " - 0x%012" PRIx64 "  to memory 0x%012" PRIx64 "  %s%s%s, %s\n", first, last,
	       control_get_u64(range, "memory", 0), readable ? "read" : "", readable && writable ? " " : "",
	       writable ? "write" : "", query_size_text((last >> 12) - (first >> 12) + 1, size));
}

static int run(int argc, char **argv)
{
	struct json_object *reply;
	struct query q;
	int err = query_parse(&q, argc, argv, "device such as nvme0");

	if (!err)
		err = query_ask(&q, "reach", "device", &reply);
	if (err || !reply)
		return err;
	show_summary(reply, q.operand);
	for (size_t i = 0; i < control_get_length(reply, "ranges"); i++)
		show_range(control_get_item(reply, "ranges", i));
	if (!control_get_bool(reply, "complete"))
		printf("  ... there is more than can be listed\n");
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
