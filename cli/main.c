/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu: launch and observe. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

static const struct command help_command;

static const struct command *const commands[] = {
	&run_command,  &status_command,	 &reach_command, &dump_command,	  &counters_command, &stat_command,
	&save_command, &restore_command, &trace_command, &replay_command, &bench_command,    &help_command,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
	printf("viommu puts the devices of a QEMU guest behind an IOMMU in software.\n\n"
	       "usage: viommu COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n  --version\n        print the version\n"
	       "  --help\n        print this text, or behind a command the help of that command\n\n"
	       "'viommu help COMMAND' tells more about a command, 'man viommu' about all commands.\n");
	return EXIT_SUCCESS;
}

static int print_command_help(const struct command *command)
{
	fputs(command->help, stdout);
	if (command->more_help)
		command->more_help();
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

static int no_command(const char *name)
{
	return usage_failure("there is no command '%s'; 'viommu --help' lists them", name);
}

static int help(int argc, char **argv)
{
	const struct command *command;

	if (argc == 1)
		return print_help();
	if (argc > 2)
		return usage_failure("'%s' is too much; help tells about one command", argv[2]);
	command = find_command(argv[1]);
	return command ? print_command_help(command) : no_command(argv[1]);
}

static const struct command help_command = {
	.name = "help",
	.run = help,
	.summary = "this list, or what one command does",
	.help = "usage: viommu help [COMMAND]\n\n"
		"What 'viommu --help' and 'viommu COMMAND --help' print.\n",
};

/* A question stands anywhere before the arguments of another program. */
static bool asks(const struct command *command, int argc, char **argv, const char *question)
{
	int last = command && command->hands_on ? 2 : argc - 1;

	for (int i = 1; i < argc && i <= last && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], question))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

	if (argc > 1 && argv[1][0] != '-' && !command)
		return no_command(argv[1]);
	if (asks(command, argc, argv, "--help"))
		return command ? print_command_help(command) : print_help();
	if (asks(command, argc, argv, "--version")) {
		printf("viommu %s\n", VIOMMU_VERSION);
		return EXIT_SUCCESS;
	}
	if (argc < 2)
		return usage_failure("say what to do; 'viommu --help' lists the commands");
	return command ? command->run(argc - 1, argv + 1)
		       : usage_failure("'%s' is not an option; 'viommu --help' lists them", argv[1]);
}
