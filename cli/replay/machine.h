/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Emulated IOMMUs for the devices of a trace: for each device a VT-d unit, the
 * driver of it (a backing), and the device itself, which uses the buffers.
 *
 * How the driver reaches the registers:
 *   SIDECORE  they lie in memory, and a thread polls them, one for all units;
 *   TRAP      each access is a message over a socket to a thread that does it, and
 *             an answer: what a VMM and viommud do for a guest's access, but for the
 *             guest's own exit.
 */
#ifndef CLI_REPLAY_MACHINE_H
#define CLI_REPLAY_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>
#include <viommu/backing.h>

#include "cli/replay/cores.h"
#include "cli/replay/memory.h"

enum replay_registers { REPLAY_SIDECORE, REPLAY_TRAP };

/* One device and its unit. */
struct replay_unit {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	struct viommu_backing backing;
	void *page, *tables, *shadow;
	uint64_t table_size, shadow_size;
	int socket;	  /* TRAP: the driver's end */
	int server_end;	  /* the other one */
	pthread_t server; /* who answers on it */
	bool serves;
	unsigned turns, patience; /* SIDECORE: of the driver while it waits; how many before it yields */
};

struct replay_machine {
	enum replay_registers registers;
	struct replay_cores cores;
	struct replay_unit *units;
	unsigned count;
	pthread_t sidecore;
	bool polls;
	_Atomic unsigned polled; /* units that are there to be polled */
	_Atomic bool stop;
};

/*
 * Each unit has `shadow_size` bytes of shadow memory, 0 or whole pages. The calling
 * thread is the driver. With SIDECORE it stays on its CPU, and the sidecore on the
 * others, until replay_machine_finish(), which is to be called in any case. Returns 0 or a negative errno.
 */
int replay_machine_init(struct replay_machine *m, unsigned devices, enum replay_registers registers,
			const struct replay_memory *memory, uint64_t shadow_size);
void replay_machine_finish(struct replay_machine *m);

/* The device reads, and writes, as far as it was asked to, the first byte of what it was told. */
bool replay_device_uses(struct replay_unit *u, uint64_t iova, bool reads, bool writes);

#endif
