/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A path to a folder, followed part by part. Where others may write, as in
 * /tmp, a symbolic link of theirs could lead into any folder of ours.
 */
#ifndef DAEMON_PATH_WALK_H
#define DAEMON_PATH_WALK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * An fd of the folder; its last part is made, for nobody else, when it is
 * missing. Symbolic links are followed that belong to the user or to root. A
 * negative errno: -ELOOP with `ret_stranger` set, a link belongs to somebody
 * else.
 */
int path_walk_open(const char *path, bool *ret_made, bool *ret_stranger);

#endif
