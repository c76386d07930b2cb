/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th failure, for every n. A sequence of steps is run again and again,
 * each time on objects made anew, and the n-th call of whatever can fail fails:
 * allocations (failing_alloc.h), system calls (failing_calls.c), callbacks of
 * the host (alloc_call_fails()). The sweep ends with the n that nothing came to.
 *
 * A step that fails says so with the errno of the call that failed, and has
 * left nothing behind: memory, descriptors, mappings and threads are counted
 * before and after. Then it is done again, on the same objects and without a
 * failure, and so is the rest of the sequence. A step may also get over the
 * failure by itself.
 *
 * Each sequence is swept twice: one call fails, and all from the n-th on until
 * the step has returned.
 *
 * Calls of the sweeping thread count, those of others do not.
 */
#ifndef TESTS_NTH_SWEEP_H
#define TESTS_NTH_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

struct nth_step {
	const char *name;
	int (*run)(void *world);   /* 0 or a negative errno; asserts whatever else it can */
	void (*undo)(void *world); /* NULL: nothing to do. In reverse order, without failures */
	/* Called in place of the comparison with the failed call's errno; and makes the next try possible. */
	void (*examine)(void *world, int err);
	bool keeps; /* caches and buffers may have grown or shrunk all the same */
};

struct nth_sequence {
	const char *name;
	size_t world_size; /* zeroed for each run */
	const struct nth_step *steps;
	size_t count;
};
#define NTH_SEQUENCE(n, world, list)                                                                         \
	{                                                                                                    \
		.name = (n), .world_size = sizeof(world), .steps = (list),                                   \
		.count = sizeof(list) / sizeof((list)[0])                                                    \
	}

void nth_sweep(const struct nth_sequence *q);

#endif
