/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/device_query.h"
#include "cli/ranges.h"
#include "control/message.h"

/* VT-d 9.1 and 9.3: what root and context entries have in common. */
#define ENTRY_PRESENT 1u
#define ENTRY_ADDRESS (~UINT64_C(0xfff))

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *found = NULL;

	json_object_object_get_ex(object, key, &found);
	return found;
}

/* True: the entry leads on. */
static bool show_entry(struct json_object *tables, const char *key, const char *name)
{
	struct json_object *entry = member(tables, key);
	uint64_t low;

	if (!entry)
		return false;
	low = control_get_u64(entry, "low", 0);
	printf("  %s entry at 0x%" PRIx64 ": 0x%016" PRIx64 " 0x%016" PRIx64 ": ", name,
	       control_get_u64(entry, "memory", 0), control_get_u64(entry, "high", 0), low);
	if (!(low & ENTRY_PRESENT))
		printf("not present");
	return low & ENTRY_PRESENT;
}

static void show_root(struct json_object *tables)
{
	struct json_object *entry = member(tables, "root_entry");

	if (show_entry(tables, "root_entry", "root"))
		printf("present, context table at 0x%" PRIx64,
		       control_get_u64(entry, "low", 0) & ENTRY_ADDRESS);
	if (entry)
		printf("\n");
}

static void show_context(struct json_object *tables)
{
	const char *translation = control_get_text(tables, "translation");

	if (show_entry(tables, "context_entry", "context")) {
		printf("present");
		if (!strcmp(translation, "paged"))
			printf(", translated by %" PRIu64 " levels of tables from 0x%" PRIx64,
			       control_get_u64(tables, "levels", 0), control_get_u64(tables, "table", 0));
		if (!strcmp(translation, "pass-through"))
			printf(", pass-through");
		if (strcmp(translation, "blocked"))
			printf(", %" PRIu64 "-bit addresses, domain %" PRIu64,
			       control_get_u64(tables, "address_width", 0),
			       control_get_u64(tables, "domain", 0));
	}
	if (member(tables, "context_entry"))
		printf(", faults are %s\n",
		       control_get_bool(tables, "faults_silent") ? "not recorded" : "recorded");
}

static void show_tables(struct json_object *tables, const char *device)
{
	const char *translation = control_get_text(tables, "translation");

	if (!strcmp(translation, "off"))
		printf("%s: translation is off, device addresses are addresses of guest memory\n", device);
	else if (!strcmp(translation, "blocked"))
		printf("%s: blocked, %s (reason 0x%02" PRIx64 ")\n", device, control_get_text(tables, "why"),
		       control_get_u64(tables, "reason", 0));
	else if (!strcmp(translation, "pass-through"))
		printf("%s: passed through, device addresses are addresses of guest memory\n", device);
	else if (!strcmp(translation, "aperture"))
		printf("%s: the GART remaps 0x%" PRIx64 " - 0x%" PRIx64
		       " page by page through the table at 0x%" PRIx64 "\n",
		       device, control_get_u64(tables, "aperture_first", 0),
		       control_get_u64(tables, "aperture_last", 0), control_get_u64(tables, "table", 0));
	else if (!strcmp(translation, "mapped"))
		printf("%s: translated by the mappings that the guest has asked for, domain %" PRIu64
		       ", %" PRIu64 "-bit addresses\n",
		       device, control_get_u64(tables, "domain", 0),
		       control_get_u64(tables, "address_width", 0));
	else
		printf("%s: translated by the guest's tables\n", device);
	show_root(tables);
	show_context(tables);
	if (!member(tables, "root_entry"))
		return; /* no entry of the device is read */
	printf("  accesses %s\n", control_get_bool(tables, "cached")
					  ? "go by a cached copy of the context entry until the guest "
					    "invalidates it"
					  : "read these entries anew: nothing is cached");
}

static void show(struct json_object *reply, const char *device)
{
	show_tables(member(reply, "tables"), device);
	ranges_show(reply, device);
}

static int run(int argc, char **argv)
{
	return device_query(argc, argv, "dump", show);
}

const struct command dump_command = {
	.name = "dump",
	.run = run,
	.summary = "what the guest's tables say about a device, in words",
	.help = "usage: viommu dump --dir DIR DEVICE|IOMMU [--json]\n\n"
		"Decodes the root and context entry of DEVICE (nvme0, nvme1, ...) as they lie in guest\n"
		"memory, or tells the aperture of a GART, then lists what the tables let the device reach\n"
		"right now, as 'viommu reach' does.\n"
		"Of an IOMMU, by its name in 'viommu status', each device behind it is told; --json has\n"
		"them in \"devices\".\n",
};
