/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a controller is saved, and how it is taken over.
 *
 * A controller is saved when no command is under way: nvme_hold() lets those
 * that were fetched finish. What remains of commands are Asynchronous Event
 * Requests, which wait for ever, and completions that cannot be posted while the
 * guest has taken bus mastering away. What the guest has queued and the
 * controller has not fetched is in the guest's memory.
 *
 * Who writes a state is not trusted: each number is checked before the
 * controller changes.
 */
#include "nvme/controller.h"
#include "nvme/pci_config.h"

#include <errno.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "saved as it lies in memory");

#define MAGIC	   UINT64_C(0x3145544154534d4e) /* "NMSTATE1" */
#define VERSION	   2				/* 1: without the admin queue's shadow doorbells */
#define MSIX_BYTES (16 * NVME_MSIX_VECTORS)

struct saved_sq {
	uint64_t base;
	uint32_t size, head, tail, bad_tail;
	uint16_t cqid;
	uint8_t exists, zero[5];
};

struct saved_cq {
	uint64_t base;
	uint32_t size, head, tail, bad_head;
	uint16_t vector;
	uint8_t exists, interrupts, phase, zero[3];
};

struct saved_command {
	struct nvme_sqe sqe;
	uint32_t status, result;
	uint16_t sqid, zero[3];
};

struct saved {
	uint64_t magic, version, length; /* length: with the completions at the end */
	/* What the other controller must be like. */
	uint64_t blocks;
	uint32_t io_queues;
	uint8_t read_only, rogue, no_dbbuf;

	uint8_t life, shutdown, reset_pending, doorbell_invalid, queues_created, dbbuf;
	uint8_t aer_count, dbbuf_admin[2];
	uint32_t next_sq, completions;

	uint32_t cc, csts, aqa, intms;
	uint64_t asq, acq;
	uint64_t rung[NVME_DOORBELL_WORDS];
	uint32_t doorbell[NVME_DOORBELLS];
	uint8_t config[NVME_PCI_CONFIG_SIZE];
	uint8_t msix_table[MSIX_BYTES];

	struct saved_sq sq[NVME_MAX_QUEUES];
	struct saved_cq cq[NVME_MAX_QUEUES];
	uint64_t notify[2];
	uint64_t dbbuf_shadow, dbbuf_event;
	uint32_t dbbuf_admin_first[2];

	struct saved_command aer[NVME_AER_LIMIT];
	uint32_t event_pending[NVME_EVENT_TYPES], event_masked;
	uint32_t features[NVME_FEATURE_SLOTS], temperature[2];
	uint64_t vector_no_coalescing[2];
	struct nvme_error_entry error_log[NVME_ERROR_ENTRIES];
	struct nvme_counters counters;
	struct saved_command completion[]; /* those that could not be posted, oldest first */
};

/* ---------------------------------------------------------------------- save */

void nvme_hold(struct nvme *n, bool hold)
{
	n->held = hold;
}

static unsigned count_unposted(const struct nvme *n)
{
	unsigned count = 0;

	for (const struct nvme_command *c = n->unposted; c; c = c->next)
		count++;
	return count;
}

/* Nothing is under way but what is saved as it is. */
static bool is_quiet(const struct nvme *n)
{
	unsigned busy = NVME_COMMANDS - n->free_count;

	return !n->disk_in_flight && !n->no_room && !n->abort_count &&
	       busy == n->aer_count + count_unposted(n) && n->shutdown != NVME_SHUTDOWN_FLUSH;
}

static void save_command(const struct nvme_command *c, struct saved_command *ret)
{
	*ret = (struct saved_command){
		.sqe = c->sqe, .status = c->status, .result = c->result, .sqid = c->sqid};
}

