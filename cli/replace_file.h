/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that others read at any time: old or new, never half of it. */
#ifndef CLI_REPLACE_FILE_H
#define CLI_REPLACE_FILE_H

#include <stddef.h>

/*
 * Put `len` bytes into `path`, readable by all: written beside it under a name
 * that begins with a dot, then renamed. 0 or a negative errno; nothing is left
 * behind then.
 */
int replace_file(const char *path, const char *data, size_t len);

#endif
