/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/stat.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/counters.h"
#include "daemon/commands/device_tables.h"
#include "daemon/vm.h"
#include "os/clock.h"
#include "os/percentile.h"

#define FAULTS_TOLD  16
#define DOMAINS_TOLD (64 * IOMMU_MAX + NVME_MAX) /* each unit tells 64 apart beside those with devices */

/* What is told of: a VM, and all of its units or the one that was asked for. */
struct view {
	struct vm *vm;
	unsigned unit_count;
	struct unit *units[UNITS_MAX];
};

/* NULL: *ret is set; else the reply. */
static struct json_object *choose(struct vm *vm, struct json_object *request, struct view *ret)
{
	const char *name = control_get_string(request, "iommu");
	struct unit *u = name ? vm_find_unit(vm, name) : NULL;

	*ret = (struct view){.vm = vm};
	if (name && !u)
		return control_error("there is no IOMMU '%s'; status lists them", name);
	for (unsigned i = 0; i < vm->host.unit_count; i++) {
		if (!u || vm->host.units[i] == u)
			ret->units[ret->unit_count++] = vm->host.units[i];
	}
	return NULL;
}

static bool is_seen(const struct view *v, const struct function *f)
{
	for (unsigned i = 0; function_is_device(f) && i < v->unit_count; i++) {
		if (v->units[i] == f->unit)
			return true;
	}
	return false;
}

static void set_unit_name(struct json_object *object, const struct unit *u)
{
	if (unit_name(u))
		control_set_string(object, "iommu", unit_name(u));
}

/* ----------------------------------------------------------------- counters */

static uint64_t load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* Of the units together. */
static void read_units(const struct view *v, const struct counter_info *infos, uint64_t sums[COUNTERS_MAX])
{
	uint64_t values[COUNTERS_MAX];

	for (unsigned u = 0; u < v->unit_count; u++) {
		size_t n = viommu_counters_read(v->units[u]->v, values, COUNTERS_MAX);

		for (size_t i = 0; i < n; i++) {
			if (!(infos[i].flags & VIOMMU_COUNTER_MAXIMUM))
				sums[i] += values[i];
			else if (values[i] > sums[i])
				sums[i] = values[i];
		}
	}
}

/* In the order of counters_describe(). Returns how many. */
static size_t read_all(const struct view *v, struct counter_info infos[COUNTERS_MAX],
		       uint64_t values[COUNTERS_MAX])
{
	size_t count = counters_describe(infos), at = count - SIDECORE_COUNTER_COUNT - VM_COUNTER_COUNT;

	memset(values, 0, COUNTERS_MAX * sizeof(*values));
	read_units(v, infos, values);
	for (unsigned i = 0; i < SIDECORE_COUNTER_COUNT; i++)
		values[at++] = load(&v->vm->sidecore->values[i]);
	for (unsigned i = 0; i < VM_COUNTER_COUNT; i++)
		values[at++] = load(&v->vm->host.counters.values[i]);
	return count;
}

struct json_object *stat_counters(struct vm *vm, struct json_object *request)
{
	struct counter_info infos[COUNTERS_MAX];
	uint64_t values[COUNTERS_MAX];
	struct view v;
	struct json_object *reply = choose(vm, request, &v), *list;
	size_t count;

	if (reply)
		return reply;
	reply = control_ok();
	list = control_object();
	count = read_all(&v, infos, values);
	for (size_t i = 0; i < count; i++) {
		struct json_object *counter = control_object();

		control_set_u64(counter, "value", values[i]);
		control_set_string(counter, "unit", infos[i].unit);
		control_set_string(counter, "doc", infos[i].doc);
		control_add(list, infos[i].name, counter);
	}
	control_add(reply, "counters", list);
	return reply;
}

static struct json_object *tables(const struct counter_info *infos, size_t count)
{
	static const char *const scopes[] = {
		[COUNTER_UNIT] = "iommu", [COUNTER_SIDECORE] = "sidecore", [COUNTER_VM] = "vm"};
	struct json_object *list = control_array();

	for (size_t i = 0; i < count; i++) {
		struct json_object *info = control_object();

		control_set_string(info, "name", infos[i].name);
		control_set_string(info, "unit", infos[i].unit);
		control_set_string(info, "doc", infos[i].doc);
		control_set_string(info, "scope", scopes[infos[i].scope]);
		control_set_bool(info, "per_device", infos[i].flags & VIOMMU_COUNTER_OF_DEVICE);
		control_set_bool(info, "per_domain", infos[i].flags & VIOMMU_COUNTER_OF_DOMAIN);
		control_set_bool(info, "maximum", infos[i].flags & VIOMMU_COUNTER_MAXIMUM);
		control_append(list, info);
	}
	return list;
}

