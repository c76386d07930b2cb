/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What came of a trace under one strategy. Its columns are declared once, with
 * their documentation: tables, JSON, CSV and the help text are made from them.
 */
#ifndef CLI_REPLAY_RESULT_H
#define CLI_REPLAY_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/dma.h>

#include "cli/replay/meter.h"

/* X(name, type, format, doc): COUNT and others are formats of a uint64_t, or of a double where the type says
 * so. */
#define REPLAY_COLUMNS(X)                                                                                    \
	X(maps, uint64_t, COUNT, "buffers that were mapped")                                                 \
	X(inferred_maps, uint64_t, COUNT,                                                                    \
	  "maps among them for which the trace names no device: inferred from the IOMMU's events, in whole " \
	  "pages and for both directions")                                                                   \
	X(untold_maps, uint64_t, COUNT,                                                                      \
	  "maps of the IOMMU whose device is not known, which are left out: with any, the trace is not "     \
	  "complete")                                                                                        \
	X(unmaps, uint64_t, COUNT, "buffers that were unmapped")                                             \
	X(refused, uint64_t, COUNT, "buffers that the strategy could not map")                               \
	X(map_p50_ns, uint64_t, COUNT,                                                                       \
	  "time of a map, in ns, in the round that took the least: half of them took at most that")          \
	X(map_p99_ns, uint64_t, COUNT, "the same: 99 of 100 took at most that")                              \
	X(unmap_p50_ns, uint64_t, COUNT, "time of an unmap, likewise")                                       \
	X(unmap_p99_ns, uint64_t, COUNT, "time of an unmap, likewise")                                       \
	X(buffer_mean_ns, double, COUNT,                                                                     \
	  "time for one buffer: map, syncs, unmap, and its part of what is done later. Calls that did the "  \
	  "same work are a class; each of its calls counts as the average of the fastest fifth of them, in " \
	  "the round where that is least")                                                                   \
	X(buffer_median_ns, double, COUNT,                                                                   \
	  "the same by the median of the rounds, of two the longer one. Where it is far more than "          \
	  "buffer_mean_ns other programs "                                                                   \
	  "were in the way")                                                                                 \
	X(rounds, uint64_t, COUNT,                                                                           \
	  "rounds that were timed; buffer_mean_ns is of each class of calls, from the round where it took "  \
	  "the least")                                                                                       \
	X(table_writes, uint64_t, COUNT, "leaf entries of 4 KiB written, to map or to unmap")                \
	X(invalidations, uint64_t, COUNT, "invalidations of both kinds")                                     \
	X(page_invalidations, uint64_t, COUNT, "ranges of pages invalidated one by one")                     \
	X(full_invalidations, uint64_t, COUNT, "invalidations of a whole address space")                     \
	X(invalidation_waits, uint64_t, COUNT, "times that the driver waited for an invalidation")           \
	X(reuse_rate, double, RATE, "share of maps that found a translation")                                \
	X(peak_mapped_pages, uint64_t, COUNT,                                                                \
	  "device addresses, in pages, that are in the tables or not yet invalidated, at most")              \
	X(mean_mapped_pages, double, COUNT, "the same on average over the time of the trace")                \
	X(peak_pinned_pages, uint64_t, COUNT,                                                                \
	  "pages of memory that these addresses lead to, and that have to stay, at most")                    \
	X(mean_pinned_pages, double, COUNT, "the same on average")                                           \
	X(stale_p50_us, double, MICROSECONDS,                                                                \
	  "how long a page was reachable after its last buffer was unmapped: half of them at most that")     \
	X(stale_p99_us, double, MICROSECONDS, "the same: 99 of 100 at most that")                            \
	X(stale_max_us, double, MICROSECONDS, "the same: the longest")                                       \
	X(excess_byte_seconds, double, COUNT,                                                                \
	  "bytes that a device could reach and that belonged to no mapped buffer, times seconds")            \
	X(excess_mean_bytes, double, COUNT, "the same, of a moment, on average over the time of the trace")  \
	X(bytes_copied, uint64_t, COUNT, "bytes copied between buffers and shadow buffers")                  \
	X(duration_s, double, COUNT, "time of the trace, in seconds")

struct replay_result {
	const char *strategy;  /* as it was asked for; the caller's */
	const char *registers; /* "sidecore" or "trap" */
#define X(name, type, format, doc) type name;
	REPLAY_COLUMNS(X)
#undef X
	bool reaches_all; /* devices could reach all memory, always */
	struct replay_series series;
	char why_not[256]; /* not empty: it could not run at all, for this reason */
};

enum replay_format { REPLAY_COUNT, REPLAY_RATE, REPLAY_MICROSECONDS };

struct replay_column {
	const char *name, *doc;
	enum replay_format format;
	bool is_double;
	size_t offset; /* in the result */
};

const struct replay_column *replay_columns(size_t *ret_count);
/* The value of a column. */
double replay_value(const struct replay_result *r, const struct replay_column *c);

#endif
