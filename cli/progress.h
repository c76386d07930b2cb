/* SPDX-License-Identifier: BSD-3-Clause */
/* How far a long command is: one line on stderr that is written over, if that is a terminal. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool is_wanted, is_shown;
	uint64_t shown_ns;
};

void progress_begin(struct progress *p);
/* `what` is being done, and `done` of `of` is over; of 0: nobody knows of how much. */
void progress_show(struct progress *p, const char *what, uint64_t done, uint64_t of);
/* The line is gone. */
void progress_end(struct progress *p);

#endif
