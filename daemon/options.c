/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/counters.h"
#include "daemon/directory.h"
#include "daemon/disk_image.h"
#include "daemon/iommu_options.h"
#include "daemon/sandbox/sandbox.h"
#include "daemon/value_list.h"
#include "os/sentence.h"

/* -------------------------------------------------------------- the options */

/* Take an option's argument. 0, or -1 and what is wrong in `why`. */
typedef int (*option_fn)(struct daemon_options *o, const char *argument, char *why, size_t why_size);
typedef int (*vm_option_fn)(struct vm_options *o, const char *argument, char *why, size_t why_size);

/* With `take` an option of the daemon, with `take_for_vm` one of the VM that was named last. */
struct option_info {
	const char *name;
	const char *argument; /* as the help shows it; NULL: takes none */
	option_fn take;
	vm_option_fn take_for_vm;
	const char *help;
};

static int take_dir(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	if (!*argument)
		return os_say(why, why_size, "name a folder");
	o->dir = argument;
	return 0;
}

static int take_registers(struct vm_options *o, const char *argument, char *why, size_t why_size)
{
	if (!strcmp(argument, "auto")) {
		o->trap = o->sidecore = false;
		return 0;
	}
	o->trap = !strcmp(argument, "trap");
	o->sidecore = !strcmp(argument, "sidecore");
	if (o->trap || o->sidecore)
		return 0;
	return os_say(why, why_size, "'%s': write auto, sidecore or trap", argument);
}

static const char *take_serial(const char *text, void *field)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~')
			len = 0;
	}
	if (len < 1 || len > SERIAL_LENGTH_MAX)
		return "1 to 20 printable ASCII characters";
	return value_string(text, field);
}

static const char *take_queues(const char *text, void *field)
{
	return value_number(text, 1, 64, field) ? "a number of queue pairs from 1 to 64" : NULL;
}

static const char *take_format(const char *text, void *field)
{
	if (strcmp(text, "raw"))
		return "raw, the only one that is served; qemu-img convert -O raw makes it of the others";
	*(bool *)field = true;
	return NULL;
}

static const struct value_key nvme_keys[] = {
	{"rogue", value_switch, offsetof(struct nvme_choice, rogue)},
	{"readonly", value_switch, offsetof(struct nvme_choice, readonly)},
	{"addr", value_pci_address, offsetof(struct nvme_choice, devfn)},
	{"serial", take_serial, offsetof(struct nvme_choice, serial)},
	{"format", take_format, offsetof(struct nvme_choice, raw)},
	{"queues", take_queues, offsetof(struct nvme_choice, queues)},
	{"iommu", iommu_take_id, offsetof(struct nvme_choice, unit_id)},
	{NULL},
};

/* The guest would see the image's own bytes, and what it writes would spoil the image. */
static int check_format(const struct nvme_choice *choice, char *why, size_t why_size)
{
	const char *format;
	int err = disk_image_format(choice->path, &format);

	if (err)
		return os_say(why, why_size, "%s cannot be read: %s", choice->path, strerror(-err));
	if (!format)
		return 0;
	return os_say(
		why, why_size,
		"%s is a %s image, and only raw disks are served; qemu-img convert -O raw makes a raw "
		"disk of the image. If the file is a raw disk that begins like an image, add format=raw",
		choice->path, format);
}

/* Looked at before it is opened, which would wait for a pipe's other end. */
static int check_disk(struct nvme_choice *choice, char *why, size_t why_size)
{
	struct stat st;

	if (stat(choice->path, &st) || access(choice->path, choice->readonly ? R_OK : R_OK | W_OK))
		return os_say(why, why_size, "%s: %s%s", choice->path, strerror(errno),
			      errno == ENOENT ? "; make one with: truncate -s 1G FILE" : "");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return os_say(why, why_size, "%s is no disk; name a regular file or a block device",
			      choice->path);
	choice->identity[0] = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	choice->identity[1] = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	return choice->raw ? 0 : check_format(choice, why, why_size);
}

