/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/qemu_arguments.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <json-c/json.h>

#include "os/sentence.h"

#define MEMORY_ID	"viommu-ram"
#define MEMORY_USUAL	"128M" /* QEMU's own default */
#define BACKENDS_MAX	64
#define NAME_MAX_LENGTH 128

/* What firmware offers the guest to sleep in, and the switches of it. */
enum { SLEEP_S3, SLEEP_S4, SLEEP_COUNT };

static const char *const sleep_switches[SLEEP_COUNT] = {"disable_s3", "disable_s4"};

/* The machines that can be served. */
static const struct machine {
	const char *name, *versioned; /* its type, and how those of a version begin */
	const char *bus;	      /* of PCI: firmware tables are about the first */
	const char *power;	      /* the device that has the switches */
} machines[] = {
	{"q35", "pc-q35-", "pcie.0", "ICH9-LPC"},
	{"pc", "pc-i440fx-", "pci.0", "PIIX4_PM"},
};

#define MACHINE_COUNT (sizeof(machines) / sizeof(machines[0]))

struct backend {
	char type[NAME_MAX_LENGTH], id[NAME_MAX_LENGTH];
	bool shared;
};

/* What the command line says, as far as it matters here. */
struct facts {
	char machine[NAME_MAX_LENGTH];	      /* "": not said */
	char memory_backend[NAME_MAX_LENGTH]; /* id, "": not said */
	char size[NAME_MAX_LENGTH];	      /* -m: without a suffix MiB; "": not said */
	char machine_size[NAME_MAX_LENGTH]; /* -machine memory.size=: without a suffix bytes; "": not said */
	char iommu[NAME_MAX_LENGTH];	    /* a -device that is one, "": there is none */
	bool numa_memory;		    /* -numa node,memdev= */
	bool sleep_set[MACHINE_COUNT][SLEEP_COUNT]; /* a -global says it */
	const char *refused;
	const char *remedy;
	unsigned backend_count;
	struct backend backends[BACKENDS_MAX];
};

