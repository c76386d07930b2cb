/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an OS driver does with a GART (spec/gart.h): gives pages of memory
 * addresses in the aperture, so that a device whose address has 32 bits reaches
 * them wherever they are. One thread at a time.
 */
#ifndef DRIVER_GART_H
#define DRIVER_GART_H

#include <stdint.h>

#include "driver/memory.h"
#include "driver/regs.h"

struct vi_driver_gart {
	struct vi_driver_regs regs;
	struct vi_driver_memory *memory;
	uint64_t aperture; /* the first address */
	uint64_t table;	   /* gpa */
	uint32_t pages, next;
};

/*
 * Make a table and switch the GART on, with an aperture of 2^size_lg2 bytes
 * (25..31) at `aperture`, which is aligned to its size, below 4 GiB, and where no
 * memory lies that devices use. 0, -EINVAL, -ENOMEM.
 */
int vi_driver_gart_start(struct vi_driver_gart *g, const struct vi_driver_regs *regs,
			 struct vi_driver_memory *memory, uint64_t aperture, unsigned size_lg2);
/* Switch it off. The table stays the driver's memory. */
void vi_driver_gart_stop(struct vi_driver_gart *g);

/* Pages of memory below 1 TiB, as one run in the aperture. 0, -EINVAL, or -ENOSPC: no run is so long. */
int vi_driver_gart_map(struct vi_driver_gart *g, uint64_t gpa, uint64_t size, uint64_t *ret_iova);
/* Take them out and flush: no device uses them any more. 0, -EINVAL: not such a run of the aperture,
 * -ETIMEDOUT. */
int vi_driver_gart_unmap(struct vi_driver_gart *g, uint64_t iova, uint64_t size);
/* What the GART has cached is dropped. 0 or -ETIMEDOUT. */
int vi_driver_gart_flush(struct vi_driver_gart *g);

#endif
