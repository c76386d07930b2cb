/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/argument_list.h"
#include "cli/command.h"
#include "cli/daemon_process.h"
#include "cli/firmware_pass.h"
#include "cli/firmware_tables.h"
#include "cli/machine_run.h"
#include "cli/private_qemu.h"
#include "cli/qemu_arguments.h"
#include "cli/qemu_probe.h"
#include "cli/signals.h"
#include "control/protocol.h"
#include "os/sentence.h"

#define PLACEHOLDER_BASE 0xfed90000 /* in the table of the firmware pass, where no guest reads it */
#define PLACEHOLDER_STEP 0x1000

struct run {
	bool print, made_dir, no_fetch;
	const char *dir; /* as given; NULL: it is viommud's to choose */
	struct argument_list daemon_options;
	char **qemu;		     /* the user's command, ends with NULL */
	char private_qemu[PATH_MAX]; /* "": the user's own is used */
	struct argument_list added;
	struct daemon_process daemon;
	int signals;
	struct table_units units; /* what firmware tables tell */
	struct unit_places places;
};

/* --------------------------------------------------------------- the request */

/* Nothing to serve: QEMU answers as it does without viommu. Returns when it cannot be started. */
static int ask_qemu(char **qemu)
{
	execvp(qemu[0], qemu);
	return usage_failure("%s cannot be started: %s; after -- comes the QEMU command", qemu[0],
			     strerror(errno));
}

/* The value of an option that is written as NAME=VALUE, or as NAME and VALUE, which moves *at. NULL: it is
 * another. */
static const char *option_value(const char *name, char **argv, int *at)
{
	size_t len = strlen(name);

	if (strncmp(argv[*at], name, len) || (argv[*at][len] && argv[*at][len] != '='))
		return NULL;
	if (argv[*at][len])
		return argv[*at] + len + 1;
	return argv[*at + 1] ? argv[++*at] : "";
}

static int take_fetch(struct run *r, const char *value)
{
	r->no_fetch = !strcmp(value, "off");
	if (!r->no_fetch && strcmp(value, "on"))
		return usage_failure("--qemu-fetch '%s': write on or off", value);
	return 0;
}

/* viommu's own are --print, --qemu-fetch and --; the others are viommud's, who judges them. */
static int parse(struct run *r, int argc, char **argv)
{
	const char *fetch;
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--print")) {
			r->print = true;
			continue;
		}
		fetch = option_value("--qemu-fetch", argv, &i);
		if (fetch && take_fetch(r, fetch))
			return EXIT_USAGE;
		if (fetch)
			continue;
		if (!strcmp(argv[i], "--vm") || !strncmp(argv[i], "--vm=", 5))
			return usage_failure(
				"--vm is for a viommud that serves several machines; 'viommu run' starts one "
				"machine with a viommud of its own");
		if (!strcmp(argv[i], "--dir"))
			r->dir = argv[i + 1];
		if (!strncmp(argv[i], "--dir=", 6))
			r->dir = argv[i] + 6;
		argument_list_add(&r->daemon_options, argv[i]);
	}
	if (i + 1 >= argc)
		return usage_failure("write -- and then the QEMU command: viommu run --nvme FILE -- "
				     "qemu-system-x86_64 -m 1G ...");
	if (r->print && !r->dir)
		return usage_failure("--print needs --dir DIR, the folder in which viommud will serve");
	r->qemu = argv + i + 1;
	return 0;
}

/* The program that the user named is missing or too old, as `why` says. */
static int use_private_qemu(struct run *r, const char *why)
{
	int err;

	if (!private_qemu_replaces(r->qemu[0]))
		return usage_failure("%s; after -- comes the QEMU command. Written as qemu-system-x86_64, "
				     "without a path, viommu fetches one where it is missing or too old",
				     why);
	if (r->no_fetch)
		return usage_failure("%s; install QEMU 10.1 or newer, or leave out --qemu-fetch off", why);
	fprintf(stderr,
		"viommu: %s; looking for the private copy of a newer QEMU, which is fetched once "
		"(--qemu-fetch off prevents that) ...\n",
		why);
	err = private_qemu_find(r->private_qemu);
	if (err)
		return err;
	fprintf(stderr, "viommu: using %s\n", r->private_qemu);
	r->qemu[0] = r->private_qemu;
	return 0;
}

static int check_qemu(struct run *r)
{
	char why[OS_WHY_SIZE];
	int err;

	if (qemu_arguments_complete(r->qemu, &r->added, why, sizeof(why)))
		return usage_failure("%s", why);
	err = qemu_probe(r->qemu[0], why, sizeof(why));
	if (err == -ENOENT || err == -ENODEV)
		return use_private_qemu(r, why);
	return err ? usage_failure("%s", why) : 0;
}