static int take_nvme(struct vm_options *o, const char *argument, char *why, size_t why_size)
{
	struct nvme_choice *choice = &o->nvme[o->nvme_count];

	if (o->nvme_count == NVME_MAX)
		return os_say(why, why_size, "at most %d controllers are served", NVME_MAX);
	choice->fd = -1;
	o->nvme_count++;
	if (value_list_parse(argument, nvme_keys, choice, &choice->path, why, why_size))
		return -1;
	if (!choice->path || !*choice->path)
		return os_say(why, why_size, "name the file that holds the disk");
	return check_disk(choice, why, why_size);
}

static int take_idle(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	if (!value_number(argument, 0, IDLE_US_MAX, &o->idle_us))
		return 0;
	return os_say(why, why_size, "'%s': write microseconds from 0 to %d", argument, IDLE_US_MAX);
}

static int take_sandbox(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	const char *expected = value_switch(argument, &o->sandbox);

	if (!expected)
		return 0;
	return os_say(why, why_size, "'%s': write %s", argument, expected);
}

static int take_cpu(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	cpu_set_t allowed;
	unsigned cpu;

	if (!value_number(argument, 0, CPU_SETSIZE - 1, &cpu) &&
	    !sched_getaffinity(0, sizeof(allowed), &allowed) && CPU_ISSET(cpu, &allowed)) {
		o->cpu = (int)cpu;
		return 0;
	}
	return os_say(why, why_size, "'%s' is not the number of a CPU that this process may run on",
		      argument);
}

static int take_verbose(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	(void)argument;
	(void)why;
	(void)why_size;
	o->verbose = true;
	return 0;
}

/* The name is that of a folder beside others, and stands in log lines. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	return len >= 1 && len <= VM_NAME_MAX && text[0] != '.' &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static struct vm_options *add_vm(struct daemon_options *o)
{
	return &o->vms[o->vm_count++];
}

static int take_vm(struct daemon_options *o, const char *argument, char *why, size_t why_size)
{
	if (o->vm_count && !o->vms[0].name)
		return os_say(why, why_size,
			      "an option of a VM stands before the first --vm; write it behind");
	if (o->vm_count == VM_MAX)
		return os_say(why, why_size, "at most %d VMs are served", VM_MAX);
	if (!is_name(argument))
		return os_say(why, why_size,
			      "'%s': write a name of at most %d letters, digits, '.', '_' and '-'", argument,
			      VM_NAME_MAX);
	for (unsigned i = 0; i < o->vm_count; i++) {
		if (!strcmp(o->vms[i].name, argument))
			return os_say(why, why_size, "'%s' names two VMs; give each a name of its own",
				      argument);
	}
	add_vm(o)->name = argument;
	return 0;
}

static const struct option_info infos[] = {
	{"dir", "DIR", take_dir, NULL,
	 "folder of the sockets, made when missing; default: a fresh one,\nnamed by the line 'viommud: ready "
	 "DIR'"},
	{"iommu",
	 "vtd[,id=NAME][,caching-mode=on][,aw=39|48][,addr=10.0] | "
	 "amdvi[,id=NAME][,addr=10.0] | "
	 "virtio[,id=NAME][,boot-bypass=off][,addr=10.0] | gart[,id=NAME] | none",
	 NULL, iommu_take,
	 "which IOMMU the guest sees; default vtd, Intel's. amdvi: AMD's.\nvirtio: virtio-iommu. May be "
	 "repeated, up to 4 times: a unit each,\nof vtd or amdvi and virtio. gart: AMD's address remapping "
	 "table, which\nprotects no memory, at PCI address 18.3. none: plain devices, behind\nQEMU's own "
	 "IOMMU "
	 "or none\n"
	 "id=NAME: what --nvme, and viommu's commands, call the unit;\ndefault iommu, iommu1, ..., as the "
	 "sockets are called, and not one\nof these for another unit\n"
	 "caching-mode=on: the guest announces new mappings, too\n"
	 "aw=39: guest addresses of 39 bits and tables of 3 levels;\ndefault 48 bits and 4 levels\n"
	 "boot-bypass=off: devices reach no memory until the guest sets the\nIOMMU up; default on, they "
	 "reach "
	 "all, as firmware's drivers need\n"
	 "addr=10.0: function 0 of a slot of PCI bus 0; default 10.0, f.0,\n..."},
	{"registers", "auto|sidecore|trap", NULL, take_registers,
	 "sidecore: a thread polls the registers that the guest writes;\ntrap: the guest exits for each "
	 "access. "
	 "auto, the default: sidecore, but\ntrap for amdvi, as Linux takes no answer of it that comes after\n"
	 "100 ms, which a busy host may need to run the thread"},
	{"nvme", "FILE[,rogue=on][,readonly=on][,addr=11.0][,serial=S][,queues=N][,format=raw][,iommu=NAME]",
	 NULL, take_nvme,
	 "an NVMe controller with FILE as its disk; may be repeated\n"
	 "rogue=on: admin command 0xc0 reads or writes at any address\n"
	 "readonly=on: the guest cannot write to the disk\n"
	 "addr=11.0: function 0 of a slot of PCI bus 0; default\n11.0, 12.0, ...\n"
	 "serial=S: 1 to 20 characters, by which the guest tells its disks\napart; default FILE's name "
	 "without "
	 "its folder\n"
	 "queues=N: pairs of I/O queues, 1 to 64; default 8\n"
	 "format=raw: FILE is a raw disk even if it begins like a qcow2,\nvmdk, vhdx, vhd, vdi, qed or "
	 "parallels image, which is refused\n"
	 "iommu=NAME: the unit that the controller stands behind; default\nthe first"},
	{"vm", "NAME", take_vm, NULL,
	 "serve several VMs with one polling thread: what follows, --iommu,\n--registers, --nvme and "
	 "--expect, is for the VM of that name, whose\nsockets are in DIR/NAME. At most 8"},
	{"idle-us", "N", take_idle, NULL,
	 "microseconds without work after which the polling thread backs\noff; default 200. An idle IOMMU "
	 "answers within 500"},
	{"cpu", "N", take_cpu, NULL, "run the polling thread on this CPU"},
	{"expect", "ADDRESS[,iommu=NAME]", NULL, iommu_take_expectation,
	 "complain when firmware places the IOMMU's registers elsewhere;\n'viommu run --print' tells the "
	 "address. Once for each unit; default the first"},
	{"sandbox", "on|off", take_sandbox, NULL,
	 "give up, once started, all that serving does not need: system\ncalls, files, capabilities; default "
	 "on"},
	{"verbose", NULL, take_verbose, NULL, "say when a client comes and goes"},
	{"describe-counters", NULL, NULL, NULL,
	 "print what is counted: name, unit, where, meaning, with tabs\nin between"},
	{"version", NULL, NULL, NULL, "print the version"},
	{"help", NULL, NULL, NULL, "print this text"},
};

#define INFO_COUNT (sizeof(infos) / sizeof(infos[0]))

/* ------------------------------------------------------------------ parsing */

