/* SPDX-License-Identifier: BSD-3-Clause */
/* Times of single operations, and what is told of them. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "os/clock.h"

struct sample {
	uint64_t *ns;
	size_t count, capacity;
};

/* What two readings of the clock cost, in ns: taken off each single time. */
uint64_t bench_clock_ns(void);

/* Ends the program when there is no memory. */
void sample_init(struct sample *s, size_t capacity);
void sample_finish(struct sample *s);
/* More than the capacity are left out. */
void sample_add(struct sample *s, uint64_t ns);
/* 0..100, of what was added; sorts. */
uint64_t sample_percentile(struct sample *s, double percent);

/* The median of `count` figures; changes their order. */
double median_of(double *figures, size_t count);

#endif
