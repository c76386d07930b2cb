/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum disk_engine drv_engine = DISK_ENGINE_URING;

static void on_msix(void *opaque, unsigned vector)
{
	struct drv *d = opaque;

	assert_true(vector < NVME_MSIX_VECTORS);
	d->msix[vector]++;
}

static void on_intx(void *opaque, bool level)
{
	struct drv *d = opaque;

	assert_true(d->intx != level);
	d->intx = level;
	d->intx_changes++;
}

static void on_kick(void *opaque)
{
	struct drv *d = opaque;

	atomic_fetch_add(&d->kicks, 1);
}

static void on_log(void *opaque, const char *line)
{
	struct drv *d = opaque;

	d->logs++;
}

static const struct nvme_host_ops host_ops = {on_msix, on_intx, on_kick, on_log};

struct drv *drv_new(const struct nvme_options *opts)
{
	struct drv *d = calloc(1, sizeof(*d));
	struct nvme_options o = {.io_queues = DRV_QUEUES};
	char why[256];
	int fd;

	if (opts)
		o = *opts;
	fake_init(&d->memory, DRV_MEMORY);
	d->next = FAKE_BASE;
	snprintf(d->path, sizeof(d->path), "/tmp/nvme-test-XXXXXX");
	fd = mkstemp(d->path);
	assert_true(fd >= 0);
	assert_return_code(ftruncate(fd, (off_t)DRV_BLOCKS * 512), 0);
	close(fd);
	o.path = d->path;
	assert_int_equal(nvme_controller_create(&o, drv_engine, &host_ops, d, &d->nvme, why, sizeof(why)), 0);
	nvme_attach(d->nvme, &d->memory, NULL);
	drv_config_write16(d, 4, 6);
	return d;
}

