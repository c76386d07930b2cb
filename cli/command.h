/* SPDX-License-Identifier: BSD-3-Clause */
/* What every command of viommu has in common. One file per command. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>

#define EXIT_USAGE 2

struct command {
	const char *name;
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
	const char *summary;	 /* one line */
	const char *help;	 /* the text of --help */
	void (*more_help)(void); /* prints what follows it; NULL: nothing */
	bool hands_on;		 /* its operands have a --help of their own */
};

extern const struct command run_command, status_command, reach_command, dump_command, counters_command,
	stat_command, bench_command, save_command, restore_command, replay_command, trace_command;

/* "viommu: " and the text as one line on stderr. Returns the exit status that fits: 1, and 2. */
int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
int usage_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
