/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/histogram.h"

#include "os/percentile.h"

/* Numbers below 2 * PARTS have a bucket each, then PARTS buckets share a power of two. */
static unsigned bucket_of(uint64_t value)
{
	unsigned power, shift;

	if (value < HISTOGRAM_PARTS)
		return (unsigned)value;
	power = 63 - (unsigned)__builtin_clzll(value);
	shift = power - HISTOGRAM_PARTS_LG2;
	return (shift + 1) * HISTOGRAM_PARTS + (unsigned)(value >> shift) - HISTOGRAM_PARTS;
}

void histogram_add(struct histogram *h, uint64_t value, uint64_t times)
{
	unsigned bucket = bucket_of(value);

	if (!times)
		return;
	h->count += times;
	if (value > h->most)
		h->most = value;
	h->counts[bucket] += times;
	if (value > h->highest[bucket])
		h->highest[bucket] = value;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	size_t i = os_percentile_bucket(h->counts, HISTOGRAM_BUCKETS, percent);

	return i < HISTOGRAM_BUCKETS ? h->highest[i] : 0;
}
