/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Submission and completion queues in guest memory (4.1).
 *
 * A command is fetched only when its completion queue has an entry for it,
 * which is set aside until the command completes: a full completion queue holds
 * commands back where they cost nothing, in the guest's own queue.
 */
#include "nvme/controller.h"

#include <errno.h>
#include <string.h>

#define BURST 8 /* commands of one queue before the next has its turn */

void nvme_queue_reset(struct nvme *n)
{
	memset(n->sq, 0, sizeof(n->sq));
	memset(n->cq, 0, sizeof(n->cq));
	n->next_sq = 0;
	n->notify[0] = n->notify[1] = 0;
	n->intx_stale = true;
	n->queues_created = false;
	atomic_store(&n->doorbell_invalid, false);
	for (unsigned i = 0; i < NVME_DOORBELL_WORDS; i++)
		atomic_store(&n->doorbell_rung[i], 0);
}

static uint32_t distance(uint32_t from, uint32_t to, uint32_t size)
{
	return to >= from ? to - from : size - from + to;
}

void nvme_queue_set_tail(struct nvme *n, unsigned qid, uint32_t tail)
{
	struct nvme_sq *sq = &n->sq[qid];

	if (tail >= sq->size)
		nvme_async_event_report(n, NVME_EVENT_ERROR, NVME_EVENT_ERROR_BAD_VALUE);
	else
		sq->tail = tail;
}

/* The guest may only take what was posted: a head beyond the tail would make room that is not there. */
void nvme_queue_set_head(struct nvme *n, unsigned qid, uint32_t head)
{
	struct nvme_cq *cq = &n->cq[qid];

	if (head >= cq->size || distance(cq->head, head, cq->size) > distance(cq->head, cq->tail, cq->size)) {
		nvme_async_event_report(n, NVME_EVENT_ERROR, NVME_EVENT_ERROR_BAD_VALUE);
		return;
	}
	cq->head = head;
	n->intx_stale = true;
}

/*
 * With shadow doorbells a ring only says "look": its value may be older than
 * what was already read from the shadow, and would move the tail backwards.
 */
static void take_doorbell(struct nvme *n, unsigned i)
{
	uint32_t value = atomic_load_explicit(&n->doorbell_value[i], memory_order_relaxed);
	unsigned qid = i / 2;
	bool cq = i % 2, shadowed = n->dbbuf && qid;
	uint32_t size = cq ? n->cq[qid].size : n->sq[qid].size;

	if (cq ? !n->cq[qid].exists : !n->sq[qid].exists)
		nvme_async_event_report(n, NVME_EVENT_ERROR, NVME_EVENT_ERROR_BAD_REGISTER);
	else if (shadowed && value < size && cq)
		nvme_doorbell_buffer_head_rung(n, qid);
	else if (shadowed && value < size)
		return; /* nvme_doorbell_buffer_poll() comes next */
	else if (n->dbbuf && !qid)
		nvme_doorbell_buffer_admin_rung(n, cq, value);
	else if (cq)
		nvme_queue_set_head(n, qid, value);
	else
		nvme_queue_set_tail(n, qid, value);
}

unsigned nvme_queue_take_doorbells(struct nvme *n)
{
	unsigned taken = 0;

	if (atomic_exchange(&n->doorbell_invalid, false))
		nvme_async_event_report(n, NVME_EVENT_ERROR, NVME_EVENT_ERROR_BAD_REGISTER);
	for (unsigned word = 0; word < NVME_DOORBELL_WORDS; word++) {
		uint64_t rung;

		if (!atomic_load_explicit(&n->doorbell_rung[word], memory_order_relaxed))
			continue;
		rung = atomic_exchange_explicit(&n->doorbell_rung[word], 0, memory_order_acquire);
		for (; rung; rung &= rung - 1, taken++)
			take_doorbell(n, word * 64 + (unsigned)__builtin_ctzll(rung));
	}
	return taken;
}

static bool has_room(struct nvme *n, unsigned cqid)
{
	const struct nvme_cq *cq = &n->cq[cqid];

	return distance(cq->head, cq->tail, cq->size) + cq->reserved < cq->size - 1;
}

bool nvme_queue_reserve(struct nvme *n, unsigned cqid)
{
	if (!has_room(n, cqid)) {
		nvme_doorbell_buffer_refresh_head(n, cqid);
		if (!has_room(n, cqid))
			return false;
	}
	n->cq[cqid].reserved++;
	return true;
}

