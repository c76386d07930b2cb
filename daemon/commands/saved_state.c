/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/saved_state.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "daemon/vm.h"
#include "daemon/sidecore/work_thread.h"
#include "os/sentence.h"

#define MAGIC	"viommuST"
#define VERSION 1
#define ALIGN	8

#define KIND_UNIT 2 /* those of functions are their kinds' own */

struct header {
	char magic[8];
	uint32_t version, sections;
	uint64_t length; /* of all, with the checksum */
};

struct section {
	uint32_t kind, index;
	uint64_t length; /* of what follows; then zeros up to ALIGN */
};

/* What one visit of the work thread is about. */
struct visit {
	struct vm *vm;
	uint8_t *bytes; /* aligned as malloc() does */
	size_t size, used;
	uint32_t sections;
	int err;
	char *why;
	size_t why_size;
};

static bool fail(struct visit *v, int err, const char *format, ...)
{
	va_list args;

	v->err = err;
	va_start(args, format);
	os_say_v(v->why, v->why_size, format, args);
	va_end(args);
	return false;
}

/* ---------------------------------------------------------------------- save */

static bool begin_section(struct visit *v, uint32_t kind, uint32_t index, size_t length)
{
	struct section s = {.kind = htole32(kind), .index = htole32(index), .length = htole64(length)};

	if (v->size - v->used < sizeof(s) + length + ALIGN)
		return fail(v, -E2BIG, "the state is larger than it can be");
	memcpy(v->bytes + v->used, &s, sizeof(s));
	v->used += sizeof(s);
	v->sections++;
	return true;
}

static void end_section(struct visit *v, size_t length)
{
	v->used += (length + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* The index of its section: its number among its kind and, of a device behind a unit, the number of the unit.
 */
static uint32_t number_of(const struct vm *vm, const struct function *f)
{
	uint32_t unit = 0;

	while (!f->owns_unit && vm->host.units[unit] != f->unit)
		unit++;
	return f->index | unit << 16;
}

static bool save_function(struct visit *v, struct function *f)
{
	int64_t length = f->ops->save(f, NULL, 0);

	if (length == -EBUSY)
		return fail(v, -EAGAIN,
			    "commands of %s are under way; a guest that has taken bus mastering away keeps "
			    "them so",
			    f->name);
	if (length < 0)
		return fail(v, (int)length, "%s cannot be saved: %s", f->name, strerror((int)-length));
	if (!begin_section(v, f->ops->state_kind, number_of(v->vm, f), (size_t)length))
		return false;
	f->ops->save(f, v->bytes + v->used, v->size - v->used);
	end_section(v, (size_t)length);
	return true;
}

static bool save_unit(struct visit *v, unsigned index)
{
	struct viommu *unit = v->vm->host.units[index]->v;
	int64_t length = viommu_save(unit, NULL, 0);

	if (!begin_section(v, KIND_UNIT, index, (size_t)length))
		return false;
	length = viommu_save(unit, v->bytes + v->used, v->size - v->used);
	if (length < 0)
		return fail(v, (int)length, "the IOMMU cannot be saved: %s", strerror((int)-length));
	end_section(v, (size_t)length);
	return true;
}

static void hold(struct vm *vm)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (vm->functions[i]->ops->hold)
			vm->functions[i]->ops->hold(vm->functions[i], SAVED_HOLD_MS);
	}
}

static bool save_functions(struct visit *v, bool devices)
{
	struct vm *vm = v->vm;

	for (unsigned i = 0; i < vm->function_count; i++) {
		if (function_is_device(vm->functions[i]) == devices && !save_function(v, vm->functions[i]))
			return false;
	}
	return true;
}

static bool save_units(struct visit *v)
{
	for (unsigned i = 0; i < v->vm->host.unit_count; i++) {
		if (!save_unit(v, i))
			return false;
	}
	return true;
}

/* Devices first, as they may be busy. Whoever restores finds the sections in this order. */
static bool save_all(struct visit *v)
{
	hold(v->vm);
	return save_functions(v, true) && save_units(v) && save_functions(v, false);
}

