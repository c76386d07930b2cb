/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that others read at any time: old or new, never half of it. */
#ifndef CLI_REPLACE_FILE_H
#define CLI_REPLACE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Who may read the new file. */
#define REPLACE_FOR_ALL	  0644
#define REPLACE_FOR_OWNER 0600

/*
 * Put `len` bytes into `path`, with `mode`: written beside it under a name that
 * begins with a dot, then renamed. 0 or a negative errno; nothing is left behind
 * then.
 */
int replace_file(const char *path, const char *data, size_t len, mode_t mode);

#endif
