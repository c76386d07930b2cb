/* SPDX-License-Identifier: BSD-3-Clause */
/* Create and Delete I/O Completion and Submission Queue (5.3 to 5.6). */
#include "nvme/controller.h"

#define QID(c)	((c)->sqe.cdw10 & 0xffff)
#define SIZE(c) (((c)->sqe.cdw10 >> 16) + 1)

/*
 * As many queues as Set Features granted can be made, and all there are before
 * it was asked (5.3, 5.4, 5.21.1.7). 0's based, completion queues in the upper half.
 */
static bool valid_cq(const struct nvme *n, unsigned qid)
{
	return qid && qid <= n->io_queues && qid <= (n->features[NVME_FEATURE_QUEUES] >> 16) + 1;
}

static bool valid_sq(const struct nvme *n, unsigned qid)
{
	return qid && qid <= n->io_queues && qid <= (n->features[NVME_FEATURE_QUEUES] & 0xffff) + 1;
}

static uint32_t check_memory(const struct nvme *n, const struct nvme_command *c)
{
	if (SIZE(c) < 2 || SIZE(c) > NVME_MAX_ENTRIES)
		return NVME_INVALID_QUEUE_SIZE;
	if (!(c->sqe.cdw11 & NVME_QUEUE_PC))
		return NVME_INVALID_FIELD; /* CAP.CQR */
	if (c->sqe.prp1 & (NVME_PAGE_SIZE - 1))
		return NVME_PRP_OFFSET_INVALID;
	return NVME_SUCCESS;
}

uint32_t nvme_admin_queue_create_cq(struct nvme *n, struct nvme_command *c)
{
	unsigned qid = QID(c), vector = c->sqe.cdw11 >> 16;
	uint32_t status;

	if (!valid_cq(n, qid) || n->cq[qid].exists)
		return NVME_INVALID_QUEUE_ID;
	if (NVME_CC_IOCQES(n->current_cc) != NVME_CQE_LG2)
		return NVME_INVALID_QUEUE_SIZE;
	status = check_memory(n, c);
	if (status)
		return status;
	if (vector >= NVME_MSIX_VECTORS)
		return NVME_INVALID_VECTOR;
	n->cq[qid] = (struct nvme_cq){.exists = true,
				      .interrupts = (c->sqe.cdw11 & NVME_QUEUE_IEN) != 0,
				      .phase = true,
				      .vector = (uint16_t)vector,
				      .size = SIZE(c),
				      .bad_head = UINT32_MAX,
				      .base = c->sqe.prp1};
	n->queues_created = true;
	nvme_doorbell_buffer_queue_created(n, qid, true);
	return NVME_SUCCESS;
}

uint32_t nvme_admin_queue_create_sq(struct nvme *n, struct nvme_command *c)
{
	unsigned qid = QID(c), cqid = c->sqe.cdw11 >> 16;
	uint32_t status;

	if (!valid_sq(n, qid) || n->sq[qid].exists)
		return NVME_INVALID_QUEUE_ID;
	if (!valid_cq(n, cqid))
		return NVME_INVALID_QUEUE_ID;
	if (!n->cq[cqid].exists)
		return NVME_CQ_INVALID;
	if (NVME_CC_IOSQES(n->current_cc) != NVME_SQE_LG2)
		return NVME_INVALID_QUEUE_SIZE;
	status = check_memory(n, c);
	if (status)
		return status;
	n->sq[qid] = (struct nvme_sq){.exists = true,
				      .cqid = (uint16_t)cqid,
				      .size = SIZE(c),
				      .bad_tail = UINT32_MAX,
				      .base = c->sqe.prp1};
	n->cq[cqid].sq_count++;
	n->queues_created = true;
	nvme_doorbell_buffer_queue_created(n, qid, false);
	return NVME_SUCCESS;
}

uint32_t nvme_admin_queue_delete_cq(struct nvme *n, struct nvme_command *c)
{
	unsigned qid = QID(c);

	if (!valid_cq(n, qid) || !n->cq[qid].exists)
		return NVME_INVALID_QUEUE_ID;
	if (n->cq[qid].sq_count)
		return NVME_INVALID_QUEUE_DELETION;
	n->notify[qid / 64] &= ~(1ull << qid % 64);
	n->intx_stale = true;
	n->cq[qid] = (struct nvme_cq){0};
	return NVME_SUCCESS;
}

/* Commands that were fetched complete first; the rest of the queue is forgotten. */
uint32_t nvme_admin_queue_delete_sq(struct nvme *n, struct nvme_command *c)
{
	unsigned qid = QID(c);

	if (!valid_sq(n, qid) || !n->sq[qid].exists || n->sq[qid].deletion)
		return NVME_INVALID_QUEUE_ID;
	if (n->sq[qid].in_flight) {
		n->sq[qid].deletion = c;
		return NVME_DEFERRED;
	}
	n->cq[n->sq[qid].cqid].sq_count--;
	n->sq[qid] = (struct nvme_sq){0};
	return NVME_SUCCESS;
}

void nvme_admin_queue_finish_delete(struct nvme *n, unsigned qid)
{
	struct nvme_command *c = n->sq[qid].deletion;

	n->cq[n->sq[qid].cqid].sq_count--;
	n->sq[qid] = (struct nvme_sq){0};
	nvme_command_complete(n, c, NVME_SUCCESS);
}
