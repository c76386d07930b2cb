/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One remapping unit of libviommu with what it needs of this program: the
 * memory that a client lends, interrupts, the log, the work thread.
 */
#ifndef DAEMON_FUNCTIONS_UNIT_H
#define DAEMON_FUNCTIONS_UNIT_H

#include <stdatomic.h>
#include <stdint.h>

#include <viommu/viommu.h>
#include <viommu/access.h>

#include "vfio_user/server.h"

/* Bits of guest physical address; QEMU's -cpu max has 40, KVM hosts mostly 46. */
#define UNIT_ADDRESS_WIDTH 46

struct function;
struct function_look;
struct host;

struct unit {
	struct viommu *v;
	struct viommu_thread *thread; /* the work thread's */
	struct host *host;
	struct function *registers; /* that carries its registers; NULL: it remaps nothing and has none */
	struct vfu_server *memory;  /* whose client lends the memory; set before its first process() */
	_Atomic uint64_t lent;	    /* bytes registered now */
	bool told;		    /* that some of it has no host pointer */
};

/* `opts` with sz and model set. 0 or a negative errno. */
int unit_create(struct host *host, const struct viommu_options *opts, struct unit **ret_unit);
/* The work thread has ended. NULL is fine. */
void unit_destroy(struct unit *u);

/* As function_ops.poll. [work thread] */
void unit_poll(struct unit *u, unsigned budget, struct function_look *look);

/* A device behind it begins to master the bus. Main thread. */
void unit_device_used(struct unit *u);

/* For vfu_device_ops of the device whose client lends the memory. Main thread. */
int unit_lend(struct unit *u, const struct vfu_dma_map *map);
void unit_take_back(struct unit *u, uint64_t gpa, uint64_t size);

#endif