/* One turn; gives the disk a moment when there is nothing else. */
static void turn(struct drv *d)
{
	if (nvme_poll(d->nvme, 64) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

size_t drv_save(struct drv *d, void *ret_state, size_t size)
{
	int64_t length = -EBUSY;

	nvme_hold(d->nvme, true);
	for (unsigned i = 0; i < 50000 && length == -EBUSY; i++) {
		turn(d);
		length = nvme_save(d->nvme, ret_state, size);
	}
	nvme_hold(d->nvme, false);
	assert_true(length > 0);
	return (size_t)length;
}

void drv_another(struct drv *d, const struct nvme_options *opts)
{
	struct nvme_options o = {.io_queues = DRV_QUEUES};
	char why[256];

	if (opts)
		o = *opts;
	nvme_destroy(d->nvme);
	d->intx = false;
	o.path = d->path;
	assert_int_equal(nvme_controller_create(&o, drv_engine, &host_ops, d, &d->nvme, why, sizeof(why)), 0);
	nvme_attach(d->nvme, &d->memory, NULL);
}

struct drv *drv_ready(void)
{
	struct drv *d = drv_new(NULL);

	assert_true(drv_enable(d, 32, 32));
	assert_int_equal(drv_create_cq(d, 1, 64, 1), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 64), 0);
	return d;
}

void drv_free(struct drv *d)
{
	nvme_destroy(d->nvme);
	fake_finish(&d->memory);
	unlink(d->path);
	free(d);
}

uint32_t drv_read32(struct drv *d, uint64_t offset)
{
	uint32_t value;

	assert_int_equal(nvme_bar_read(d->nvme, 0, offset, &value, 4), 0);
	return value;
}

void drv_write32(struct drv *d, uint64_t offset, uint32_t value)
{
	assert_int_equal(nvme_bar_write(d->nvme, 0, offset, &value, 4), 0);
}

void drv_config_write16(struct drv *d, uint64_t offset, uint16_t value)
{
	assert_int_equal(nvme_config_write(d->nvme, offset, &value, 2), 0);
}

uint16_t drv_config_read16(struct drv *d, uint64_t offset)
{
	uint16_t value;

	assert_int_equal(nvme_config_read(d->nvme, offset, &value, 2), 0);
	return value;
}

uint64_t drv_alloc(struct drv *d, uint64_t size)
{
	uint64_t at = d->next;

	d->next += (size + 4095) & ~4095ull;
	assert_true(d->next <= FAKE_BASE + DRV_MEMORY);
	return at;
}

void *drv_at(struct drv *d, uint64_t iova)
{
	return fake_at(&d->memory, iova);
}

bool drv_poll_until(struct drv *d, uint32_t csts_mask, uint32_t csts)
{
	for (unsigned i = 0; i < 50000; i++) {
		if ((drv_read32(d, NVME_REG_CSTS) & csts_mask) == csts)
			return true;
		turn(d);
	}
	return false;
}

static void put64(struct drv *d, uint64_t offset, uint64_t value)
{
	assert_int_equal(nvme_bar_write(d->nvme, 0, offset, &value, 8), 0);
}

bool drv_enable(struct drv *d, uint32_t sq_size, uint32_t cq_size)
{
	struct drv_queue *q = &d->queue[0];

	*q = (struct drv_queue){.sq = drv_alloc(d, sq_size * 64),
				.cq = drv_alloc(d, cq_size * 16),
				.sq_size = sq_size,
				.cq_size = cq_size,
				.phase = 1};
	memset(drv_at(d, q->cq), 0, cq_size * 16);
	drv_write32(d, NVME_REG_AQA, (cq_size - 1) << 16 | (sq_size - 1));
	put64(d, NVME_REG_ASQ, q->sq);
	put64(d, NVME_REG_ACQ, q->cq);
	drv_write32(d, NVME_REG_CC, 4u << 20 | 6u << 16 | NVME_CC_EN);
	return drv_poll_until(d, NVME_CSTS_RDY | NVME_CSTS_CFS, NVME_CSTS_RDY);
}

bool drv_disable(struct drv *d)
{
	drv_write32(d, NVME_REG_CC, drv_read32(d, NVME_REG_CC) & ~NVME_CC_EN);
	return drv_poll_until(d, NVME_CSTS_RDY, 0);
}

void drv_msix_on(struct drv *d)
{
	drv_config_write16(d, 0x52, 0x8000);
}

uint16_t drv_put(struct drv *d, unsigned qid, struct nvme_sqe sqe)
{
	struct drv_queue *q = &d->queue[qid];

	sqe.cid = ++d->cid;
	memcpy(drv_at(d, q->sq + q->tail * 64), &sqe, 64);
	q->tail = (q->tail + 1) % q->sq_size;
	return sqe.cid;
}

/* The driver's rule for shadow doorbells: true when the register has to be written. */
static bool update_shadow(struct drv *d, unsigned slot, uint32_t value)
{
	uint32_t *shadow = drv_at(d, d->shadow + 4 * slot), *event = drv_at(d, d->event + 4 * slot);
	uint16_t old = (uint16_t)__atomic_load_n(shadow, __ATOMIC_RELAXED), index;

	__atomic_store_n(shadow, value, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	index = (uint16_t)__atomic_load_n(event, __ATOMIC_ACQUIRE);
	return (uint16_t)(value - index - 1) < (uint16_t)(value - old);
}

static void doorbell(struct drv *d, unsigned qid, bool cq, uint32_t value)
{
	if (d->shadow && (qid || d->shadows_admin) && !update_shadow(d, 2 * qid + cq, value))
		return;
	if (qid)
		d->rings++;
	drv_write32(d, NVME_REG_DOORBELLS + 8 * qid + 4 * cq, value);
}

void drv_ring(struct drv *d, unsigned qid)
{
	doorbell(d, qid, false, d->queue[qid].tail);
}

uint16_t drv_submit(struct drv *d, unsigned qid, struct nvme_sqe sqe)
{
	uint16_t cid = drv_put(d, qid, sqe);

	drv_ring(d, qid);
	return cid;
}

bool drv_take(struct drv *d, unsigned qid, struct nvme_cqe *ret_cqe)
{
	struct drv_queue *q = &d->queue[qid];
	struct nvme_cqe *e = drv_at(d, q->cq + q->head * 16);
	uint64_t last = __atomic_load_n((uint64_t *)e + 1, __ATOMIC_ACQUIRE);

	if ((last >> 48 & 1) != q->phase)
		return false;
	*ret_cqe = *e;
	if (++q->head == q->cq_size) {
		q->head = 0;
		q->phase ^= 1;
	}
	if (!d->hold_head)
		doorbell(d, qid, true, q->head);
	return true;
}

bool drv_wait(struct drv *d, unsigned qid, struct nvme_cqe *ret_cqe)
{
	for (unsigned i = 0; i < 50000; i++) {
		if (drv_take(d, qid, ret_cqe))
			return true;
		if (drv_read32(d, NVME_REG_CSTS) & NVME_CSTS_CFS)
			return false;
		turn(d);
	}
	return false;
}

/* Until nothing happened for a while, or for `most` looks while the disk has something to do. */
static void settle(struct drv *d, unsigned most)
{
	for (unsigned quiet = 0; quiet < 10 || (d->nvme->disk_in_flight && quiet < most); quiet++) {
		if (nvme_poll(d->nvme, 64))
			quiet = 0;
		else
			nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	}
}

void drv_settle(struct drv *d)
{
	settle(d, 3000);
}

void drv_finish(struct drv *d)
{
	settle(d, 300000);
}

unsigned drv_command(struct drv *d, unsigned qid, struct nvme_sqe sqe, uint32_t *ret_result)
{
	uint16_t cid = drv_submit(d, qid, sqe);
	struct nvme_cqe cqe;

	if (!drv_wait(d, qid, &cqe))
		return 0xffff;
	assert_int_equal(cqe.cid, cid);
	assert_int_equal(cqe.sqid, qid);
	if (ret_result)
		*ret_result = cqe.result;
	return cqe.status >> 1;
}

unsigned drv_admin(struct drv *d, struct nvme_sqe sqe)
{
	return drv_command(d, 0, sqe, NULL);
}

unsigned drv_create_cq(struct drv *d, unsigned qid, uint32_t size, unsigned vector)
{
	struct drv_queue *q = &d->queue[qid];

	*q = (struct drv_queue){.cq = drv_alloc(d, size * 16), .cq_size = size, .phase = 1};
	memset(drv_at(d, q->cq), 0, size * 16);
	return drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_CREATE_CQ,
					      .prp1 = q->cq,
					      .cdw10 = (size - 1) << 16 | qid,
					      .cdw11 = vector << 16 | NVME_QUEUE_IEN | NVME_QUEUE_PC});
}

