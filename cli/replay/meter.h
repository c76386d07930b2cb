/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What devices can reach, over the time of the trace: how much now, at most, on
 * average, and in the course of time.
 */
#ifndef CLI_REPLAY_METER_H
#define CLI_REPLAY_METER_H

#include <stdint.h>

#include "cli/replay/histogram.h"

#define REPLAY_POINTS 512

/* One stretch of time. */
struct replay_point {
	double mapped_pages, excess_bytes; /* on average */
	uint64_t most_mapped_pages;
};

/* point[i] begins at i * point_ns. */
struct replay_series {
	uint64_t point_ns;
	unsigned count;
	struct replay_point points[REPLAY_POINTS];
};

/* A number that changes, and what is kept of it. */
struct gauge {
	uint64_t now, most;
	double total; /* its sum over time, in ns */
};

struct meter {
	uint64_t now_ns, end_ns;
	struct gauge mapped; /* pages of device addresses in tables, or not yet invalidated */
	struct gauge pinned; /* pages of memory that they lead to, for each device once */
	struct gauge excess; /* bytes reachable that belong to no buffer that is mapped */
	struct histogram stale;
	struct replay_series series;
};

/* For a time from 0 to end_ns. */
void meter_init(struct meter *m, uint64_t end_ns);
/* The time is now_ns; what the gauges show was so until then. */
void meter_advance(struct meter *m, uint64_t now_ns);

static inline void gauge_move(struct gauge *g, uint64_t up, uint64_t down)
{
	g->now = g->now + up - down;
	if (g->now > g->most)
		g->most = g->now;
}

/* Its average from 0 to now. */
double meter_mean(const struct meter *m, const struct gauge *g);

#endif
