/* SPDX-License-Identifier: BSD-3-Clause */
/* Results for people and for programs. */
#ifndef CLI_REPLAY_OUTPUT_H
#define CLI_REPLAY_OUTPUT_H

#include <stdio.h>

#include "cli/replay/result.h"
#include "cli/trace/trace.h"

/* A row for each result, at most 120 columns wide; below, why some could not run. */
void replay_print_table(FILE *to, const struct replay_result *results, size_t count);
/* What it means: which is the safest, which the cheapest, which to choose. */
void replay_print_advice(FILE *to, const struct replay_result *results, size_t count);
/* An array of objects, with what was counted of the trace in each. -ENOMEM. */
int replay_print_json(FILE *to, const struct replay_result *results, size_t count,
		      const struct trace_count *counts, size_t count_count);
/* The names of the columns, and a line for each result. */
void replay_print_csv(FILE *to, const struct replay_result *results, size_t count);

/* A number in at most 6 characters: 0.25, 7.5, 1234, 36.4k, 1.20M. Times in ns, us, ms or s. */
void replay_format_number(double value, char *text, size_t size);
void replay_format_time(double us, char *text, size_t size);

#endif
