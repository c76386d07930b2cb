/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument_list.h"
#include "cli/command.h"
#include "cli/sibling.h"

/* The benchmarks are programs of their own, so that this one needs no part of the library. */
struct bench {
	const char *name, *program;
	const char *option, *sibling; /* which program of ours it is told to start; NULL: none */
};

static const struct bench benches[] = {
	{"micro", "viommu-bench", "--viommud", "viommud"},
	{"guest", "viommu-bench-guest", "--viommu", "viommu"},
	{"strategies", "viommu-bench-strategies", NULL, NULL},
};

#define BENCH_COUNT (sizeof(benches) / sizeof(benches[0]))

static int run_program(const struct bench *b, int argc, char **argv)
{
	struct argument_list line = {0};
	char program[PATH_MAX], sibling[PATH_MAX];

	sibling_find(b->program, program);
	argument_list_add(&line, program);
	if (b->option) {
		sibling_find(b->sibling, sibling);
		argument_list_add(&line, b->option);
		argument_list_add(&line, sibling);
	}
	for (int i = 0; i < argc; i++)
		argument_list_add(&line, argv[i]);
	execvp(program, line.items);
	return failure("cannot start %s: %s; it belongs beside viommu", program, strerror(errno));
}

static int run(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < BENCH_COUNT; i++)
		if (!strcmp(argv[1], benches[i].name))
			return run_program(&benches[i], argc - 2, argv + 2);
	return usage_failure(
		"say which benchmark: viommu bench micro, viommu bench guest or viommu bench strategies");
}

const struct command bench_command = {
	.name = "bench",
	.run = run,
	.summary = "measure this machine",
	.hands_on = true,
	.help = "usage: viommu bench micro [--json]\n"
		"       viommu bench guest [--json] [--quick] [--mode NAME]... [OPTION]...\n"
		"       viommu bench strategies [--json] [--quick] [--strategy NAME]... [OPTION]...\n\n"
		"  micro   translations, invalidations polled and trapped, DMA copies; about a minute\n"
		"  guest   fio in a stock guest, its disk behind no IOMMU, behind viommu in each mode, and\n"
		"          behind QEMU's own; about ten minutes, with --quick two. Fetches what the guest\n"
		"          needs once.\n"
		"  strategies\n"
		"          each DMA mapping strategy in a loop like a network card's and one like a disk's,\n"
		"          registers polled and trapped, relative to passthrough; about a minute and a "
		"half\n\n"
		"'viommu bench guest --help' lists the options of 'guest', and likewise for the others.\n\n"
		"Figures are medians or percentiles of one run. Run nothing else meanwhile: the\n"
		"sidecore, the measuring thread and all other programs share the machine's cores.\n",
};
