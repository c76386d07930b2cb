/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/private_qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/qemu_probe.h"
#include "cli/sibling.h"
#include "os/sentence.h"

#define NAME   "qemu-system-x86_64"
#define SCRIPT "viommu-fetch-qemu"

bool private_qemu_replaces(const char *program)
{
	return !strcmp(program, NAME);
}

/* Its progress goes to our stderr, and the terminal's signals to both of us. */
static int start_script(int out, pid_t *ret_pid)
{
	char script[PATH_MAX], *argv[] = {script, NULL};
	struct child_plan plan = {.argv = argv, .in = child_open_null(), .out = out, .err = -1};
	int err;

	sibling_find(SCRIPT, script);
	err = child_start(&plan, ret_pid);
	if (plan.in >= 0)
		close(plan.in);
	return err;
}

/* All that it prints is one line. */
static void read_path(int fd, char path[PATH_MAX])
{
	size_t used = 0;
	ssize_t n;

	while (used < PATH_MAX - 1 && (n = read(fd, path + used, PATH_MAX - 1 - used)) > 0)
		used += (size_t)n;
	path[used] = '\0';
	path[strcspn(path, "\n")] = '\0';
}

static int run_script(char path[PATH_MAX])
{
	int out[2], err, status;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		return failure("the private QEMU cannot be looked for: %s", strerror(errno));
	err = start_script(out[1], &pid);
	close(out[1]);
	if (err) {
		close(out[0]);
		return failure(SCRIPT " cannot be started: %s; it belongs beside viommu, 'make' and 'make "
				      "install' put it there",
			       strerror(-err));
	}
	read_path(out[0], path);
	close(out[0]);
	waitpid(pid, &status, 0);
	if (child_exit_status(status) || !*path)
		return failure("the private QEMU cannot be had, for the reason above; install QEMU 10.1 or "
			       "newer, and give its path behind --");
	return 0;
}

int private_qemu_find(char ret_path[PATH_MAX])
{
	char path[PATH_MAX], why[OS_WHY_SIZE];
	int err = run_script(path);

	if (err)
		return err;
	if (qemu_probe(path, why, sizeof(why)))
		return failure("the private QEMU cannot be used: %s; remove its folder, and it is fetched "
			       "again",
			       why);
	strcpy(ret_path, path);
	return 0;
}
