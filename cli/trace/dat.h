/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trace.dat of trace-cmd, as the lines that its text would be. libtracecmd trusts
 * what it reads and falls with it, so it runs in a process of its own (cage.h).
 */
#ifndef CLI_TRACE_DAT_H
#define CLI_TRACE_DAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cli/trace/cage.h"

#define DAT_MAGIC     "\x17\x08\x44tracing"
#define DAT_MAGIC_LEN 10

struct dat;

/*
 * 0 or a negative errno. -EOPNOTSUPP: built without libtracecmd; -ESPIPE: it is no file, and
 * cannot be read here and there; -EMEDIUMTYPE: it does not itself begin with DAT_MAGIC.
 */
int dat_open(const char *path, struct dat **ret_dat);
void dat_close(struct dat *d);
/*
 * The next line, ended by a zero, until the next call. 1; 0: the end; -EMSGSIZE: it is
 * too long, and left out; -EDOM: its clock does not count seconds; or -EBADMSG: libtracecmd
 * cannot read the file, or not on, as dat_error() says.
 */
int dat_next(struct dat *d, char **ret_text, size_t *ret_len);
uint64_t dat_number(const struct dat *d); /* of the line that came last */
const char *dat_error(const struct dat *d);
/* What a file of this length may take: of memory never more than the machine has. */
void dat_limits(const struct stat *st, struct cage_limits *ret_limits);

#endif
