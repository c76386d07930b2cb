/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/histogram.h"

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
	struct histogram_bucket *b = &h->buckets[bucket_of(value)];

	if (!times)
		return;
	h->count += times;
	if (value > h->most)
		h->most = value;
	b->count += times;
	if (value > b->most)
		b->most = value;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
	double wanted = percent / 100 * (double)h->count;
	uint64_t seen = 0;

	for (unsigned i = 0; i < sizeof(h->buckets) / sizeof(h->buckets[0]); i++) {
		seen += h->buckets[i].count;
		if (seen && (double)seen >= wanted)
			return h->buckets[i].most;
	}
	return h->most;
}
