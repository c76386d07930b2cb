/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/stat.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/message.h"
#include "daemon/counters.h"
#include "daemon/commands/device_tables.h"
#include "daemon/vm.h"

#define FAULTS_TOLD  16
#define DOMAINS_TOLD 256 /* the library tells 64 apart beside those with devices */

/* ----------------------------------------------------------------- counters */

static uint64_t load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* Of the VM's units together. */
static void read_units(struct vm *vm, const struct counter_info *infos, uint64_t sums[COUNTERS_MAX])
{
	uint64_t values[COUNTERS_MAX];

	for (unsigned u = 0; u < vm->host.unit_count; u++) {
		size_t n = viommu_counters_read(vm->host.units[u]->v, values, COUNTERS_MAX);

		for (size_t i = 0; i < n; i++) {
			if (!(infos[i].flags & VIOMMU_COUNTER_MAXIMUM))
				sums[i] += values[i];
			else if (values[i] > sums[i])
				sums[i] = values[i];
		}
	}
}

/* In the order of counters_describe(). Returns how many. */
static size_t read_all(struct vm *vm, struct counter_info infos[COUNTERS_MAX], uint64_t values[COUNTERS_MAX])
{
	size_t count = counters_describe(infos), at = count - SIDECORE_COUNTER_COUNT - VM_COUNTER_COUNT;

	memset(values, 0, COUNTERS_MAX * sizeof(*values));
	read_units(vm, infos, values);
	for (unsigned i = 0; i < SIDECORE_COUNTER_COUNT; i++)
		values[at++] = load(&vm->sidecore->values[i]);
	for (unsigned i = 0; i < VM_COUNTER_COUNT; i++)
		values[at++] = load(&vm->host.counters.values[i]);
	return count;
}

