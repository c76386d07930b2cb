/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/message.h"
#include "control/server.h"
#include "daemon/commands/device_tables.h"
#include "daemon/commands/hex.h"
#include "daemon/commands/saved_state.h"
#include "daemon/commands/stat.h"
#include "daemon/vm.h"
#include "daemon/sidecore/work_thread.h"

/* ------------------------------------------------------------------- status */

static void add_function(struct json_object *functions, struct json_object *function)
{
	control_append(functions, function);
}

static struct json_object *status(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *functions = control_array(), *function;
	uint64_t bound = vm->iommu && !vm->options->trap ? WORK_NAP_LAST_US : 0;
	const char *translation = vm_translation_text(vm);

	(void)request;
	control_set_u64(reply, "pid", (uint64_t)getpid());
	control_set_string(reply, "version", VIOMMU_VERSION);
	control_set_string(reply, "directory", vm->directory->path);
	if (vm->options->name)
		control_set_string(reply, "vm", vm->options->name);
	control_set_string(reply, "iommu", vm->iommu ? "vtd" : "none");
	control_set_string(reply, "registers", vm->options->trap ? "trap" : "sidecore");
	if (translation)
		control_set_string(reply, "translation", translation);
	control_set_bool(reply, "frozen", vm->frozen);
	control_set_u64(reply, "idle_latency_us", bound);
	control_set_u64(reply, "address_width", UNIT_ADDRESS_WIDTH);
	if (vm->iommu) {
		function = control_object();
		iommu_function_describe(vm->iommu, function, reply);
		add_function(functions, function);
	}
	for (unsigned i = 0; i < vm->nvme_count; i++) {
		function = control_object();
		nvme_function_describe(vm->nvme[i], function);
		add_function(functions, function);
	}
	control_add(reply, "functions", functions);
	return reply;
}

static struct json_object *expect(struct vm *vm, struct json_object *request)
{
	uint64_t base = control_get_u64(request, "base", 0);

	if (!vm->iommu)
		return control_error(
			"this daemon serves no IOMMU, so there is no register address to expect");
	if (!base || base & 0xfff)
		return control_error("expect needs a \"base\", the page-aligned address in the DMAR table");
	iommu_function_expect(vm->iommu, base);
	return control_ok();
}

/* ------------------------------------------------------------ save and restore */

/* "busy" in the reply: ask again soon. */
static struct json_object *failed(int err, const char *why)
{
	struct json_object *reply = control_error("%s", why);

	if (err == -EAGAIN)
		control_set_bool(reply, "busy", true);
	return reply;
}

static struct json_object *save(struct vm *vm, struct json_object *request)
{
	struct json_object *reply;
	char why[SAVED_WHY_SIZE], *text;
	uint8_t *bytes;
	size_t size;
	int err = saved_state_take(vm, &bytes, &size, why, sizeof(why));

	(void)request;
	if (err)
		return failed(err, why);
	reply = control_ok();
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

static struct json_object *restore(struct vm *vm, struct json_object *request)
{
	const char *data = control_get_string(request, "data");
	char why[SAVED_WHY_SIZE];
	int err;

	if (data)
		return receive(vm, control_get_u64(request, "offset", 0), data);
	if (!vm->incoming.bytes)
		return control_error("restore needs \"data\", pieces of the state, before it is asked for");
	err = saved_state_apply(vm, vm->incoming.bytes, vm->incoming.size, why, sizeof(why));
	if (err == -EAGAIN)
		return failed(err, why);
	incoming_state_drop(&vm->incoming);
	return err ? failed(err, why) : control_ok();
}

/* ----------------------------------------------------------------- dispatch */

static struct json_object *shut_down(struct vm *vm, struct json_object *request)
{
	(void)request;
	if (vm->options->name)
		return control_error("this daemon serves other VMs too; end it by a signal, SIGTERM");
	vm->loop->stop = true;
	return control_ok();
}

static const struct {
	const char *name;
	struct json_object *(*handle)(struct vm *vm, struct json_object *request);
	/* Or this, for what takes longer than a turn. */
	struct json_object *(*begin)(struct vm *vm, struct json_object *request,
				     struct control_work **ret_work);
} commands[] = {
	{"status", status},
	{"expect", expect},
	{"counters", stat_counters},
	{"stat", stat_all},
	{.name = "reach", .begin = device_reach},
	{.name = "dump", .begin = device_dump},
	{"save", save},
	{"restore", restore},
	{"shutdown", shut_down},
};

struct json_object *commands_handle(void *vm, struct json_object *request, struct control_work **ret_work)
{
	const char *name = control_get_string(request, "command");

	if (!name)
		return control_error("a request needs a \"command\"");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name))
			continue;
		return commands[i].begin ? commands[i].begin(vm, request, ret_work)
					 : commands[i].handle(vm, request);
	}
	return control_error("there is no command '%.64s'; there are status, expect, counters, stat, reach, "
			     "dump, save, restore, shutdown",
			     name);
}
