/* SPDX-License-Identifier: BSD-3-Clause */
/* The micro benchmarks; figures go to the report in the order they are taken. */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <json-c/json.h>

/* A figure: its key in JSON, its value, and how it is told to a person. Printed as it comes unless JSON was
 * asked for. */
void report_number(const char *key, double value, const char *unit, const char *text);
/* A line on stderr: what is going on. */
void report_progress(const char *text);

void bench_translate(void);
void bench_copy(void);
void bench_iova(void);
/* `viommud` is the program to start for the figures between two processes. */
void bench_invalidate(const char *viommud);

#endif
