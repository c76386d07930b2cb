/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD's graphics address remapping table (spec/gart.h). One aperture of device
 * addresses, for all devices, is remapped page by page through a flat table;
 * all other addresses are physical ones. So it lets a device with 32 address
 * bits reach all memory, and keeps none from anything.
 *
 * The aperture is cached as one domain. INV drops it, and reads 1 until accesses
 * that used what was dropped are over; so does each write that changes what is
 * translated, where the specification leaves it to software.
 */
#ifndef GART_GART_H
#define GART_GART_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/drain.h"
#include "core/unit.h"

#define VI_GART_DOMAIN 0

/* Ours, as the specification has none. */
enum vi_gart_reason {
	VI_GART_ENTRY_NOT_VALID = 1,
	VI_GART_TABLE_ACCESS,
	VI_GART_BEYOND_HOST,
	VI_GART_MESSAGE
};

/* Registers are written under the unit lock; device threads load them in resolve. */
struct vi_gart {
	struct viommu *unit;
	_Atomic uint32_t control, aperture_base, table_base;
	uint32_t cache; /* GART_CACHE_PTE_ERR; INV is drain.active */
	struct vi_drain drain;
};

/* Is the aperture remapped? */
bool vi_gart_is_on(const struct vi_gart *g);

void vi_gart_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value);
void vi_gart_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value);
vi_reason vi_gart_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation);

#endif
