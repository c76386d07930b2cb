/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/sibling.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* `path` is one of ours: put `name` in the place of its last part if there is such a program. */
static bool replace_last(char path[PATH_MAX], const char *name)
{
	char *slash = strrchr(path, '/');

	if (!slash || (size_t)(slash + 1 - path) + strlen(name) >= PATH_MAX)
		return false;
	strcpy(slash + 1, name);
	return !access(path, X_OK);
}

/* Beside what was called, which may be a link; beside what it leads to. */
void sibling_find(const char *name, char ret_path[PATH_MAX])
{
	ssize_t n;

	snprintf(ret_path, PATH_MAX, "%s", program_invocation_name);
	if (replace_last(ret_path, name))
		return;
	n = readlink("/proc/self/exe", ret_path, PATH_MAX - 1);
	ret_path[n > 0 ? n : 0] = '\0';
	if (!replace_last(ret_path, name))
		snprintf(ret_path, PATH_MAX, "%s", name);
}