static void finish_file(struct visit *v)
{
	struct header h = {.magic = MAGIC,
			   .version = htole32(VERSION),
			   .sections = htole32(v->sections),
			   .length = htole64(v->used + sizeof(uint32_t))};
	uint32_t crc;

	memcpy(v->bytes, &h, sizeof(h));
	crc = htole32((uint32_t)crc32(0, v->bytes, (uInt)v->used));
	memcpy(v->bytes + v->used, &crc, sizeof(crc));
	v->used += sizeof(crc);
}

/*
 * Nobody answers messages meanwhile: a unit that would ask for memory without a
 * file is told no at once, which can only happen to a guest that put its queue there.
 */
static void hold_memory(struct vm *vm, bool hold)
{
	for (unsigned i = 0; i < vm->host.unit_count; i++)
		(hold ? vfu_dma_hold : vfu_dma_release)(vm->host.units[i]->memory);
}

static void save_on_work_thread(void *arg)
{
	struct visit *v = arg;

	hold_memory(v->vm, true);
	if (save_all(v)) {
		finish_file(v);
		v->vm->host.frozen = true;
	}
	hold_memory(v->vm, false);
}

static bool memory_has_files(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->host.unit_count; i++) {
		if (vm->host.units[i]->told)
			return false;
	}
	return true;
}

static int visit(struct visit *v, void (*work)(void *arg))
{
	int err = work_thread_visit(v->vm->work, work, v);

	if (!err)
		return v->err;
	os_say(v->why, v->why_size, "the work thread does not come to it; try again");
	return err;
}

int saved_state_take(struct vm *vm, uint8_t **ret_bytes, size_t *ret_size, char *why, size_t why_size)
{
	struct visit v = {.vm = vm,
			  .size = SAVED_STATE_MAX,
			  .used = sizeof(struct header),
			  .why = why,
			  .why_size = why_size};
	int err;

	if (!memory_has_files(vm)) {
		os_say(why, why_size,
		       "the guest's memory came without a file, and whoever goes on would not have it; give "
		       "QEMU's memory backend share=on");
		return -ENOTSUP;
	}
	v.bytes = calloc(1, v.size);
	if (!v.bytes) {
		os_say(why, why_size, "there is no memory for the state");
		return -ENOMEM;
	}
	err = visit(&v, save_on_work_thread);
	if (err) {
		free(v.bytes);
		return err;
	}
	*ret_bytes = v.bytes;
	*ret_size = v.used;
	return 0;
}

/* ------------------------------------------------------------------- restore */

static bool check_header(struct visit *v)
{
	struct header h;
	uint32_t crc;

	if (v->size < sizeof(h) + sizeof(crc))
		return fail(v, -EBADMSG, "this is no saved state: it is too short");
	memcpy(&h, v->bytes, sizeof(h));
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)))
		return fail(v, -EBADMSG, "this is no saved state: 'viommu save' did not write it");
	if (le32toh(h.version) != VERSION)
		return fail(v, -ENOTSUP, "the state is of version %u; this viommud knows version %u",
			    le32toh(h.version), VERSION);
	memcpy(&crc, v->bytes + v->size - sizeof(crc), sizeof(crc));
	if (le64toh(h.length) != v->size ||
	    le32toh(crc) != (uint32_t)crc32(0, v->bytes, (uInt)(v->size - sizeof(crc))))
		return fail(v, -EBADMSG, "the state is damaged; save it again");
	v->sections = le32toh(h.sections);
	v->used = sizeof(h);
	v->size -= sizeof(crc);
	return true;
}

