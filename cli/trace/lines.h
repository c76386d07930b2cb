/* SPDX-License-Identifier: BSD-3-Clause */
/* A file as lines, gzip or not, in bounded memory. */
#ifndef CLI_TRACE_LINES_H
#define CLI_TRACE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_LONGEST (256u << 10) /* what is longer is no line of a trace */

struct lines;

/* "-" is stdin. 0 or a negative errno. */
int lines_open(const char *path, struct lines **ret_lines);
void lines_close(struct lines *l);
/* The bytes at the beginning, up to `size`; they are still to come as lines. How many. */
size_t lines_peek(struct lines *l, void *ret_bytes, size_t size);
/*
 * The next line without its newline, ended by a zero, until the next call. 1; 0:
 * the end; or a negative errno. -EMSGSIZE: it was too long and is left out; go on.
 */
int lines_next(struct lines *l, char **ret_text, size_t *ret_len);
uint64_t lines_number(const struct lines *l); /* of the line that came last, from 1 */
/* Bytes of the file, as it lies there, that were read; and all of them, 0: not known. */
void lines_progress(const struct lines *l, uint64_t *ret_read, uint64_t *ret_size);
/* What zlib says after -EIO, in words. */
const char *lines_error(const struct lines *l);

#endif
