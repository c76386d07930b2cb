/* SPDX-License-Identifier: BSD-3-Clause */
/* The records of a trace.dat as the lines that ftrace's text would be. Runs in a cage (cage.h). */
#ifndef CLI_TRACE_DAT_RECORDS_H
#define CLI_TRACE_DAT_RECORDS_H

#include <stdbool.h>

/* Exit statuses. */
enum { DAT_WRITTEN = 0, DAT_NOT_UNDERSTOOD = 1, DAT_NO_MEMORY = 2, DAT_NO_SECONDS = 3 };

bool dat_records_possible(void); /* false: built without libtracecmd */
/* Reads the file `in`, writes the lines to `out`. */
int dat_records_write(int in, int out);

#endif
