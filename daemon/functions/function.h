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

struct function;
struct host;
struct vfu_server;
struct unit;
struct viommu_requester;

/* What looks at functions have found, added up. */
struct function_look {
	unsigned steps; /* done */
	bool pending;	/* an invalidation waits for accesses in flight */
	bool deep;	/* many requests are waiting still */
};

/* What may be NULL says so. */
struct function_ops {
	const char *kind;    /* as `status` tells it */
	uint32_t state_kind; /* of its section in a saved state; of no other kind */

	/* --- work thread --- */

	/* Do about `budget` steps. Adds to *look. */
	void (*poll)(struct function *f, unsigned budget, struct function_look *look);
	/* The thread is about to sleep. False: there is work after all. NULL: there is nothing to arm. */
	bool (*arm)(struct function *f);
	/* Can there be work that wakes nobody? Then each sleep has an end. */
	bool (*has_silent_work)(const struct function *f);

	/* --- work thread, and the main thread waits --- */

	/* No request is begun for so long, unless it is called again. NULL: it begins none. */
	void (*hold)(struct function *f, unsigned ms);
	/*
	 * The state as bytes; `buf` NULL: only how many there are. Returns how many.
	 * -EBUSY: requests are under way.
	 */
	int64_t (*save)(struct function *f, void *buf, size_t size);
	/* Can it go on from this state, from anywhere, aligned to 8 bytes? 0 or a negative errno. */
	int (*restore_check)(struct function *f, const void *state, size_t length);
	/* Go on from a state that can be. */
	void (*restore)(struct function *f, const void *state, size_t length);

	/* --- any thread --- */

	/* Write an interrupt message as this function, without waiting. False: it cannot now. NULL: never. */
	bool (*send)(struct function *f, uint64_t address, uint32_t data);

	/* --- main thread --- */

	/* Fill in what `status` tells: of the function, and of all that is served. */
	void (*describe)(struct function *f, struct json_object *function, struct json_object *status);
	/*
	 * The machine's firmware tables say that the registers are at `base`: complain, and
	 * remember, when firmware places them elsewhere from now on. NULL: no table tells.
	 */
	void (*expect)(struct function *f, uint64_t base);
	/* A device behind its unit begins to master the bus. NULL: it carries no unit's registers. */
	void (*device_used)(struct function *f);
	/* The work thread has ended, and the functions behind its unit. */
	void (*destroy)(struct function *f);
};

struct function {
	const struct function_ops *ops;
	struct host *host;
	char name[12];
	char socket[SOCKET_PATH_MAX];
	unsigned index; /* among those of its kind */
	unsigned devfn; /* on bus 0 */
	struct vfu_server *server;
	struct unit *unit; /* that it stands before, with the registers, or behind */
	bool owns_unit;
	struct viommu_requester *requester; /* NULL: it has no DMA of its own */
	int wake_fd;			    /* readable when requests have completed; -1: none */
};

/* Does it have DMA of its own? */
static inline bool function_is_device(const struct function *f)
{
	return f->requester;
}

/* Fill in what all kinds tell alike. Main thread. */
void function_describe_socket(const struct function *f, struct json_object *object);

#endif
