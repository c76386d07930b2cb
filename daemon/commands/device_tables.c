/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/device_tables.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "control/server.h"
#include "daemon/vm.h"

#define PAGE_SHIFT	    12
#define REACH_RANGES_MAX    10000 /* that one reply lists */
#define RANGE_TEXT_MAX	    192
#define RANGES_BEGIN	    ",\"ranges\":["
#define RANGES_END	    "]}\n"
#define REACH_STEPS	    (2u << 20) /* for one question: 1 GiB of 4 KiB pages is a quarter of it */
#define REACH_STEPS_AT_ONCE 2048       /* less than a millisecond */

/* -------------------------------------------------------------------- ranges */

struct range {
	uint64_t first, last, gpa;
	unsigned access; /* 0: none */
	bool one_page; /* each page of the range leads to the page at gpa, as entries that nobody uses may */
};

/*
 * A question that is being answered, a piece of the tables in each turn. Ranges become text at
 * once: 10,000 of them as objects are made, printed and freed in tens of milliseconds.
 */
struct reach {
	struct control_work work;
	struct function *f;
	bool dump;
	uint64_t iova, steps; /* where the next piece begins; done so far */
	struct range open;    /* the next piece may go on with it */
	uint64_t pages, writable_pages, count;
	char *text; /* the reply's array of ranges but for its end */
	size_t used, size;
	bool no_memory;
};

static bool make_room(struct reach *r)
{
	size_t size = r->size ? 2 * r->size : 4096;
	char *text;

	if (r->size - r->used >= RANGE_TEXT_MAX)
		return true;
	text = realloc(r->text, size);
	if (!text)
		return false;
	r->text = text;
	r->size = size;
	return true;
}

static const char *yes(bool is_so)
{
	return is_so ? "true" : "false";
}

static void list_range(struct reach *r, const struct range *range)
{
	if (!make_room(r)) {
		r->no_memory = true;
		return;
	}
	r->used += (size_t)snprintf(r->text + r->used, RANGE_TEXT_MAX,
				    "%s{\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"memory\":%" PRIu64
				    ",\"read\":%s,\"write\":%s%s}",
				    r->text[r->used - 1] == '[' ? "" : ",", range->first, range->last,
				    range->gpa, yes(range->access & VIOMMU_READ),
				    yes(range->access & VIOMMU_WRITE),
				    range->one_page ? ",\"one_page\":true" : "");
}

static void close_range(struct reach *r)
{
	const struct range *range = &r->open;
	uint64_t pages = range->one_page ? 1 : (range->last >> PAGE_SHIFT) - (range->first >> PAGE_SHIFT) + 1;

	if (!range->access)
		return;
	r->pages += pages;
	if (range->access & VIOMMU_WRITE)
		r->writable_pages += pages;
	if (r->count++ < REACH_RANGES_MAX)
		list_range(r, range);
	r->open.access = 0;
}

static bool is_page(uint64_t first, uint64_t last)
{
	return last - first == (1u << PAGE_SHIFT) - 1;
}

/* Does what comes next lead to the one page that all of the range leads to? */
static bool is_same_page(const struct range *open, uint64_t first, uint64_t last, uint64_t gpa)
{
	return gpa == open->gpa && is_page(first, last) &&
	       (open->one_page || is_page(open->first, open->last));
}

static int note_range(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct reach *r = arg;
	struct range *open = &r->open;
	bool adjoins = open->access == access && first == open->last + 1;

	if (adjoins && is_same_page(open, first, last, gpa)) {
		open->last = last;
		open->one_page = true;
		return 0;
	}
	if (adjoins && !open->one_page && gpa == open->gpa + (first - open->first)) {
		open->last = last;
		return 0;
	}
	close_range(r);
	*open = (struct range){first, last, gpa, access, false};
	return 0;
}

const char *device_translation_text(enum viommu_translation translation)
{
	static const char *const texts[] = {
		[VIOMMU_TRANSLATION_OFF] = "off",
		[VIOMMU_TRANSLATION_BLOCKED] = "blocked",
		[VIOMMU_TRANSLATION_PASS_THROUGH] = "pass-through",
		[VIOMMU_TRANSLATION_PAGED] = "paged",
		[VIOMMU_TRANSLATION_APERTURE] = "aperture",
		[VIOMMU_TRANSLATION_MAPPED] = "mapped",
	};

	return texts[translation];
}

static void add_translation(struct json_object *object, const struct viommu_requester_info *info)
{
	control_set_string(object, "translation", device_translation_text(info->translation));
	if (info->translation == VIOMMU_TRANSLATION_APERTURE) {
		control_set_u64(object, "aperture_first", info->aperture_first);
		control_set_u64(object, "aperture_last", info->aperture_last);
	}
}

static struct json_object *object_of(struct reach *r, bool blocked, bool complete)
{
	struct json_object *reply = control_ok(), *entries;
	struct viommu_requester_info info = {.sz = sizeof(info)};