/* The next section, which is of this kind and number, or else the state is of another machine. */
static const uint8_t *next_section(struct visit *v, uint32_t kind, uint32_t index, size_t *ret_length)
{
	struct section s;
	uint64_t length, room;
	const uint8_t *at;

	if (v->sections == 0 || v->size - v->used < sizeof(s))
		return NULL;
	memcpy(&s, v->bytes + v->used, sizeof(s));
	length = le64toh(s.length);
	room = v->size - v->used - sizeof(s);
	if (le32toh(s.kind) != kind || le32toh(s.index) != index || length > room ||
	    ((length + ALIGN - 1) & ~(uint64_t)(ALIGN - 1)) > room)
		return NULL;
	at = v->bytes + v->used + sizeof(s);
	v->used += sizeof(s) + ((length + ALIGN - 1) & ~(uint64_t)(ALIGN - 1));
	v->sections--;
	*ret_length = length;
	return at;
}

struct found {
	const uint8_t *at;
	size_t length;
};

/* Where the parts are. */
struct parts {
	struct found functions[FUNCTIONS_MAX], units[UNITS_MAX];
};

static bool find_part(struct visit *v, uint32_t kind, uint32_t index, struct found *ret)
{
	ret->at = next_section(v, kind, index, &ret->length);
	return ret->at || fail(v, -ENOTSUP,
			       "the state is of a viommud with other options: another IOMMU, or other disks");
}

static bool find_functions(struct visit *v, struct parts *p, bool devices)
{
	struct vm *vm = v->vm;

	for (unsigned i = 0; i < vm->function_count; i++) {
		const struct function *f = vm->functions[i];

		if (function_is_device(f) == devices &&
		    !find_part(v, f->ops->state_kind, number_of(vm, f), &p->functions[i]))
			return false;
	}
	return true;
}

static bool find_units(struct visit *v, struct parts *p)
{
	for (unsigned i = 0; i < v->vm->host.unit_count; i++) {
		if (!find_part(v, KIND_UNIT, i, &p->units[i]))
			return false;
	}
	return true;
}

static bool find_parts(struct visit *v, struct parts *p)
{
	if (!find_functions(v, p, true) || !find_units(v, p) || !find_functions(v, p, false))
		return false;
	return (v->sections == 0 && v->used == v->size) ||
	       fail(v, -ENOTSUP, "the state holds more than this viommud serves: it had other options");
}

static bool explain(struct visit *v, int err, const char *what)
{
	switch (err) {
	case -ENOTSUP:
		return fail(v, err, "the state is of a viommud with other options, or of another version: %s",
			    what);
	case -EBUSY:
		return fail(v, err, "%s has requests at its disk; restore before the guest runs", what);
	case -EBADMSG:
		return fail(v, err, "the state of %s cannot be: it was changed, or this is a bug", what);
	default:
		return fail(v, err, "%s: %s", what, strerror(-err));
	}
}

#define WHAT_SIZE 64

/* What an error calls a unit: by the name, or the number of a unit that remaps nothing. */
static const char *what_unit(const struct vm *vm, unsigned index, char text[WHAT_SIZE])
{
	const char *name = unit_name(vm->host.units[index]);

	if (name)
		snprintf(text, WHAT_SIZE, "the IOMMU '%s'", name);
	else
		snprintf(text, WHAT_SIZE, "the memory of unit %u", index);
	return text;
}

/* A function that carries a unit's registers has the unit's name, and a section of its own. */
static const char *what_function(const struct function *f, char text[WHAT_SIZE])
{
	snprintf(text, WHAT_SIZE,
		 f->owns_unit && !function_is_device(f) ? "the PCI function of IOMMU '%s'" : "%s", f->name);
	return text;
}

static bool check_functions(struct visit *v, const struct parts *p)
{
	struct vm *vm = v->vm;
	char text[WHAT_SIZE];

	for (unsigned i = 0; i < vm->function_count; i++) {
		struct function *f = vm->functions[i];
		int err = f->ops->restore_check(f, p->functions[i].at, p->functions[i].length);

		if (err)
			return explain(v, err, what_function(f, text));
	}
	return true;
}

/* A unit takes all of a state or nothing, so one alone is not asked. Units that remap nothing have no state.
 */