static double busy_share(const struct vm *vm)
{
	const _Atomic uint64_t *v = vm->sidecore->values;
	uint64_t busy = load(&v[SIDECORE_COUNT_sidecore_busy_ns]);
	uint64_t all =
		busy + load(&v[SIDECORE_COUNT_sidecore_idle_ns]) + load(&v[SIDECORE_COUNT_sidecore_sleep_ns]);

	return all ? (double)busy / (double)all : 0;
}

static void add_counters(const struct view *v, struct json_object *reply)
{
	struct json_object *counters = control_object(), *sidecore = control_object();
	struct counter_info infos[COUNTERS_MAX];
	uint64_t values[COUNTERS_MAX];
	size_t count = read_all(v, infos, values);

	for (size_t i = 0; i < count; i++)
		control_set_u64(infos[i].scope == COUNTER_SIDECORE ? sidecore : counters, infos[i].name,
				values[i]);
	control_add(sidecore, "busy_share", json_object_new_double(busy_share(v->vm)));
	control_add(reply, "tables", tables(infos, count));
	control_add(reply, "counters", counters);
	control_add(reply, "sidecore", sidecore);
}

/* Of a device or a domain: those with `flag`. */
static struct json_object *some_counters(const uint64_t *values, size_t n, unsigned flag)
{
	struct json_object *counters = control_object();
	const struct viommu_counter_info *infos;
	size_t count;

	infos = viommu_counters_describe(&count);
	for (size_t i = 0; i < n && i < count; i++) {
		if (infos[i].flags & flag)
			control_set_u64(counters, infos[i].name, values[i]);
	}
	return counters;
}

/* Each unit that remaps, apart. */
static void add_units(const struct view *v, struct json_object *reply)
{
	const struct viommu_counter_info *infos;
	struct json_object *list = control_array();
	uint64_t values[COUNTERS_MAX];
	size_t count, n;

	infos = viommu_counters_describe(&count);
	for (unsigned u = 0; u < v->unit_count && vm_remaps(v->vm); u++) {
		struct json_object *unit = control_object(), *counters = control_object();

		n = viommu_counters_read(v->units[u]->v, values, COUNTERS_MAX);
		for (size_t i = 0; i < n && i < count; i++)
			control_set_u64(counters, infos[i].name, values[i]);
		set_unit_name(unit, v->units[u]);
		control_set_string(unit, "translation", vm_translation_text(v->vm, v->units[u]));
		control_add(unit, "counters", counters);
		control_append(list, unit);
	}
	control_add(reply, "units", list);
}

/* ------------------------------------------------------------------- drains */

static void add_drains(const struct view *v, struct json_object *reply, uint64_t worst)
{
	struct json_object *drains = control_object(), *buckets = control_array();
	uint64_t counts[VIOMMU_DRAIN_BUCKETS], sums[VIOMMU_DRAIN_BUCKETS] = {0};

	for (unsigned u = 0; u < v->unit_count; u++) {
		viommu_drain_times_read(v->units[u]->v, counts, VIOMMU_DRAIN_BUCKETS);
		for (unsigned i = 0; i < VIOMMU_DRAIN_BUCKETS; i++)
			sums[i] += counts[i];
	}
	for (unsigned i = 0; i < VIOMMU_DRAIN_BUCKETS; i++) {
		struct json_object *bucket = control_object();

		if (i < VIOMMU_DRAIN_BUCKETS - 1)
			control_set_u64(bucket, "at_most_ns", UINT64_C(1) << i);
		control_set_u64(bucket, "count", sums[i]);
		control_append(buckets, bucket);
	}
	control_set_u64(drains, "p50_ns", os_percentile_of_powers(sums, VIOMMU_DRAIN_BUCKETS, 50, worst));
	control_set_u64(drains, "p99_ns", os_percentile_of_powers(sums, VIOMMU_DRAIN_BUCKETS, 99, worst));
	control_set_u64(drains, "worst_ns", worst);
	control_add(drains, "buckets", buckets);
	control_add(reply, "drains", drains);
}

/* ------------------------------------------------------- refusals and faults */

