/* SPDX-License-Identifier: BSD-3-Clause */
/* Device addresses: one freed and one allocated, beside many that live. */
#include <stdlib.h>

#include "bench/micro.h"
#include "bench/rig.h"
#include "bench/sample.h"
#include "dma/iova.h"

#define BATCH  64
#define TURNS  5000
#define ROUNDS 5
#define PAGES  (UINT64_C(1) << 24) /* of 64 GiB */

/* Many at a time, so that the magazine of the thread is filled and emptied. `live` is a power of two. */
static void turn_over(struct vi_iova_cache *cache, uint64_t *pages, uint32_t live, uint32_t *io_at)
{
	uint32_t first = *io_at, i = first;

	for (unsigned n = 0; n < BATCH; n++, i = rig_next(i, live))
		vi_iova_free(cache, pages[i], 1);
	i = first;
	for (unsigned n = 0; n < BATCH; n++, i = rig_next(i, live))
		if (vi_iova_alloc(cache, 1, PAGES, &pages[i]))
			bench_fail("no device address", 28);
	*io_at = i;
}

static double pair_ns(uint32_t live)
{
	uint64_t *pages = calloc(live, sizeof(*pages)), began;
	double figures[ROUNDS];
	struct vi_iova_space *space;
	struct vi_iova_cache *cache;
	uint32_t at = 0;

	if (!pages || vi_iova_space_create(1, PAGES, &space) || vi_iova_cache_create(space, &cache))
		bench_fail("no memory for device addresses", 12);
	for (uint32_t i = 0; i < live; i++)
		if (vi_iova_alloc(cache, 1, PAGES, &pages[i]))
			bench_fail("no device address", 28);
	for (unsigned round = 0; round < ROUNDS; round++) {
		began = os_now_ns();
		for (unsigned turn = 0; turn < TURNS; turn++)
			turn_over(cache, pages, live, &at);
		figures[round] = (double)(os_now_ns() - began) / TURNS / BATCH;
	}
	vi_iova_cache_destroy(cache);
	vi_iova_space_destroy(space);
	free(pages);
	return median_of(figures, ROUNDS);
}

void bench_iova(void)
{
	report_progress("device addresses");
	report_number("iova_pair_128_ns", pair_ns(128), "ns", "IOVA freed and allocated, 128 live");
	report_number("iova_pair_1048576_ns", pair_ns(1000000), "ns",
		      "IOVA freed and allocated, 1,048,576 live");
}
