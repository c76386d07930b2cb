/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/functions/kind.h"
#include "daemon/sidecore/work_thread.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

/* --------------------------------------------------------------- interrupts */

static bool send_through(struct function *f, uint64_t address, uint32_t data)
{
	return f->ops->send && f->ops->send(f, address, data);
}

/* Through the unit's own function or a device behind it, in this order, or through others. */
static bool send_through_any(struct vm *vm, const struct unit *u, bool behind, uint64_t address,
			     uint32_t data)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		struct function *f = vm->functions[i];

		if ((f->unit == u) == behind && send_through(f, address, data))
			return true;
	}
	return false;
}

/*
 * QEMU takes an interrupt message from any function that may master the bus. A
 * unit's own goes out through the unit's own function; where firmware did not let
 * that one master the bus, through a device, one behind the unit if that can.
 */
static bool send_message(struct vm *vm, const struct unit *u, uint16_t rid, uint64_t address, uint32_t data)
{
	for (unsigned i = 0; rid && i < vm->function_count; i++) {
		if (vm->functions[i]->devfn == rid && send_through(vm->functions[i], address, data))
			return true;
	}
	return send_through_any(vm, u, true, address, data) || send_through_any(vm, u, false, address, data);
}

/* The function that raises the unit's own interrupts, or NULL. */
static struct function *raiser_of(struct vm *vm, const struct unit *u)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (vm->functions[i]->unit == u && vm->functions[i]->ops->raise)
			return vm->functions[i];
	}
	return NULL;
}

static void send_interrupt(struct host *h, struct unit *u, uint16_t rid, uint64_t address, uint32_t data)
{
	struct vm *vm = (struct vm *)h;
	struct function *raiser = rid ? NULL : raiser_of(vm, u);

	if (raiser ? raiser->ops->raise(raiser) : send_message(vm, u, rid, address, data))
		return;
	vm_count(&h->counters, VM_COUNT_interrupts_lost);
	log_limited(&u->guest_errors, "%san interrupt of the IOMMU was lost: %s", u->label,
		    raiser ? "the guest has not enabled the MSI of the IOMMU's PCI function"
			   : "neither its function nor a served device masters the bus");
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

bool vm_remaps(const struct vm *vm)
{
	return vm->host.unit_count && vm->host.units[0]->registers;
}

const char *vm_iommu_text(const struct vm *vm)
{
	return vm_remaps(vm) ? vm->host.units[0]->registers->ops->model : "none";
}

struct unit *vm_find_unit(struct vm *vm, const char *name)
{
	return host_find_unit(&vm->host, name);
}

static bool is_on_for(struct viommu_requester *r)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	viommu_requester_describe(r, &info);
	return info.translation != VIOMMU_TRANSLATION_OFF;
}

/* A requester with the id of the function that carries the registers is asked, and taken away again: no
 * access is made behind this unit, so there is none to wait for. */
static bool is_on_without_devices(const struct unit *u)
{
	struct viommu_requester *r;
	bool on;

	if (!u->registers || viommu_requester_add(u->v, (uint16_t)u->registers->devfn, &r))
		return false;
	on = is_on_for(r);
	viommu_requester_remove(r);
	return on;
}

static bool is_behind(const struct function *f, const struct unit *u)
{
	return function_is_device(f) && f->unit == u;
}

bool vm_has_devices_behind(const struct vm *vm, const struct unit *u)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (is_behind(vm->functions[i], u))
			return true;
	}
	return false;
}

/* For each device behind the unit: a paravirtual one may be on for some of them. */
static bool is_on(struct vm *vm, const struct unit *u)
{
	if (!vm_has_devices_behind(vm, u))
		return is_on_without_devices(u);
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (is_behind(vm->functions[i], u) && !is_on_for(vm->functions[i]->requester))
			return false;
	}
	return true;
}

const char *vm_translation_text(struct vm *vm, const struct unit *u)
{
	if (!u->registers)
		return NULL;
	if (is_on(vm, u))
		return "on";
	return u->was_restored_on || was_ever_on(u->v) ? "off" : "never";
}

void vm_restored(struct vm *vm)
{
	for (unsigned i = 0; i < vm->host.unit_count; i++) {
		struct unit *u = vm->host.units[i];

		if (is_on(vm, u))
			u->was_restored_on = true;
	}
}

/* ------------------------------------------------------------ begin and end */

static void process_server(void *arg)
{
	vfu_server_process(arg);
}

static int start_function(struct vm *vm, const struct function_kind *kind, unsigned index, char *why,
			  size_t why_size)
{
	struct host *h = &vm->host;
	struct function *f;
	int err;

	/* Options have bounds of their own; these are of the arrays. */
	if (index >= kind->max || vm->function_count == FUNCTIONS_MAX)
		return -ENOSPC;
	err = kind->create(h, vm->options, index, &f, why, why_size);
	if (err)
		return err;
	if (f->owns_unit && h->unit_count == UNITS_MAX) {
		f->ops->destroy(f);
		return -ENOSPC;
	}
	vm->functions[vm->function_count++] = f;
	if (f->owns_unit)
		h->units[h->unit_count++] = f->unit;
	return loop_add(h->loop, vfu_server_fd(f->server), process_server, f->server, &h->counters);
}

static int start_all(struct vm *vm, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned k = 0; function_kinds[k] && !err; k++) {
		for (unsigned i = 0; i < function_kinds[k]->count(vm->options) && !err; i++)
			err = start_function(vm, function_kinds[k], i, why, why_size);
	}
	return err;
}

int vm_open_files(struct vm_options *options, char *why, size_t why_size)
{
	for (unsigned k = 0; function_kinds[k]; k++) {
		const struct function_kind *kind = function_kinds[k];

		for (unsigned i = 0; kind->open && i < kind->count(options); i++) {
			if (kind->open(options, i, why, why_size))
				return -1;
		}
	}
	return 0;
}

int vm_start(struct vm *vm, char *why, size_t why_size)
{
	struct host *h = &vm->host;
	int err;

	if (vm->options->name)
		snprintf(h->label, sizeof(h->label), "%s: ", vm->options->name);
	h->beside_others = vm->options->name;
	h->send_interrupt = send_interrupt;
	h->may_wait = work_thread_is_current;
	why[0] = '\0';
	err = start_all(vm, why, why_size);
	if (err && !why[0])
		os_say(why, why_size, "the machine cannot be served: %s", strerror(-err));
	return err ? -1 : 0;
}

/* Devices before the units that they stand behind. */
void vm_disconnect(struct vm *vm)
{
	for (unsigned i = vm->function_count; i > 0; i--)
		vfu_server_end(vm->functions[i - 1]->server, "viommud ends");
}

void incoming_state_drop(struct incoming_state *in)
{
	free(in->bytes);
	*in = (struct incoming_state){0};
}

void vm_stop(struct vm *vm)
{
	for (unsigned i = vm->function_count; i > 0; i--)
		vm->functions[i - 1]->ops->destroy(vm->functions[i - 1]);
	incoming_state_drop(&vm->incoming);
}
