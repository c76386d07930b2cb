/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVMe controller as a PCI function on its own socket. Main thread, unless
 * a function says otherwise.
 */
#ifndef DAEMON_FUNCTIONS_NVME_H
#define DAEMON_FUNCTIONS_NVME_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "daemon/options.h"
#include "daemon/functions/unit.h"
#include "devices/nvme/nvme.h"

struct nvme_function;

/*
 * Number `index` of the machine. Behind `unit`; NULL: it gets a unit of its
 * own that remaps nothing and knows the memory of its own client. 0 or a
 * negative errno; *ret_why then says in words what failed.
 */
int nvme_function_create(struct vm *vm, unsigned index, struct unit *unit,
			 struct nvme_function **ret_function, const char **ret_why);
/* The work thread has ended. NULL is fine. */
void nvme_function_destroy(struct nvme_function *f);

/* Constant; any thread. */
struct nvme *nvme_function_controller(struct nvme_function *f);
struct viommu_requester *nvme_function_requester(struct nvme_function *f);
struct unit *nvme_function_unit(struct nvme_function *f);
struct vfu_server *nvme_function_server(struct nvme_function *f);
const char *nvme_function_name(const struct nvme_function *f);
uint16_t nvme_function_rid(const struct nvme_function *f);

/* Work thread: as nvme_poll(). */
unsigned nvme_function_poll(struct nvme_function *f, unsigned budget);

/* No command is begun for so long, unless it is called again. [work thread] */
void nvme_function_hold(struct nvme_function *f, unsigned ms);
bool nvme_function_is_held(const struct nvme_function *f);
/* The controller has taken over a state. */
void nvme_function_restored(struct nvme_function *f);

/* Write an interrupt message as this function, without waiting. False: it cannot now. [any thread] */
bool nvme_function_send(struct nvme_function *f, uint64_t address, uint32_t data);

/* Fill in what `status` tells about it. */
void nvme_function_describe(struct nvme_function *f, struct json_object *function);

#endif
