/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "cli/command.h"
#include "cli/trace_command.h"

static int run(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "show"))
		return trace_show(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "record"))
		return trace_record(argc - 1, argv + 1);
	return usage_failure("say what to do: viommu trace record -o FILE, or viommu trace show FILE");
}

const struct command trace_command = {
	.name = "trace",
	.run = run,
	.summary = "record what drivers map for DMA, and look at recordings",
	.help = "usage: viommu trace record -o FILE [-d SECONDS] [--buffer KIB] [--tracefs DIR] [-- "
		"COMMAND...]\n"
		"       viommu trace show FILE [--json]\n\n"
		"'record' writes what the drivers of this Linux map and unmap for DMA (events dma:* and\n"
		"iommu:map, iommu:unmap; Linux 6.12 or newer) to FILE, compressed if its name ends in .gz.\n"
		"It needs root, uses a trace instance of its own, and leaves the others alone. Since Linux\n"
		"6.17 NVMe maps without an event of DMA: then kprobes on dma_iova_link and its like tell "
		"it,\n"
		"and the devices behind the IOMMU are named.\n\n"
		"'show' tells what is in a trace: its devices, how many buffers of what size they were\n"
		"given and for how long, and what could not be joined. FILE is a recording, the text of\n"
		"/sys/kernel/tracing/trace, of 'trace-cmd report' or 'perf script', gzip or not, or a\n"
		"trace.dat of trace-cmd; - is stdin. 'viommu replay' executes it. Of text any columns will "
		"do,\n"
		"but times must be seconds; perf tells what it lost with 'perf script --show-lost-events'. "
		"What\n"
		"is missing stands in the first line, and lines that cannot be read are shown at the end.\n\n"
		"Maps of the IOMMU (iommu:map) that no event of DMA tells are inferred to be buffers, if "
		"one\n"
		"device and only one fits: it is behind the IOMMU and has nothing else at that address. "
		"They\n"
		"are whole pages, for both directions. Those that are left out are counted in the first "
		"line.\n"
		"Memory of a VM that VFIO maps has such events, too.\n\n"
		"  -o FILE         where the recording goes\n"
		"  -d SECONDS      for so long, may be a fraction; without it until COMMAND ends, or Ctrl-C\n"
		"  --buffer KIB    of the kernel's buffer, for each CPU (8192); larger loses less\n"
		"  --tracefs DIR   where tracefs is, if not at /sys/kernel/tracing\n"
		"  --json          one JSON object\n",
};
