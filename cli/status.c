/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/query.h"
#include "control/message.h"

static bool is_unit(struct json_object *function)
{
	return !strcmp(control_get_text(function, "kind"), "iommu");
}

static unsigned count_units(struct json_object *status)
{
	unsigned count = 0;

	for (size_t i = 0; i < control_get_length(status, "functions"); i++)
		count += is_unit(control_get_item(status, "functions", i));
	return count;
}

/* `label` is "" or "NAME: ", `devices` whom it is about. */
static void show_translation(struct json_object *unit, const char *label, const char *devices)
{
	const char *translation = control_get_text(unit, "translation");

	if (!strcmp(translation, "on"))
		printf("  %stranslation is on: %s reach what the guest's tables allow\n", label, devices);
	if (!strcmp(translation, "off"))
		printf("  %stranslation is OFF, it was on before: %s reach all of the guest's memory\n",
		       label, devices);
	if (!strcmp(translation, "never"))
		printf("  %stranslation was NEVER turned on since this viommud runs: %s reach all of the "
		       "guest's memory\n",
		       label, devices);
}

static bool has_devices_behind(struct json_object *status, struct json_object *unit)
{
	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		if (!strcmp(control_get_text(function, "iommu"), control_get_text(unit, "name")))
			return true;
	}
	return false;
}

static void show_unit(struct json_object *status, struct json_object *unit, bool several)
{
	char label[40] = "";

	if (several)
		snprintf(label, sizeof(label), "%.32s: ", control_get_text(unit, "name"));
	if (has_devices_behind(status, unit))
		show_translation(unit, label, several ? "the devices behind it" : "the devices");
	else
		printf("  %sno device stands behind it\n", label);
	if (control_get_u64(unit, "expected_base", 0))
		printf("  %sthe guest's firmware table says 0x%" PRIx64 "%s\n", label,
		       control_get_u64(unit, "expected_base", 0),
		       control_get_bool(unit, "base_mismatch") ? ": WRONG, firmware placed them elsewhere"
							       : "");
	if (control_get_bool(unit, "registers_lost"))
		printf("  %sLOST: the machine was reset, and no firmware has given the registers an "
		       "address\n",
		       label);
}

static void show_gart(struct json_object *status)
{
	bool on = !strcmp(control_get_text(status, "translation"), "on");

	printf("IOMMU: AMD GART, registers in configuration space\n"
	       "  NOT PROTECTED, the devices reach all of the guest's memory; the aperture is %s\n",
	       on ? "on" : "off");
}

static const struct model {
	const char *name, *text;
	const char *polled; /* what a sidecore looks at */
	bool wakes;	    /* the guest wakes an idle sidecore */
} models[] = {
	{"vtd", "Intel VT-d", "registers", false},
	{"amdvi", "AMD-Vi", "registers", false},
	{"virtio", "virtio-iommu", "request queue", true},
};

static const struct model *model_of(struct json_object *unit)
{
	const char *name = control_get_text(unit, "model");
	size_t last = sizeof(models) / sizeof(models[0]) - 1, i = 0;

	while (i < last && strcmp(models[i].name, name))
		i++;
	return &models[i];
}

/* All units of one model, and those. */
static void show_units_of(struct json_object *status, const struct model *model)
{
	const char *how = control_get_text(status, "registers");
	unsigned count = 0;

	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		if (!is_unit(function) || model_of(function) != model)
			continue;
		count++;
		how = control_get_string(function, "registers") ? control_get_text(function, "registers")
								: how;
	}
	if (!count)
		return;
	printf("IOMMU: %s, ", model->text);
	if (count > 1)
		printf("%u units, ", count);
	if (!strcmp(how, "trap"))
		printf("%s trapped\n", model->polled);
	else if (model->wakes)
		printf("%s polled by a sidecore (the guest wakes an idle one)\n", model->polled);
	else
		printf("%s polled by a sidecore (an idle one answers within %" PRIu64 " us)\n", model->polled,
		       control_get_u64(status, "idle_latency_us", 0));
	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		if (is_unit(function) && model_of(function) == model)
			show_unit(status, function, count_units(status) > 1);
	}
}

static void show_units(struct json_object *status)
{
	if (!count_units(status)) {
		printf("IOMMU: none, the devices reach all memory that QEMU lets them\n");
		return;
	}
	if (!strcmp(control_get_text(status, "iommu"), "gart")) {
		show_gart(status);
		return;
	}
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		show_units_of(status, &models[i]);
}

static void show_function(struct json_object *function, bool several)
{
	const char *file = control_get_string(function, "file");
	const char *unit = control_get_string(function, "iommu");

	printf("%s at 00:%s", control_get_text(function, "name"), control_get_text(function, "address"));
	if (unit && several)
		printf(", behind %s", unit);
	if (file)
		printf(", disk %s, serial number %s", file, control_get_text(function, "serial"));
	printf(", %s",
	       control_get_bool(function, "connected") ? "QEMU is connected" : "no QEMU is connected");
	if (control_get_bool(function, "memory_decode"))
		printf(", registers at 0x%" PRIx64, control_get_u64(function, "bar", 0));
	printf("\n");
}

static int run(int argc, char **argv)
{
	struct json_object *status;
	struct query q;
	int err = query_parse(&q, argc, argv, NULL);

	if (!err)
		err = query_ask(&q, "status", NULL, &status);
	if (err || !status)
		return err;
	printf("viommud %s, process %" PRIu64 ", in %s\n", control_get_text(status, "version"),
	       control_get_u64(status, "pid", 0), control_get_text(status, "directory"));
	show_units(status);
	for (size_t i = 0; i < control_get_length(status, "functions"); i++)
		show_function(control_get_item(status, "functions", i), count_units(status) > 1);
	json_object_put(status);
	return 0;
}

const struct command status_command = {
	.name = "status",
	.run = run,
	.summary = "what a running viommud serves, and to whom",
	.help = "usage: viommu status --dir DIR [--json]\n\n"
		"Says what the viommud in the folder DIR serves, whether QEMU is connected, and whether\n"
		"the guest has turned translation on: 'off' and 'never' mean that nothing is protected,\n"
		"and so does \"protects\": false of --json, whatever translation is.\n"
		"With several IOMMUs each is told by its name, and of each device which it stands behind.\n",
};
