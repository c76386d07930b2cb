/* SPDX-License-Identifier: BSD-3-Clause */
/* The viommud that `viommu run` starts, and what it tells about itself. */
#ifndef CLI_DAEMON_PROCESS_H
#define CLI_DAEMON_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <json-c/json.h>

#include "cli/argument_list.h"
#include "cli/firmware_tables.h"

/* A socket of viommud, in its folder. */
struct own_socket {
	char name[32];
	dev_t dev;
	ino_t ino;
};

#define OWN_SOCKETS_MAX 24 /* control, the units (two each at most), the controllers */

/* Where the registers of units are, of those whose firmware table tells it. */
struct unit_places {
	unsigned count;
	struct unit_place {
		char name[32];
		uint64_t base; /* 0: firmware has not placed them */
	} of[TABLE_UNITS_MAX];
};

struct daemon_process {
	pid_t pid; /* 0: it does not run */
	char program[PATH_MAX];
	char dir[PATH_MAX];
	bool iommu; /* it serves one */
	struct own_socket sockets[OWN_SOCKETS_MAX];
	unsigned socket_count;
};

/*
 * Find viommud, start it with `options`, wait until it is ready or one of
 * `signals` (of signals_open()) comes. 0, or the exit status, said on stderr by
 * it or by us.
 */
int daemon_process_start(struct daemon_process *d, const struct argument_list *options, int signals);
void daemon_process_stop(struct daemon_process *d);
/*
 * What a viommud that was killed has left: the sockets that it was seen to have,
 * and the folder if that was of its own choice. Nothing else in the folder, and
 * nothing that took such a name since, is touched.
 */
void daemon_process_tidy(const struct daemon_process *d, bool chosen_by_it);

/* Its status; NULL when it does not answer. The caller puts it. */
struct json_object *daemon_process_status(const struct daemon_process *d);
/* Is a client connected to any of its functions? */
bool daemon_process_has_client(const struct daemon_process *d);
/* Where those registers are right now. False: firmware has not placed them all. */
bool daemon_process_places(const struct daemon_process *d, struct unit_places *ret_places);
/* Have the registers of a unit turned up elsewhere than the daemon was told to expect? */
bool daemon_process_base_is_wrong(const struct daemon_process *d, struct unit_place *ret_place);
/* Does a device master the bus while the guest has the translation of its unit off? Name and model are of the
 * first such unit. */
bool daemon_process_is_unprotected(const struct daemon_process *d, struct table_unit *ret_unit);
/* Is there a unit that a driver has to take, as a PCI function, and that none has taken? Name and model are
 * of the first such unit. */
bool daemon_process_awaits_driver(const struct daemon_process *d, struct table_unit *ret_unit);
/* 0 or a negative errno. */
int daemon_process_expect(const struct daemon_process *d, const struct unit_place *place);

/* What firmware tables tell of what it serves, except for the bases. 0 or a negative errno. */
int daemon_process_units(const struct daemon_process *d, struct table_units *ret_units);
/* Append the -device arguments for each of its functions on `bus`, the units first. 0 or a negative errno. */
int daemon_process_devices(const struct daemon_process *d, const char *bus, struct argument_list *added);

#endif
