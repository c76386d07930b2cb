/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enable, disable, reset, shutdown and fatal errors (3.1.5, 3.1.6, 7.3, 7.6).
 *
 * A reset makes the requests at the disk stale: nothing of them reaches the
 * guest any more. CSTS.RDY changes only when the last of them has ended, so that
 * an old write can never land on the disk after a new one.
 */
#include "nvme/controller.h"

struct posted {
	uint32_t cc, aqa;
	uint64_t asq, acq;
	unsigned epoch;
};

static struct posted take(struct nvme *n)
{
	struct posted p;

	pthread_mutex_lock(&n->lock);
	p = (struct posted){n->cc, n->aqa, n->asq, n->acq, atomic_load(&n->epoch)};
	pthread_mutex_unlock(&n->lock);
	return p;
}

/* Not when a reset came meanwhile: its registers are not ours to change. */
static bool set_status(struct nvme *n, uint32_t clear, uint32_t set)
{
	bool changed = false;

	pthread_mutex_lock(&n->lock);
	if (atomic_load(&n->epoch) == n->current_epoch) {
		changed = (n->csts & clear) != 0 || (n->csts & set) != set;
		n->csts = (n->csts & ~clear) | set;
	}
	pthread_mutex_unlock(&n->lock);
	return changed;
}

void nvme_lifecycle_request_reset(struct nvme *n)
{
	atomic_fetch_add(&n->epoch, 1);
	n->intms = 0;
	n->intx_pending = 0;
	nvme_interrupt_update_intx(n);
	atomic_store(&n->control, true);
}

/* why: NULL, nobody wants to know */
static void fail(struct nvme *n, const char *why)
{
	if (n->life == NVME_LIFE_FATAL)
		return;
	n->life = NVME_LIFE_FATAL;
	set_status(n, 0, NVME_CSTS_CFS);
	if (why)
		n->ops.log(n->opaque, why);
}

void nvme_lifecycle_fail(struct nvme *n, const char *why)
{
	fail(n, why);
}

void nvme_lifecycle_fail_dma(struct nvme *n, const char *why)
{
	bool told = !n->ops.memory_gone || !n->ops.memory_gone(n->opaque);

	fail(n, told ? why : NULL);
}

static void tear_down(struct nvme *n, unsigned epoch)
{
	n->generation++;
	n->current_epoch = epoch;
	n->life = NVME_LIFE_OFF;
	n->shutdown = NVME_SHUTDOWN_NONE;
	n->abort_count = 0;
	n->full_told = false;
	n->dbbuf = n->dbbuf_sleeping = false;
	nvme_command_reset(n);
	nvme_queue_reset(n);
	nvme_async_event_reset(n);
	nvme_features_reset(n);
}

static void start(struct nvme *n, const struct posted *p)
{
	bool possible = NVME_CC_CSS(p->cc) == 0 && NVME_CC_MPS(p->cc) == 0 && NVME_CC_AMS(p->cc) == 0 &&
			NVME_AQA_ASQS(p->aqa) && NVME_AQA_ACQS(p->aqa);
	uint32_t sq_size = NVME_AQA_ASQS(p->aqa) + 1, cq_size = NVME_AQA_ACQS(p->aqa) + 1;

	nvme_queue_reset(n);
	if (!possible) {
		nvme_lifecycle_fail(n, "the guest enabled the controller with settings it does not have");
		return;
	}
	n->cq[0] = (struct nvme_cq){.exists = true,
				    .interrupts = true,
				    .phase = true,
				    .size = cq_size,
				    .base = p->acq,
				    .sq_count = 1};
	n->sq[0] = (struct nvme_sq){.exists = true, .size = sq_size, .base = p->asq};
	n->life = NVME_LIFE_ON;
	set_status(n, 0, NVME_CSTS_RDY);
}

static uint32_t shutdown_done(struct nvme *n, struct nvme_command *c)
{
	if (c->disk.result < 0)
		n->ops.log(n->opaque, "the disk could not be flushed at shutdown");
	n->shutdown = NVME_SHUTDOWN_DONE;
	set_status(n, NVME_CSTS_SHST, NVME_CSTS_SHST_END);
	return NVME_SUCCESS;
}

static bool start_flush(struct nvme *n)
{
	struct nvme_command *c;

	if (n->disk_in_flight || n->no_room)
		return false;
	c = nvme_command_alloc(n, 0);
	if (!c)
		return false;
	c->no_reply = true;
	c->disk = (struct disk_request){.op = DISK_FLUSH};
	n->shutdown = NVME_SHUTDOWN_FLUSH;
	nvme_command_submit(n, c, shutdown_done);
	return true;
}

static bool run_shutdown(struct nvme *n, uint32_t cc)
{
	bool asked = NVME_CC_SHN(cc) != 0;

	if (asked && n->shutdown == NVME_SHUTDOWN_NONE) {
		n->shutdown = NVME_SHUTDOWN_QUIESCE;
		set_status(n, NVME_CSTS_SHST, NVME_CSTS_SHST_ING);
	}
	if (!asked && n->shutdown == NVME_SHUTDOWN_DONE) {
		n->shutdown = NVME_SHUTDOWN_NONE;
		return set_status(n, NVME_CSTS_SHST, 0);
	}
	return n->shutdown == NVME_SHUTDOWN_QUIESCE && start_flush(n);
}

static bool waiting(const struct nvme *n)
{
	return (n->life == NVME_LIFE_OFF && n->disk_in_flight) || n->shutdown == NVME_SHUTDOWN_QUIESCE ||
	       n->shutdown == NVME_SHUTDOWN_FLUSH;
}

bool nvme_lifecycle_run(struct nvme *n)
{
	bool posted = atomic_exchange(&n->control, false), changed = false;
	struct posted p;

	if (!posted && !n->unsettled)
		return false;
	p = take(n);
	if (p.epoch != n->current_epoch) {
		tear_down(n, p.epoch);
		changed = true;
	}
	n->current_cc = p.cc;
	if (n->life == NVME_LIFE_OFF && !n->disk_in_flight) {
		if (p.cc & NVME_CC_EN) {
			start(n, &p);
			changed = true;
		} else {
			changed |= set_status(
				n, NVME_CSTS_RDY | NVME_CSTS_CFS | (n->shutdown ? 0 : NVME_CSTS_SHST), 0);
		}
	}
	changed |= run_shutdown(n, p.cc);
	n->unsettled = waiting(n);
	return changed;
}
