/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/saved_state.h"
#include "control/message.h"

#define FILE_MAX (1u << 20)
#define PIECE	 2048 /* bytes; as digits they fit into a request */

static int read_state(const char *path, uint8_t *bytes, size_t *ret_size)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		return failure("%s cannot be read: %s", path, strerror(errno));
	errno = 0;
	*ret_size = fread(bytes, 1, FILE_MAX + 1, f);
	if (ferror(f)) {
		fclose(f);
		return failure("%s cannot be read: %s", path, strerror(errno ? errno : EIO));
	}
	fclose(f);
	if (*ret_size > FILE_MAX)
		return failure("%s is no saved state: it is too large", path);
	return *ret_size ? 0 : failure("%s is no saved state: it is empty", path);
}

static int ask(const struct query *q, struct json_object *request, struct json_object **ret_reply)
{
	control_set_string(request, "command", "restore");
	return saved_state_ask(q, request, ret_reply);
}

static int send_piece(const struct query *q, const uint8_t *bytes, size_t offset, size_t size)
{
	struct json_object *request = control_object(), *reply;
	char text[2 * PIECE + 1];
	int err;

	for (size_t i = 0; i < size; i++)
		snprintf(&text[2 * i], 3, "%02x", bytes[offset + i]);
	control_set_u64(request, "offset", offset);
	control_set_string(request, "data", text);
	err = ask(q, request, &reply);
	if (!err)
		json_object_put(reply);
	return err;
}

/* 0 and *ret_reply, which the caller puts, or the exit status, said on stderr. */
static int send_state(const struct query *q, const uint8_t *bytes, size_t size,
		      struct json_object **ret_reply)
{
	int err = 0;

	for (size_t offset = 0; offset < size && !err; offset += PIECE)
		err = send_piece(q, bytes, offset, size - offset < PIECE ? size - offset : PIECE);
	return err ? err : ask(q, control_object(), ret_reply);
}

static void tell(const struct query *q, struct json_object *reply)
{
	char units[32];

	if (q->json)
		printf("{\"ok\": true}\n");
	else
		printf("the VM in %s goes on as saved in %s%s\n", q->dir, q->operand,
		       saved_state_units(reply, units));
}

static int run(int argc, char **argv)
{
	struct json_object *reply;
	uint8_t *bytes;
	struct query q;
	size_t size = 0;
	int err = query_parse(&q, argc, argv, "FILE");

	if (err)
		return err;
	bytes = malloc(FILE_MAX + 1);
	if (!bytes)
		return failure("there is no memory for the state");
	err = read_state(q.operand, bytes, &size);
	if (!err)
		err = send_state(&q, bytes, size, &reply);
	free(bytes);
	if (err)
		return err;
	tell(&q, reply);
	json_object_put(reply);
	return 0;
}

const struct command restore_command = {
	.name = "restore",
	.run = run,
	.summary = "go on from a state that 'viommu save' wrote",
	.help = "usage: viommu restore --dir DIR FILE [--json]\n\n"
		"Gives the viommud in the folder DIR the state in FILE, which 'viommu save' wrote:\n"
		"all of it, or nothing when the file is damaged, of another version, or of a viommud\n"
		"with other options or disks. Caches begin empty.\n\n"
		"The VMM connects first, and gives the guest's memory as it was, the register page\n"
		"and the interrupts; then restore, then the guest goes on. QEMU (11.1) does not\n"
		"connect to a vfio-user server again and resets the devices when it starts, so\n"
		"'viommu restore' is for VMMs that connect by themselves, and for going on after 'viommu\n"
		"save'.\n",
};