	viommu_requester_describe(r->f->requester, &info);
	control_set_string(reply, "device", r->f->name);
	add_translation(reply, &info);
	if (unit_name(r->f->unit)) {
		control_set_string(reply, "iommu", unit_name(r->f->unit));
		control_set_bool(reply, "protects", r->f->unit->registers->ops->protects);
	}
	control_set_bool(reply, "blocked", blocked);
	control_set_bool(reply, "complete", complete && r->count <= REACH_RANGES_MAX);
	control_set_u64(reply, "range_count", r->count);
	control_set_u64(reply, "pages", r->pages);
	control_set_u64(reply, "writable_pages", r->writable_pages);
	control_set_u64(reply, "memory_pages", r->f->unit->lent >> PAGE_SHIFT);
	if (!r->dump)
		return reply;
	entries = control_object();
	device_describe(r->f, entries);
	control_add(reply, "tables", entries);
	return reply;
}

/* The ranges, whose array was begun as the object's last member, are the reply's then. */
static void make_reply(struct reach *r, bool blocked, bool complete, struct control_reply *ret_reply)
{
	if (r->no_memory || !make_room(r))
		return;
	strcpy(r->text + r->used, RANGES_END);
	*ret_reply = (struct control_reply){
		.object = object_of(r, blocked, complete),
		.rest = r->text,
		.rest_len = r->used + strlen(RANGES_END),
	};
	r->text = NULL;
}

/* The guest runs on meanwhile: what is told all in all is a moving picture. */
static bool step(struct control_work *w, struct control_reply *ret_reply)
{
	struct reach *r = (struct reach *)w;
	bool first = r->steps == 0;
	int more = viommu_reach_some(r->f->requester, &r->iova, REACH_STEPS_AT_ONCE, note_range, r);

	r->steps += REACH_STEPS_AT_ONCE;
	if (more == 1 && r->steps < REACH_STEPS)
		return false;
	close_range(r);
	/* Tables that came to block the device in the midst of it leave an answer that is not complete. */
	make_reply(r, more == -ENOENT && first, more == 0 || first, ret_reply);
	return true;
}

static void drop(struct control_work *w)
{
	struct reach *r = (struct reach *)w;

	free(r->text);
	free(r);
}

static struct json_object *begin(struct function *f, bool dump, struct control_work **ret_work)
{
	struct reach *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->work = (struct control_work){.step = step, .drop = drop};
	r->f = f;
	r->dump = dump;
	r->no_memory = !make_room(r);
	if (!r->no_memory)
		r->used = strlen(strcpy(r->text, RANGES_BEGIN));
	*ret_work = &r->work;
	return NULL;
}

/* ------------------------------------------------------------------- entries */

/* Under the entry's name, with '_' in place of ' '. All that a model of ours has are of 16 bytes. */
static void add_entry(struct json_object *object, const struct viommu_entry *entry)
{
	struct json_object *e = control_object();
	char key[32];

	snprintf(key, sizeof(key), "%s", entry->name);
	for (char *c = key; *c; c++)
		*c = *c == ' ' ? '_' : *c;
	control_set_u64(e, "memory", entry->gpa);
	control_set_u64(e, "low", entry->words[0]);
	control_set_u64(e, "high", entry->words[1]);
	control_add(object, key, e);
}

void device_describe(struct function *f, struct json_object *ret_info)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	viommu_requester_describe(f->requester, &info);
	add_translation(ret_info, &info);
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
	if (info.translation == VIOMMU_TRANSLATION_APERTURE)
		control_set_u64(ret_info, "table", info.table);
	for (unsigned i = 0; i < info.entry_count; i++)
		add_entry(ret_info, &info.entries[i]);
}

/* ------------------------------------------------------------------ commands */

/* Or NULL, and *ret_error is the reply. */
static struct function *find(struct vm *vm, struct json_object *request, struct json_object **ret_error)
{
	const char *device = control_get_string(request, "device");

	for (unsigned i = 0; device && i < vm->function_count; i++) {
		struct function *f = vm->functions[i];

		if (function_is_device(f) && !strcmp(device, f->name))
			return f;
	}
	*ret_error = device ? control_error("there is no device '%s'; status lists them", device)
			    : control_error("this needs a \"device\" such as nvme0");
	return NULL;
}

struct json_object *device_reach(struct vm *vm, struct json_object *request, struct control_work **ret_work)
{
	struct json_object *reply;
	struct function *f = find(vm, request, &reply);

	return f ? begin(f, false, ret_work) : reply;
}

struct json_object *device_dump(struct vm *vm, struct json_object *request, struct control_work **ret_work)
{
	struct json_object *reply;
	struct function *f = find(vm, request, &reply);

	return f ? begin(f, true, ret_work) : reply;
}
