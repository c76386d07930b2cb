/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function that is served on a socket of its own, as everything outside of
 * this folder knows it: the work thread, the commands and the VM name no kind.
 */
#ifndef DAEMON_FUNCTIONS_FUNCTION_H
#define DAEMON_FUNCTIONS_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "daemon/directory.h"
#include "daemon/log.h"
#include "daemon/options.h"

struct function;
struct host;
struct vfu_dma_map;
struct vfu_server;
struct unit;
struct viommu_requester;

/* What looks at functions have found, added up. */
struct function_look {
	unsigned steps; /* done */
	bool pending;	/* an invalidation waits for accesses in flight */
	bool deep;	/* many requests are waiting still */
};

/* What a kind of function can do. A member may be NULL where its comment says what NULL means. */
struct function_ops {
	const char *kind; /* as `status` tells it */
	const char
		*model; /* of the unit whose registers the function carries, as --iommu names it, else NULL */
	bool protects;	/* does that unit keep devices from memory, once a guest has told it to? */
	uint32_t state_kind; /* of a function's section in a saved state; each kind has a number of its own */

	/* --- work thread --- */

	/* Do steps that take about as long as `budget` of a controller, and add what was found to *look. Of
	 * a unit there are more, as each is shorter. */
	void (*poll)(struct function *f, unsigned budget, struct function_look *look);
	/* The work thread is about to sleep. False: there is work after all. NULL: always true. */
	bool (*arm)(struct function *f);
	/* Can the function have work that does not wake the work thread? Then each sleep of the thread has an
	 * end. */
	bool (*has_silent_work)(const struct function *f);

	/* --- work thread, and the main thread waits --- */

	/* Begin no request for `ms` from now. NULL: the function begins none at all. */
	void (*hold)(struct function *f, unsigned ms);
	/*
	 * Write the function's state to `buf`; NULL: nothing is written. Returns how many
	 * bytes the state has, or a negative errno. -EBUSY: requests are under way.
	 */
	int64_t (*save)(struct function *f, void *buf, size_t size);
	/* Can the function go on from this state, whoever wrote it? `state` is aligned to 8 bytes. 0 or a
	 * negative errno. */
	int (*restore_check)(struct function *f, const void *state, size_t length);
	/* Go on from a state that restore_check() has accepted. */
	void (*restore)(struct function *f, const void *state, size_t length);

	/* --- any thread --- */

	/* Write an interrupt message as this function, without waiting. False: it cannot now. NULL: never. */
	bool (*send)(struct function *f, uint64_t address, uint32_t data);

	/* Raise the interrupt of the unit itself, in place of a message. False: it cannot now. NULL: the unit
	 * sends messages. */
	bool (*raise)(struct function *f);

	/* --- main thread --- */

	/* Fill in what `status` tells of the function. */
	void (*describe)(struct function *f, struct json_object *object);
	/*
	 * The machine's firmware tables say that the registers are at `base`: complain, and
	 * remember, when firmware places the registers elsewhere from now on. NULL: no table
	 * tells of this kind.
	 */
	void (*expect)(struct function *f, uint64_t base);
	/* Do these addresses belong to the unit's registers? NULL: no addresses of memory do. */
	bool (*has_registers_in)(const struct function *f, uint64_t first, uint64_t size);
	/* A device behind the unit begins to master the bus. NULL: nobody has to know. */
	void (*device_used)(struct function *f);
	/* The work thread has ended, and so have the devices behind the unit, if the function owns one. */
	void (*destroy)(struct function *f);
};

struct function {
	const struct function_ops *ops;
	struct host *host;
	char name[IOMMU_ID_MAX + 1];
	char socket[SOCKET_PATH_MAX];
	unsigned index;	       /* among those of its kind */
	unsigned devfn;	       /* on bus 0 */
	struct log_bucket log; /* what client and guest do wrong */
	struct log_bucket sessions;
	struct vfu_server *server;
	struct unit *unit; /* whose registers the function carries, or behind which it stands */
	bool owns_unit;
	bool polled; /* the unit's registers are, also when nothing wakes the work thread */
	struct viommu_requester *requester; /* of the function's DMA; NULL: it has none */
	int wake_fd;			    /* readable when requests have completed; -1: none */
};

/* Does the function do DMA? */
static inline bool function_is_device(const struct function *f)
{
	return f->requester;
}

/* Of a function whose host and name are set. */
void function_init_logs(struct function *f);

/* Members of vfu_device_ops that all kinds have alike; `device` is the function, the first member of what a
 * kind has. Main thread. */
void function_connected(void *device);
void function_disconnected(void *device, const char *why);
void function_log(void *device, const char *line);
/* Of a function whose client lends the memory of the unit. */
int function_lend(void *device, const struct vfu_dma_map *map);
void function_take_back(void *device, uint64_t iova, uint64_t size);

/* Of a function that carries the registers of the unit with this number, the path of its socket. By number,
 * since a name may be too long for a path. */
void function_socket_of_unit(struct function *f, unsigned number);

/* Fill in what all kinds tell alike. Main thread. */
void function_describe_socket(const struct function *f, struct json_object *object);

#endif
