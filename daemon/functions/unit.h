/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One remapping unit of libviommu with what it needs of this program: the
 * memory that a client lends, interrupts, the log, the work thread.
 */
#ifndef DAEMON_FUNCTIONS_UNIT_H
#define DAEMON_FUNCTIONS_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/viommu.h>
#include <viommu/access.h>

#include "daemon/log.h"
#include "daemon/options.h"
#include "vfio_user/server.h"

/* Bits of guest physical address; QEMU's -cpu max has 40, KVM hosts mostly 46. */
#define UNIT_ADDRESS_WIDTH 46

struct function;
struct function_look;
struct host;

struct unit {
	struct viommu *v;
	struct viommu_thread *thread; /* the work thread's */
	const struct viommu_options *options;
	struct host *host;
	struct function *registers;	/* which carries the registers; NULL: the unit remaps nothing */
	char label[IOMMU_ID_MAX + 3];	/* of log lines: "NAME: " where a VM has several units, else "" */
	struct log_bucket guest_errors; /* its own, so that one unit's do not drown those of another */
	struct vfu_server *memory;	/* whose client lends the memory; set before its first process() */
	_Atomic uint64_t lent;		/* bytes registered now */
	bool told;			/* that some of it has no host pointer */
	_Atomic bool was_restored_on;	/* translation was on in a state that was restored */
};

/* `opts` with sz and model set; it outlives the unit. 0 or a negative errno. */
int unit_create(struct host *host, const struct viommu_options *opts, struct unit **ret_unit);
/* The work thread has ended. NULL is fine. */
void unit_destroy(struct unit *u);

/* The name by which commands show the unit. NULL: the unit remaps nothing. Any thread. */
const char *unit_name(const struct unit *u);

/* The unit of this name, or NULL. Any thread. */
struct unit *host_find_unit(const struct host *h, const char *name);

/* As function_ops.poll. [work thread] */
void unit_poll(struct unit *u, unsigned budget, struct function_look *look);

/* Would viommu_restore() take this state? The unit stays as it is. 0, or what viommu_restore() would return.
 * [work thread, the main thread waits] */
int unit_restore_check(const struct unit *u, const void *state, size_t length);

/* A device behind the unit begins to master the bus. Main thread. */
void unit_device_used(struct unit *u);

/* The registers as at power-on; nothing of before is used any more. Main thread. */
void unit_reset(struct unit *u);

/* For vfu_device_ops of the device whose client lends the memory. Main thread. */
int unit_lend(struct unit *u, const struct vfu_dma_map *map);
/* Also when the main thread waits. Waits for accesses in flight, and for nothing if there is no such memory.
 */
void unit_take_back(struct unit *u, uint64_t gpa, uint64_t size);

#endif
