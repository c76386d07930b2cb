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
	char shown[SYSTEMS_MOST]
		  [SYSTEMS_LONGEST + 4]; /* ASCII; with others in it "??.dat#2", by its number */
	bool is_guest[SYSTEMS_MOST];	 /* of perf's column, and not named by a heading */
	unsigned count;
};

/* A line that may say that there is one more. False: it was one too many. */
bool systems_take_heading(struct systems *s, const char *text);
/*
 * That of a line: its number from 1 on, and its name as it may be shown. 0, and a name of no
 * length: the only one, or the one that has no name. -EMLINK: one too many.
 */
int systems_find(struct systems *s, const char *text, const char **ret_name, size_t *ret_len);

#endif
