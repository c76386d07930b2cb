/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device addresses for mappings, in pages. Sizes are rounded up to a power of
 * two and addresses are aligned to it. Addresses below 4 GiB go first; above
 * are used when the device can put them out and the lower ones are all in use.
 *
 * Allocation and freeing are O(1): each thread keeps a magazine of free
 * addresses for each size class (as Bonwick's magazines, and Peleg et al., ATC
 * 2015) and meets the others only when one is empty or full. A free range that is
 * split or joined costs O(log of the space) at the most.
 *
 * An address is free again when vi_iova_free() is called: the caller does so
 * only after its invalidation is complete.
 */
#ifndef DMA_IOVA_H
#define DMA_IOVA_H

#include <stdint.h>

/* A device's write to 0xfee00000 .. 0xfeefffff is an interrupt on x86, whatever the tables say: no memory
 * there. */
#define VI_IOVA_INTERRUPTS_FIRST UINT64_C(0xfee00)
#define VI_IOVA_INTERRUPTS_LAST	 UINT64_C(0xfeeff)

struct vi_iova_space;
struct vi_iova_cache; /* of one thread */

/* Pages first_page .. last_page are given out, but those of interrupts. -ENOMEM, -EINVAL: an empty range. */
int vi_iova_space_create(uint64_t first_page, uint64_t last_page, struct vi_iova_space **ret_space);
/* Its caches are destroyed before. NULL is fine. */
void vi_iova_space_destroy(struct vi_iova_space *s);

int vi_iova_cache_create(struct vi_iova_space *s, struct vi_iova_cache **ret_cache);
/* What it holds goes back to the space. NULL is fine. */
void vi_iova_cache_destroy(struct vi_iova_cache *c);

/*
 * `pages` (>= 1) in a row, none above last_page. The cache is the calling
 * thread's. -ENOSPC: there are none, though caches of other threads were asked
 * back. -EINVAL: more than the space can ever hold. -ENOMEM: no memory to note the division of a free range.
 */
int vi_iova_alloc(struct vi_iova_cache *c, uint64_t pages, uint64_t last_page, uint64_t *ret_page);
/* Exactly what an allocation gave, by any thread. Never fails. */
void vi_iova_free(struct vi_iova_cache *c, uint64_t page, uint64_t pages);

#endif
