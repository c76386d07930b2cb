/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times the calls of the driver on emulated units (machine.h), and has the device
 * use each buffer once, as late as it can.
 */
#ifndef CLI_REPLAY_COST_OBSERVER_H
#define CLI_REPLAY_COST_OBSERVER_H

#include "cli/replay/cost.h"
#include "cli/replay/histogram.h"
#include "cli/replay/machine.h"
#include "cli/replay/observer.h"
#include "cli/replay/steps.h"

/* What the IOMMU was asked for in one call. */
struct cost_work {
	uint64_t mapped, unmapped; /* pages */
	uint64_t ranges, all;	   /* that were invalidated */
};

/* The unit of a device, and what it was asked for. */
struct cost_device {
	struct viommu_backing inner;
	struct cost_work *work;
};

struct cost_observer {
	struct replay_machine machine;
	struct replay_memory *memory;
	struct cost *cost; /* of all rounds */
	struct cost_device *devices;
	struct histogram *times; /* of a buffer, by kind of call; REPLAY_CALL_KINDS of them */
	/* Written in each call: not in lines that the sidecore reads. */
	_Alignas(128) struct cost_work work;
	uint64_t clock_ns, began_ns; /* clock: what reading it costs */
	uint64_t unreachable;	     /* buffers that the device could not use */
};

/* Returns 0 or a negative errno; cost_observer_finish() in any case. */
int cost_observer_init(struct cost_observer *o, const struct replay_steps *steps,
		       struct replay_memory *memory, enum replay_registers registers, uint64_t shadow_size,
		       struct cost *cost);
void cost_observer_finish(struct cost_observer *o);
struct replay_observer cost_observer_of(struct cost_observer *o);

#endif