static void save_queues(const struct nvme *n, struct saved *s)
{
	for (unsigned i = 0; i < NVME_MAX_QUEUES; i++) {
		const struct nvme_sq *sq = &n->sq[i];
		const struct nvme_cq *cq = &n->cq[i];

		s->sq[i] = (struct saved_sq){.base = sq->base,
					     .size = sq->size,
					     .head = sq->head,
					     .tail = sq->tail,
					     .bad_tail = sq->bad_tail,
					     .cqid = sq->cqid,
					     .exists = sq->exists};
		s->cq[i] = (struct saved_cq){.base = cq->base,
					     .size = cq->size,
					     .head = cq->head,
					     .tail = cq->tail,
					     .bad_head = cq->bad_head,
					     .vector = cq->vector,
					     .exists = cq->exists,
					     .interrupts = cq->interrupts,
					     .phase = cq->phase};
	}
}

/* With the lock. */
static void save_posted(struct nvme *n, struct saved *s)
{
	s->reset_pending = atomic_load(&n->epoch) != n->current_epoch;
	s->cc = n->cc;
	s->csts = n->csts;
	s->aqa = n->aqa;
	s->intms = n->intms;
	s->asq = n->asq;
	s->acq = n->acq;
	s->doorbell_invalid = atomic_load(&n->doorbell_invalid);
	for (unsigned i = 0; i < NVME_DOORBELL_WORDS; i++)
		s->rung[i] = atomic_load(&n->doorbell_rung[i]);
	for (unsigned i = 0; i < NVME_DOORBELLS; i++)
		s->doorbell[i] = atomic_load(&n->doorbell_value[i]);
	memcpy(s->config, n->config, sizeof(s->config));
	memcpy(s->msix_table, n->msix_table, sizeof(s->msix_table));
}

static void save_work(const struct nvme *n, struct saved *s)
{
	s->life = (uint8_t)n->life;
	s->shutdown = (uint8_t)n->shutdown;
	s->queues_created = n->queues_created;
	s->dbbuf = n->dbbuf;
	s->next_sq = n->next_sq;
	save_queues(n, s);
	memcpy(s->notify, n->notify, sizeof(s->notify));
	s->dbbuf_shadow = n->dbbuf_shadow;
	s->dbbuf_event = n->dbbuf_event;
	for (unsigned cq = 0; cq < 2; cq++) {
		s->dbbuf_admin[cq] = n->dbbuf_admin[cq];
		s->dbbuf_admin_first[cq] = n->dbbuf_admin_first[cq];
	}
	s->aer_count = (uint8_t)n->aer_count;
	for (unsigned i = 0; i < n->aer_count; i++)
		save_command(n->aer[i], &s->aer[i]);
	memcpy(s->event_pending, n->event_pending, sizeof(s->event_pending));
	s->event_masked = n->event_masked;
	memcpy(s->features, n->features, sizeof(s->features));
	memcpy(s->temperature, n->temperature, sizeof(s->temperature));
	memcpy(s->vector_no_coalescing, n->vector_no_coalescing, sizeof(s->vector_no_coalescing));
	memcpy(s->error_log, n->error_log, sizeof(s->error_log));
	s->counters = n->counters;
}

static void save_identity(const struct nvme *n, struct saved *s, size_t length)
{
	s->magic = MAGIC;
	s->version = VERSION;
	s->length = length;
	s->blocks = n->blocks;
	s->io_queues = n->io_queues;
	s->read_only = n->read_only;
	s->rogue = n->rogue;
	s->no_dbbuf = n->no_dbbuf;
}

int64_t nvme_save(struct nvme *n, void *buf, size_t size)
{
	unsigned completions = count_unposted(n), i = 0;
	size_t length = sizeof(struct saved) + completions * sizeof(struct saved_command);
	struct saved *s = buf;

	if (!is_quiet(n))
		return -EBUSY;
	if (!buf)
		return (int64_t)length;
	if (size < length)
		return -ENOSPC;
	memset(s, 0, length);
	save_identity(n, s, length);
	pthread_mutex_lock(&n->lock);
	save_posted(n, s);
	pthread_mutex_unlock(&n->lock);
	save_work(n, s);
	s->completions = completions;
	for (const struct nvme_command *c = n->unposted; c; c = c->next)
		save_command(c, &s->completion[i++]);
	return (int64_t)length;
}

