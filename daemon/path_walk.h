/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A path to a folder, followed part by part. Where others may write, as in
 * /tmp, a symbolic link of theirs could lead into any folder of ours; and who
 * may exchange a folder on the way can make the path lead elsewhere later.
 */
#ifndef DAEMON_PATH_WALK_H
#define DAEMON_PATH_WALK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct path_walk_result {
	bool made;	       /* the last part is new */
	bool strange_link;     /* refused with -ELOOP: a symbolic link belongs to somebody else */
	bool strange_folder;   /* -EPERM: `folder`, which is on the way, belongs to somebody else */
	bool open_folder;      /* -EPERM: others may write to `folder`, and it is not sticky */
	char folder[PATH_MAX]; /* without links */
};

/*
 * An fd of the folder; its last part is made, for nobody else, when it is
 * missing. Symbolic links are followed that belong to the user or to root, over
 * folders where nobody else can exchange what is in them. Whether the folder
 * itself is such a one is for the caller to see. Else a negative errno.
 */
int path_walk_open(const char *path, struct path_walk_result *ret);

#endif
