/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/qemu_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "os/sentence.h"

#define DEVICE "\"vfio-user-pci\""

/* Read to the end; is DEVICE in one of the lines? */
static bool find_device(int fd)
{
	FILE *f = fdopen(fd, "r");
	bool found = false;
	char line[512];

	if (!f) {
		close(fd);
		return false;
	}
	while (fgets(line, sizeof(line), f))
		found = found || strstr(line, DEVICE);
	fclose(f);
	return found;
}

static int start_listing(const char *program, int out, pid_t *ret_pid)
{
	char name[PATH_MAX], option[] = "-device", help[] = "help", *argv[] = {name, option, help, NULL};
	int null = child_open_null();
	struct child_plan plan = {.argv = argv, .in = null, .out = out, .err = null, .own_group = true};
	int err;

	snprintf(name, sizeof(name), "%s", program);
	err = child_start(&plan, ret_pid);
	if (null >= 0)
		close(null);
	return err;
}

int qemu_probe(const char *program, char *why, size_t why_size)
{
	bool found;
	int out[2], err;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC)) {
		err = -errno;
		os_say(why, why_size, "%s cannot be tried: %s", program, strerror(-err));
		return err;
	}
	err = start_listing(program, out[1], &pid);
	close(out[1]);
	if (err) {
		close(out[0]);
		os_say(why, why_size, "%s cannot be started: %s", program, strerror(-err));
		return err;
	}
	found = find_device(out[0]);
	waitpid(pid, NULL, 0);
	if (found)
		return 0;
	os_say(why, why_size, "%s has no vfio-user-pci device, which QEMU has since 10.1", program);
	return -ENODEV;
}
