/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of the machine that was recorded, as far as its buffers lie in it.
 * Pieces of it that no buffer touches are left out and the others moved
 * together, in their order, so that what was contiguous still is, and pages that buffers shared
 * are still shared. Pieces are of 2 MiB, or of 64 KiB where they would be too many.
 *
 * Addresses below 4 GiB stay below, those above stay above; a buffer across that
 * border is not contiguous here.
 *
 * What the memory holds is of no interest, so only what was used last is kept.
 */
#ifndef CLI_REPLAY_MEMORY_H
#define CLI_REPLAY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/number_map.h"

#define REPLAY_BLOCK_LG2   16 /* a block: 64 KiB; its number: the address >> 16 */
#define REPLAY_PAGE	   UINT64_C(4096)
#define REPLAY_MEMORY_MOST (UINT64_C(64) << 30)
#define REPLAY_HIGH	   (UINT64_C(1) << 32) /* where the upper part is, for the IOMMU */
#define REPLAY_SHADOW	   (UINT64_C(1) << 40) /* the address of shadow memory */

struct replay_memory {
	uint8_t *host;
	uint64_t size, low_size; /* bytes; of them below 4 GiB, which come first */
	unsigned piece_lg2;
	struct number_map pieces; /* physical address >> piece_lg2 -> which piece here */
	uint8_t *resident;	  /* by page: 1 since it was written to */
	uint64_t resident_pages;
	uint64_t last_piece, last_index;
};

/* For buffers in these blocks, the keys of `blocks`. -ENOMEM. -EFBIG: more than REPLAY_MEMORY_MOST. */
int replay_memory_init(struct replay_memory *m, const struct number_map *blocks);
void replay_memory_finish(struct replay_memory *m);

/* Where a physical address is, as an offset. It lies in one of the blocks. */
uint64_t replay_memory_offset(struct replay_memory *m, uint64_t phys);
/* Where the address that the IOMMU knows is; UINT64_MAX: it is none of ours. */
uint64_t replay_memory_offset_of(const struct replay_memory *m, uint64_t address);

/* Have its pages there, as a driver's buffer is that was just filled. */
void replay_memory_touch(struct replay_memory *m, uint64_t offset, uint64_t len);

/* Pages that take up memory once they are written to; NULL: there is no room for so many. */
void *replay_reserve(uint64_t size);

#endif
