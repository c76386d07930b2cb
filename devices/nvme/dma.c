/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one way to guest memory, with its gate.
 *
 * The gate closes when the guest takes bus mastering away, or resets the
 * function or the controller: the register thread changes `dma_enabled` or
 * `epoch` and from then on the work thread begins no access. One that has begun
 * (at most 512 KiB where the guest's pages are contiguous) still ends.
 */
#include "nvme/controller.h"

#include <errno.h>

bool nvme_dma_allowed(struct nvme *n)
{
	return atomic_load(&n->dma_enabled) && atomic_load(&n->epoch) == n->current_epoch;
}

int nvme_dma_read(struct nvme *n, uint64_t iova, void *buf, size_t len)
{
	if (!nvme_dma_allowed(n))
		return -ESHUTDOWN;
	return viommu_read(n->thread, n->requester, iova, buf, len);
}

int nvme_dma_write(struct nvme *n, uint64_t iova, const void *buf, size_t len)
{
	if (!nvme_dma_allowed(n))
		return -ESHUTDOWN;
	return viommu_write(n->thread, n->requester, iova, buf, len);
}
