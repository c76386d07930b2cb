/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building page tables of any format, the way an OS driver does. The caller
 * serialises, and invalidates what it took away.
 */
#ifndef DRIVER_PAGE_TABLE_H
#define DRIVER_PAGE_TABLE_H

#include <stdint.h>

#include "driver/memory.h"
#include "pgtable/pgtable.h"

struct vi_driver_page_table {
	struct vi_pgtable table; /* as the walker needs it */
	struct vi_driver_memory *memory;
};

/* `leaf_levels` bit L: leaves at level L may be used. 0 or -ENOMEM. */
int vi_driver_page_table_init(struct vi_driver_page_table *p, const struct vi_pgtable_format *format,
			      unsigned levels, unsigned address_width, unsigned leaf_levels,
			      struct vi_driver_memory *memory);
/* Give all its pages back. */
void vi_driver_page_table_finish(struct vi_driver_page_table *p);

/*
 * Map size bytes at iova to gpa (all multiples of 4096, size >= 1 page) with
 * VI_PGTABLE_* rights and the largest pages that fit. -EEXIST: something is
 * mapped there. -EINVAL: not aligned or beyond the levels. -ENOMEM. Nothing of
 * the range was mapped then; tables that were made for it stay.
 */
int vi_driver_map(struct vi_driver_page_table *p, uint64_t iova, uint64_t gpa, uint64_t size,
		  unsigned access);

/* Unmap. Returns the bytes that were mapped there. -EINVAL also when a large page reaches out of the range.
 */
int64_t vi_driver_unmap(struct vi_driver_page_table *p, uint64_t iova, uint64_t size);

/* The gpa of the entry at `level` that iova goes through, for tests that spoil one. 0: the walk ends above.
 */
uint64_t vi_driver_entry_gpa(const struct vi_driver_page_table *p, uint64_t iova, unsigned level);

#endif
