/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that belong to this one: in the same folder, or else left to PATH. */
#ifndef CLI_SIBLING_H
#define CLI_SIBLING_H

#include <limits.h>

/* A path that execvp() finds `name` by. */
void sibling_find(const char *name, char ret_path[PATH_MAX]);

#endif