static bool check_units(struct visit *v, const struct parts *p)
{
	struct vm *vm = v->vm;
	unsigned count = vm_remaps(vm) && vm->host.unit_count > 1 ? vm->host.unit_count : 0;
	char text[WHAT_SIZE];

	for (unsigned i = 0; i < count; i++) {
		int err = unit_restore_check(vm->host.units[i], p->units[i].at, p->units[i].length);

		if (err)
			return explain(v, err, what_unit(vm, i, text));
	}
	return true;
}

/* What units were before, in case that a later one fails. */
struct kept {
	void *bytes[UNITS_MAX];
	size_t lengths[UNITS_MAX];
};

static void drop_kept(struct kept *k)
{
	for (unsigned i = 0; i < UNITS_MAX; i++)
		free(k->bytes[i]);
}

static int keep_unit(struct viommu *unit, void **ret_bytes, size_t *ret_length)
{
	int64_t length = viommu_save(unit, NULL, 0);
	void *bytes = malloc((size_t)length);

	if (!bytes)
		return -ENOMEM;
	length = viommu_save(unit, bytes, (size_t)length);
	if (length < 0) {
		free(bytes);
		return (int)length;
	}
	*ret_bytes = bytes;
	*ret_length = (size_t)length;
	return 0;
}

/* The last one fails alone, and is as it was. */
static bool keep_units(struct visit *v, struct kept *k)
{
	struct vm *vm = v->vm;
	char text[WHAT_SIZE];

	for (unsigned i = 0; i + 1 < vm->host.unit_count && vm_remaps(vm); i++) {
		int err = keep_unit(vm->host.units[i]->v, &k->bytes[i], &k->lengths[i]);

		if (err)
			return explain(v, err, what_unit(vm, i, text));
	}
	return true;
}

/* The first `count` units are again what they were. No reset otherwise: devices would reach all memory. */
static int give_back(struct vm *vm, const struct kept *k, unsigned count)
{
	int err = 0;

	for (unsigned i = 0; !err && i < count && vm_remaps(vm); i++)
		err = viommu_restore(vm->host.units[i]->v, k->bytes[i], k->lengths[i]);
	return err;
}

static bool restore_each(struct visit *v, const struct parts *p, const struct kept *k)
{
	struct vm *vm = v->vm;
	char text[WHAT_SIZE];

	for (unsigned i = 0; i < vm->host.unit_count; i++) {
		int err = viommu_restore(vm->host.units[i]->v, p->units[i].at, p->units[i].length);

		if (!err)
			continue;
		if (give_back(vm, k, i))
			return fail(v, err, "%s: %s, and units before it cannot go back; reset the machine",
				    what_unit(vm, i, text), strerror(-err));
		return explain(v, err, what_unit(vm, i, text));
	}
	return true;
}

/* All, or none. */
static bool restore_units(struct visit *v, const struct parts *p)
{
	struct kept k = {.lengths = {0}};
	bool done = keep_units(v, &k) && restore_each(v, p, &k);

	drop_kept(&k);
	return done;
}

static void restore_functions(struct vm *vm, const struct parts *p)
{
	for (unsigned i = 0; i < vm->function_count; i++) {
		struct function *f = vm->functions[i];

		f->ops->restore(f, p->functions[i].at, p->functions[i].length);
	}
}

static void restore_on_work_thread(void *arg)
{
	struct visit *v = arg;
	struct parts p = {0};

	/* All that can be refused comes before the first change, but what a unit alone finds. */
	if (!check_header(v) || !find_parts(v, &p) || !check_functions(v, &p) || !check_units(v, &p))
		return;
	hold_memory(v->vm, true);
	if (restore_units(v, &p)) {
		restore_functions(v->vm, &p);
		vm_restored(v->vm);
		v->vm->host.frozen = false;
	}
	hold_memory(v->vm, false);
}

int saved_state_apply(struct vm *vm, const uint8_t *bytes, size_t size, char *why, size_t why_size)
{
	struct visit v = {.vm = vm,
			  .bytes = (uint8_t *)(uintptr_t)bytes,
			  .size = size,
			  .why = why,
			  .why_size = why_size};

	return visit(&v, restore_on_work_thread);
}
