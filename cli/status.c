/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/query.h"
#include "control/message.h"

static void show_translation(struct json_object *status)
{
	const char *translation = control_get_text(status, "translation");

	if (!strcmp(translation, "on"))
		printf("  translation is on: the devices reach what the guest's tables allow\n");
	if (!strcmp(translation, "off"))
		printf("  translation is OFF, it was on before: the devices reach all of the guest's "
		       "memory\n");
	if (!strcmp(translation, "never"))
		printf("  translation was NEVER turned on since this viommud runs: the devices reach all of "
		       "the "
		       "guest's memory\n");
}

static void show_unit(struct json_object *status)
{
	bool trap = !strcmp(control_get_text(status, "registers"), "trap");

	if (strcmp(control_get_text(status, "iommu"), "vtd")) {
		printf("IOMMU: none, the devices reach all memory that QEMU lets them\n");
		return;
	}
	printf("IOMMU: Intel VT-d, ");
	if (trap)
		printf("registers trapped\n");
	else
		printf("registers polled by a sidecore (an idle one answers within %" PRIu64 " us)\n",
		       control_get_u64(status, "idle_latency_us", 0));
	show_translation(status);
	if (control_get_u64(status, "expected_base", 0))
		printf("  the guest's DMAR table says 0x%" PRIx64 "%s\n",
		       control_get_u64(status, "expected_base", 0),
		       control_get_bool(status, "base_mismatch") ? ": WRONG, firmware placed them elsewhere"
								 : "");
	if (control_get_bool(status, "registers_lost"))
		printf("  LOST: the machine was reset, and no firmware has given the registers an address\n");
}

static void show_function(struct json_object *function)
{
	const char *file = control_get_string(function, "file");

	printf("%s at 00:%s", control_get_text(function, "name"), control_get_text(function, "address"));
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
	show_unit(status);
	for (size_t i = 0; i < control_get_length(status, "functions"); i++)
		show_function(control_get_item(status, "functions", i));
	json_object_put(status);
	return 0;
}

const struct command status_command = {
	.name = "status",
	.run = run,
	.summary = "what a running viommud serves, and to whom",
	.help = "usage: viommu status --dir DIR [--json]\n\n"
		"Says what the viommud in the folder DIR serves, whether QEMU is connected, and whether\n"
		"the guest has turned translation on: 'off' and 'never' mean that nothing is protected.\n",
};
