/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/iommu_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/value_list.h"
#include "os/sentence.h"

#define DEVICE_NAMES "nvme" /* what the names of devices begin with */

/* -------------------------------------------------------------------- taken */

static const char *take_width(const char *text, void *field)
{
	unsigned width;

	if (value_number(text, 39, 48, &width) || (width != 39 && width != 48))
		return "39 or 48";
	*(unsigned *)field = width;
	return NULL;
}

const char *iommu_take_id(const char *text, void *field)
{
	size_t len = strlen(text);

	if (len < 1 || len > IOMMU_ID_MAX || text[0] == '.' || text[0] == '-' ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != len ||
	    !strncmp(text, DEVICE_NAMES, strlen(DEVICE_NAMES)))
		return "the name of an IOMMU: at most 16 letters, digits, '.', '_' and '-', and not as those "
		       "of devices, " DEVICE_NAMES "...";
	memcpy(field, text, len + 1);
	return NULL;
}

static const struct value_key vtd_keys[] = {
	{"id", iommu_take_id, offsetof(struct iommu_choice, id)},
	{"caching-mode", value_switch, offsetof(struct iommu_choice, caching_mode)},
	{"aw", take_width, offsetof(struct iommu_choice, width)},
	{"addr", value_pci_address, offsetof(struct iommu_choice, devfn)},
	{NULL},
};

static const struct value_key virtio_keys[] = {
	{"id", iommu_take_id, offsetof(struct iommu_choice, id)},
	{"boot-bypass", value_switch, offsetof(struct iommu_choice, boot_bypass)},
	{"addr", value_pci_address, offsetof(struct iommu_choice, devfn)},
	{NULL},
};

static const struct value_key amdvi_keys[] = {
	{"id", iommu_take_id, offsetof(struct iommu_choice, id)},
	{"addr", value_pci_address, offsetof(struct iommu_choice, devfn)},
	{NULL},
};

static const struct value_key gart_keys[] = {
	{"id", iommu_take_id, offsetof(struct iommu_choice, id)},
	{NULL},
};

/* What --iommu can name. */
static const struct model {
	const char *name;
	enum iommu_model model;
	const struct value_key *keys;
	unsigned devfn; /* 0: one of the usual slots */
	bool only_one;	/* translates for all devices of a machine */
	bool in_config; /* its registers are in configuration space, where nothing can be polled */
	bool is_found;	/* the guest finds its registers as those of any PCI function; no table tells of them
			 */
} models[] = {
	[IOMMU_VTD] = {"vtd", IOMMU_VTD, vtd_keys, 0, false, false, false},
	[IOMMU_GART] = {"gart", IOMMU_GART, gart_keys, GART_SLOT << 3 | GART_FUNCTION, true, true, true},
	[IOMMU_VIRTIO] = {"virtio", IOMMU_VIRTIO, virtio_keys, 0, false, false, true},
	[IOMMU_AMDVI] = {"amdvi", IOMMU_AMDVI, amdvi_keys, 0, false, false, false},
};

/* The next unit, as it is when nothing is said of it. */
static struct iommu_choice *add_unit(struct vm_options *o)
{
	struct iommu_choice *choice = &o->iommus[o->iommu_count];

	*choice = (struct iommu_choice){.boot_bypass = true,
					.width = 48,
					.devfn = (IOMMU_SLOT_USUAL - o->iommu_count) << 3};
	o->iommu_count++;
	return choice;
}

/* By what stands before the keys. NULL: there is no such model. */
static const struct model *find_model(const char *argument)
{
	size_t len = strcspn(argument, ",");

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		if (strlen(models[i].name) == len && !strncmp(argument, models[i].name, len))
			return &models[i];
	}
	return NULL;
}

