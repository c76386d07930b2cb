/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a driver builds its tables in: a stretch of guest physical
 * memory that the driver can write itself, given out page by page.
 */
#ifndef DRIVER_MEMORY_H
#define DRIVER_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct vi_driver_memory {
	uint64_t gpa;  /* of the first page */
	uint8_t *host; /* the same, in this process */
	uint64_t size; /* bytes, a multiple of 4096 */
	uint64_t used; /* bytes from the start that were given out at least once */
	uint64_t free; /* gpa of the first page given back, whose first word leads to the next; 0: none */
};

/* Page 0 of the address space is never handed out, so 0 means none. */
void vi_driver_memory_init(struct vi_driver_memory *m, uint64_t gpa, void *host, uint64_t size);
/* A zeroed page, or 0 when all are in use. */
uint64_t vi_driver_page_alloc(struct vi_driver_memory *m);
/* `count` zeroed pages in a row, never reused pages. 0: not that many are left. */
uint64_t vi_driver_pages_alloc(struct vi_driver_memory *m, unsigned count);
void vi_driver_page_free(struct vi_driver_memory *m, uint64_t gpa);

/* Words of these pages as the device side sees them: one release store, one acquire load. */
void vi_driver_store64(const struct vi_driver_memory *m, uint64_t gpa, uint64_t value);
uint64_t vi_driver_load64(const struct vi_driver_memory *m, uint64_t gpa);
void vi_driver_store32(const struct vi_driver_memory *m, uint64_t gpa, uint32_t value);
uint32_t vi_driver_load32(const struct vi_driver_memory *m, uint64_t gpa);
void vi_driver_store16(const struct vi_driver_memory *m, uint64_t gpa, uint16_t value);
uint16_t vi_driver_load16(const struct vi_driver_memory *m, uint64_t gpa);

#endif
