/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA copies of a device: 64 bytes to 128 KiB, through 4 KiB pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "bench/rig.h"
#include "bench/sample.h"

#define LARGEST (128u << 10)
#define BYTES	(UINT64_C(256) << 20) /* moved for each size */

static void measure(struct rig *r, struct viommu_thread *t, uint8_t *buf, uint32_t size)
{
	uint64_t turns = BYTES / size > 1000000 ? 1000000 : BYTES / size, started = os_now_ns();
	char key[64], text[64];
	double ns;

	for (uint64_t i = 0; i < turns; i++)
		if (viommu_write(t, r->device, RIG_IOVA + i * size % (RIG_DATA - LARGEST), buf, size) != 0)
			bench_fail("a copy was refused", 13);
	ns = (double)(os_now_ns() - started) / (double)turns;
	snprintf(key, sizeof(key), "copy_%u_ns", size);
	snprintf(text, sizeof(text), "copy %u bytes to memory (%.1f GB/s)", size, size / ns);
	report_number(key, ns, "ns", text);
}

void bench_copy(void)
{
	static const uint32_t sizes[] = {64, 512, 4096, 16384, LARGEST};
	uint8_t *buf = calloc(1, LARGEST);
	struct viommu_thread *t;
	struct rig r;

	report_progress("DMA copies");
	rig_init(&r, 0, false);
	if (!buf || viommu_thread_create(r.viommu, &t) != 0)
		bench_fail("cannot make a device thread", 11);
	/* Else whichever size comes first pays for the kernel's zeroing of the pages. */
	memset(r.ram, 1, RIG_DATA);
	memset(buf, 2, LARGEST);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		measure(&r, t, buf, sizes[i]);
	viommu_thread_destroy(t);
	rig_finish(&r);
	free(buf);
}
