/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu: launch and observe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

static const struct command *const commands[] = {
	&run_command, &status_command, &reach_command, &dump_command, &counters_command, &bench_command,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
	printf("viommu puts the devices of a QEMU guest behind an IOMMU in software.\n\n"
	       "usage: viommu COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n'viommu COMMAND --help' tells more about one.\n");
	return EXIT_SUCCESS;
}

static int print_command_help(const struct command *command)
{
	fputs(command->help, stdout);
	return EXIT_SUCCESS;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (!strcmp(name, commands[i]->name))
			return commands[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2)
		return usage_failure("say what to do; 'viommu --help' lists the commands");
	if (!strcmp(argv[1], "--help"))
		return print_help();
	if (!strcmp(argv[1], "--version")) {
		printf("viommu %s\n", VIOMMU_VERSION);
		return EXIT_SUCCESS;
	}
	command = find_command(argv[1]);
	if (!command)
		return usage_failure("there is no command '%s'; 'viommu --help' lists them", argv[1]);
	if (argc > 2 && !strcmp(argv[2], "--help"))
		return print_command_help(command);
	return command->run(argc - 1, argv + 1);
}
