/* SPDX-License-Identifier: BSD-3-Clause */
/* A trace.dat of trace-cmd, as the lines that its text would be. */
#ifndef CLI_TRACE_DAT_H
#define CLI_TRACE_DAT_H

#include <stddef.h>
#include <stdint.h>

#define DAT_MAGIC     "\x17\x08\x44tracing"
#define DAT_MAGIC_LEN 10

struct dat;

/* 0 or a negative errno. -EOPNOTSUPP: built without libtracecmd. -EBADMSG: it does not understand the file.
 */
int dat_open(const char *path, struct dat **ret_dat);
void dat_close(struct dat *d);
/* The next line, ended by a zero, until the next call. 1; 0: the end; or a negative errno. */
int dat_next(struct dat *d, char **ret_text, size_t *ret_len);
uint64_t dat_number(const struct dat *d); /* of the line that came last */

#endif
