/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at what the devices can reach, over the time of the trace. Nothing is timed. */
#ifndef CLI_REPLAY_REACH_OBSERVER_H
#define CLI_REPLAY_REACH_OBSERVER_H

#include <stdbool.h>

#include "cli/replay/exposure.h"
#include "cli/replay/observer.h"
#include "cli/replay/steps.h"

/* One device. */
struct reach_device {
	struct exposure exposure;
	void *shadow;
};

struct reach_observer {
	const struct replay_memory *memory;
	struct meter *meter;
	struct reach_device *devices;
	unsigned device_count;
	uint64_t shadow_size;
};

/* -ENOMEM; reach_observer_finish() in any case. */
int reach_observer_init(struct reach_observer *o, const struct replay_steps *steps,
			const struct replay_memory *memory, uint64_t shadow_size);
void reach_observer_finish(struct reach_observer *o);
struct replay_observer reach_observer_of(struct reach_observer *o);

/* Can each device reach all memory now? */
bool reach_observer_sees_all(const struct reach_observer *o);
/* The trace is over. Were rules of viommu/backing.h broken? */
bool reach_observer_settle(struct reach_observer *o);

#endif
