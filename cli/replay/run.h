/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Executes the steps of a trace under one strategy. The clock that the strategy
 * sees is the trace's, so what it keeps for 10 ms it keeps for 10 ms of the trace.
 *
 * More than once, since looking costs time: once on a backing that only remembers
 * what can be reached (reach_observer.h), and a few times on emulated IOMMUs with a
 * real clock around each call (cost_observer.h). All must have done the same.
 */
#ifndef CLI_REPLAY_RUN_H
#define CLI_REPLAY_RUN_H

#include "cli/replay/machine.h"
#include "cli/replay/memory.h"
#include "cli/replay/result.h"
#include "cli/replay/steps.h"

struct replay_options {
	const char *strategy; /* "NAME[,option=value]..." */
	enum replay_registers registers;
	unsigned rounds; /* that are timed, 1 to COST_ROUNDS_MOST; 0: as many as it takes */
	unsigned width;	 /* bits of the devices' addresses; 0: as many as the IOMMU translates */
	/* Called now and then: `done` of `of` is over; not for rounds that are timed because they are short.
	 * NULL: nobody wants to know. */
	void (*progress)(void *arg, uint64_t done, uint64_t of);
	void *arg;
};

/* 0, or -EINVAL with a sentence in `why`: there is no such strategy, option or value. */
int replay_check_strategy(const char *strategy, char *why, size_t why_size);

/*
 * Returns 0; ret_result->why_not tells when the strategy cannot run. Or a negative
 * errno with a sentence in `why`.
 */
int replay_run(const struct replay_steps *steps, struct replay_memory *memory,
	       const struct replay_options *options, struct replay_result *ret_result, char *why,
	       size_t why_size);

#endif
