/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "control/message.h"
#include "daemon/device_tables.h"
#include "daemon/stat.h"
#include "daemon/vm.h"
#include "daemon/work_thread.h"

/* ------------------------------------------------------------------- status */

static void add_function(struct json_object *functions, struct json_object *function)
{
	control_append(functions, function);
}

static struct json_object *status(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *functions = control_array(), *function;
	uint64_t bound = vm->iommu && !vm->options->trap ? WORK_NAP_LAST_US : 0;

	(void)request;
	control_set_u64(reply, "pid", (uint64_t)getpid());
	control_set_string(reply, "version", VIOMMU_VERSION);
	control_set_string(reply, "directory", vm->directory->path);
	if (vm->options->name)
		control_set_string(reply, "vm", vm->options->name);
	control_set_string(reply, "iommu", vm->iommu ? "vtd" : "none");
	control_set_string(reply, "registers", vm->options->trap ? "trap" : "sidecore");
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
} commands[] = {
	{"status", status},	 {"expect", expect},	{"counters", stat_counters}, {"stat", stat_all},
	{"reach", device_reach}, {"dump", device_dump}, {"shutdown", shut_down},
};

struct json_object *commands_handle(void *vm, struct json_object *request)
{
	const char *name = control_get_string(request, "command");

	if (!name)
		return control_error("a request needs a \"command\"");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(name, commands[i].name))
			return commands[i].handle(vm, request);
	}
	return control_error("there is no command '%.64s'; there are status, expect, counters, stat, reach, "
			     "dump, shutdown",
			     name);
}