bool nvme_queue_can_fetch(struct nvme *n, unsigned qid)
{
	const struct nvme_sq *sq = &n->sq[qid];

	if (!sq->exists || sq->deletion || sq->head == sq->tail || n->held)
		return false;
	if (n->life != NVME_LIFE_ON || n->shutdown != NVME_SHUTDOWN_NONE || (qid && n->no_room))
		return false;
	return n->free_count > (qid ? NVME_ADMIN_RESERVE : 0) && has_room(n, sq->cqid);
}

static bool may_fetch(struct nvme *n, unsigned qid)
{
	const struct nvme_sq *sq = &n->sq[qid];

	if (!sq->exists || sq->head == sq->tail)
		return false;
	if (!has_room(n, sq->cqid))
		nvme_doorbell_buffer_refresh_head(n, sq->cqid);
	return nvme_queue_can_fetch(n, qid);
}

static void execute(struct nvme *n, unsigned qid, const struct nvme_sqe *sqe)
{
	struct nvme_sq *sq = &n->sq[qid];
	struct nvme_command *c = nvme_command_alloc(n, qid ? NVME_ADMIN_RESERVE : 0);

	c->sqe = *sqe;
	c->sqid = (uint16_t)qid;
	n->cq[sq->cqid].reserved++;
	sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
	sq->in_flight++;
	nvme_command_start(n, c);
}

/* Entries are read several at a time; those that cannot be begun now are forgotten and read again. */
static unsigned fetch_burst(struct nvme *n, unsigned qid, unsigned budget)
{
	const struct nvme_sq *sq = &n->sq[qid];
	struct nvme_sqe sqes[BURST];
	unsigned count, done;
	int ret;

	if (!may_fetch(n, qid))
		return 0;
	count = (sq->tail > sq->head ? sq->tail : sq->size) - sq->head;
	count = count < budget ? count : budget;
	count = count < BURST ? count : BURST;
	ret = nvme_dma_read(n, sq->base + ((uint64_t)sq->head << NVME_SQE_LG2), sqes,
			    count * sizeof(sqes[0]));
	if (ret < 0) {
		if (ret != -ESHUTDOWN)
			nvme_lifecycle_fail_dma(n,
						"a submission queue cannot be read: controller fatal status");
		return 0;
	}
	for (done = 0; done < count && nvme_queue_can_fetch(n, qid); done++)
		execute(n, qid, &sqes[done]);
	return done;
}

unsigned nvme_queue_fetch(struct nvme *n, unsigned budget)
{
	unsigned queues = n->io_queues + 1, done = 0;

	for (unsigned idle = 0; idle < queues && done < budget; idle++) {
		unsigned fetched = fetch_burst(n, n->next_sq, budget - done);

		n->next_sq = (n->next_sq + 1) % queues;
		done += fetched;
		if (fetched)
			idle = 0;
	}
	return done;
}

static void advance(struct nvme *n, unsigned cqid)
{
	struct nvme_cq *cq = &n->cq[cqid];

	cq->reserved--;
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	if (cq->interrupts) {
		n->notify[cqid / 64] |= 1ull << cqid % 64;
		n->intx_stale = true;
	}
}

unsigned nvme_backlog(const struct nvme *n)
{
	unsigned waiting = 0;

	for (unsigned i = 0; i <= n->io_queues; i++)
		waiting += distance(n->sq[i].head, n->sq[i].tail, n->sq[i].size);
	return waiting;
}

/*
 * Two aligned stores: the second holds the phase bit, and as a release it
 * makes the first one and all data visible before it (4.6, pairs with the
 * driver's read barrier after it saw the phase change).
 */
int nvme_queue_post(struct nvme *n, unsigned sqid, uint16_t cid, uint32_t status, uint32_t result)
{
	const struct nvme_sq *sq = &n->sq[sqid];
	const struct nvme_cq *cq = &n->cq[sq->cqid];
	uint64_t iova = cq->base + ((uint64_t)cq->tail << NVME_CQE_LG2);
	struct nvme_cqe e = {.result = result,
			     .sq_head = (uint16_t)sq->head,
			     .sqid = (uint16_t)sqid,
			     .cid = cid,
			     .status = (uint16_t)(status << 1 | cq->phase)};
	int ret = nvme_dma_write(n, iova, &e, 8);

	if (ret == 0)
		ret = nvme_dma_write(n, iova + 8, (const uint8_t *)&e + 8, 8);
	if (ret == 0)
		advance(n, sq->cqid);
	else if (ret != -ESHUTDOWN)
		nvme_lifecycle_fail_dma(n, "a completion queue cannot be written: controller fatal status");
	return ret;
}
