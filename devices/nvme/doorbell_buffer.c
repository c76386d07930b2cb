/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shadow doorbells (5.8 Doorbell Buffer Config, 7.13): the guest stores tails
 * and heads in a page of its memory and writes a doorbell register only when
 * it passes the index that the controller left in EventIdx.
 *
 * The guest rings for a move from `old` to `new` when EventIdx lies in
 * [old, new), modulo 2^16. While polled, EventIdx is one entry behind the tail,
 * the last place that the guest's index comes to. It is renewed each half turn
 * of the queue: a guest that fills more than half of it at once may ring once
 * per turn, which does no harm. Before sleeping, EventIdx becomes the tail
 * itself:
 *
 *     controller: store EventIdx, full fence, load shadow tail
 *     guest:      store shadow tail, full fence, load EventIdx
 *
 * so one of the two sees the other's store, and no command is slept over.
 *
 * The admin queue is always rung for. Its doorbells have entries in both pages
 * like all others, but stock drivers (Linux) write its registers alone, and
 * their entries stay as they were when the pages were given. So an entry that has
 * changed since is a driver's that shadows it: from then on the entry says what
 * a ring means, as a register write may be older. EventIdx is the tail or head
 * itself, so that the next move is rung for; behind the store the entry is read
 * again, as above, for a driver that moved meanwhile and saw the old EventIdx.
 *
 * Completion heads matter only when a queue is full or holds INTx up. With
 * MSI-X they are read when it is full.
 *
 * With INTx each move of a head must be rung for: VMMs such as QEMU lower the pin
 * of a device in another process only when its registers are accessed, and a
 * pin that stays up is an interrupt without end. So EventIdx is the head, and
 *  - it is stored only when a doorbell was rung. The guest stores the shadow head
 *    first and loads EventIdx after that; a controller that had seen the shadow
 *    head and moved EventIdx in between would have told it not to ring;
 *  - heads are taken only then, too: so the pin falls, and can rise again,
 *    only after EventIdx asks for the next ring;
 *  - after the store the shadow head is read again, behind a full fence: a guest
 *    that moved it meanwhile has seen the old EventIdx and may not have rung.
 */
#include "nvme/controller.h"

#include <errno.h>
#include <stdatomic.h>

#define SETTLE_TURNS 16

static uint64_t slot(unsigned qid, bool cq)
{
	return 4 * (2 * (uint64_t)qid + cq);
}

static void fail(struct nvme *n, int ret)
{
	if (ret != -ESHUTDOWN)
		nvme_lifecycle_fail_dma(n,
					"the shadow doorbells cannot be accessed: controller fatal status");
}

static void store_event(struct nvme *n, unsigned qid, bool cq, uint32_t value)
{
	int ret = nvme_dma_write(n, n->dbbuf_event + slot(qid, cq), &value, sizeof(value));

	if (ret < 0)
		fail(n, ret);
}

/* False: could not be read. */
static bool load_shadow(struct nvme *n, unsigned qid, bool cq, uint32_t *ret_value)
{
	int ret = nvme_dma_read(n, n->dbbuf_shadow + slot(qid, cq), ret_value, sizeof(*ret_value));

	if (ret < 0)
		fail(n, ret);
	return ret == 0;
}

static uint32_t behind(uint32_t index, uint32_t size)
{
	return index ? index - 1 : size - 1;
}

static void store_polled_sq(struct nvme *n, unsigned qid)
{
	struct nvme_sq *sq = &n->sq[qid];

	sq->event_tail = sq->tail;
	store_event(n, qid, false, behind(sq->tail, sq->size));
}

static bool uses_intx(struct nvme *n, const struct nvme_cq *cq)
{
	return cq->interrupts && !atomic_load(&n->msix_enabled);
}

static void store_polled_cq(struct nvme *n, unsigned qid)
{
	struct nvme_cq *cq = &n->cq[qid];

	cq->event_head = cq->head;
	cq->rung = uses_intx(n, cq);
	store_event(n, qid, true, cq->rung ? cq->head : behind(cq->head, cq->size));
}