int iommu_take(struct vm_options *o, const char *argument, char *why, size_t why_size)
{
	const struct model *model = find_model(argument);
	struct iommu_choice *choice;
	char *first = NULL;
	int err;

	if (!strcmp(argument, "none")) {
		o->no_iommu = true;
		return 0;
	}
	if (o->iommu_count == IOMMU_MAX)
		return os_say(why, why_size, "at most %d IOMMUs are served to a VM", IOMMU_MAX);
	if (!model)
		return os_say(why, why_size, "'%.*s': write vtd, amdvi, virtio, gart or none",
			      (int)strcspn(argument, ","), argument);
	choice = add_unit(o);
	choice->model = model->model;
	if (model->devfn)
		choice->devfn = model->devfn;
	err = value_list_parse(argument, model->keys, choice, &first, why, why_size);
	free(first);
	return err;
}

static const struct value_key expectation_keys[] = {
	{"iommu", iommu_take_id, offsetof(struct expectation, unit_id)},
	{NULL},
};

static int take_base(const char *text, uint64_t *ret_base, char *why, size_t why_size)
{
	unsigned long long base;
	char *end;

	errno = 0;
	base = strtoull(text, &end, 16);
	if (errno || *end || !base || base & 0xfff || text[0] == '-')
		return os_say(why, why_size,
			      "'%s': write the page-aligned hexadecimal address of the DMAR table", text);
	*ret_base = base;
	return 0;
}

/* That of the same unit, since the last one counts, or a new one. NULL: no room. */
static struct expectation *place_for(struct vm_options *o, const char *unit_id)
{
	for (unsigned i = 0; i < o->expectation_count; i++) {
		if (!strcmp(o->expectations[i].unit_id, unit_id))
			return &o->expectations[i];
	}
	return o->expectation_count < IOMMU_MAX + 1 ? &o->expectations[o->expectation_count++] : NULL;
}

int iommu_take_expectation(struct vm_options *o, const char *argument, char *why, size_t why_size)
{
	struct expectation taken = {0}, *place;
	char *first = NULL;
	int err = value_list_parse(argument, expectation_keys, &taken, &first, why, why_size);

	if (!err)
		err = take_base(first, &taken.base, why, why_size);
	free(first);
	if (err)
		return err;
	place = place_for(o, taken.unit_id);
	if (!place)
		return os_say(why, why_size, "it is given for more IOMMUs than there can be");
	*place = taken;
	return 0;
}

/* ----------------------------------------------------------------- resolved */

#define USUAL_NAME "iommu" /* of the first; then iommu1, ..., as the sockets are called */

static void usual_name(unsigned index, char ret_name[IOMMU_ID_MAX + 1])
{
	snprintf(ret_name, IOMMU_ID_MAX + 1, index ? USUAL_NAME "%u" : USUAL_NAME, index);
}

/* Does the name look like one that says the unit's number? */
static bool is_numbered(const char *id)
{
	size_t len = strlen(USUAL_NAME);

	return !strncmp(id, USUAL_NAME, len) && !id[len + strspn(id + len, "0123456789")];
}

static int name_units(struct vm_options *o, char *why, size_t why_size)
{
	for (unsigned i = 0; i < o->iommu_count; i++) {
		char *id = o->iommus[i].id, usual[IOMMU_ID_MAX + 1];

		usual_name(i, usual);
		if (!*id)
			strcpy(id, usual);
		if (is_numbered(id) && strcmp(id, usual))
			return os_say(
				why, why_size,
				"--iommu: '%s' would be taken for another unit's socket, %s.sock is this "
				"one's; write id=%s, or a name of another form",
				id, usual, usual);
		for (unsigned j = 0; j < i; j++) {
			if (!strcmp(id, o->iommus[j].id))
				return os_say(
					why, why_size,
					"--iommu: two are called '%s'; give each a name of its own with "
					"id=",
					id);
			if (o->iommus[i].devfn == o->iommus[j].devfn)
				return os_say(
					why, why_size,
					"--iommu: two have PCI address %x.0; give another one with addr=",
					o->iommus[i].devfn >> 3);
		}
	}
	return 0;
}

/* "": the first. 0 and *ret_unit, or -1: there is none. */
static int find_unit(const struct vm_options *o, const char *id, unsigned *ret_unit)
{
	for (unsigned i = 0; i < o->iommu_count; i++) {
		if (!*id || !strcmp(id, o->iommus[i].id)) {
			*ret_unit = i;
			return 0;
		}
	}
	return -1;
}

