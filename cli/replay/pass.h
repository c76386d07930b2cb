/* SPDX-License-Identifier: BSD-3-Clause */
/* One pass over the steps: what run.h does twice. */
#ifndef CLI_REPLAY_PASS_H
#define CLI_REPLAY_PASS_H

#include "cli/replay/exposure.h"
#include "cli/replay/run.h"

/* One device of the trace. */
struct replay_device {
	struct viommu_dma *dma;
	struct viommu_dma_thread **threads; /* by CPU; NULL: not yet needed */
	struct exposure exposure;	    /* when it is looked at */
	struct replay_unit *unit;	    /* when it is timed */
	void *shadow;
	uint64_t due_ns; /* when the strategy wants to be called again */
};

/* One mapping that lives. */
struct replay_slot {
	struct viommu_dma_mapping mapping;
	uint64_t offset;
	unsigned device;
	bool is_mapped, is_seen; /* seen: its device's exposure knows it */
};

enum replay_timed {
	REPLAY_TIMED_MAP,
	REPLAY_TIMED_UNMAP,
	REPLAY_TIMED_SYNC,
	REPLAY_TIMED_LATER,
	REPLAY_TIMED
};

struct replay_pass {
	const struct replay_steps *steps;
	struct replay_memory *memory;
	const struct replay_options *options;
	bool is_timed;
	bool reaches_all; /* before the first step: devices reach all memory */
	uint64_t now_ns;  /* of the trace */
	uint64_t due_ns;  /* the earliest of all devices */
	uint64_t shadow_size;
	unsigned cpus;
	struct replay_device *devices;
	struct replay_slot *slots;
	struct meter *meter;		/* when it is looked at */
	struct replay_machine machine;	/* when it is timed */
	struct histogram *times;	/* REPLAY_TIMED of them */
	uint64_t clock_ns;		/* what reading the clock costs */
	uint64_t maps, unmaps, refused; /* buffers */
	uint64_t unreachable;		/* buffers that the device could not use */
	uint64_t steps_done, progress_base;
};

/*
 * Open what a pass needs. Returns 0, or a negative errno with a sentence in
 * `why`; replay_pass_finish() in any case.
 */
int replay_pass_init(struct replay_pass *p, const struct replay_steps *steps, struct replay_memory *memory,
		     const struct replay_options *options, bool is_timed, char *why, size_t why_size);
/* All steps. 0, or a negative errno. */
int replay_pass_execute(struct replay_pass *p);
/* What all address spaces have counted, by the table of viommu/dma.h; the highest of what is no sum. */
int replay_pass_counters(struct replay_pass *p, uint64_t *values, size_t count);
/* 0, or what closing an address space returned. */
int replay_pass_finish(struct replay_pass *p);

#endif
