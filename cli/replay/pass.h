/* SPDX-License-Identifier: BSD-3-Clause */
/* One pass over the steps: the driver of all devices of the trace, with one who looks on (observer.h). */
#ifndef CLI_REPLAY_PASS_H
#define CLI_REPLAY_PASS_H

#include <stdbool.h>

#include <viommu/dma.h>

#include "cli/replay/memory.h"
#include "cli/replay/observer.h"
#include "cli/replay/run.h"
#include "cli/replay/steps.h"

/* One device of the trace. */
struct replay_device {
	struct viommu_dma *dma;
	struct viommu_dma_thread **threads; /* by CPU; NULL: not yet needed */
	uint64_t due_ns;		    /* when the strategy wants to be called again */
};

/* One mapping that lives. */
struct replay_slot {
	struct viommu_dma_mapping mapping;
	uint64_t offset;
	unsigned device;
	bool is_mapped;
};

struct replay_pass {
	const struct replay_steps *steps;
	struct replay_memory *memory;
	const struct replay_options *options;
	struct replay_observer observer;
	uint64_t now_ns; /* of the trace */
	uint64_t due_ns; /* the earliest of all devices */
	unsigned cpus;
	struct replay_device *devices;
	struct replay_slot *slots;
	uint64_t maps, unmaps, refused; /* buffers */
	uint64_t steps_done;
	/* Steps of passes before this one, and of all passes: for progress(). 0 of all: it is not called. */
	uint64_t progress_base, progress_of;
};

/* Bytes of shadow memory for each device. */
uint64_t replay_pass_shadow_size(const struct replay_steps *steps);

/*
 * Open what a pass needs. The observer is the caller's, who ends it after the
 * pass. Returns 0, or a negative errno with a sentence in `why`;
 * replay_pass_finish() in any case.
 */
int replay_pass_init(struct replay_pass *p, const struct replay_steps *steps, struct replay_memory *memory,
		     const struct replay_options *options, struct replay_observer observer, char *why,
		     size_t why_size);
/* All steps. 0, or a negative errno. */
int replay_pass_execute(struct replay_pass *p);
/* What all address spaces have counted, by the table of viommu/dma.h; the highest of what is no sum. */
int replay_pass_counters(struct replay_pass *p, uint64_t *values, size_t count);
/* Unmaps what is still mapped, without telling the observer. 0, or what closing an address space returned. */
int replay_pass_finish(struct replay_pass *p);

#endif
