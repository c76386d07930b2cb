/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program on a system that lacks some system calls:
 *
 *     without CALL[,CALL...] PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int lack(scmp_filter_ctx filter, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);

	if (call == __NR_SCMP_ERROR)
		return -EINVAL;
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int err = filter && argc > 2 ? 0 : -EINVAL;

	for (char *name = err ? NULL : strtok(argv[1], ","); name && !err; name = strtok(NULL, ","))
		err = lack(filter, name);
	if (!err)
		err = seccomp_load(filter);
	if (!err)
		execv(argv[2], argv + 2);
	fprintf(stderr, "without: %s\n", strerror(err ? -err : errno));
	return EXIT_FAILURE;
}
