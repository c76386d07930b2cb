/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/commands/hex.h"
#include "daemon/commands/saved_state.h"
#include "daemon/vm.h"
#include "os/sentence.h"

/* "busy" in the reply: ask again soon. */
static struct json_object *failed(int err, const char *why)
{
	struct json_object *reply = control_error("%s", why);

	if (err == -EAGAIN)
		control_set_bool(reply, "busy", true);
	return reply;
}

struct json_object *transfer_save(struct vm *vm, struct json_object *request)
{
	struct json_object *reply;
	char why[OS_WHY_SIZE], *text;
	uint8_t *bytes;
	size_t size;
	int err = saved_state_take(vm, &bytes, &size, why, sizeof(why));

	(void)request;
	if (err)
		return failed(err, why);
	reply = control_ok();
	control_set_u64(reply, "units", vm_remaps(vm) ? vm->host.unit_count : 0);
	text = hex_text(bytes, size);
	control_add(reply, "state", text ? json_object_new_string_len(text, (int)(2 * size)) : NULL);
	free(text);
	free(bytes);
	return reply;
}

/* One piece of a state; they come in order, and the first one begins anew. */
static struct json_object *receive(struct vm *vm, uint64_t offset, const char *text)
{
	struct incoming_state *in = &vm->incoming;
	size_t length = strlen(text) / 2;

	if (offset == 0)
		incoming_state_drop(in);
	if (offset != in->size || length > SAVED_STATE_MAX - in->size)
		return control_error("a piece of the state is missing, or it is larger than %u bytes",
				     SAVED_STATE_MAX);
	if (!in->bytes)
		in->bytes = malloc(SAVED_STATE_MAX);
	if (!in->bytes)
		return control_error("there is no memory for it");
	if (!hex_bytes(text, in->bytes + in->size))
		return control_error("\"data\" is not hexadecimal");
	in->size += length;
	return control_ok();
}

struct json_object *transfer_restore(struct vm *vm, struct json_object *request)
{
	const char *data = control_get_string(request, "data");
	struct json_object *reply;
	char why[OS_WHY_SIZE];
	int err;

	if (data)
		return receive(vm, control_get_u64(request, "offset", 0), data);
	if (!vm->incoming.bytes)
		return control_error("restore needs \"data\", pieces of the state, before it is asked for");
	err = saved_state_apply(vm, vm->incoming.bytes, vm->incoming.size, why, sizeof(why));
	if (err == -EAGAIN)
		return failed(err, why);
	incoming_state_drop(&vm->incoming);
	if (err)
		return failed(err, why);
	reply = control_ok();
	control_set_u64(reply, "units", vm_remaps(vm) ? vm->host.unit_count : 0);
	return reply;
}
