/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- interrupts */

/*
 * QEMU takes an interrupt message from any function that may master the bus.
 * The hidden IOMMU function never may, so its own go out through a device.
 */
void vm_send_interrupt(struct vm *vm, uint16_t rid, uint64_t address, uint32_t data)
{
	for (unsigned i = 0; rid && i < vm->nvme_count; i++) {
		if (nvme_function_rid(vm->nvme[i]) == rid && nvme_function_send(vm->nvme[i], address, data))
			return;
	}
	for (unsigned i = 0; i < vm->nvme_count; i++) {
		if (nvme_function_send(vm->nvme[i], address, data))
			return;
	}
	vm_count(&vm->counters, VM_COUNT_interrupts_lost);
	log_limited(&vm->guest_errors,
		    "an interrupt of the IOMMU was lost: no served device masters the bus");
}

bool vm_registers_are_polled(const struct vm *vm)
{
	return vm->iommu && iommu_function_is_polled(vm->iommu);
}

/* -------------------------------------------------------------- translation */

static bool was_ever_on(struct viommu *unit)
{
	const struct viommu_counter_info *infos;
	uint64_t values[COUNTERS_MAX];
	size_t count, n = viommu_counters_read(unit, values, COUNTERS_MAX);

	infos = viommu_counters_describe(&count);
	for (size_t i = 0; i < n && i < count; i++) {
		if (!strcmp(infos[i].name, "translation_enables"))
			return values[i] != 0;
	}
	return false;
}

static bool is_on(struct vm *vm)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	viommu_requester_describe(nvme_function_requester(vm->nvme[0]), &info);
	return info.translation != VIOMMU_TRANSLATION_OFF;
}

const char *vm_translation_text(struct vm *vm)
{
	if (!vm->iommu || !vm->nvme_count)
		return NULL;
	if (is_on(vm))
		return "on";
	return vm->was_restored_on || was_ever_on(vm->units[0]->v) ? "off" : "never";
}

void vm_restored(struct vm *vm)
{
	if (vm->iommu && vm->nvme_count && is_on(vm))
		vm->was_restored_on = true;
}

/* ------------------------------------------------------------ begin and end */

static void process_server(void *arg)
{
	vfu_server_process(arg);
}

static int watch(struct vm *vm, struct vfu_server *server)
{
	return loop_add(vm->loop, vfu_server_fd(server), process_server, server, &vm->counters);
}

static int start_iommu(struct vm *vm, char *why, size_t why_size)
{
	const char *reason;
	int err = iommu_function_create(vm, &vm->iommu, &reason);

	if (err) {
		snprintf(why, why_size, "%s in %s: %s", reason, vm->directory->path, strerror(-err));
		return err;
	}
	vm->units[vm->unit_count++] = iommu_function_unit(vm->iommu);
	return watch(vm, iommu_function_server(vm->iommu));
}

static int start_nvme(struct vm *vm, char *why, size_t why_size)
{
	struct unit *unit = vm->iommu ? iommu_function_unit(vm->iommu) : NULL;
	unsigned index = vm->nvme_count;
	const char *reason;
	int err = nvme_function_create(vm, index, unit, &vm->nvme[index], &reason);

	if (err) {
		snprintf(why, why_size, "--nvme %s: %s (%s)", vm->options->nvme[index].path, reason,
			 strerror(-err));
		return err;
	}
	vm->nvme_count++;
	if (!unit)
		vm->units[vm->unit_count++] = nvme_function_unit(vm->nvme[index]);
	return watch(vm, nvme_function_server(vm->nvme[index]));
}

static int start_all(struct vm *vm, char *why, size_t why_size)
{
	int err = 0;

	if (vm->options->iommu.vtd)
		err = start_iommu(vm, why, why_size);
	while (!err && vm->nvme_count < vm->options->nvme_count)
		err = start_nvme(vm, why, why_size);
	return err;
}

int vm_open_disks(struct vm_options *options, char *why, size_t why_size)
{
	for (unsigned i = 0; i < options->nvme_count; i++) {
		struct nvme_choice *choice = &options->nvme[i];
		const char *reason = "";

		choice->fd = nvme_open_file(choice->path, choice->readonly, &reason);
		if (choice->fd < 0) {
			snprintf(why, why_size, "--nvme %s: %s (%s)", choice->path, reason,
				 strerror(-choice->fd));
			return -1;
		}
	}
	return 0;
}

int vm_start(struct vm *vm, char *why, size_t why_size)
{
	int err;

	if (vm->options->name)
		snprintf(vm->label, sizeof(vm->label), "%s: ", vm->options->name);
	log_bucket_init(&vm->guest_errors, vm->label);
	why[0] = '\0';
	err = start_all(vm, why, why_size);
	if (err && !why[0])
		snprintf(why, why_size, "the machine cannot be served: %s", strerror(-err));
	return err ? -1 : 0;
}

static void end_session(struct vfu_server *server)
{
	vfu_server_end(server, "viommud ends");
}

void vm_disconnect(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvme_count; i++)
		end_session(nvme_function_server(vm->nvme[i]));
	if (vm->iommu)
		end_session(iommu_function_server(vm->iommu));
}

void incoming_state_drop(struct incoming_state *in)
{
	free(in->bytes);
	*in = (struct incoming_state){0};
}

void vm_stop(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvme_count; i++)
		nvme_function_destroy(vm->nvme[i]);
	iommu_function_destroy(vm->iommu);
	incoming_state_drop(&vm->incoming);
}
