/* SPDX-License-Identifier: BSD-3-Clause */
/* What drivers do in a loop, and what comes of it under a strategy. */
#ifndef BENCH_STRATEGIES_LOOP_H
#define BENCH_STRATEGIES_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/strategies/world.h"

struct workload {
	const char *name, *text;
	uint32_t len;	 /* bytes that the device moves */
	unsigned depth;	 /* buffers that it has at a time */
	unsigned stride; /* from buffer to buffer */
	unsigned pool;	 /* buffers in all */
};

extern const struct workload workloads[];
extern const unsigned workload_count;

struct figures {
	double ops_per_s;
	double map_p50_ns, unmap_p50_ns, unmap_p50_cycles;
	uint64_t maps, invalidations, reused, peak_mapped_pages, bytes_copied;
	double stale_p99_us, stale_max_us, excess_byte_seconds;
};

/* Throughput, and what calls take. Ends the program when something fails. */
void loop_measure(const struct workload *load, const char *strategy, const struct world_kind *kind,
		  uint64_t ns, struct figures *ret_figures);
/* The rest of the figures, with a backing that watches: what the device can reach, and for how long. */
void loop_watch(const struct workload *load, const char *strategy, const struct world_kind *kind, uint64_t ns,
		struct figures *io_figures);

#endif