unsigned drv_create_sq(struct drv *d, unsigned qid, unsigned cqid, uint32_t size)
{
	struct drv_queue *q = &d->queue[qid];

	q->sq = drv_alloc(d, size * 64);
	q->sq_size = size;
	return drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_CREATE_SQ,
					      .prp1 = q->sq,
					      .cdw10 = (size - 1) << 16 | qid,
					      .cdw11 = cqid << 16 | NVME_QUEUE_PC});
}

unsigned drv_rw(struct drv *d, uint8_t opcode, uint64_t lba, unsigned blocks, uint64_t prp1, uint64_t prp2,
		uint32_t flags)
{
	return drv_command(d, 1,
			   (struct nvme_sqe){.opcode = opcode,
					     .nsid = 1,
					     .prp1 = prp1,
					     .prp2 = prp2,
					     .cdw10 = (uint32_t)lba,
					     .cdw11 = (uint32_t)(lba >> 32),
					     .cdw12 = ((blocks - 1) & 0xffff) | flags},
			   NULL);
}

void drv_dbbuf_on(struct drv *d)
{
	uint64_t shadow = drv_alloc(d, 4096), event = drv_alloc(d, 4096);

	for (unsigned qid = 1; qid < NVME_MAX_QUEUES; qid++) {
		((uint32_t *)drv_at(d, shadow))[2 * qid] = d->queue[qid].tail;
		((uint32_t *)drv_at(d, shadow))[2 * qid + 1] = d->queue[qid].head;
	}
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_DOORBELL_BUFFER,
							.prp1 = shadow,
							.prp2 = event}),
			 0);
	d->shadow = shadow;
	d->event = event;
}
