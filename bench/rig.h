/* SPDX-License-Identifier: BSD-3-Clause */
/* A unit in this process with memory, a device and the guest's half, as a benchmark needs it. */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>

#include "bench/fail.h"
#include "driver/vtd.h"

#define RIG_DOMAIN 1
#define RIG_IOVA   UINT64_C(0x100000000)
#define RIG_PAGES  65536 /* mapped pages, from RIG_IOVA on */
#define RIG_DATA   (UINT64_C(256) << 20)

struct rig {
	uint8_t *ram;
	uint64_t ram_size;
	struct viommu *viommu;
	struct viommu_requester *device;
	struct vi_driver_memory memory;
	struct vi_driver_vtd driver;
	struct vi_driver_page_table table;

	/* With a sidecore: a thread that polls the register page. */
	void *page;
	pthread_t sidecore;
	_Atomic bool stop;
};

/* Ends the program with a sentence when something fails. */
void rig_init(struct rig *r, unsigned iotlb_lg2, bool sidecore);
void rig_finish(struct rig *r);

/* Memory that another process can be given; *ret_fd is the caller's. */
void *rig_shared_memory(uint64_t size, int *ret_fd);

/* Bring a driver up on registers and memory: queue, translation, `pages` pages mapped at RIG_IOVA for `rid`.
 */
void rig_drive(struct vi_driver_vtd *d, struct vi_driver_page_table *table, const struct vi_driver_regs *regs,
	       struct vi_driver_memory *memory, uint16_t rid, uint32_t pages);

/* The next number of a sequence that visits all below `count` (a power of two) in an order that prefetchers
 * do not know. */
static inline uint32_t rig_next(uint32_t i, uint32_t count)
{
	return (i * 5 + 12345) & (count - 1);
}

#endif
