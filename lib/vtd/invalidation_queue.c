/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The invalidation queue, 6.5.2. Descriptors make translations unreachable at
 * once; what was in flight is waited for at the next wait descriptor, which is
 * the only way for the guest to see completion.
 */
#include "base/bits.h"
#include "spec/vtd_queue.h"
#include "vtd/vtd.h"

enum outcome { DONE, LATER, BAD_RESERVED, BAD_TYPE };

struct descriptor {
	uint64_t lo, hi; /* loaded once, together */
};

static void show_head(struct vi_vtd *m)
{
	vi_regs_store64(&m->regs, VTD_IQH, m->queue.head);
}

void vi_vtd_queue_enable(struct vi_vtd *m)
{
	uint64_t iqa = vi_regs_load64(&m->regs, VTD_IQA);

	/* Who enables the queue means it to run, and may have cleared IQE unseen. */
	if (vi_regs_is_shared(&m->regs) && (m->fault_status & VTD_FSTS_IQE))
		vi_vtd_fault_status_write(m, VTD_FSTS_IQE);
	m->queue.enabled = true;
	m->queue.base = iqa & VTD_IQA_IQA;
	m->queue.size = 4096u << vi_field(iqa, VTD_IQA_QS);
	m->queue.head = 0;
	show_head(m);
}

void vi_vtd_queue_disable(struct vi_vtd *m, struct vi_drain *d)
{
	m->queue.enabled = m->queue.waiting = false;
	m->queue.head = 0;
	if (m->queue.drain.needed)
		vi_drain_note_everything(d);
	m->queue.drain = (struct vi_drain){.active = false};
	show_head(m);
}

/* 6.5.2.11: the head stays at the descriptor, nothing is fetched until the guest clears IQE. */
static void stop(struct vi_vtd *m, unsigned why)
{
	struct vi_fault where = {.iova = m->queue.head, .reason = (vi_reason)why};

	vi_count(&m->unit->counters, VI_COUNT_queue_errors, 1);
	m->queue_error = vi_to_field(VTD_IQERCD_IQEI, why);
	vi_regs_store64(&m->regs, VTD_IQERCD, m->queue_error);
	vi_vtd_fault_status_set(m, VTD_FSTS_IQE);
	m->error_reminder = (struct vi_regs_reminder){0};
	vi_guest_error(m->unit, VIOMMU_GUEST_BAD_DESCRIPTOR, &where,
		       "the invalidation queue stopped at a bad descriptor");
}

static enum outcome context_cache(struct vi_vtd *m, const struct descriptor *d) VI_WITH(m->unit->lock)
{
	if ((d->lo & VTD_QI_CC_RSVD_LO) || (d->hi & VTD_QI_CC_RSVD_HI))
		return BAD_RESERVED;
	return vi_vtd_invalidate_contexts(m, &m->queue.drain, (unsigned)vi_field(d->lo, VTD_QI_GRANULARITY),
					  (uint16_t)vi_field(d->lo, VTD_QI_CC_DID),
					  (uint16_t)vi_field(d->lo, VTD_QI_CC_SID),
					  (unsigned)vi_field(d->lo, VTD_QI_CC_FM))
		       ? DONE
		       : BAD_RESERVED;
}

static enum outcome iotlb(struct vi_vtd *m, const struct descriptor *d) VI_WITH(m->unit->lock)
{
	if ((d->lo & VTD_QI_IOTLB_RSVD_LO) || (d->hi & VTD_QI_IOTLB_RSVD_HI))
		return BAD_RESERVED;
	return vi_vtd_invalidate_iotlb(m, &m->queue.drain, (unsigned)vi_field(d->lo, VTD_QI_GRANULARITY),
				       (uint16_t)vi_field(d->lo, VTD_QI_IOTLB_DID), d->hi & VTD_QI_IOTLB_ADDR,
				       (unsigned)vi_field(d->hi, VTD_QI_IOTLB_AM))
		       ? DONE
		       : BAD_RESERVED;
}

static uint32_t wait_status(void *arg)
{
	const struct vi_vtd *m = arg;

	return m->wait_completed ? VTD_ICS_IWC : 0;
}

/* IWC was clear and seen to be, or is being cleared: what was written since has nothing to clear. */
static void ignore_written(void *arg, uint32_t written)
{
	(void)arg;
	(void)written;
}

/*
 * ICS.IWC and the invalidation event, 6.5.2.10: while IWC is set there is no further
 * interrupt, at once. A driver that has cleared it unseen gets one later.
 */
static void interrupt(struct vi_vtd *m)
{
	/* The guest may have cleared IWC and posted this descriptor since the page was looked at. */
	vi_regs_poll_word(&m->regs, VTD_ICS);
	if (m->wait_completed) {
		m->wait_again = true;
		return;
	}
	m->wait_completed = true;
	vi_regs_show(&m->regs, VTD_ICS, wait_status, ignore_written, m);
	vi_regs_interrupt_raise(&m->queue_event);
}

void vi_vtd_wait_status_write(struct vi_vtd *m, uint32_t value)
{
	if (value & VTD_ICS_IWC)
		m->wait_completed = m->wait_again = false;
	vi_regs_show(&m->regs, VTD_ICS, wait_status, ignore_written, m);
	if (!m->wait_completed)
		vi_regs_interrupt_cancel(&m->queue_event);
}

/*
 * A status address that is no memory leaves the behaviour to us (6.5.2.9):
 * nothing is written, the queue and the interrupt go on, and the host is told.
 */