static bool ahead(uint32_t from, uint32_t to, uint32_t size)
{
	return (to >= from ? to - from : size - from + to) >= size / 2;
}

void nvme_doorbell_buffer_queue_created(struct nvme *n, unsigned qid, bool cq)
{
	if (!n->dbbuf)
		return;
	if (cq)
		store_polled_cq(n, qid);
	else
		store_polled_sq(n, qid);
}

static uint32_t admin_index(const struct nvme *n, bool cq)
{
	return cq ? n->cq[0].head : n->sq[0].tail;
}

static void set_admin_index(struct nvme *n, bool cq, uint32_t value)
{
	if (cq)
		nvme_queue_set_head(n, 0, value);
	else
		nvme_queue_set_tail(n, 0, value);
}

static bool is_admin_shadowed(struct nvme *n, bool cq, uint32_t shadow)
{
	n->dbbuf_admin[cq] |= shadow != n->dbbuf_admin_first[cq];
	return n->dbbuf_admin[cq];
}

/* False: the driver has moved since, and need not have rung. */
static bool settle_admin(struct nvme *n, bool cq)
{
	uint32_t index = admin_index(n, cq), shadow;

	store_event(n, 0, cq, index);
	atomic_thread_fence(memory_order_seq_cst);
	if (!load_shadow(n, 0, cq, &shadow) || !is_admin_shadowed(n, cq, shadow) || shadow == index)
		return true;
	set_admin_index(n, cq, shadow);
	return admin_index(n, cq) == index; /* a bad value, which was reported */
}

void nvme_doorbell_buffer_admin_rung(struct nvme *n, bool cq, uint32_t value)
{
	uint32_t shadow;

	if (load_shadow(n, 0, cq, &shadow) && is_admin_shadowed(n, cq, shadow))
		value = shadow;
	set_admin_index(n, cq, value);
	for (unsigned turns = 0; turns < SETTLE_TURNS; turns++)
		if (settle_admin(n, cq))
			return;
	/* One that never stops moving is looked at again in the next turn of all work. */
	atomic_fetch_or(&n->doorbell_rung[0], UINT64_C(1) << cq);
}

static void begin_admin(struct nvme *n, bool cq)
{
	n->dbbuf_admin[cq] = false;
	if (load_shadow(n, 0, cq, &n->dbbuf_admin_first[cq]))
		store_event(n, 0, cq, admin_index(n, cq));
}

uint32_t nvme_doorbell_buffer_execute(struct nvme *n, struct nvme_command *c)
{
	if ((c->sqe.prp1 | c->sqe.prp2) & (NVME_PAGE_SIZE - 1))
		return NVME_INVALID_FIELD;
	n->dbbuf = true;
	n->dbbuf_shadow = c->sqe.prp1;
	n->dbbuf_event = c->sqe.prp2;
	begin_admin(n, false);
	begin_admin(n, true);
	for (unsigned qid = 1; qid <= n->io_queues; qid++) {
		if (n->cq[qid].exists)
			store_polled_cq(n, qid);
		if (n->sq[qid].exists)
			store_polled_sq(n, qid);
	}
	return NVME_SUCCESS;
}

static bool refresh_tail(struct nvme *n, unsigned qid)
{
	struct nvme_sq *sq = &n->sq[qid];
	uint32_t tail;

	if (!load_shadow(n, qid, false, &tail) || tail == sq->tail)
		return false;
	if (tail == sq->bad_tail)
		return false;
	nvme_queue_set_tail(n, qid, tail);
	sq->bad_tail = tail < sq->size ? UINT32_MAX : tail;
	if (!n->dbbuf_sleeping && ahead(sq->event_tail, sq->tail, sq->size))
		store_polled_sq(n, qid);
	return true;
}