static void add_refusals(const struct view *v, struct json_object *reply)
{
	uint64_t counts[VIOMMU_REASONS], sums[VIOMMU_REASONS] = {0};
	struct json_object *refusals = control_array();

	for (unsigned u = 0; u < v->unit_count; u++) {
		viommu_refusals_read(v->units[u]->v, counts, VIOMMU_REASONS);
		for (unsigned i = 0; i < VIOMMU_REASONS; i++)
			sums[i] += counts[i];
	}
	for (unsigned i = 0; i < VIOMMU_REASONS; i++) {
		struct json_object *refusal;

		if (!sums[i])
			continue;
		refusal = control_object();
		control_set_u64(refusal, "reason", i);
		control_set_string(refusal, "text", viommu_reason_text(v->units[0]->v, (uint8_t)i));
		control_set_u64(refusal, "count", sums[i]);
		control_append(refusals, refusal);
	}
	control_add(reply, "faults_by_reason", refusals);
}

static void set_device_name(struct vm *vm, struct json_object *object, uint16_t rid)
{
	char text[16];

	for (unsigned i = 0; i < vm->function_count; i++) {
		const struct function *f = vm->functions[i];

		if (function_is_device(f) && f->devfn == rid)
			control_set_string(object, "device", f->name);
	}
	snprintf(text, sizeof(text), "%02x:%02x.%u", rid >> 8, rid >> 3 & 0x1f, rid & 7u);
	control_set_string(object, "address", text);
}

/* The youngest of all units, by time. */
struct told_faults {
	unsigned count;
	struct told_fault {
		const struct unit *unit;
		struct viommu_fault fault;
	} faults[FAULTS_TOLD];
};

static void note_fault(struct told_faults *told, const struct unit *u, const struct viommu_fault *fault)
{
	unsigned at = told->count;

	while (at > 0 && told->faults[at - 1].fault.ns > fault->ns)
		at--;
	if (told->count == FAULTS_TOLD && at == 0)
		return;
	if (told->count == FAULTS_TOLD) {
		at--;
		memmove(told->faults, told->faults + 1, at * sizeof(*told->faults));
	} else {
		memmove(told->faults + at + 1, told->faults + at, (told->count - at) * sizeof(*told->faults));
		told->count++;
	}
	told->faults[at] = (struct told_fault){u, *fault};
}

static struct json_object *describe_fault(struct vm *vm, const struct told_fault *told, uint64_t now)
{
	const struct viommu_fault *fault = &told->fault;
	struct json_object *object = control_object();

	control_set_u64(object, "number", fault->number);
	control_set_u64(object, "ago_ns", now > fault->ns ? now - fault->ns : 0);
	set_unit_name(object, told->unit);
	set_device_name(vm, object, fault->rid);
	control_set_bool(object, "write", fault->write);
	control_set_u64(object, "iova", fault->address);
	control_set_u64(object, "reason", fault->reason);
	control_set_string(object, "text", fault->text);
	return object;
}

static void add_faults(const struct view *v, struct json_object *reply, uint64_t now)
{
	struct json_object *faults = control_array();
	struct told_faults told = {.count = 0};

	for (unsigned u = 0; u < v->unit_count; u++) {
		struct viommu_fault fault = {.sz = sizeof(fault)};

		while (viommu_fault_find(v->units[u]->v, fault.number + 1, &fault) == 0)
			note_fault(&told, v->units[u], &fault);
	}
	for (unsigned i = 0; i < told.count; i++)
		control_append(faults, describe_fault(v->vm, &told.faults[i], now));
	control_add(reply, "last_faults", faults);
}

/* -------------------------------------------------------- devices and domains */

static struct json_object *describe_device(struct vm *vm, const struct function *f)
{
	struct json_object *device = control_object();
	struct viommu_requester_info info = {.sz = sizeof(info)};
	uint64_t values[COUNTERS_MAX];
	size_t n = viommu_requester_counters_read(f->requester, values, COUNTERS_MAX);

	viommu_requester_describe(f->requester, &info);
	set_device_name(vm, device, info.rid);
	set_unit_name(device, f->unit);
	control_set_string(device, "translation", device_translation_text(info.translation));
	if (info.translation >= VIOMMU_TRANSLATION_PASS_THROUGH)
		control_set_u64(device, "domain", info.domain_id);
	control_add(device, "counters", some_counters(values, n, VIOMMU_COUNTER_OF_DEVICE));
	return device;
}

static void add_devices(const struct view *v, struct json_object *reply)
{
	struct json_object *devices = control_array();

	for (unsigned i = 0; i < v->vm->function_count; i++) {
		if (is_seen(v, v->vm->functions[i]))
			control_append(devices, describe_device(v->vm, v->vm->functions[i]));
	}
	control_add(reply, "devices", devices);
}

/* Each unit numbers its own. */
struct domain {
	const struct unit *unit;
	uint32_t id;
	size_t count;
	uint64_t activity;
	uint64_t values[COUNTERS_MAX];
};

