/* SPDX-License-Identifier: BSD-3-Clause */
/* From a trace to steps: those of the devices that are asked for. */
#ifndef CLI_REPLAY_LOAD_H
#define CLI_REPLAY_LOAD_H

#include <stddef.h>

#include "cli/replay/steps.h"

struct replay_wish {
	const char *const *devices; /* names; count 0: all */
	size_t device_count;
	/* As in run.h, in bytes of the file; `of` is 0 when that is not known. */
	void (*progress)(void *arg, uint64_t done, uint64_t of);
	void *arg;
};

/*
 * All steps of the trace, which is read to its end. `s` was initialised. Returns
 * 0, or a negative errno with a sentence in `why`, also when a device that is
 * asked for is not in the trace.
 */
int replay_load(struct replay_steps *s, struct trace *t, const struct replay_wish *wish, char *why,
		size_t why_size);

#endif