/* --------------------------------------------------------------------- check */

static uint32_t entries(uint32_t from, uint32_t to, uint32_t size)
{
	return to >= from ? to - from : size - from + to;
}

/* The admin queue may have 4096 entries (AQA), the others what CAP.MQES says. */
static bool size_is_sound(unsigned qid, uint64_t base, uint32_t size)
{
	return base % NVME_PAGE_SIZE == 0 && size >= 2 && size <= (qid ? NVME_MAX_ENTRIES : 4096);
}

static bool sq_is_sound(const struct saved *s, unsigned qid)
{
	const struct saved_sq *q = &s->sq[qid];

	if (!q->exists)
		return true;
	return q->exists == 1 && qid <= s->io_queues && size_is_sound(qid, q->base, q->size) &&
	       q->head < q->size && q->tail < q->size && q->cqid <= s->io_queues && !q->cqid == !qid &&
	       s->cq[q->cqid].exists;
}

static uint32_t reserved(const struct saved *s, unsigned cqid)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < s->completions; i++)
		count += s->sq[s->completion[i].sqid].cqid == cqid;
	return count;
}

static bool cq_is_sound(const struct saved *s, unsigned qid)
{
	const struct saved_cq *q = &s->cq[qid];

	if (!q->exists)
		return true;
	return q->exists == 1 && q->interrupts <= 1 && q->phase <= 1 && qid <= s->io_queues &&
	       size_is_sound(qid, q->base, q->size) && q->head < q->size && q->tail < q->size &&
	       q->vector < NVME_MSIX_VECTORS &&
	       entries(q->head, q->tail, q->size) + reserved(s, qid) < q->size;
}

static bool commands_are_sound(const struct saved *s)
{
	for (unsigned i = 0; i < s->completions; i++) {
		if (s->completion[i].sqid >= NVME_MAX_QUEUES || !s->sq[s->completion[i].sqid].exists ||
		    s->completion[i].status > 0x7fff)
			return false;
	}
	for (unsigned i = 0; i < NVME_AER_LIMIT; i++) {
		if (s->aer[i].sqid)
			return false;
	}
	return s->aer_count <= NVME_AER_LIMIT && s->aer_count + s->completions <= NVME_COMMANDS &&
	       (!s->aer_count || s->sq[0].exists);
}

/* A guest makes no queue beyond what was granted, and gets no other grant once it has made one. */
static bool is_granted(const struct saved *s, unsigned qid)
{
	uint32_t granted = s->features[NVME_FEATURE_QUEUES];

	if (!qid || (!s->sq[qid].exists && !s->cq[qid].exists))
		return true;
	return s->queues_created && (!s->sq[qid].exists || qid <= (granted & 0xffff) + 1) &&
	       (!s->cq[qid].exists || qid <= (granted >> 16) + 1);
}

static bool queues_are_sound(const struct saved *s)
{
	for (unsigned i = 0; i < NVME_MAX_QUEUES; i++) {
		if (!sq_is_sound(s, i) || !cq_is_sound(s, i) || !is_granted(s, i))
			return false;
		if ((s->sq[i].exists || s->cq[i].exists) && !s->sq[0].exists)
			return false;
	}
	if (s->life == NVME_LIFE_FATAL)
		return true; /* with queues, or enabled as it cannot be */
	return s->sq[0].exists == (s->life == NVME_LIFE_ON);
}

