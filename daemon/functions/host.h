/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a function is given by whoever serves it, one for all functions of a VM.
 * It is made before the first function and stays until the last one has ended.
 */
#ifndef DAEMON_FUNCTIONS_HOST_H
#define DAEMON_FUNCTIONS_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/counters.h"
#include "daemon/directory.h"
#include "daemon/loop.h"
#include "daemon/options.h"
#include "daemon/sidecore/waker.h"
#include "daemon/unmapper.h"

#define UNITS_MAX NVME_MAX /* without an IOMMU each controller has one */

struct unit;

struct host {
	char label[VM_NAME_MAX + 3];	   /* "NAME: ", which begins log lines; "" for the only VM */
	const struct directory *directory; /* of the sockets */
	struct loop *loop;		   /* the main thread's */
	struct waker *waker;		   /* the work thread's */
	struct unmapper_share unmapper;	   /* for the servers */
	struct vm_counters counters;
	bool verbose;
	bool beside_others; /* other VMs wait while the work thread waits for a client of this one */
	/*
	 * The state was saved, and nothing may change behind it: the work thread leaves
	 * the functions alone until a state is restored or one of them is reset.
	 */
	_Atomic bool frozen;
	unsigned unit_count; /* main thread; constant once the work thread runs */
	struct unit *units[UNITS_MAX];
	/* Deliver an interrupt message of `rid`, or of the unit `u` itself (0), without waiting. [any thread]
	 */
	void (*send_interrupt)(struct host *h, struct unit *u, uint16_t rid, uint64_t address, uint32_t data);
	/* May this thread wait for an answer of a client? [any thread] */
	bool (*may_wait)(void);
};

#endif
