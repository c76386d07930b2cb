/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/commands.h"

#include <string.h>

#include "control/message.h"
#include "control/server.h"
#include "daemon/commands/device_tables.h"
#include "daemon/commands/stat.h"
#include "daemon/commands/status.h"
#include "daemon/commands/transfer.h"
#include "daemon/vm.h"

static struct json_object *shut_down(struct vm *vm, struct json_object *request)
{
	(void)request;
	if (vm->options->name)
		return control_error("this daemon serves other VMs too; end it by a signal, SIGTERM");
	vm->host.loop->stop = true;
	return control_ok();
}

static const struct {
	const char *name;
	struct json_object *(*handle)(struct vm *vm, struct json_object *request);
	/* Or this, for what takes longer than a turn. */
	struct json_object *(*begin)(struct vm *vm, struct json_object *request,
				     struct control_work **ret_work);
} commands[] = {
	{"status", status_tell},
	{"expect", status_expect},
	{"counters", stat_counters},
	{"stat", stat_all},
	{.name = "reach", .begin = device_reach},
	{.name = "dump", .begin = device_dump},
	{"save", transfer_save},
	{"restore", transfer_restore},
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
	return control_error("there is no command '%s'; there are status, expect, counters, stat, reach, "
			     "dump, save, restore, shutdown",
			     name);
}