static void copy(char to[NAME_MAX_LENGTH], const char *from, size_t len)
{
	if (len >= NAME_MAX_LENGTH)
		len = NAME_MAX_LENGTH - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

/* ------------------------------------------------------ key=value,key=value */

/*
 * Find `key` in a list of QEMU's; the text before the first comma counts as
 * the value of `implied` when it has no '='. False: it is not there.
 */
static bool find_key(const char *list, const char *key, const char *implied, char ret_value[NAME_MAX_LENGTH])
{
	size_t key_len = strlen(key);
	bool found = false, first = true;

	while (*list) {
		size_t len = strcspn(list, ",");

		if (len > key_len && !strncmp(list, key, key_len) && list[key_len] == '=') {
			copy(ret_value, list + key_len + 1, len - key_len - 1);
			found = true;
		} else if (first && implied && !strcmp(implied, key) && !memchr(list, '=', len)) {
			copy(ret_value, list, len);
			found = true;
		}
		first = false;
		list += len + (list[len] == ',');
	}
	return found;
}

/* A list, or the same as a JSON object. False: it is not there, or no string. */
static bool find_text(const char *value, const char *key, const char *implied, char ret_text[NAME_MAX_LENGTH])
{
	struct json_object *object, *member;
	bool found;

	if (value[0] != '{')
		return find_key(value, key, implied, ret_text);
	object = json_tokener_parse(value);
	found = json_object_object_get_ex(object, key, &member) &&
		json_object_is_type(member, json_type_string);
	if (found)
		copy(ret_text, json_object_get_string(member), (size_t)json_object_get_string_len(member));
	json_object_put(object);
	return found;
}

static bool is_on(const char *value)
{
	return !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true") || !strcmp(value, "y");
}

/* -------------------------------------------------------- the single options */

static void note_machine(struct facts *f, const char *value)
{
	find_key(value, "type", "type", f->machine);
	find_key(value, "memory-backend", NULL, f->memory_backend);
	find_key(value, "memory.size", NULL, f->machine_size);
}

static void note_memory(struct facts *f, const char *value)
{
	find_key(value, "size", "size", f->size);
}

static void note_numa(struct facts *f, const char *value)
{
	char id[NAME_MAX_LENGTH];

	if (find_key(value, "memdev", NULL, id) || strstr(value, "\"memdev\""))
		f->numa_memory = true;
}

/* A memfd is shared unless told otherwise, the other kinds only when told. */
static bool shared_by_itself(const char *type)
{
	return !strcmp(type, "memory-backend-memfd") || !strcmp(type, "memory-backend-shm");
}

static bool json_switch(const char *value, const char *key, bool usual)
{
	struct json_object *object = json_tokener_parse(value), *member;

	if (json_object_object_get_ex(object, key, &member) && json_object_is_type(member, json_type_boolean))
		usual = json_object_get_boolean(member);
	json_object_put(object);
	return usual;
}

static bool is_shared(const char *value, const char *type)
{
	char share[NAME_MAX_LENGTH];

	if (value[0] == '{')
		return json_switch(value, "share", shared_by_itself(type));
	return find_key(value, "share", NULL, share) ? is_on(share) : shared_by_itself(type);
}

static void note_object(struct facts *f, const char *value)
{
	struct backend *b = &f->backends[f->backend_count];

	if (f->backend_count == BACKENDS_MAX)
		return;
	*b = (struct backend){0};
	find_text(value, "qom-type", "qom-type", b->type);
	find_text(value, "id", NULL, b->id);
	b->shared = is_shared(value, b->type);
	if (!strncmp(b->type, "memory-backend-", 15))
		f->backend_count++;
}

static bool is_iommu(const char *driver)
{
	return !strcmp(driver, "intel-iommu") || !strcmp(driver, "amd-iommu") ||
	       !strcmp(driver, "AMDVI-PCI") || !strncmp(driver, "virtio-iommu", 12);
}

static void note_device(struct facts *f, const char *value)
{
	char driver[NAME_MAX_LENGTH];

	if (find_text(value, "driver", "driver", driver) && is_iommu(driver))
		copy(f->iommu, driver, strlen(driver));
}

/* DRIVER.PROPERTY=VALUE, or driver=DRIVER,property=PROPERTY,value=VALUE. */
static void note_global(struct facts *f, const char *value)
{
	char driver[NAME_MAX_LENGTH], property[NAME_MAX_LENGTH];
	size_t dot = strcspn(value, ".="), equals = strcspn(value, "=");

	if (value[dot] == '.' && value[equals]) {
		copy(driver, value, dot);
		copy(property, value + dot + 1, equals - dot - 1);
	} else if (!find_key(value, "driver", NULL, driver) || !find_key(value, "property", NULL, property)) {
		return;
	}
	for (unsigned i = 0; i < MACHINE_COUNT; i++) {
		for (unsigned j = 0; j < SLEEP_COUNT; j++) {
			if (!strcmp(driver, machines[i].power) && !strcmp(property, sleep_switches[j]))
				f->sleep_set[i][j] = true;
		}
	}
}

static const struct {
	const char *name;
	void (*note)(struct facts *f, const char *value);
} noted[] = {
	{"machine", note_machine}, {"M", note_machine},	    {"m", note_memory},	     {"numa", note_numa},
	{"object", note_object},   {"device", note_device}, {"global", note_global},
};

static const struct {
	const char *name, *remedy;
} refused[] = {
	{"daemonize", "viommu stays with QEMU while it runs; put & behind the command instead"},
	{"mem-path", "write -object memory-backend-file,id=m,size=...,mem-path=...,share=on "
		     "-machine memory-backend=m instead"},
	{"incoming", "QEMU cannot migrate a machine that has vfio-user devices"},
};

/* ------------------------------------------------------------ the whole line */

/* The option's name without its dashes, NULL when it is none. */
static const char *option_name(const char *argument)
{
	if (argument[0] != '-' || !argument[1])
		return NULL;
	return argument + (argument[1] == '-' ? 2 : 1);
}

static bool is_one_of(const char *name, const char *const *names)
{
	while (*names && strcmp(name, *names))
		names++;
	return *names;
}

/* How many arguments belong together: an option and its value, whatever that looks like, or one. */
static unsigned argument_count(char *const *a)
{
	/* clang-format off */
	static const char *const flags[] = {
		"h", "help", "version", "S", "s", "snapshot", "usb", "nographic", "full-screen",
		"win2k-hack", "no-fd-bootchk", "preconfig", "enable-kvm", "xen-attach",
		"xen-domid-restrict", "no-reboot", "no-shutdown", "daemonize", "only-migratable",
		"nodefaults", "no-user-config", "enable-sync-profile", "perfmap", "jitdump",
		"mem-prealloc", NULL
	};
	/* clang-format on */
	const char *name = option_name(*a);

	if (!name || !a[1])
		return 1;
	return is_one_of(name, flags) ? 1 : 2;
}

static void check_refused(struct facts *f, const char *name)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		if (!strcmp(name, refused[i].name)) {
			f->refused = refused[i].name;
			f->remedy = refused[i].remedy;
		}
	}
}

static void note(struct facts *f, const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof(noted) / sizeof(noted[0]); i++) {
		if (value && !strcmp(name, noted[i].name))
			noted[i].note(f, value);
	}
}

static void read_line(struct facts *f, char *const *qemu)
{
	for (char *const *a = qemu + 1; *a; a += argument_count(a)) {
		const char *name = option_name(*a);

		if (!name)
			continue;
		check_refused(f, name);
		note(f, name, a[1]);
	}
}

/* ----------------------------------------------------------------- judgement */

static int check_backends(const struct facts *f, char *why, size_t why_size)
{
	for (unsigned i = 0; i < f->backend_count; i++) {
		const struct backend *b = &f->backends[i];
		bool used = f->numa_memory || (*b->id && !strcmp(b->id, f->memory_backend));

		if (used && !b->shared)
			return os_say(
				why, why_size,
				"the memory '%s' is not shared, so devices outside QEMU cannot reach it; "
				"add share=on to its -object",
				b->id);
	}
	return 0;
}

