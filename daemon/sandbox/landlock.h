/* SPDX-License-Identifier: BSD-3-Clause */
/* Landlock: which part of the file system this thread and those it starts can use. */
#ifndef DAEMON_SANDBOX_LANDLOCK_H
#define DAEMON_SANDBOX_LANDLOCK_H

#include "daemon/directory.h"

/*
 * Of paths only: sockets can be made and removed in the directory, and empty
 * folders removed in its parent if the directory is ours to remove, in itself
 * if it has folders of VMs. What is open stays open. Needs no_new_privs. 0 or a negative errno.
 */
int landlock_restrict(const struct directory *d);

#endif
