/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A screen that is drawn anew, like top's. Begin and end in pairs; what was
 * shown last stays, with the cursor below it.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Both stdin and stdout are one. */
bool terminal_is_there(void);
void terminal_begin(void);
void terminal_end(void);
void terminal_size(unsigned *ret_rows, unsigned *ret_columns);
/* Show lines in place of what was there: as many and as much of each as fit above the last row. */
void terminal_show(const char *text);
/* Wait up to `ms` for a key or a signal of `signals` (signals.h). True: the user wants to end. */
bool terminal_wait(int signals, int ms);

#endif
