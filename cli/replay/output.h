/* SPDX-License-Identifier: BSD-3-Clause */
/* Results for people and for programs. */
#ifndef CLI_REPLAY_OUTPUT_H
#define CLI_REPLAY_OUTPUT_H

#include <stdio.h>

#include "cli/replay/result.h"
#include "cli/trace/trace.h"

/* A row for each result, at most 120 columns wide; below, why some could not run. */
void replay_print_table(FILE *to, const struct replay_result *results, size_t count);
/* What it means, and whether the run was too noisy to judge: which is the safest, which the cheapest, which
 * to choose; a paragraph for each, in lines of `width`. */
#define REPLAY_ADVICE_WIDTH 118
void replay_print_advice(FILE *to, const struct replay_result *results, size_t count, int width);
/* The strategy that it says to choose; NULL: none of them. */
const struct replay_result *replay_choice(const struct replay_result *results, size_t count);
/*
 * An array of objects, with what was counted of the trace in each, and first of all what the trace lacks,
 * unless `missing` is empty. -ENOMEM.
 */
int replay_print_json(FILE *to, const struct replay_result *results, size_t count,
		      const struct trace_count *counts, size_t count_count, const char *missing);
/* The names of the columns, and a line for each result; what the trace lacks is the first column, as above.
 */
void replay_print_csv(FILE *to, const struct replay_result *results, size_t count, const char *missing);

/* How it protects, as a word that is a colour of the page: safe (nothing in reach after an unmap), limited,
 * kept, open. */
const char *replay_kind(const struct replay_result *r);

/* The columns of the page's table, of which the first REPLAY_PAGE_ONLY do not fit a terminal. A group of them
 * begins where it is named. */
#define REPLAY_PAGE_ONLY 2
struct replay_shown {
	const char *group, *heading, *column;
	void (*format)(double value, char *text, size_t size);
};

const struct replay_shown *replay_shown(size_t *ret_count);
const struct replay_column *replay_find_column(const char *name);

/* What a report is about. */
struct replay_report {
	const char *file;
	const char *const *devices; /* their names */
	unsigned device_count;
	uint64_t maps, inferred, memory; /* inferred: of the maps */
	const struct replay_result *results;
	size_t count;
	const struct trace_count *counts;
	size_t count_count;
	const char *missing; /* what the trace lacks, a sentence; empty: nothing */
};

/* One page with all of it, that needs nothing else. */
void replay_print_html(FILE *to, const struct replay_report *r);
/* Its two pictures, as SVG. */
void replay_print_costs_chart(FILE *to, const struct replay_report *r);
void replay_print_pages_chart(FILE *to, const struct replay_report *r);
/* Text of others, with what HTML means otherwise escaped. */
void replay_print_escaped(FILE *to, const char *text);

/* A number in at most 6 characters: 0.25, 7.5, 1234, 36.4k, 1.20M. Times in ns, us, ms or s. */
void replay_format_number(double value, char *text, size_t size);
void replay_format_time(double us, char *text, size_t size);

#endif