static bool read_domain(const struct unit *u, uint32_t id, struct domain *ret)
{
	int64_t n = viommu_domain_counters_read(u->v, id, ret->values, COUNTERS_MAX);

	if (n < 0)
		return false; /* it came to its end meanwhile, and is in the rest */
	ret->unit = u;
	ret->id = id;
	ret->count = (size_t)n;
	ret->activity = 0;
	for (int64_t i = 0; i < n; i++)
		ret->activity += ret->values[i];
	return true;
}

static int by_activity(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;

	if (x->activity != y->activity)
		return x->activity < y->activity ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_in_domain(const struct function *f, const struct domain *d)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	if (!function_is_device(f) || f->unit != d->unit)
		return false;
	viommu_requester_describe(f->requester, &info);
	return info.translation >= VIOMMU_TRANSLATION_PASS_THROUGH && info.domain_id == d->id;
}

static struct json_object *describe_domain(struct vm *vm, const struct domain *d)
{
	struct json_object *object = control_object(), *devices = control_array();

	for (unsigned i = 0; i < vm->function_count; i++) {
		if (is_in_domain(vm->functions[i], d))
			control_append(devices, json_object_new_string(vm->functions[i]->name));
	}
	set_unit_name(object, d->unit);
	control_set_u64(object, "domain", d->id);
	control_add(object, "devices", devices);
	control_add(object, "counters", some_counters(d->values, d->count, VIOMMU_COUNTER_OF_DOMAIN));
	return object;
}

static size_t read_domains(const struct unit *u, struct domain *domains, size_t room)
{
	uint16_t ids[DOMAINS_TOLD];
	size_t count = 0, n = viommu_domains_list(u->v, ids, DOMAINS_TOLD);

	for (size_t i = 0; i < n && i < DOMAINS_TOLD && count < room; i++)
		count += read_domain(u, ids[i], &domains[count]);
	return count;
}

static void add_domains(const struct view *v, struct json_object *reply)
{
	struct json_object *list = control_array();
	struct domain *domains = calloc(DOMAINS_TOLD, sizeof(*domains));
	size_t count = 0;

	for (unsigned u = 0; domains && u < v->unit_count && vm_remaps(v->vm); u++)
		count += read_domains(v->units[u], domains + count, DOMAINS_TOLD - count);
	if (count)
		qsort(domains, count, sizeof(*domains), by_activity);
	for (size_t i = 0; i < count; i++)
		control_append(list, describe_domain(v->vm, &domains[i]));
	control_add(reply, "domains", list);
	free(domains);
}

/* `id` VIOMMU_DOMAIN_REST or VIOMMU_DOMAIN_NONE: of all units. */
static void add_without_domain(const struct view *v, struct json_object *reply, const char *key, uint32_t id)
{
	uint64_t values[COUNTERS_MAX], sums[COUNTERS_MAX] = {0};
	int64_t n = 0;

	for (unsigned u = 0; u < v->unit_count; u++) {
		n = viommu_domain_counters_read(v->units[u]->v, id, values, COUNTERS_MAX);
		for (int64_t i = 0; i < n; i++)
			sums[i] += values[i];
	}
	control_add(reply, key, some_counters(sums, (size_t)n, VIOMMU_COUNTER_OF_DOMAIN));
}

/* ------------------------------------------------------------------- command */

struct json_object *stat_all(struct vm *vm, struct json_object *request)
{
	uint64_t now = os_now_ns();
	struct view v;
	struct json_object *reply = choose(vm, request, &v), *counters;

	if (reply)
		return reply;
	reply = control_ok();
	control_set_string(reply, "version", VIOMMU_VERSION);
	control_set_string(reply, "directory", vm->host.directory->path);
	if (vm->options->name)
		control_set_string(reply, "vm", vm->options->name);
	control_set_string(reply, "iommu", vm_iommu_text(vm));
	control_set_string(reply, "registers", vm->options->trap ? "trap" : "sidecore");
	control_set_u64(reply, "time_ns", now);
	add_counters(&v, reply);
	if (json_object_object_get_ex(reply, "counters", &counters))
		add_drains(&v, reply, control_get_u64(counters, "drain_ns_max", 0));
	add_units(&v, reply);
	add_refusals(&v, reply);
	add_faults(&v, reply, now);
	add_devices(&v, reply);
	add_domains(&v, reply);
	add_without_domain(&v, reply, "domains_rest", VIOMMU_DOMAIN_REST);
	add_without_domain(&v, reply, "no_domain", VIOMMU_DOMAIN_NONE);
	return reply;
}