/* -------------------------------------------------------------- the arguments */

static int write_tables(struct run *r)
{
	const char *file = "";
	int err = firmware_tables_write(&r->units, r->daemon.dir, &file);

	if (err)
		return failure("%s/%s cannot be written: %s", r->daemon.dir, file, strerror(-err));
	return 0;
}

/* Nobody knows yet where registers will be. */
static int add_tables(struct run *r)
{
	/* -acpitable takes the one for the end of the value, the other for the end of a name. */
	if (strpbrk(r->daemon.dir, ",:"))
		return usage_failure(
			"--dir %s: QEMU takes no table from a folder with a comma or a colon in its name",
			r->daemon.dir);
	for (unsigned i = 0; i < r->units.count; i++)
		r->units.of[i].base = PLACEHOLDER_BASE + i * PLACEHOLDER_STEP;
	firmware_tables_add(&r->units, r->daemon.dir, &r->added);
	return write_tables(r);
}

static bool has_tables(const struct run *r)
{
	for (unsigned i = 0; i < r->units.count; i++) {
		if (firmware_tables_know(r->units.of[i].model))
			return true;
	}
	return false;
}

static int add_arguments(struct run *r)
{
	int err = 0;

	if (daemon_process_units(&r->daemon, &r->units))
		return failure("viommud does not tell what it serves");
	if (has_tables(r))
		err = add_tables(r);
	if (r->daemon.iommu)
		qemu_arguments_keep_awake(r->qemu, &r->added);
	if (!err && daemon_process_devices(&r->daemon, qemu_arguments_bus(r->qemu), &r->added))
		err = failure("viommud does not tell what it serves");
	return err;
}

static void whole_line(const struct run *r, struct argument_list *line)
{
	for (char **a = r->qemu; *a; a++)
		argument_list_add(line, *a);
	argument_list_append(line, &r->added);
}

/* ----------------------------------------------------------------- the stages */

static bool has_places(const struct run *r)
{
	for (unsigned i = 0; i < r->units.count; i++) {
		if (firmware_tables_tell_place(r->units.of[i].model))
			return true;
	}
	return false;
}

static void note_place(struct run *r, const struct unit_place *place)
{
	for (unsigned i = 0; i < r->units.count; i++) {
		if (!strcmp(r->units.of[i].name, place->name))
			r->units.of[i].base = place->base;
	}
}

static int learn_places(struct run *r, const struct argument_list *line)
{
	int err = firmware_pass(&r->daemon, line, r->signals, &r->places);

	for (unsigned i = 0; !err && i < r->places.count; i++)
		note_place(r, &r->places.of[i]);
	if (!err)
		err = write_tables(r);
	for (unsigned i = 0; !err && i < r->places.count; i++) {
		if (daemon_process_expect(&r->daemon, &r->places.of[i]))
			err = failure("viommud does not take the register address");
	}
	return err;
}

static void print_line(const struct argument_list *l, size_t from, const char *first)
{
	if (first) {
		argument_print_quoted(stdout, first);
		printf("%s\n", from < l->count ? " \\" : "");
	}
	for (size_t i = from; i < l->count; i++) {
		/* An option and its value stay on one line. */
		bool pair = l->items[i][0] == '-' && i + 1 < l->count && l->items[i + 1][0] != '-';

		printf("  ");
		argument_print_quoted(stdout, l->items[i]);
		if (pair) {
			putchar(' ');
			argument_print_quoted(stdout, l->items[++i]);
		}
		printf("%s\n", i + 1 < l->count ? " \\" : "");
	}
}

static void add_expectations(struct run *r)
{
	for (unsigned i = 0; i < r->places.count; i++) {
		const struct unit_place *place = &r->places.of[i];

		argument_list_add(&r->daemon_options, "--expect");
		argument_list_addf(&r->daemon_options, "0x%" PRIx64 "%s%s", place->base, i ? ",iommu=" : "",
				   i ? place->name : "");
	}
}

static int print_arguments(struct run *r)
{
	printf("# to be running before QEMU starts\n");
	add_expectations(r);
	print_line(&r->daemon_options, 0, r->daemon.program);
	if (*r->private_qemu) {
		printf("# QEMU must be the private copy: the machine's own is missing or has no "
		       "vfio-user-pci\n# ");
		argument_print_quoted(stdout, r->private_qemu);
		putchar('\n');
	}
	printf("# to add to QEMU's arguments; with other devices or another QEMU, ask again\n");
	print_line(&r->added, 0, NULL);
	return EXIT_SUCCESS;
}

static int check_iommu(struct run *r)
{
	char why[OS_WHY_SIZE];

	if (r->daemon.iommu && qemu_arguments_check_iommu(r->qemu, why, sizeof(why)))
		return usage_failure("%s", why);
	return 0;
}

