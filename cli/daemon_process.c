/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/daemon_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/sibling.h"
#include "cli/signals.h"
#include "control/client.h"
#include "control/message.h"
#include "control/protocol.h"

#define NAME	   "viommud"
#define READY	   "viommud: ready "
#define ANSWER_MS  2000
#define STOP_MS	   15000 /* it may have a disk to flush */
#define FIRST_LINE (PATH_MAX + 64)

/* -------------------------------------------------------------------- start */

static int spawn(struct daemon_process *d, const struct argument_list *options, int out)
{
	struct argument_list line = {0};
	struct child_plan plan = {.out = out, .err = -1, .own_group = true};
	int err;

	argument_list_add(&line, d->program);
	argument_list_append(&line, options);
	plan.argv = line.items;
	plan.in = child_open_null();
	err = child_start(&plan, &d->pid);
	if (plan.in >= 0)
		close(plan.in);
	argument_list_finish(&line);
	return err;
}

/* Wait for what it prints. A signal's number when one that ends a run comes first, or 0. */
static int await_output(int fd, int signals)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	int sig;

	do {
		poll(p, 2, -1);
		sig = p[1].revents ? signals_wait(signals, 0) : 0;
		if (sig && sig != SIGCHLD)
			return sig;
	} while (!p[0].revents);
	return 0;
}

/* The first line it prints, without the newline; "" when it ends without one. A signal's number, or 0. */
static int read_first_line(int fd, int signals, char line[FIRST_LINE])
{
	size_t used = 0;
	int sig = 0;

	while (used < FIRST_LINE - 1 && !(sig = await_output(fd, signals))) {
		if (read(fd, line + used, 1) != 1 || line[used] == '\n')
			break;
		used++;
	}
	line[used] = '\0';
	return sig;
}

static int ended_early(struct daemon_process *d)
{
	int status;

	waitpid(d->pid, &status, 0);
	d->pid = 0;
	/* It has said why, in one line. */
	return child_exit_status(status) == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

static int await_ready(struct daemon_process *d, int fd, int signals)
{
	char line[FIRST_LINE];
	int sig = read_first_line(fd, signals, line);

	if (sig) {
		daemon_process_stop(d);
		return 128 + sig;
	}
	if (!*line)
		return ended_early(d);
	if (strncmp(line, READY, strlen(READY))) {
		daemon_process_stop(d);
		return failure("%s is not the viommud that belongs to this viommu: it said '%.80s'",
			       d->program, line);
	}
	snprintf(d->dir, sizeof(d->dir), "%.*s", PATH_MAX - 1, line + strlen(READY));
	return 0;
}

static bool look_at_socket(int folder, const char *name, struct own_socket *ret_socket)
{
	struct stat st;

	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISSOCK(st.st_mode))
		return false;
	*ret_socket = (struct own_socket){.dev = st.st_dev, .ino = st.st_ino};
	snprintf(ret_socket->name, sizeof(ret_socket->name), "%s", name);
	return true;
}

static void learn_socket(struct daemon_process *d, int folder, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (d->socket_count < OWN_SOCKETS_MAX && strlen(name) < sizeof(d->sockets->name) &&
	    look_at_socket(folder, name, &d->sockets[d->socket_count]))
		d->socket_count++;
}

/* While it lives, as it can only be asked then what is its own. */
static void learn_sockets(struct daemon_process *d, struct json_object *status)
{
	int folder = open(d->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0)
		return;
	learn_socket(d, folder, CONTROL_SOCKET_NAME);
	for (size_t i = 0; i < control_get_length(status, "functions"); i++)
		learn_socket(d, folder, control_get_text(control_get_item(status, "functions", i), "socket"));
	close(folder);
}

static int learn_model(struct daemon_process *d)
{
	struct json_object *status = daemon_process_status(d);
	const char *iommu;

	if (!status) {
		daemon_process_stop(d);
		return failure("viommud does not answer in %s", d->dir);
	}
	iommu = control_get_string(status, "iommu");
	d->iommu = iommu && strcmp(iommu, "none");
	learn_sockets(d, status);
	json_object_put(status);
	return 0;
}

int daemon_process_start(struct daemon_process *d, const struct argument_list *options, int signals)
{
	int out[2], err;

	*d = (struct daemon_process){0};
	sibling_find(NAME, d->program);
	if (pipe2(out, O_CLOEXEC))
		return failure("viommud cannot be started: %s", strerror(errno));
	err = spawn(d, options, out[1]);
	close(out[1]);
	if (err)
		err = failure("viommud cannot be started: %s; put it beside viommu or into PATH",
			      strerror(-err));
	else
		err = await_ready(d, out[0], signals);
	close(out[0]);
	return err ? err : learn_model(d);
}

void daemon_process_stop(struct daemon_process *d)
{
	if (d->pid)
		child_stop(d->pid, STOP_MS);
	d->pid = 0;
}

static void remove_socket(int folder, const struct own_socket *known)
{
	struct own_socket now;

	if (look_at_socket(folder, known->name, &now) && now.dev == known->dev && now.ino == known->ino)
		unlinkat(folder, known->name, 0);
}

