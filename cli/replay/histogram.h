/* SPDX-License-Identifier: BSD-3-Clause */
/* How often which number came, to within a hundredth of it, in a fixed amount of memory. */
#ifndef CLI_REPLAY_HISTOGRAM_H
#define CLI_REPLAY_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PARTS_LG2 7 /* parts of each power of two */
#define HISTOGRAM_PARTS	    (1u << HISTOGRAM_PARTS_LG2)
#define HISTOGRAM_BUCKETS   ((65 - HISTOGRAM_PARTS_LG2) * HISTOGRAM_PARTS)

/* All zeros is an empty one. */
struct histogram {
	uint64_t count, most;
	/* By bucket: how many, and the highest of them. */
	uint64_t counts[HISTOGRAM_BUCKETS], highest[HISTOGRAM_BUCKETS];
};

/* `value` came `times` times. */
void histogram_add(struct histogram *h, uint64_t value, uint64_t times);
/* So many of a hundred are at most this, which is one that came; 0 when nothing came. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