static void print_help(void)
{
	printf("viommud serves an IOMMU in software, and NVMe controllers behind it, to QEMU 10.1 or newer.\n"
	       "'viommu run' starts viommud and QEMU; viommud alone is for scripts, or for several QEMUs.\n\n"
	       "usage: viommud [OPTION]... --nvme FILE...\n"
	       "       viommud [OPTION]... --vm NAME --nvme FILE... [--vm NAME2 --nvme FILE...]...\n\n");
	for (size_t i = 0; i < INFO_COUNT; i++) {
		printf("  --%s%s%s\n        ", infos[i].name, infos[i].argument ? " " : "",
		       infos[i].argument ? infos[i].argument : "");
		for (const char *c = infos[i].help; *c; c++) {
			putchar(*c);
			if (*c == '\n')
				printf("        ");
		}
		putchar('\n');
	}
}

static enum options_verdict bad(const char *format, ...) __attribute__((format(printf, 1, 2)));

static enum options_verdict bad(const char *format, ...)
{
	char text[OS_WHY_SIZE + 256];
	va_list args;

	va_start(args, format);
	os_say_v(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	fprintf(stderr, "viommud: %s\n", text);
	return OPTIONS_BAD;
}

/* Slot by slot, without those of units. */
static void place_devices(struct vm_options *o)
{
	unsigned slot = NVME_SLOT_USUAL;

	for (unsigned i = 0; i < o->nvme_count; i++, slot++) {
		while (iommu_has_slot(o, slot))
			slot++;
		if (!o->nvme[i].devfn)
			o->nvme[i].devfn = slot << 3;
	}
}

static enum options_verdict check_addresses(const struct vm_options *o)
{
	for (unsigned i = 0; i < o->nvme_count; i++) {
		unsigned devfn = o->nvme[i].devfn;
		bool taken = iommu_has_slot(o, devfn >> 3);

		for (unsigned j = 0; j < i; j++)
			taken = taken || devfn == o->nvme[j].devfn;
		if (taken)
			return bad("--nvme %s: PCI address %x.%u is taken; give another one with addr=",
				   o->nvme[i].path, devfn >> 3, devfn & 7);
	}
	return OPTIONS_SERVE;
}

static enum options_verdict check_units(struct vm_options *o)
{
	char why[OS_WHY_SIZE];

