/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest whose IOMMU's registers have gone. QEMU resets its devices not only
 * for a boot, but also when a guest wakes from S3. Both take the registers'
 * address away; only a boot has firmware that gives them one again. A guest
 * that wakes without it panics, or goes on with devices that reach all memory.
 * QEMU does not tell the two apart, so what tells is that nothing gives the
 * function an address: for LOST_REGISTERS_MS, or while a device already goes on.
 *
 * Main thread, or the main thread waits.
 */
#ifndef DAEMON_FUNCTIONS_LOST_REGISTERS_H
#define DAEMON_FUNCTIONS_LOST_REGISTERS_H

#include <stdbool.h>

#include "daemon/log.h"

/* Firmware takes a second, in a guest that emulates its processors. Linux panics after ten. */
#define LOST_REGISTERS_MS 10000

struct host;

struct lost_registers {
	struct host *host;
	struct log_bucket log;
	const char *unit_label; /* which the log lines begin with: unit.label */
	int timer;
	bool awaited; /* a reset took the address away, and none was given since */
	bool told;
};

/* `unit_label` outlives *l. 0 or a negative errno. Also after that, lost_registers_finish() is needed, and
 * enough; and it is harmless for zeros. */
int lost_registers_init(struct lost_registers *l, struct host *host, const char *unit_label);
void lost_registers_finish(struct lost_registers *l);

/* A reset took an address away. */
void lost_registers_await(struct lost_registers *l);
/* There is an address again. */
void lost_registers_found(struct lost_registers *l);
/* The client has gone, and no guest waits for anything. */
void lost_registers_forget(struct lost_registers *l);
/* A device behind the unit begins to master the bus. */
void lost_registers_device_used(struct lost_registers *l);

#endif
