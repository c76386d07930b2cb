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
		"'record' needs root, uses a trace instance of its own, and leaves other instances alone.\n"
		"Since Linux 6.17 NVMe maps without an event of DMA: 'record' puts kprobes on\n"
		"dma_iova_link and related functions, and names the devices behind the IOMMU.\n\n"
		"'show' tells what is in a trace: the devices, how many buffers of what size each device\n"
		"was given and for how long, and what could not be joined. FILE is a recording, the text\n"
		"of /sys/kernel/tracing/trace, of 'trace-cmd report' or 'perf script', gzip or not, or a\n"
		"trace.dat of trace-cmd; - is stdin. 'viommu replay' executes a trace. Text may have any\n"
		"columns, but times must be seconds; 'perf script --show-lost-events' tells what perf lost.\n"
		"The first line says what is missing; lines that cannot be read are shown at the end.\n\n"
		"A map of the IOMMU (iommu:map) without an event of DMA is inferred to be a buffer where\n"
		"exactly one device fits: one behind the IOMMU, with nothing else mapped at that address.\n"
		"Inferred buffers are whole pages, for both directions. Maps that fit no device are left\n"
		"out, and counted in the first line. VFIO's maps of a VM's memory are such events, too.\n\n"
		"  -o FILE         the file for the recording\n"
		"  -d SECONDS      record for so long, or a fraction; default: until COMMAND ends, or "
		"Ctrl-C\n"
		"  --buffer KIB    size of the kernel's buffer for each CPU (8192); a larger one loses less\n"
		"  --tracefs DIR   where tracefs is, if not at /sys/kernel/tracing\n"
		"  --json          one JSON object\n",
};
