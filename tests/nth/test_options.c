/* SPDX-License-Identifier: BSD-3-Clause */
/* viommud's command line without memory: refused in words, and nothing is left of it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/options.h"
#include "sweep.h"
#include "testing.h"

static char disk[64], nvme[96];

static int read_options(void *world)
{
	static char name[] = "viommud", iommu[] = "--iommu", model[] = "vtd,id=a,caching-mode=on",
		    disks[] = "--nvme", expect[] = "--expect", base[] = "0xfebe0000,iommu=a";
	/* getopt may reorder them */
	char *argv[] = {name, iommu, model, disks, nvme, expect, base, NULL};
	struct daemon_options *options = world;

	optind = 1;
	errno = 0;
	if (options_parse(options, 7, argv) == OPTIONS_SERVE)
		return 0;
	options_finish(options);
	/* A verdict has no errno; of the calls that fail only open() is one that takes a descriptor. */
	return errno == EMFILE ? -EMFILE : -ENOMEM;
}

static void forget_options(void *world)
{
	options_finish(world);
}

static void the_command_line(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "read options", .run = read_options, .undo = forget_options}};
	static const struct nth_sequence q = NTH_SEQUENCE("viommud's options", struct daemon_options, steps);

	nth_sweep(&q);
}

static int make_disk(void **test)
{
	int fd;

	snprintf(disk, sizeof(disk), "/tmp/nth-disk-XXXXXX");
	fd = mkstemp(disk);
	snprintf(nvme, sizeof(nvme), "%s,serial=nth", disk);
	return fd < 0 || ftruncate(fd, 1 << 20) || close(fd);
}

static int remove_disk(void **test)
{
	return unlink(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_command_line)};

	return cmocka_run_group_tests_name("nth options", tests, make_disk, remove_disk);
}
