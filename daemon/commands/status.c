/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/status.h"

#include <unistd.h>

#include "control/message.h"
#include "daemon/sidecore/work_thread.h"
#include "daemon/vm.h"

/* How long a guest's write may wait for an idle sidecore. 0: it wakes it. */
static uint64_t idle_latency_us(const struct vm *vm)
{
	return vm_remaps(vm) && !vm->options->trap ? WORK_NAP_LAST_US : 0;
}

struct json_object *status_tell(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *functions = control_array();
	const char *translation = vm_translation_text(vm);

	(void)request;
	control_set_u64(reply, "pid", (uint64_t)getpid());
	control_set_string(reply, "version", VIOMMU_VERSION);
	control_set_string(reply, "directory", vm->host.directory->path);
	if (vm->options->name)
		control_set_string(reply, "vm", vm->options->name);
	control_set_string(reply, "iommu", vm_iommu_text(vm));
	control_set_string(reply, "registers", vm->options->trap ? "trap" : "sidecore");
	if (translation)
		control_set_string(reply, "translation", translation);
	control_set_bool(reply, "frozen", vm->host.frozen);
	control_set_u64(reply, "idle_latency_us", idle_latency_us(vm));
	control_set_u64(reply, "address_width", UNIT_ADDRESS_WIDTH);
	for (unsigned i = 0; i < vm->function_count; i++) {
		struct json_object *function = control_object();

		vm->functions[i]->ops->describe(vm->functions[i], function, reply);
		control_append(functions, function);
	}
	control_add(reply, "functions", functions);
	return reply;
}

/* The one whose registers the firmware tables tell of, or NULL. */
static struct function *with_registers(struct vm *vm)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (vm->functions[i]->ops->expect)
			return vm->functions[i];
	}
	return NULL;
}

struct json_object *status_expect(struct vm *vm, struct json_object *request)
{
	uint64_t base = control_get_u64(request, "base", 0);
	struct function *f = with_registers(vm);

	if (!f)
		return control_error(
			"this daemon serves no IOMMU, so there is no register address to expect");
	if (!base || base & 0xfff)
		return control_error("expect needs a \"base\", the page-aligned address in the DMAR table");
	f->ops->expect(f, base);
	return control_ok();
}