void daemon_process_tidy(const struct daemon_process *d, bool chosen_by_it)
{
	int folder = open(d->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (folder < 0)
		return;
	/* Another viommud may serve there by now, and holds the lock then. */
	if (!flock(folder, LOCK_EX | LOCK_NB)) {
		for (unsigned i = 0; i < d->socket_count; i++)
			remove_socket(folder, &d->sockets[i]);
		if (chosen_by_it)
			rmdir(d->dir);
	}
	close(folder);
}

/* --------------------------------------------------------------------- asking */

struct json_object *daemon_process_status(const struct daemon_process *d)
{
	struct json_object *status;

	return control_ask(d->dir, "status", ANSWER_MS, &status) ? NULL : status;
}

bool daemon_process_has_client(const struct daemon_process *d)
{
	struct json_object *status = daemon_process_status(d);
	bool any = false;

	for (size_t i = 0; i < control_get_length(status, "functions"); i++)
		any = any || control_get_bool(control_get_item(status, "functions", i), "connected");
	json_object_put(status);
	return any;
}

static bool is_kind(struct json_object *function, const char *kind)
{
	return !strcmp(control_get_text(function, "kind"), kind);
}

static void place_of(struct json_object *function, struct unit_place *ret_place)
{
	*ret_place = (struct unit_place){.base = 0};
	snprintf(ret_place->name, sizeof(ret_place->name), "%s", control_get_text(function, "name"));
	if (control_get_bool(function, "memory_decode"))
		ret_place->base = control_get_u64(function, "bar", 0);
}

bool daemon_process_places(const struct daemon_process *d, struct unit_places *ret_places)
{
	struct json_object *status = daemon_process_status(d);
	struct unit_places places = {.count = 0};
	bool placed = true;

	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		if (!is_kind(function, "iommu") ||
		    !firmware_tables_tell_place(control_get_text(function, "model")) ||
		    places.count == TABLE_UNITS_MAX)
			continue;
		place_of(function, &places.of[places.count]);
		placed = placed && places.of[places.count++].base;
	}
	json_object_put(status);
	if (!placed || !places.count)
		return false;
	*ret_places = places;
	return true;
}

bool daemon_process_base_is_wrong(const struct daemon_process *d, struct unit_place *ret_place)
{
	struct json_object *status = daemon_process_status(d);
	bool wrong = false;

	for (size_t i = 0; !wrong && i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		wrong = control_get_bool(function, "base_mismatch");
		if (wrong)
			place_of(function, ret_place);
	}
	json_object_put(status);
	return wrong;
}

static struct json_object *unit_called(struct json_object *status, const char *name)
{
	for (size_t i = 0; i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);

		if (is_kind(function, "iommu") && !strcmp(control_get_text(function, "name"), name))
			return function;
	}
	return NULL;
}

/* The unit that leaves this device unprotected, or NULL. */
static struct json_object *unprotected_by(struct json_object *status, struct json_object *device)
{
	struct json_object *unit = unit_called(status, control_get_text(device, "iommu"));
	const char *translation = control_get_string(unit, "translation");
	bool off = translation && strcmp(translation, "on");

	return off && control_get_bool(device, "bus_master") ? unit : NULL;
}

static void unit_of(struct json_object *function, struct table_unit *ret_unit)
{
	*ret_unit = (struct table_unit){.base = 0};
	snprintf(ret_unit->name, sizeof(ret_unit->name), "%s", control_get_text(function, "name"));
	snprintf(ret_unit->model, sizeof(ret_unit->model), "%s", control_get_text(function, "model"));
}

bool daemon_process_is_unprotected(const struct daemon_process *d, struct table_unit *ret_unit)
{
	struct json_object *status = daemon_process_status(d), *unit;
	bool any = false;

	for (size_t i = 0; !any && i < control_get_length(status, "functions"); i++) {
		unit = unprotected_by(status, control_get_item(status, "functions", i));
		any = unit;
		if (unit)
			unit_of(unit, ret_unit);
	}
	json_object_put(status);
	return any;
}

bool daemon_process_awaits_driver(const struct daemon_process *d, struct table_unit *ret_unit)
{
	struct json_object *status = daemon_process_status(d);
	bool any = false;

	for (size_t i = 0; !any && i < control_get_length(status, "functions"); i++) {
		struct json_object *function = control_get_item(status, "functions", i);
		const char *driver = control_get_string(function, "driver");

		any = driver && !strcmp(driver, "none");
		if (any)
			unit_of(function, ret_unit);
	}
	json_object_put(status);
	return any;
}

int daemon_process_expect(const struct daemon_process *d, const struct unit_place *place)
{
	struct json_object *request = control_object(), *reply;
	int err;

	control_set_string(request, "command", "expect");
	control_set_string(request, "iommu", place->name);
	control_set_u64(request, "base", place->base);
	err = control_call(d->dir, request, ANSWER_MS, &reply);
	json_object_put(request);
	if (err)
		return err;
	err = control_get_bool(reply, "ok") ? 0 : -EPROTO;
	json_object_put(reply);
	return err;
}