static void write_status(struct vi_vtd *m, const struct descriptor *d)
{
	struct vi_fault where = {.iova = d->hi & VTD_QI_WAIT_ADDR};

	if (!vi_guestmem_store32(&m->unit->mem, where.iova, (uint32_t)vi_field(d->lo, VTD_QI_WAIT_DATA)))
		vi_guest_error(
			m->unit, VIOMMU_GUEST_BAD_STATUS_ADDRESS, &where,
			"the status address of an invalidation wait is not memory that can be written");
}

/*
 * Reserved bits count whether or not SW makes use of the word that they are in.
 * FN needs nothing: each descriptor is complete before the next is fetched.
 */
static enum outcome wait(struct vi_vtd *m, const struct descriptor *d) VI_WITH(m->unit->lock)
{
	struct vi_drain *drain = &m->queue.drain;

	if ((d->lo & VTD_QI_WAIT_RSVD_LO) || (d->hi & VTD_QI_WAIT_RSVD_HI))
		return BAD_RESERVED;
	if (!drain->active && drain->needed)
		vi_drain_begin(m->unit, drain);
	if (drain->active && !vi_drain_soon(m->unit, drain))
		return LATER;
	if (d->lo & VTD_QI_WAIT_SW)
		write_status(m, d);
	if (d->lo & VTD_QI_WAIT_IF)
		interrupt(m);
	vi_count(&m->unit->counters, VI_COUNT_queue_waits, 1);
	return DONE;
}

/*
 * Device-TLB and interrupt-entry-cache descriptors belong to ECAP.DT and
 * ECAP.IR, which are not offered: invalid types here.
 */
static enum outcome (*const handlers[])(struct vi_vtd *m, const struct descriptor *d) = {
	[VTD_QI_CONTEXT_CACHE] = context_cache,
	[VTD_QI_IOTLB] = iotlb,
	[VTD_QI_WAIT] = wait,
};

static enum outcome carry_out(struct vi_vtd *m, const struct descriptor *d)
{
	unsigned type = (unsigned)(vi_field(d->lo, VTD_QI_TYPE_HI) << 4 | vi_field(d->lo, VTD_QI_TYPE_LO));

	if (type >= VI_ARRAY_SIZE(handlers) || !handlers[type])
		return BAD_TYPE;
	return handlers[type](m, d);
}

/* The descriptor at the head, from memory or kept. 0, or the IQEI why there is none. */
static unsigned fetch(struct vi_vtd *m, uint32_t tail, struct descriptor *ret)
{
	uint64_t gpa, words[2];

	if (m->queue.waiting) {
		*ret = (struct descriptor){m->queue.wait_lo, m->queue.wait_hi};
		return 0;
	}
	if (tail >= m->queue.size)
		return VTD_IQEI_TAIL;
	if (atomic_load(&m->root) & VTD_RTADDR_TTM)
		return VTD_IQEI_TTM;
	if (__builtin_add_overflow(m->queue.base, m->queue.head, &gpa) ||
	    !vi_guestmem_load128(&m->unit->mem, gpa, words))
		return VTD_IQEI_FETCH;
	*ret = (struct descriptor){words[0], words[1]};
	return 0;
}

static void keep(struct vi_vtd *m, const struct descriptor *d)
{
	m->queue.waiting = true;
	m->queue.wait_lo = d->lo;
	m->queue.wait_hi = d->hi;
}

/* One descriptor; false: none, or not now. */
static bool step(struct vi_vtd *m, uint32_t tail, int *ret_pending)
{
	struct descriptor d;
	unsigned why = fetch(m, tail, &d);

	if (why) {
		stop(m, why);
		return false;
	}
	switch (carry_out(m, &d)) {
	case BAD_RESERVED:
		stop(m, VTD_IQEI_RESERVED);
		return false;
	case BAD_TYPE:
		stop(m, VTD_IQEI_TYPE);
		return false;
	case LATER:
		keep(m, &d);
		*ret_pending = VIOMMU_PROCESS_PENDING;
		return false;
	case DONE:
		break;
	}
	m->queue.waiting = false;
	m->queue.head = (m->queue.head + VTD_QI_SIZE) % m->queue.size;
	show_head(m);
	vi_count(&m->unit->counters, VI_COUNT_queue_descriptors, 1);
	return true;
}

/*
 * On a polled page IWC and IQE may have been cleared unseen (CLEAR in regs/page.h).
 * The queue stays where it is until IQE is seen to be cleared: a driver that has not
 * cleared it may be writing the descriptor at the head.
 */
static void remind(struct vi_vtd *m)
{
	if (m->wait_again && vi_regs_reminder_is_due(&m->wait_reminder)) {
		m->wait_again = false;
		m->wait_reminder = (struct vi_regs_reminder){0};
		vi_regs_interrupt_raise(&m->queue_event);
	}
	if ((m->fault_status & VTD_FSTS_IQE) && vi_regs_reminder_is_due(&m->error_reminder))
		vi_regs_interrupt_raise(&m->fault_event);
}

int vi_vtd_queue_process(struct vi_vtd *m, unsigned budget)
{
	unsigned n = 0;
	int pending = 0;

	if (vi_regs_is_shared(&m->regs))
		remind(m);
	while (m->queue.enabled && !(m->fault_status & VTD_FSTS_IQE)) {
		uint32_t tail = vi_regs_load32(&m->regs, VTD_IQT) & (uint32_t)VTD_IQT_QT;

		if (tail == m->queue.head && !m->queue.waiting)
			break;
		if (n == budget) {
			pending = VIOMMU_PROCESS_PENDING; /* the guest can keep a queue full for ever */
			break;
		}
		if (!step(m, tail, &pending))
			break;
		n++;
	}
	return (int)n | pending;
}
