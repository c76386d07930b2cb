/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/replace_file.h"
#include "cli/saved_state.h"
#include "control/message.h"

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: bytes take half of the room of their digits. */
static bool decode(char *text, size_t length)
{
	for (size_t i = 0; i < length; i += 2) {
		int high = digit(text[i]), low = digit(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		text[i / 2] = (char)(high << 4 | low);
	}
	return true;
}

static int write_state(const struct query *q, struct json_object *reply)
{
	const char *hex = control_get_text(reply, "state");

	size_t length = strlen(hex);
	char *text = strdup(hex), units[32];
	int err = 0;

	if (!text)
		return failure("there is no memory for the state");
	if (!length || length % 2 || !decode(text, length))
		err = failure("what answers in %s is not a viommud of this version", q->dir);
	if (!err) {
		int ret = replace_file(q->operand, text, length / 2, REPLACE_FOR_OWNER);

		if (ret)
			err = failure("%s cannot be written: %s", q->operand, strerror(-ret));
	}
	free(text);
	if (!err && q->json)
		printf("{\"file_bytes\": %zu}\n", length / 2);
	else if (!err)
		printf("%s: %zu bytes%s; the VM is frozen until it is restored or reset\n", q->operand,
		       length / 2, saved_state_units(reply, units));
	return err;
}

static int run(int argc, char **argv)
{
	struct json_object *request, *reply;
	struct query q;
	int err = query_parse(&q, argc, argv, "FILE");

	if (err)
		return err;
	request = control_object();
	control_set_string(request, "command", "save");
	err = saved_state_ask(&q, request, &reply);
	if (err)
		return err;
	err = write_state(&q, reply);
	json_object_put(reply);
	return err;
}

const struct command save_command = {
	.name = "save",
	.run = run,
	.summary = "write the state of a VM's IOMMU and controllers to a file",
	.help = "usage: viommu save --dir DIR FILE [--json]\n\n"
		"Writes what the viommud in the folder DIR knows of its VM to FILE, for 'viommu\n"
		"restore': registers, queues, pending faults and interrupts of its IOMMUs and of the\n"
		"controllers. FILE has neither the guest's memory, where tables and queues are, nor\n"
		"the disks: the VMM keeps the memory, the administrator the disks.\n\n"
		"Pause the guest first. Commands that the controllers have begun are finished; what\n"
		"waits in queues stays there. Then the VM is frozen, as nothing may change behind the\n"
		"state: end viommud, or restore the state to go on.\n\n"
		"The state is for the same version of the format and the same options. It has a few\n"
		"kilobytes and a checksum, and replaces FILE only when it is complete. Only FILE's owner\n"
		"may read the state.\n",
};