static int place_devices(struct vm_options *o, char *why, size_t why_size)
{
	for (unsigned i = 0; i < o->nvme_count; i++) {
		struct nvme_choice *choice = &o->nvme[i];

		if (find_unit(o, choice->unit_id, &choice->unit) && *choice->unit_id)
			return os_say(why, why_size,
				      "--nvme %s: no IOMMU is called '%s'; name one with --iommu %s,id=%s",
				      choice->path, choice->unit_id,
				      models[o->iommu_count ? o->iommus[0].model : IOMMU_VTD].name,
				      choice->unit_id);
	}
	return 0;
}

/* Without an IOMMU nothing is expected. */
static int place_expectations(struct vm_options *o, char *why, size_t why_size)
{
	unsigned unit;

	for (unsigned i = 0; i < o->expectation_count; i++) {
		const struct expectation *e = &o->expectations[i];

		if (find_unit(o, e->unit_id, &unit) == 0) {
			if (models[o->iommus[unit].model].is_found)
				return os_say(why, why_size,
					      "--expect: no table tells the guest where the registers of "
					      "--iommu %s are; leave --expect out",
					      models[o->iommus[unit].model].name);
			o->iommus[unit].expected_base = e->base;
		} else if (*e->unit_id) {
			return os_say(why, why_size, "--expect: no IOMMU is called '%s'", e->unit_id);
		}
	}
	return 0;
}

static int check_model(struct vm_options *o, const struct model *model, char *why, size_t why_size)
{
	if (model->only_one && o->iommu_count > 1)
		return os_say(why, why_size,
			      "--iommu %s: one %s translates for all devices of a machine; leave the other "
			      "--iommu out",
			      model->name, model->name);
	if (!model->in_config)
		return 0;
	if (o->sidecore)
		return os_say(why, why_size,
			      "--registers sidecore: the registers of --iommu %s are in configuration space, "
			      "which cannot be polled; leave --registers out",
			      model->name);
	o->trap = true;
	return 0;
}

/* A guest that finds the tables of both makers uses one of them, or none. */
static int check_makers(const struct vm_options *o, char *why, size_t why_size)
{
	if (!options_iommu_count(o, IOMMU_VTD) || !options_iommu_count(o, IOMMU_AMDVI))
		return 0;
	return os_say(
		why, why_size,
		"--iommu amdvi stands beside --iommu vtd: no machine has the IOMMUs of both makers, and "
		"guests use one of them at most; leave the units of one model out");
}

/*
 * Linux gives a completion of AMD-Vi up after 100 ms, and uses the page again all the same. A sidecore that
 * the host does not let run cannot keep that, a trapped register does: the guest waits for the write.
 */
static void choose_registers(struct vm_options *o)
{
	for (unsigned i = 0; i < o->iommu_count; i++) {
		struct iommu_choice *choice = &o->iommus[i];

		choice->trap = o->trap || (choice->model == IOMMU_AMDVI && !o->sidecore);
	}
}

static int check_models(struct vm_options *o, char *why, size_t why_size)
{
	for (unsigned i = 0; i < o->iommu_count; i++) {
		if (check_model(o, &models[o->iommus[i].model], why, why_size))
			return -1;
	}
	return 0;
}

int iommu_resolve(struct vm_options *o, char *why, size_t why_size)
{
	if (o->no_iommu && o->iommu_count)
		return os_say(why, why_size,
			      "--iommu none stands beside another --iommu; leave one of them out");
	if (!o->no_iommu && !o->iommu_count)
		add_unit(o);
	if (check_models(o, why, why_size) || check_makers(o, why, why_size) ||
	    name_units(o, why, why_size) || place_devices(o, why, why_size))
		return -1;
	choose_registers(o);
	return place_expectations(o, why, why_size);
}

bool iommu_has_slot(const struct vm_options *o, unsigned slot)
{
	for (unsigned i = 0; i < o->iommu_count; i++) {
		if (o->iommus[i].devfn >> 3 == slot)
			return true;
	}
	return false;
}