	return iommu_resolve(o, why, sizeof(why)) ? bad("%s", why) : OPTIONS_SERVE;
}

static bool has_disk(const struct vm_options *o, unsigned count, const struct nvme_choice *disk)
{
	for (unsigned i = 0; i < count; i++) {
		if (!memcmp(o->nvme[i].identity, disk->identity, sizeof(disk->identity)))
			return true;
	}
	return false;
}

/* Guests take two disks with one identity for two ways to the same disk. Two guests may share one to read. */
static enum options_verdict check_disks(const struct vm_options *o)
{
	for (unsigned i = 0; i < o->nvme_count; i++) {
		if (has_disk(o, i, &o->nvme[i]))
			return bad("--nvme %s: another --nvme has the same file; give each controller one of "
				   "its own",
				   o->nvme[i].path);
	}
	return OPTIONS_SERVE;
}

/* The first controller with this serial number, or NULL. */
static const struct nvme_choice *serial_owner(const struct vm_options *o, const char *serial)
{
	for (unsigned i = 0; i < o->nvme_count; i++) {
		if (o->nvme[i].serial && !strcmp(o->nvme[i].serial, serial))
			return &o->nvme[i];
	}
	return NULL;
}

/* From the file's name; of the second and further files with one name, with a number. */
static char *make_serial(const struct vm_options *o, const struct nvme_choice *choice)
{
	char serial[SERIAL_LENGTH_MAX + 1], numbered[SERIAL_LENGTH_MAX + 16];

	disk_image_serial(choice->path, serial, sizeof(serial));
	strcpy(numbered, serial);
	for (unsigned i = 2; serial_owner(o, numbered); i++)
		snprintf(numbered, sizeof(numbered), "%.17s-%u", serial, i);
	if (strcmp(numbered, serial))
		fprintf(stderr,
			"viommud: --nvme %s: another disk has this name, so this disk's serial number is "
			"'%s', as long as the order stays; give each disk one with serial=\n",
			choice->path, numbered);
	return strdup(numbered);
}

/* Those that the user gave come first, so that none made from a name takes one of them. */
static enum options_verdict check_serials(struct vm_options *o)
{
	for (unsigned i = 0; i < o->nvme_count; i++) {
		if (o->nvme[i].serial && serial_owner(o, o->nvme[i].serial) != &o->nvme[i])
			return bad("--nvme %s: serial=%s is another disk's; give each one of its own",
				   o->nvme[i].path, o->nvme[i].serial);
	}
	for (unsigned i = 0; i < o->nvme_count; i++) {
		if (!o->nvme[i].serial)
			o->nvme[i].serial = make_serial(o, &o->nvme[i]);
		if (!o->nvme[i].serial)
			return bad("there is no memory for the options");
	}
	return OPTIONS_SERVE;
}

static enum options_verdict check_vm(struct vm_options *o)
{
	enum options_verdict verdict = OPTIONS_SERVE;

