/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the driver's calls cost, so that the figure is the same each time, though
 * the machine does other things too.
 *
 * A strategy does the same in each round, so its calls fall into the same classes: those
 * that did the same work. The cost of a class is the number of its calls, which is
 * exact, times what one takes. Other programs only ever make a call longer, and on a
 * busy machine most of those that wait for the sidecore, so what one takes is the
 * average of the fastest fifth; and of the rounds the one where a class took the least
 * counts, class by class. Calls that are too different for a class of their own are
 * in a coarse one, whose calls take different times for what they do: there the average is of
 * all calls.
 *
 * How far that can be trusted is told by the rounds: the more other programs are in the way,
 * the more do the rounds differ, and the further is cost_median_ns() from cost_ns().
 */
#ifndef CLI_REPLAY_COST_H
#define CLI_REPLAY_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/number_map.h"

#define COST_ROUNDS_MOST  8
#define COST_CLASSES_MOST 1024

/* Parts of each power of two that times are kept apart by, and the power from which on they are not. */
#define COST_PARTS_LG2	 4
#define COST_LONGEST_LG2 40
#define COST_BUCKETS	 ((COST_LONGEST_LG2 - COST_PARTS_LG2 + 1u) << COST_PARTS_LG2)

/* What the calls of a class took in one round. */
struct cost_times {
	uint64_t count;
	struct cost_bucket {
		uint64_t count, sum;
	} buckets[COST_BUCKETS];
};

struct cost_class {
	struct cost_times *times; /* of this round */
	double ns;		  /* of all its calls, in the round where they took the least */
	unsigned rounds;	  /* how many had such calls */
	bool is_coarse;
};

/* All zeros is an empty one. */
struct cost {
	struct number_map by_key; /* -> which class */
	struct cost_class *classes;
	size_t count;
	double rounds_ns[COST_ROUNDS_MOST];
	unsigned rounds;
};

void cost_finish(struct cost *c);
/*
 * A call took so long. `key` tells its class; when there are COST_CLASSES_MOST
 * already, `coarse` does, of which there are few. -ENOMEM.
 */
int cost_add(struct cost *c, uint64_t key, uint64_t coarse, uint64_t ns);
/* All calls of a round were told; returns what they came to. At most COST_ROUNDS_MOST times. */
double cost_end_round(struct cost *c);
/* The cost of all calls of a round, of at least one. */
double cost_ns(const struct cost *c);
/* The median of what the rounds came to, of two the higher one; at least cost_ns(). 0: no round has ended. */
double cost_median_ns(const struct cost *c);

#endif