/* -------------------------------------------------------- what QEMU must know */

/* Its PCI address as slot << 3 | function, or -1. */
static int address_of(struct json_object *function)
{
	unsigned slot, number;

	return sscanf(control_get_text(function, "address"), "%x.%u", &slot, &number) == 2
		       ? (int)(slot << 3 | number)
		       : -1;
}

static int add_unit(struct table_units *units, struct json_object *function)
{
	int address = address_of(function);

	if (units->count == TABLE_UNITS_MAX || address < 0)
		return -EPROTO;
	unit_of(function, &units->of[units->count]);
	units->of[units->count].features[0] = control_get_u64(function, "efr", 0);
	units->of[units->count].features[1] = control_get_u64(function, "efr2", 0);
	units->of[units->count++].function = (unsigned)address;
	return 0;
}

static struct table_unit *find_unit(struct table_units *units, const char *name)
{
	unsigned i = 0;

	while (i < units->count && strcmp(units->of[i].name, name))
		i++;
	return i < units->count ? &units->of[i] : NULL;
}

/* The guest knows the unit by this function, and not by the one that has the registers. */
static int add_pci_function(struct table_units *units, struct json_object *function)
{
	struct table_unit *unit = find_unit(units, control_get_text(function, "of"));
	int address = address_of(function);

	if (!unit || address < 0)
		return -EPROTO;
	unit->function = (unsigned)address;
	return 0;
}

static int add_scope(struct table_units *units, struct json_object *function)
{
	struct table_unit *unit = find_unit(units, control_get_text(function, "iommu"));
	int address = address_of(function);

	if (!unit || address < 0 || unit->device_count == TABLE_DEVICES_MAX)
		return -EPROTO;
	unit->devices[unit->device_count++] = (unsigned)address;
	return 0;
}

/* Units come before what stands behind them. */
static int add_function(struct table_units *units, struct json_object *function)
{
	if (is_kind(function, "iommu"))
		return add_unit(units, function);
	return is_kind(function, "iommu-pci") ? add_pci_function(units, function)
					      : add_scope(units, function);
}

int daemon_process_units(const struct daemon_process *d, struct table_units *ret_units)
{
	struct json_object *status = daemon_process_status(d);
	struct table_units units = {.address_width = (unsigned)control_get_u64(status, "address_width", 46)};
	int err = status ? 0 : -EPROTO;

	for (size_t i = 0; !err && d->iommu && i < control_get_length(status, "functions"); i++)
		err = add_function(&units, control_get_item(status, "functions", i));
	json_object_put(status);
	if (!err)
		*ret_units = units;
	return err;
}

static void add_json(struct argument_list *added, struct json_object *device)
{
	argument_list_add(added, "-device");
	argument_list_add(added, json_object_to_json_string_ext(
					 device, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(device);
}

/* A guest looks for other functions of a slot where it finds function 0: a device of QEMU's that does
 * nothing. */
static void add_function_0(struct argument_list *added, const char *bus, unsigned slot)
{
	struct json_object *device = control_object();
	char address[16];

	snprintf(address, sizeof(address), "%x.0", slot);
	control_set_string(device, "driver", "pci-testdev");
	control_set_string(device, "bus", bus);
	control_set_string(device, "addr", address);
	control_set_bool(device, "multifunction", true);
	add_json(added, device);
}

/* Is a function with this address among those that are served? */
static bool serves(struct json_object *functions, unsigned address)
{
	for (size_t i = 0; i < json_object_array_length(functions); i++) {
		if (address_of(json_object_array_get_idx(functions, i)) == (int)address)
			return true;
	}
	return false;
}

static void add_device(struct argument_list *added, const char *bus, struct json_object *functions,
		       struct json_object *function)
{
	struct json_object *device = control_object(), *socket = control_object();
	unsigned slot, number;

	if (sscanf(control_get_text(function, "address"), "%x.%u", &slot, &number) == 2 && number &&
	    !serves(functions, slot << 3))
		add_function_0(added, bus, slot);
	control_set_string(socket, "type", "unix");
	control_set_string(socket, "path", control_get_text(function, "socket"));
	control_set_string(device, "driver", "vfio-user-pci");
	/* The requester ids in firmware tables are on bus 0, so that is said too. */
	control_set_string(device, "bus", bus);
	control_set_string(device, "addr", control_get_text(function, "address"));
	if (is_kind(function, "iommu-pci"))
		control_set_bool(device, "multifunction", true);
	control_add(device, "socket", socket);
	add_json(added, device);
}

int daemon_process_devices(const struct daemon_process *d, const char *bus, struct argument_list *added)
{
	struct json_object *status = daemon_process_status(d);
	size_t count = control_get_length(status, "functions");
	struct json_object *functions = NULL;

	json_object_object_get_ex(status, "functions", &functions);
	for (size_t i = 0; i < count; i++)
		add_device(added, bus, functions, control_get_item(status, "functions", i));
	json_object_put(status);
	return count ? 0 : -EPROTO;
}
