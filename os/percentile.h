/* SPDX-License-Identifier: BSD-3-Clause */
/* Percentiles of numbers that are counted in buckets. */
#ifndef OS_PERCENTILE_H
#define OS_PERCENTILE_H

#include <stddef.h>
#include <stdint.h>

/* The first bucket by which `percent` of a hundred have come, in the order of the buckets; `n`: all are
 * empty. */
static inline size_t os_percentile_bucket(const uint64_t *counts, size_t n, double percent)
{
	uint64_t all = 0, seen = 0;
	size_t i;

	for (i = 0; i < n; i++)
		all += counts[i];
	for (i = 0; i < n; i++) {
		seen += counts[i];
		if (seen && (double)seen >= (double)all * percent / 100)
			break;
	}
	return i;
}

/*
 * Bucket i counts numbers up to 2^i, the last one all that are larger; `most`
 * is the largest of them. `percent` of the numbers are at most the one that is
 * returned, which is 0 when there are no numbers.
 */
static inline uint64_t os_percentile_of_powers(const uint64_t *counts, size_t n, double percent,
					       uint64_t most)
{
	size_t i = os_percentile_bucket(counts, n, percent);

	if (i == n)
		return 0;
	return i < n - 1 && UINT64_C(1) << i < most ? UINT64_C(1) << i : most;
}

#endif