static bool bits_are_sound(const struct saved *s)
{
	for (unsigned i = 0; i < 64 * NVME_DOORBELL_WORDS; i++) {
		if ((s->rung[i / 64] >> i % 64 & 1) && i >= 2 * (s->io_queues + 1))
			return false;
	}
	for (unsigned i = 0; i < 128; i++) {
		if ((s->notify[i / 64] >> i % 64 & 1) && (i >= NVME_MAX_QUEUES || !s->cq[i].exists))
			return false;
	}
	return true;
}

static bool numbers_are_sound(const struct saved *s)
{
	return s->life <= NVME_LIFE_FATAL && s->shutdown <= NVME_SHUTDOWN_DONE &&
	       s->shutdown != NVME_SHUTDOWN_FLUSH && s->reset_pending <= 1 && s->doorbell_invalid <= 1 &&
	       s->queues_created <= 1 && s->dbbuf <= 1 && s->next_sq <= s->io_queues &&
	       s->dbbuf_admin[0] <= 1 && s->dbbuf_admin[1] <= 1 && s->dbbuf_shadow % NVME_PAGE_SIZE == 0 &&
	       s->dbbuf_event % NVME_PAGE_SIZE == 0 && !(s->cc & ~NVME_CC_WRITABLE) &&
	       !(s->aqa & ~NVME_AQA_WRITABLE) && s->asq % NVME_PAGE_SIZE == 0 &&
	       s->acq % NVME_PAGE_SIZE == 0 && !(s->dbbuf && s->no_dbbuf);
}

/* Is it a state, of this version, and whole? */
static int check_frame(const struct saved *s, size_t size)
{
	if (size < sizeof(*s) || s->magic != MAGIC)
		return -EBADMSG;
	if (s->version != VERSION)
		return -ENOTSUP;
	if (s->length != size || s->completions > NVME_COMMANDS ||
	    size != sizeof(*s) + s->completions * sizeof(s->completion[0]))
		return -EBADMSG;
	return 0;
}

static bool is_alike(const struct nvme *n, const struct saved *s)
{
	return s->blocks == n->blocks && s->io_queues == n->io_queues && s->read_only == n->read_only &&
	       s->rogue == n->rogue && s->no_dbbuf == n->no_dbbuf;
}

int nvme_restore_check(struct nvme *n, const void *buf, size_t size)
{
	const struct saved *s = buf;
	int ret = check_frame(s, size);

	if (ret)
		return ret;
	if (!is_alike(n, s))
		return -ENOTSUP;
	if (n->disk_in_flight)
		return -EBUSY;
	if (!numbers_are_sound(s) || !commands_are_sound(s) || !queues_are_sound(s) || !bits_are_sound(s) ||
	    !nvme_features_are_possible(s->features, s->io_queues) || !nvme_pci_config_is_possible(s->config))
		return -EBADMSG;
	return 0;
}

/* ------------------------------------------------------------------- restore */

/* A command that was fetched: it counts as in flight. Commands are free, they were counted. */
static struct nvme_command *restore_command(struct nvme *n, const struct saved_command *from)
{
	struct nvme_command *c = nvme_command_alloc(n, 0);

	c->sqe = from->sqe;
	c->sqid = from->sqid;
	c->status = from->status;
	c->result = from->result;
	n->sq[c->sqid].in_flight++;
	return c;
}

static void restore_commands(struct nvme *n, const struct saved *s)
{
	for (unsigned i = 0; i < s->aer_count; i++)
		n->aer[i] = restore_command(n, &s->aer[i]);
	n->aer_count = s->aer_count;
	for (unsigned i = 0; i < s->completions; i++) {
		struct nvme_command *c = restore_command(n, &s->completion[i]);

		n->cq[n->sq[c->sqid].cqid].reserved++;
		*n->unposted_end = c;
		n->unposted_end = &c->next;
	}
}

