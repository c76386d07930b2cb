/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shadow buffers: pieces of the shadow memory, permanently mapped for the device,
 * each page with one right for ever, so that a device that may read some of them
 * can never write them. Sizes are powers of two from 64 bytes on.
 *
 * All that the pool knows of a piece is kept beside the shadow memory, where no
 * device reaches it. Threads keep a few free pieces of each kind.
 */
#ifndef DMA_SHADOW_POOL_H
#define DMA_SHADOW_POOL_H

#include <stdint.h>

#include "dma/space.h"

#define VI_SHADOW_CLASSES 20 /* 64 bytes to 32 MiB */
#define VI_SHADOW_KEPT	  8  /* free pieces of a kind that a thread keeps */

struct vi_shadow_pool;

/* Of one thread: free pieces by right (1..3) and class. */
struct vi_shadow_cache {
	uint32_t piece[3][VI_SHADOW_CLASSES][VI_SHADOW_KEPT];
	uint8_t count[3][VI_SHADOW_CLASSES];
};

/* Of d->shadow. -ENOMEM. */
int vi_shadow_pool_create(struct viommu_dma *d, struct vi_shadow_pool **ret_pool);
void vi_shadow_pool_destroy(struct vi_shadow_pool *p);
/* Device addresses for all of it. -ENOSPC, -ENOMEM. */
int vi_shadow_pool_open(struct vi_shadow_pool *p, struct viommu_dma_thread *t);
/* Nothing of it is in use: out of the IOMMU. */
int vi_shadow_pool_close(struct vi_shadow_pool *p, struct viommu_dma_thread *t);

/* A piece, as its offset in the shadow memory. */
struct vi_shadow_piece {
	uint64_t offset;
	unsigned access, class;
	bool is_new; /* it was put into the IOMMU for this */
};

/*
 * A piece of at least `len` bytes for a device with this right, none of it above
 * last_page. -ENOSPC: no memory left of this kind, or the device is too narrow.
 * -ENOMEM, or what the backing returned.
 */
int vi_shadow_get(struct vi_shadow_pool *p, struct viommu_dma_thread *t, struct vi_shadow_cache *c,
		  uint64_t len, unsigned access, uint64_t last_page, struct vi_shadow_piece *ret_piece);
void vi_shadow_put(struct vi_shadow_pool *p, struct vi_shadow_cache *c, const struct vi_shadow_piece *piece);
/* What the thread keeps goes back. */
void vi_shadow_cache_empty(struct vi_shadow_pool *p, struct vi_shadow_cache *c);

void *vi_shadow_host(const struct vi_shadow_pool *p, uint64_t offset);
uint64_t vi_shadow_iova(const struct vi_shadow_pool *p, uint64_t offset);

#endif
