/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which machine a line is of, where a text has several. 'trace-cmd report' of two
 * files begins with "host.dat: cpus=8", "guest.dat: cpus=2", and then each line with the
 * name of its file; 'perf script' of host and guests has a column "VM:1234 VCPU:000".
 */
#ifndef CLI_TRACE_SYSTEMS_H
#define CLI_TRACE_SYSTEMS_H

#include <stdbool.h>
#include <stddef.h>

#define SYSTEMS_MOST	64u
#define SYSTEMS_LONGEST 128u /* characters of a name */

struct systems {
	char names[SYSTEMS_MOST][SYSTEMS_LONGEST + 1];
	unsigned count;
};

/* A line that may say that there is one more. False: it was one too many. */
bool systems_take_heading(struct systems *s, const char *text);
/* That of a line, which may be a part of the line, not ended by a zero. *ret_len 0: of the only one. */
const char *systems_find(const struct systems *s, const char *text, size_t *ret_len);

#endif
