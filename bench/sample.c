/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/sample.h"

#include <stdio.h>
#include <stdlib.h>

/* The least of several rounds: what another process takes away is not the clock's. */
uint64_t bench_clock_ns(void)
{
	enum { ROUNDS = 50, TURNS = 500 };
	uint64_t least = UINT64_MAX;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t first = os_now_ns(), last = first;

		for (unsigned i = 0; i < TURNS; i++)
			last = os_now_ns();
		if ((last - first) / TURNS < least)
			least = (last - first) / TURNS;
	}
	return least;
}

void sample_init(struct sample *s, size_t capacity)
{
	s->ns = calloc(capacity, sizeof(*s->ns));
	s->count = 0;
	s->capacity = capacity;
	if (!s->ns) {
		fprintf(stderr, "viommu-bench: no memory for %zu times\n", capacity);
		exit(1);
	}
}

void sample_finish(struct sample *s)
{
	free(s->ns);
}

void sample_add(struct sample *s, uint64_t ns)
{
	if (s->count < s->capacity)
		s->ns[s->count++] = ns;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t sample_percentile(struct sample *s, double percent)
{
	if (s->count == 0)
		return 0;
	qsort(s->ns, s->count, sizeof(*s->ns), compare_times);
	return s->ns[(size_t)((double)(s->count - 1) * percent / 100)];
}

static int compare_figures(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median_of(double *figures, size_t count)
{
	qsort(figures, count, sizeof(*figures), compare_figures);
	return figures[count / 2];
}