/* EventIdx is written anew at the next poll, as after sleep. */
static void restore_queues(struct nvme *n, const struct saved *s)
{
	for (unsigned i = 0; i < NVME_MAX_QUEUES; i++) {
		const struct saved_sq *sq = &s->sq[i];
		const struct saved_cq *cq = &s->cq[i];

		if (cq->exists)
			n->cq[i] = (struct nvme_cq){.exists = true,
						    .interrupts = cq->interrupts,
						    .phase = cq->phase,
						    .vector = cq->vector,
						    .size = cq->size,
						    .head = cq->head,
						    .tail = cq->tail,
						    .bad_head = cq->bad_head,
						    .base = cq->base,
						    .event_armed = true};
		if (sq->exists)
			n->sq[i] = (struct nvme_sq){.exists = true,
						    .cqid = sq->cqid,
						    .size = sq->size,
						    .head = sq->head,
						    .tail = sq->tail,
						    .bad_tail = sq->bad_tail,
						    .base = sq->base};
	}
	for (unsigned i = 0; i < NVME_MAX_QUEUES; i++) {
		if (s->sq[i].exists)
			n->cq[s->sq[i].cqid].sq_count++;
	}
	memcpy(n->notify, s->notify, sizeof(n->notify));
	n->next_sq = s->next_sq;
	n->queues_created = s->queues_created;
	n->dbbuf = n->dbbuf_sleeping = n->armed = s->dbbuf;
	n->dbbuf_shadow = s->dbbuf_shadow;
	n->dbbuf_event = s->dbbuf_event;
	for (unsigned cq = 0; cq < 2; cq++) {
		n->dbbuf_admin[cq] = s->dbbuf_admin[cq];
		n->dbbuf_admin_first[cq] = s->dbbuf_admin_first[cq];
	}
}

static void restore_work(struct nvme *n, const struct saved *s)
{
	n->generation++;
	nvme_command_reset(n);
	nvme_queue_reset(n);
	nvme_async_event_reset(n);
	n->abort_count = 0;
	n->life = (enum nvme_life)s->life;
	n->shutdown = (enum nvme_shutdown)s->shutdown;
	n->unsettled = true;
	restore_queues(n, s);
	restore_commands(n, s);
	memcpy(n->event_pending, s->event_pending, sizeof(n->event_pending));
	n->event_masked = s->event_masked;
	memcpy(n->features, s->features, sizeof(n->features));
	memcpy(n->temperature, s->temperature, sizeof(n->temperature));
	memcpy(n->vector_no_coalescing, s->vector_no_coalescing, sizeof(n->vector_no_coalescing));
	memcpy(n->error_log, s->error_log, sizeof(n->error_log));
	n->counters = s->counters;
}

/* With the lock. */
static void restore_posted(struct nvme *n, const struct saved *s)
{
	atomic_fetch_add(&n->epoch, 1);
	n->current_epoch = atomic_load(&n->epoch) - s->reset_pending;
	n->cc = n->current_cc = s->cc;
	n->csts = s->csts;
	n->aqa = s->aqa;
	n->intms = s->intms;
	n->asq = s->asq;
	n->acq = s->acq;
	n->intx_pending = 0;
	atomic_store(&n->doorbell_invalid, s->doorbell_invalid);
	for (unsigned i = 0; i < NVME_DOORBELLS; i++)
		atomic_store(&n->doorbell_value[i], s->doorbell[i]);
	for (unsigned i = 0; i < NVME_DOORBELL_WORDS; i++)
		atomic_store(&n->doorbell_rung[i], s->rung[i]);
	memcpy(n->msix_table, s->msix_table, sizeof(s->msix_table));
	nvme_pci_config_set(n, s->config);
	atomic_store(&n->control, true);
}

int nvme_restore(struct nvme *n, const void *buf, size_t size)
{
	int ret = nvme_restore_check(n, buf, size);

	if (ret)
		return ret;
	restore_work(n, buf);
	pthread_mutex_lock(&n->lock);
	restore_posted(n, buf);
	pthread_mutex_unlock(&n->lock);
	n->ops.kick(n->opaque);
	return 0;
}
