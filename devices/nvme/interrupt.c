/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts (7.5): MSI-X vectors as events, INTx as a level. */
#include "nvme/controller.h"
#include "nvme/pci_config.h"

/* Called with the lock, also across the callback: levels must not overtake each other. */
void nvme_interrupt_update_intx(struct nvme *n)
{
	bool level = (n->intx_pending & ~n->intms) != 0 && nvme_pci_config_intx_allowed(n);

	if (level == n->intx_level)
		return;
	n->intx_level = level;
	n->ops.intx(n->opaque, level);
}

static uint32_t pending_vectors(const struct nvme *n)
{
	uint32_t pending = 0;

	for (unsigned i = 0; i < NVME_MAX_QUEUES; i++) {
		const struct nvme_cq *cq = &n->cq[i];

		if (cq->exists && cq->interrupts && cq->head != cq->tail)
			pending |= 1u << (cq->vector < 31 ? cq->vector : 31);
	}
	return pending;
}

static void flush_intx(struct nvme *n)
{
	uint32_t pending = pending_vectors(n);

	pthread_mutex_lock(&n->lock);
	/* After a reset that this thread has not seen yet there is nothing pending. */
	if (atomic_load(&n->epoch) == n->current_epoch) {
		n->intx_pending = pending;
		nvme_interrupt_update_intx(n);
	}
	pthread_mutex_unlock(&n->lock);
}

static void flush_msix(struct nvme *n)
{
	for (unsigned word = 0; word < 2; word++) {
		while (n->notify[word]) {
			unsigned cqid = word * 64 + (unsigned)__builtin_ctzll(n->notify[word]);

			n->notify[word] &= n->notify[word] - 1;
			if (atomic_load(&n->msix_enabled) && nvme_dma_allowed(n))
				n->ops.msix(n->opaque, n->cq[cqid].vector);
		}
	}
}

void nvme_interrupt_flush(struct nvme *n)
{
	flush_msix(n);
	if (!n->intx_stale)
		return;
	n->intx_stale = false;
	flush_intx(n);
}