/* True: it has moved. */
static bool take_shadow_head(struct nvme *n, unsigned cqid)
{
	struct nvme_cq *cq = &n->cq[cqid];
	uint32_t head;

	if (!load_shadow(n, cqid, true, &head) || head == cq->head || head == cq->bad_head)
		return false;
	nvme_queue_set_head(n, cqid, head);
	cq->bad_head = cq->head == head ? UINT32_MAX : head;
	return cq->head == head;
}

void nvme_doorbell_buffer_refresh_head(struct nvme *n, unsigned cqid)
{
	struct nvme_cq *cq = &n->cq[cqid];

	if (!n->dbbuf || !cqid || cq->rung || !take_shadow_head(n, cqid))
		return;
	if (!n->dbbuf_sleeping && ahead(cq->event_head, cq->head, cq->size))
		store_polled_cq(n, cqid);
}

/* Each turn but the first is a move of the guest's; one that never ends them gets its pin later. */
static void settle_head(struct nvme *n, unsigned cqid)
{
	unsigned turns = 0;

	take_shadow_head(n, cqid);
	do {
		store_polled_cq(n, cqid);
		atomic_thread_fence(memory_order_seq_cst);
	} while (take_shadow_head(n, cqid) && ++turns < SETTLE_TURNS);
}

void nvme_doorbell_buffer_head_rung(struct nvme *n, unsigned cqid)
{
	if (n->cq[cqid].rung)
		settle_head(n, cqid);
	else
		nvme_doorbell_buffer_refresh_head(n, cqid);
}

unsigned nvme_doorbell_buffer_poll(struct nvme *n)
{
	unsigned moved = 0;

	if (!n->dbbuf)
		return 0;
	for (unsigned qid = 1; qid <= n->io_queues && n->life == NVME_LIFE_ON; qid++) {
		if (n->sq[qid].exists && !n->sq[qid].deletion)
			moved += refresh_tail(n, qid);
		/* MSI-X came or went. */
		if (n->cq[qid].exists && n->cq[qid].rung != uses_intx(n, &n->cq[qid]))
			settle_head(n, qid);
	}
	return moved;
}

void nvme_doorbell_buffer_disarm(struct nvme *n)
{
	if (!n->dbbuf_sleeping)
		return;
	n->dbbuf_sleeping = false;
	for (unsigned qid = 1; qid <= n->io_queues; qid++) {
		if (n->sq[qid].exists)
			store_polled_sq(n, qid);
		if (n->cq[qid].exists && n->cq[qid].event_armed && !n->cq[qid].rung) {
			n->cq[qid].event_armed = false;
			store_polled_cq(n, qid);
		}
	}
}

static bool cq_blocks(const struct nvme_cq *cq)
{
	uint32_t used = cq->tail >= cq->head ? cq->tail - cq->head : cq->size - cq->head + cq->tail;

	return cq->exists && used + cq->reserved >= cq->size - 1;
}

static void arm_queue(struct nvme *n, unsigned qid)
{
	struct nvme_cq *cq = &n->cq[qid];

	if (n->sq[qid].exists)
		store_event(n, qid, false, n->sq[qid].tail);
	if (cq_blocks(cq) && !cq->rung) {
		cq->event_armed = true;
		store_event(n, qid, true, cq->head);
	}
}

bool nvme_doorbell_buffer_arm(struct nvme *n)
{
	unsigned moved = 0;

	if (!n->dbbuf || n->life != NVME_LIFE_ON || !nvme_dma_allowed(n))
		return true;
	for (unsigned qid = 1; qid <= n->io_queues; qid++) {
		if (cq_blocks(&n->cq[qid]))
			nvme_doorbell_buffer_refresh_head(n, qid);
	}
	n->dbbuf_sleeping = true;
	for (unsigned qid = 1; qid <= n->io_queues; qid++)
		arm_queue(n, qid);
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned qid = 1; qid <= n->io_queues; qid++) {
		uint32_t head = n->cq[qid].head;

		if (n->sq[qid].exists)
			moved += refresh_tail(n, qid);
		if (n->cq[qid].event_armed)
			nvme_doorbell_buffer_refresh_head(n, qid);
		moved += head != n->cq[qid].head;
	}
	return moved == 0;
}