static int start_machine(struct run *r, const struct argument_list *line)
{
	fprintf(stderr, "viommu: starting the machine; 'viommu status --dir %s' tells about it\n",
		r->daemon.dir);
	return machine_run(&r->daemon, line, r->signals);
}

static int serve(struct run *r)
{
	struct argument_list line = {0};
	int err = check_iommu(r);

	if (!err)
		err = add_arguments(r);
	whole_line(r, &line);
	if (!err && has_places(r))
		err = learn_places(r, &line);
	if (!err)
		err = r->print ? print_arguments(r) : start_machine(r, &line);
	argument_list_finish(&line);
	/* Before viommud ends and removes the folder, if it made it. */
	if (err || !r->print)
		firmware_tables_remove(r->daemon.dir);
	return err;
}

/* What it has not made viommud leaves, with the table that is printed. */
static void make_dir(struct run *r)
{
	r->made_dir = r->print && !mkdir(r->dir, 0700);
}

static int run(int argc, char **argv)
{
	struct run r = {0};
	int err;

	err = parse(&r, argc, argv);
	if (!err && qemu_arguments_only_ask(r.qemu))
		err = ask_qemu(r.qemu);
	if (!err)
		err = check_qemu(&r);
	r.signals = err ? -1 : signals_open();
	if (!err)
		make_dir(&r);
	if (!err)
		err = daemon_process_start(&r.daemon, &r.daemon_options, r.signals);
	if (!err)
		err = serve(&r);
	if (*r.daemon.dir && !r.daemon.pid)
		daemon_process_tidy(&r.daemon, !r.dir);
	daemon_process_stop(&r.daemon);
	if (err && r.made_dir)
		rmdir(r.dir);
	if (r.signals >= 0)
		close(r.signals);
	argument_list_finish(&r.daemon_options);
	argument_list_finish(&r.added);
	return err;
}

const struct command run_command = {
	.name = "run",
	.run = run,
	.summary = "start QEMU with its devices behind the IOMMU",
	.help = "usage: viommu run [VIOMMUD'S OPTION]... [--print] -- qemu-system-x86_64 [ARGUMENT]...\n\n"
		"Starts viommud, adds to QEMU's arguments what the devices need (a q35 machine unless the\n"
		"arguments say pc, shared memory, the devices, firmware tables), and runs QEMU until QEMU\n"
		"ends. QEMU must be 10.1 or newer: where qemu-system-x86_64 is missing or older, a newer\n"
		"Debian's QEMU is fetched once into ~/.cache/viommu (or VIOMMU_CACHE), and used from\n"
		"there.\n\n"
		"  viommu run --nvme disk.img -- qemu-system-x86_64 -m 1G -kernel vmlinuz ...\n\n"
		"The guest uses the IOMMU when its kernel is told to: append intel_iommu=on for Linux.\n"
		"Behind --iommu virtio it has to be told nothing, but needs its module virtio_iommu in the\n"
		"initrd. --iommu vtd may be written several times, for several IOMMUs: --iommu vtd,id=a "
		"--iommu\n"
		"vtd,id=b --nvme x.img,iommu=a --nvme y.img,iommu=b; a device without iommu= stands\n"
		"behind the first. --iommu gart is AMD's address remapping table, which keeps devices from\n"
		"no memory: append iommu=force, and add -cpu qemu64,vendor=AuthenticAMD. It is function 3\n"
		"of slot 18, for which QEMU's pci-testdev is added as function 0.\n"
		"With --iommu none the devices stand behind no IOMMU, or behind QEMU's own "
		"when its\n"
		"arguments have -device intel-iommu,caching-mode=on.\n\n"
		"Behind the IOMMU the guest is not offered to sleep in S3 and S4 (suspend to RAM and to\n"
		"disk): QEMU resets all devices when the guest wakes, and the guest would go on without an\n"
		"IOMMU. A -global ICH9-LPC.disable_s3=0 (for -M pc PIIX4_PM) on the command line, but not\n"
		"in a file of -readconfig, turns S3 on again; viommud then says when a guest has lost its\n"
		"IOMMU.\n\n"
		"When viommud ends before QEMU, QEMU is stopped, since no guest can go on without its\n"
		"IOMMU, and the exit status is 1. What the guest had flushed is in its disk files.\n\n"
		"  --print   do not run the machine; print viommud's command and the arguments to add, for\n"
		"            scripts and libvirt. Needs --dir DIR, where firmware tables are left.\n"
		"  --qemu-fetch on|off\n"
		"            off: fetch no QEMU, and use none that was fetched; default on\n\n"
		"'viommud --help' lists the options of viommud.\n",
};