struct json_object *stat_counters(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *list = control_object();
	struct counter_info infos[COUNTERS_MAX];
	uint64_t values[COUNTERS_MAX];
	size_t count = read_all(vm, infos, values);

	(void)request;
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

static void add_counters(struct vm *vm, struct json_object *reply)
{
	struct json_object *counters = control_object(), *sidecore = control_object();
	struct counter_info infos[COUNTERS_MAX];
	uint64_t values[COUNTERS_MAX];
	size_t count = read_all(vm, infos, values);

	for (size_t i = 0; i < count; i++)
		control_set_u64(infos[i].scope == COUNTER_SIDECORE ? sidecore : counters, infos[i].name,
				values[i]);
	control_add(sidecore, "busy_share", json_object_new_double(busy_share(vm)));
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

/* ------------------------------------------------------------------- drains */

/* The bound of the bucket that the part `per_mille` of all falls into; 0 when there was no drain. */
static uint64_t percentile(const uint64_t *counts, unsigned per_mille, uint64_t worst)
{
	uint64_t all = 0, below = 0, bound;

	for (unsigned i = 0; i < VIOMMU_DRAIN_BUCKETS; i++)
		all += counts[i];
	for (unsigned i = 0; i < VIOMMU_DRAIN_BUCKETS - 1; i++) {
		below += counts[i];
		bound = UINT64_C(1) << i;
		if (all && below >= (all * per_mille + 999) / 1000)
			return bound < worst ? bound : worst;
	}
	return all ? worst : 0;
}

static void add_drains(struct vm *vm, struct json_object *reply, uint64_t worst)
{
	struct json_object *drains = control_object(), *buckets = control_array();
	uint64_t counts[VIOMMU_DRAIN_BUCKETS], sums[VIOMMU_DRAIN_BUCKETS] = {0};

	for (unsigned u = 0; u < vm->host.unit_count; u++) {
		viommu_drain_times_read(vm->host.units[u]->v, counts, VIOMMU_DRAIN_BUCKETS);
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
	control_set_u64(drains, "p50_ns", percentile(sums, 500, worst));
	control_set_u64(drains, "p99_ns", percentile(sums, 990, worst));
	control_set_u64(drains, "worst_ns", worst);
	control_add(drains, "buckets", buckets);
	control_add(reply, "drains", drains);
}

/* ------------------------------------------------------- refusals and faults */

static void add_refusals(struct vm *vm, struct json_object *reply)
{
	uint64_t counts[VIOMMU_REASONS], sums[VIOMMU_REASONS] = {0};
	struct json_object *refusals = control_array();

	for (unsigned u = 0; u < vm->host.unit_count; u++) {
		viommu_refusals_read(vm->host.units[u]->v, counts, VIOMMU_REASONS);
		for (unsigned i = 0; i < VIOMMU_REASONS; i++)
			sums[i] += counts[i];
	}
	for (unsigned i = 0; i < VIOMMU_REASONS; i++) {
		struct json_object *refusal;

		if (!sums[i])
			continue;
		refusal = control_object();
		control_set_u64(refusal, "reason", i);
		control_set_string(refusal, "text", viommu_reason_text(vm->host.units[0]->v, (uint8_t)i));
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

static struct json_object *describe_fault(struct vm *vm, const struct viommu_fault *fault, uint64_t now)
{
	struct json_object *object = control_object();

	control_set_u64(object, "number", fault->number);
	control_set_u64(object, "ago_ns", now > fault->ns ? now - fault->ns : 0);
	set_device_name(vm, object, fault->rid);
	control_set_bool(object, "write", fault->write);
	control_set_u64(object, "iova", fault->address);
	control_set_u64(object, "reason", fault->reason);
	control_set_string(object, "text", fault->text);
	return object;
}

/* Only the unit with tables has faults, and a VM has one of that kind. */
static void add_faults(struct vm *vm, struct json_object *reply, uint64_t now)
{
	struct json_object *faults = control_array(), *all[VIOMMU_FAULTS_KEPT];
	struct viommu_fault fault = {.sz = sizeof(fault)};
	unsigned count = 0, from;

	while (count < VIOMMU_FAULTS_KEPT &&
	       viommu_fault_find(vm->host.units[0]->v, fault.number + 1, &fault) == 0)
		all[count++] = describe_fault(vm, &fault, now);
	from = count > FAULTS_TOLD ? count - FAULTS_TOLD : 0;
	for (unsigned i = 0; i < count; i++) {
		if (i < from)
			json_object_put(all[i]);
		else
			control_append(faults, all[i]);
	}
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
	control_set_string(device, "translation", device_translation_text(info.translation));
	if (info.translation >= VIOMMU_TRANSLATION_PASS_THROUGH)
		control_set_u64(device, "domain", info.domain_id);
	control_add(device, "counters", some_counters(values, n, VIOMMU_COUNTER_OF_DEVICE));
	return device;
}

static void add_devices(struct vm *vm, struct json_object *reply)
{
	struct json_object *devices = control_array();

	for (unsigned i = 0; i < vm->function_count; i++) {
		if (function_is_device(vm->functions[i]))
			control_append(devices, describe_device(vm, vm->functions[i]));
	}
	control_add(reply, "devices", devices);
}

struct domain {
	uint32_t id;
	size_t count;
	uint64_t activity;
	uint64_t values[COUNTERS_MAX];
};

static bool read_domain(struct vm *vm, uint32_t id, struct domain *ret)
{
	int64_t n = viommu_domain_counters_read(vm->host.units[0]->v, id, ret->values, COUNTERS_MAX);

	if (n < 0)
		return false; /* it came to its end meanwhile, and is in the rest */
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

static bool is_in_domain(const struct function *f, uint32_t id)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	if (!function_is_device(f))
		return false;
	viommu_requester_describe(f->requester, &info);
	return info.translation >= VIOMMU_TRANSLATION_PASS_THROUGH && info.domain_id == id;
}

static struct json_object *describe_domain(struct vm *vm, const struct domain *d)
{
	struct json_object *object = control_object(), *devices = control_array();

	for (unsigned i = 0; i < vm->function_count; i++) {
		if (is_in_domain(vm->functions[i], d->id))
			control_append(devices, json_object_new_string(vm->functions[i]->name));
	}
	control_set_u64(object, "domain", d->id);
	control_add(object, "devices", devices);
	control_add(object, "counters", some_counters(d->values, d->count, VIOMMU_COUNTER_OF_DOMAIN));
	return object;
}

static void add_domains(struct vm *vm, struct json_object *reply)
{
	struct json_object *list = control_array();
	struct domain *domains = calloc(DOMAINS_TOLD, sizeof(*domains));
	uint16_t ids[DOMAINS_TOLD];
	size_t count = 0, n = viommu_domains_list(vm->host.units[0]->v, ids, DOMAINS_TOLD);

	for (size_t i = 0; domains && i < n && i < DOMAINS_TOLD; i++)
		count += read_domain(vm, ids[i], &domains[count]);
	if (count)
		qsort(domains, count, sizeof(*domains), by_activity);
	for (size_t i = 0; i < count; i++)
		control_append(list, describe_domain(vm, &domains[i]));
	control_add(reply, "domains", list);
	free(domains);
}

/* `id` VIOMMU_DOMAIN_REST or VIOMMU_DOMAIN_NONE: of all units. */
static void add_without_domain(struct vm *vm, struct json_object *reply, const char *key, uint32_t id)
{
	uint64_t values[COUNTERS_MAX], sums[COUNTERS_MAX] = {0};
	int64_t n = 0;

	for (unsigned u = 0; u < vm->host.unit_count; u++) {
		n = viommu_domain_counters_read(vm->host.units[u]->v, id, values, COUNTERS_MAX);
		for (int64_t i = 0; i < n; i++)
			sums[i] += values[i];
	}
	control_add(reply, key, some_counters(sums, (size_t)n, VIOMMU_COUNTER_OF_DOMAIN));
}

/* ------------------------------------------------------------------- command */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct json_object *stat_all(struct vm *vm, struct json_object *request)
{
	struct json_object *reply = control_ok(), *counters;
	uint64_t now = now_ns();

	(void)request;
	control_set_string(reply, "version", VIOMMU_VERSION);
	control_set_string(reply, "directory", vm->host.directory->path);
	if (vm->options->name)
		control_set_string(reply, "vm", vm->options->name);
	control_set_string(reply, "iommu", vm_iommu_text(vm));
	control_set_string(reply, "registers", vm->options->trap ? "trap" : "sidecore");
	control_set_u64(reply, "time_ns", now);
	add_counters(vm, reply);
	if (json_object_object_get_ex(reply, "counters", &counters))
		add_drains(vm, reply, control_get_u64(counters, "drain_ns_max", 0));
	add_refusals(vm, reply);
	add_faults(vm, reply, now);
	add_devices(vm, reply);
	add_domains(vm, reply);
	add_without_domain(vm, reply, "domains_rest", VIOMMU_DOMAIN_REST);
	add_without_domain(vm, reply, "no_domain", VIOMMU_DOMAIN_NONE);
	return reply;
}
