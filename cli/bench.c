/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument_list.h"
#include "cli/command.h"
#include "cli/sibling.h"

/* The benchmarks are programs of their own, so that this one needs no part of the library. */
static const struct {
	const char *name, *program;
} benches[] = {
	{"micro", "viommu-bench"},
};

#define BENCH_COUNT (sizeof(benches) / sizeof(benches[0]))

static int run_program(const char *name, int argc, char **argv)
{
	struct argument_list line = {0};
	char program[PATH_MAX], viommud[PATH_MAX];

	sibling_find(name, program);
	sibling_find("viommud", viommud);
	argument_list_add(&line, program);
	argument_list_add(&line, "--viommud");
	argument_list_add(&line, viommud);
	for (int i = 0; i < argc; i++)
		argument_list_add(&line, argv[i]);
	execvp(program, line.items);
	return failure("cannot start %s: %s; it belongs beside viommu", program, strerror(errno));
}

static int run(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < BENCH_COUNT; i++)
		if (!strcmp(argv[1], benches[i].name))
			return run_program(benches[i].program, argc - 2, argv + 2);
	return usage_failure("say which benchmark: viommu bench micro [--json]");
}

const struct command bench_command = {
	.name = "bench",
	.run = run,
	.summary = "measure this machine",
	.help = "usage: viommu bench micro [--json]\n\n"
		"  micro   translations, invalidations polled and trapped, DMA copies; about a minute\n\n"
		"Figures are medians or percentiles of one run. Leave the machine alone meanwhile: the\n"
		"sidecore, the measuring thread and anything else share its cores.\n",
};
