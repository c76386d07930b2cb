/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/status.h"

#include <string.h>
#include <unistd.h>

#include "control/message.h"
#include "daemon/sidecore/work_thread.h"
#include "daemon/vm.h"

/* How long a guest's write may wait for an idle sidecore. 0: the write wakes it. */
static uint64_t idle_latency_us(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (vm->functions[i]->polled)
			return WORK_NAP_LAST_US;
	}
	return 0;
}

static struct json_object *describe(struct vm *vm, struct function *f)
{
	struct json_object *object = control_object();
	const char *unit = unit_name(f->unit);

	f->ops->describe(f, object);
	if (function_is_device(f) && unit)
		control_set_string(object, "iommu", unit);
	if (!function_is_device(f) && f->owns_unit)
		control_set_string(object, "translation", vm_translation_text(vm, f->unit));
	return object;
}

/* That of all units with devices; when they differ, that of the first one that leaves its devices
 * unprotected. There is a device, and so such a unit. */
static const char *translation_text(struct vm *vm)
{
	const char *text = NULL;

	for (unsigned i = 0; i < vm->host.unit_count && vm_remaps(vm); i++) {
		if (!vm_has_devices_behind(vm, vm->host.units[i]))
			continue;
		text = vm_translation_text(vm, vm->host.units[i]);
		if (strcmp(text, "on"))
			break;
	}
	return text;
}

/* What the functions tell of the registers, in one place for all of them. */
static void sum_up(struct json_object *reply, struct json_object *functions)
{
	uint64_t placements = 0, base = 0;
	bool lost = false, mismatch = false;

	for (size_t i = 0; functions && i < json_object_array_length(functions); i++) {
		struct json_object *f = json_object_array_get_idx(functions, i);

		placements += control_get_u64(f, "placements", 0);
		lost = lost || control_get_bool(f, "registers_lost");
		mismatch = mismatch || control_get_bool(f, "base_mismatch");
		base = base ? base : control_get_u64(f, "expected_base", 0);
	}
	control_set_u64(reply, "placements", placements);
	control_set_bool(reply, "registers_lost", lost);
	if (base) {
		control_set_u64(reply, "expected_base", base);
		control_set_bool(reply, "base_mismatch", mismatch);
	}
}

struct json_object *status_tell(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *functions = control_array();
	const char *translation = translation_text(vm);

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
	for (unsigned i = 0; i < vm->function_count; i++)
		control_append(functions, describe(vm, vm->functions[i]));
	if (vm_remaps(vm))
		sum_up(reply, functions);
	control_add(reply, "functions", functions);
	return reply;
}

/* The one whose registers the firmware tables tell of; `name` NULL: the first. Or NULL. */
static struct function *with_registers(struct vm *vm, const char *name)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		struct function *f = vm->functions[i];

		if (f->ops->expect && (!name || !strcmp(name, f->name)))
			return f;
	}
	return NULL;
}

struct json_object *status_expect(struct vm *vm, struct json_object *request)
{
	uint64_t base = control_get_u64(request, "base", 0);
	const char *name = control_get_string(request, "iommu");
	struct function *f = with_registers(vm, name);

	if (!vm_remaps(vm))
		return control_error(
			"this daemon serves no IOMMU, so there is no register address to expect");
	if (!f && (!name || vm_find_unit(vm, name)))
		return control_error(
			"no firmware table tells of this IOMMU, so there is no register address to expect");
	if (!f)
		return control_error("there is no IOMMU '%s'; status lists them", name);
	if (!base || base & 0xfff)
		return control_error("expect needs a \"base\", the page-aligned address in the DMAR table");
	f->ops->expect(f, base);
	return control_ok();
}
