/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/device_tables.h"

#include <errno.h>
#include <string.h>

#include "control/message.h"
#include "daemon/vm.h"

#define PAGE_SHIFT	 12
#define REACH_RANGES_MAX 10000	    /* that one reply lists */
#define REACH_ENTRIES	 (2u << 20) /* read for one question: 1 GiB of 4 KiB pages is 1/8 of it */

/* -------------------------------------------------------------------- ranges */

struct reach {
	struct json_object *ranges;
	uint64_t pages, writable_pages, count;
};

static int note_range(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	uint64_t pages = (last >> PAGE_SHIFT) - (first >> PAGE_SHIFT) + 1;
	struct reach *r = arg;
	struct json_object *range;

	r->pages += pages;
	if (access & VIOMMU_WRITE)
		r->writable_pages += pages;
	if (r->count++ >= REACH_RANGES_MAX)
		return 0;
	range = control_object();
	control_set_u64(range, "first", first);
	control_set_u64(range, "last", last);
	control_set_u64(range, "memory", gpa);
	control_set_bool(range, "read", access & VIOMMU_READ);
	control_set_bool(range, "write", access & VIOMMU_WRITE);
	control_append(r->ranges, range);
	return 0;
}

static struct json_object *reach_of(struct nvme_function *f)
{
	struct reach r = {.ranges = control_array()};
	int err = viommu_reach(nvme_function_requester(f), REACH_ENTRIES, note_range, &r);
	struct json_object *reply;

	if (err && err != -ENOENT && err != -E2BIG) {
		json_object_put(r.ranges);
		return control_error("the tables cannot be walked: %s", strerror(-err));
	}
	reply = control_ok();
	control_set_string(reply, "device", nvme_function_name(f));
	control_set_bool(reply, "blocked", err == -ENOENT);
	control_set_bool(reply, "complete", err != -E2BIG && r.count <= REACH_RANGES_MAX);
	control_set_u64(reply, "range_count", r.count);
	control_set_u64(reply, "pages", r.pages);
	control_set_u64(reply, "writable_pages", r.writable_pages);
	control_set_u64(reply, "memory_pages", nvme_function_unit(f)->lent >> PAGE_SHIFT);
	control_add(reply, "ranges", r.ranges);
	return reply;
}

/* ------------------------------------------------------------------- entries */

const char *device_translation_text(enum viommu_translation translation)
{
	static const char *const texts[] = {
		[VIOMMU_TRANSLATION_OFF] = "off",
		[VIOMMU_TRANSLATION_BLOCKED] = "blocked",
		[VIOMMU_TRANSLATION_PASS_THROUGH] = "pass-through",
		[VIOMMU_TRANSLATION_PAGED] = "paged",
	};

	return texts[translation];
}

static void add_entry(struct json_object *object, const char *key, const struct viommu_entry *entry)
{
	struct json_object *e;

	if (!entry->was_read)
		return;
	e = control_object();
	control_set_u64(e, "memory", entry->gpa);
	control_set_u64(e, "low", entry->words[0]);
	control_set_u64(e, "high", entry->words[1]);
	control_add(object, key, e);
}

void device_describe(struct nvme_function *f, struct json_object *ret_info)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	viommu_requester_describe(nvme_function_requester(f), &info);
	control_set_string(ret_info, "translation", device_translation_text(info.translation));
	control_set_bool(ret_info, "cached", info.cached);
	control_set_bool(ret_info, "faults_silent", info.faults_silent);
	if (info.translation == VIOMMU_TRANSLATION_BLOCKED) {
		control_set_u64(ret_info, "reason", info.reason);
		control_set_string(ret_info, "why", info.text);
	}
	if (info.translation >= VIOMMU_TRANSLATION_PASS_THROUGH) {
		control_set_u64(ret_info, "domain", info.domain_id);
		control_set_u64(ret_info, "address_width", info.address_width);
	}
	if (info.translation == VIOMMU_TRANSLATION_PAGED) {
		control_set_u64(ret_info, "levels", info.levels);
		control_set_u64(ret_info, "table", info.table);
	}
	add_entry(ret_info, "root_entry", &info.root);
	add_entry(ret_info, "context_entry", &info.context);
}

/* ------------------------------------------------------------------ commands */

/* Or NULL, and *ret_error is the reply. */
static struct nvme_function *find(struct vm *vm, struct json_object *request, struct json_object **ret_error)
{
	const char *device = control_get_string(request, "device");

	for (unsigned i = 0; device && i < vm->nvme_count; i++) {
		if (!strcmp(device, nvme_function_name(vm->nvme[i])))
			return vm->nvme[i];
	}
	*ret_error = device ? control_error("there is no device '%s'; status lists them", device)
			    : control_error("this needs a \"device\" such as nvme0");
	return NULL;
}

struct json_object *device_reach(struct vm *vm, struct json_object *request)
{
	struct json_object *reply;
	struct nvme_function *f = find(vm, request, &reply);

	return f ? reach_of(f) : reply;
}

struct json_object *device_dump(struct vm *vm, struct json_object *request)
{
	struct json_object *reply, *entries;
	struct nvme_function *f = find(vm, request, &reply);

	if (!f)
		return reply;
	reply = reach_of(f);
	if (control_get_string(reply, "error"))
		return reply;
	entries = control_object();
	device_describe(f, entries);
	control_add(reply, "tables", entries);
	return reply;
}
