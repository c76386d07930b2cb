/* SPDX-License-Identifier: BSD-3-Clause */
/* What a trace lacks: the lines that could not be read, as far as they are shown, and a sentence on all of
 * it. */
#ifndef CLI_TRACE_MISSING_H
#define CLI_TRACE_MISSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/trace/join.h"
#include "cli/trace/trace.h"

#define MISSING_SHOWN 5 /* lines; more are counted */

struct missing {
	struct trace_line lines[MISSING_SHOWN];
	size_t count;
	const char *inferred_of; /* the device of all buffers that were inferred; NULL: of several */
};

/* Line `number` was not read. What a terminal would not show is shown as '?'. */
void missing_add(struct missing *m, uint64_t number, const char *text);
/* What trace_missing() says. */
bool missing_tell(const struct missing *m, const struct join *j, char *text, size_t size);

#endif