static bool ends_in_digit(const char *size)
{
	size_t len = strlen(size);

	return len && size[len - 1] >= '0' && size[len - 1] <= '9';
}

/* Which one the line asks for; q35 when it does not say. NULL: another one. */
static const struct machine *machine_of(const struct facts *f)
{
	for (size_t i = 0; i < MACHINE_COUNT; i++) {
		const struct machine *m = &machines[i];

		if (!*f->machine || !strcmp(f->machine, m->name) ||
		    !strncmp(f->machine, m->versioned, strlen(m->versioned)))
			return m;
	}
	return NULL;
}

static int check(const struct facts *f, char *why, size_t why_size)
{
	if (f->refused)
		return os_say(why, why_size, "-%s cannot be used here: %s", f->refused, f->remedy);
	if (!machine_of(f))
		return os_say(why, why_size,
			      "the machine '%s' cannot be served; use -machine q35, or -machine pc",
			      f->machine);
	/* QEMU would take it for hexadecimal MiB, which it does not know, and say so about another option. */
	if (!strncasecmp(f->size, "0x", 2) && ends_in_digit(f->size))
		return os_say(why, why_size, "-m %s: write the size as a decimal number, such as 512M",
			      f->size);
	return check_backends(f, why, why_size);
}

/* As -object takes it: what -m takes for MiB are bytes there. */
static void memory_size(const struct facts *f, char ret_size[NAME_MAX_LENGTH])
{
	if (*f->size)
		snprintf(ret_size, NAME_MAX_LENGTH, "%.*s%s", NAME_MAX_LENGTH - 2, f->size,
			 ends_in_digit(f->size) ? "M" : "");
	else
		snprintf(ret_size, NAME_MAX_LENGTH, "%s", *f->machine_size ? f->machine_size : MEMORY_USUAL);
}

int qemu_arguments_complete(char *const *qemu, struct argument_list *added, char *why, size_t why_size)
{
	struct facts f = {0};
	char size[NAME_MAX_LENGTH];
	bool add_memory;

	read_line(&f, qemu);
	if (check(&f, why, why_size))
		return -1;
	add_memory = !*f.memory_backend && !f.numa_memory;
	if (add_memory) {
		memory_size(&f, size);
		argument_list_add(added, "-object");
		argument_list_addf(added, "memory-backend-memfd,id=" MEMORY_ID ",size=%s,share=on", size);
	}
	if (!add_memory && *f.machine)
		return 0;
	argument_list_add(added, "-machine");
	argument_list_addf(added, "%s%s%s", *f.machine ? "" : "q35", add_memory && !*f.machine ? "," : "",
			   add_memory ? "memory-backend=" MEMORY_ID : "");
	return 0;
}

static bool asks_for_help(const char *value)
{
	const char *last = strrchr(value, ',');

	last = last ? last + 1 : value;
	return !strcmp(last, "help") || !strcmp(last, "?");
}

bool qemu_arguments_only_ask(char *const *qemu)
{
	static const char *const questions[] = {"h", "help", "version", NULL};
	static const char *const listing[] = {"machine", "M",	   "cpu", "accel",   "device",
					      "object",	 "netdev", "nic", "chardev", "audiodev",
					      "display", "vga",	   "d",	  "trace",   NULL};

	for (char *const *a = qemu + 1; *a; a += argument_count(a)) {
		const char *name = option_name(*a);

		if (name && is_one_of(name, questions))
			return true;
		if (name && is_one_of(name, listing) && a[1] && asks_for_help(a[1]))
			return true;
	}
	return false;
}

int qemu_arguments_check_iommu(char *const *qemu, char *why, size_t why_size)
{
	struct facts f = {0};

	read_line(&f, qemu);
	if (!*f.iommu)
		return 0;
	return os_say(why, why_size,
		      "-device %s would be a second IOMMU beside the one that viommu serves; add --iommu "
		      "none to use QEMU's, or drop the device",
		      f.iommu);
}

const char *qemu_arguments_bus(char *const *qemu)
{
	struct facts f = {0};

	read_line(&f, qemu);
	return machine_of(&f)->bus;
}

void qemu_arguments_keep_awake(char *const *qemu, struct argument_list *added)
{
	struct facts f = {0};
	const struct machine *m;

	read_line(&f, qemu);
	m = machine_of(&f);
	for (unsigned i = 0; i < SLEEP_COUNT; i++) {
		if (f.sleep_set[m - machines][i])
			continue;
		argument_list_add(added, "-global");
		argument_list_addf(added, "%s.%s=1", m->power, sleep_switches[i]);
	}
}

void qemu_arguments_for_firmware(char *const *qemu, struct argument_list *pass)
{
	argument_list_add(pass, qemu[0]);
	for (char *const *a = qemu + 1; *a;) {
		const char *name = option_name(*a);
		unsigned count = argument_count(a);

		for (; count; count--, a++) {
			if (!name || strcmp(name, "S"))
				argument_list_add(pass, *a);
		}
	}
}