	if (!o->nvme_count)
		verdict = bad("there is no device to serve%s%s; give one with --nvme FILE",
			      o->name ? " to " : "", o->name ? o->name : "");
	if (verdict == OPTIONS_SERVE)
		verdict = check_units(o);
	if (verdict == OPTIONS_SERVE) {
		place_devices(o);
		verdict = check_addresses(o);
	}
	if (verdict == OPTIONS_SERVE)
		verdict = check_disks(o);
	return verdict == OPTIONS_SERVE ? check_serials(o) : verdict;
}

/* Options of a VM before any --vm are those of the only one. */
static struct vm_options *last_vm(struct daemon_options *o)
{
	return o->vm_count ? &o->vms[o->vm_count - 1] : add_vm(o);
}

static int take_argument(struct daemon_options *o, const struct option_info *info, char *why, size_t why_size)
{
	return info->take ? info->take(o, optarg, why, why_size)
			  : info->take_for_vm(last_vm(o), optarg, why, why_size);
}

static enum options_verdict take(struct daemon_options *o, const struct option_info *info)
{
	char why[OS_WHY_SIZE];

	if (!strcmp(info->name, "help")) {
		print_help();
		return OPTIONS_ANSWERED;
	}
	if (!strcmp(info->name, "version")) {
		printf("viommud %s\n", VIOMMU_VERSION);
		return OPTIONS_ANSWERED;
	}
	if (!strcmp(info->name, "describe-counters")) {
		counters_print();
		return OPTIONS_ANSWERED;
	}
	if (take_argument(o, info, why, sizeof(why)))
		return bad("--%s: %s", info->name, why);
	return OPTIONS_SERVE;
}

/* getopt_long() takes abbreviations too, which viommu does not understand, and which new options break. */
static bool is_whole(const char *argument, const char *name)
{
	size_t len = strcspn(argument + 2, "=");

	return len == strlen(name) && !strncmp(argument + 2, name, len);
}

static enum options_verdict take_all(struct daemon_options *o, int argc, char **argv,
				     const struct option *table)
{
	enum options_verdict verdict = OPTIONS_SERVE;
	int index, code, at = optind;

	opterr = 0;
	while (verdict == OPTIONS_SERVE && (code = getopt_long(argc, argv, "+:", table, &index)) != -1) {
		if (code == ':')
			verdict = bad("%s needs a value; viommud --help says which", argv[optind - 1]);
		else if (code == '?')
			verdict = bad("'%s' is not an option, or takes no value; viommud --help lists all",
				      argv[optind - 1]);
		else if (!is_whole(argv[at], infos[index].name))
			verdict = bad("'%s' is not an option; viommud --help lists them", argv[at]);
		else
			verdict = take(o, &infos[index]);
		at = optind;
	}
	if (verdict == OPTIONS_SERVE && optind < argc)
		verdict = bad("'%s' is not an option; viommud --help lists them", argv[optind]);
	return verdict;
}

enum options_verdict options_parse(struct daemon_options *o, int argc, char **argv)
{
	struct option table[INFO_COUNT + 1] = {0};
	enum options_verdict verdict;

	*o = (struct daemon_options){.idle_us = IDLE_US_USUAL, .sandbox = SANDBOX_USUAL, .cpu = -1};
	for (size_t i = 0; i < INFO_COUNT; i++)
		table[i] = (struct option){.name = infos[i].name,
					   .has_arg = infos[i].argument ? required_argument : no_argument};
	verdict = take_all(o, argc, argv, table);
	last_vm(o);
	for (unsigned i = 0; i < o->vm_count && verdict == OPTIONS_SERVE; i++)
		verdict = check_vm(&o->vms[i]);
	return verdict;
}

static void finish_disk(struct nvme_choice *choice)
{
	if (choice->fd >= 0)
		close(choice->fd);
	free(choice->path);
	free(choice->serial);
}

void options_finish(struct daemon_options *o)
{
	for (unsigned i = 0; i < o->vm_count; i++) {
		for (unsigned j = 0; j < o->vms[i].nvme_count; j++)
			finish_disk(&o->vms[i].nvme[j]);
	}
}

unsigned options_iommu_count(const struct vm_options *o, enum iommu_model model)
{
	unsigned count = 0;

	for (unsigned i = 0; i < o->iommu_count; i++)
		count += o->iommus[i].model == model;
	return count;
}

unsigned options_iommu_number(const struct vm_options *o, enum iommu_model model, unsigned index)
{
	unsigned number = 0;

	for (; number < o->iommu_count; number++) {
		if (o->iommus[number].model == model && index-- == 0)
			break;
	}
	return number;
}
