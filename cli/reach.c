/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"
#include "cli/device_query.h"
#include "cli/ranges.h"

static int run(int argc, char **argv)
{
	return device_query(argc, argv, "reach", ranges_show);
}

const struct command reach_command = {
	.name = "reach",
	.run = run,
	.summary = "which memory a device can reach right now",
	.help = "usage: viommu reach --dir DIR DEVICE|IOMMU [--json]\n\n"
		"Walks the tables that the guest has written for DEVICE (nvme0, nvme1, ...) and lists the\n"
		"addresses it can use now and the guest memory they lead to; of an IOMMU, by its name in\n"
		"'viommu status', those of each device behind it, one after the other; --json has\n"
		"them in \"devices\".\n",
};
