/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault recording and FSTS: 7.2, 7.3 and 11.4.7. */
#include "base/bits.h"
#include "vtd/vtd.h"

const char *vi_vtd_reason_text(vi_reason reason)
{
	static const char *const texts[] = {
		[0] = "no fault",
		[VTD_FR_ROOT_NOT_PRESENT] = "root entry not present",
		[VTD_FR_CONTEXT_NOT_PRESENT] = "context entry not present",
		[VTD_FR_CONTEXT_INVALID] = "invalid context entry",
		[VTD_FR_BEYOND_MGAW] = "address beyond the guest address width",
		[VTD_FR_WRITE] = "no permission to write",
		[VTD_FR_READ] = "no permission to read",
		[VTD_FR_TABLE_ACCESS] = "page table not in memory",
		[VTD_FR_ROOT_TABLE_ACCESS] = "root table not in memory",
		[VTD_FR_CONTEXT_TABLE_ACCESS] = "context table not in memory",
		[VTD_FR_ROOT_RESERVED] = "reserved bits set in the root entry",
		[VTD_FR_CONTEXT_RESERVED] = "reserved bits set in the context entry",
		[VTD_FR_PTE_RESERVED] = "reserved bits set in a paging entry",
		[VTD_FR_TT_BLOCKED] = "request type blocked by the context entry",
		[VTD_FR_INTERRUPT_ADDRESS] = "page table leads to the interrupt address range",
		[VTD_FR_ROOT_TABLE_MODE] = "translation table mode of the root table address not supported",
	};

	return reason < VI_ARRAY_SIZE(texts) && texts[reason] ? texts[reason] : "unknown reason";
}

static uint32_t status(void *arg)
{
	const struct vi_vtd *m = arg;
	uint32_t s = m->fault_status;

	if (m->pending_records > 0)
		s |= VTD_FSTS_PPF | (uint32_t)vi_to_field(VTD_FSTS_FRI, m->first_pending);
	return s;
}

static bool is_quiet(const struct vi_vtd *m)
{
	return m->fault_status == 0 && m->pending_records == 0;
}

/* Write 1 to clear; PPF and FRI are not written. */
static void clear(void *arg, uint32_t written)
{
	struct vi_vtd *m = arg;

	m->fault_status_hidden = vi_regs_is_shared(&m->regs);
	m->fault_status &= ~written;
	if (m->queue_error && !(m->fault_status & VTD_FSTS_IQE)) {
		m->queue_error = 0;
		vi_regs_store64(&m->regs, VTD_IQERCD, 0);
	}
}

/*
 * What a driver has written to a polled page is what it reads there until it is
 * taken. A driver that had an event in that time has found nothing in FSTS, so it
 * gets another one, now that FSTS is shown.
 */
void vi_vtd_fault_status_show(struct vi_vtd *m)
{
	vi_regs_show(&m->regs, VTD_FSTS, status, clear, m);
	if (status(m) == 0)
		vi_regs_interrupt_cancel(&m->fault_event);
	if (m->fault_status_hidden && !is_quiet(m))
		vi_regs_interrupt_raise(&m->fault_event);
	m->fault_status_hidden = false;
}

/*
 * May the driver be waiting for an event (7.3)? On a polled page it may have
 * cleared what FSTS shows (CLEAR in regs/page.h), so only records count.
 */
static bool may_wait(const struct vi_vtd *m)
{
	return is_quiet(m) || (vi_regs_is_shared(&m->regs) && m->pending_records == 0);
}

void vi_vtd_fault_status_set(struct vi_vtd *m, uint32_t bits)
{
	bool waits = may_wait(m);

	m->fault_status |= bits;
	vi_vtd_fault_status_show(m);
	if (waits)
		vi_regs_interrupt_raise(&m->fault_event);
}

void vi_vtd_fault_status_write(struct vi_vtd *m, uint32_t value)
{
	clear(m, value);
	vi_vtd_fault_status_show(m);
}

void vi_vtd_fault_records_cleared(struct vi_vtd *m)
{
	while (m->pending_records > 0 && !(m->records[m->first_pending].hi & VTD_FRCD_HI_F))
		m->first_pending = (uint8_t)((m->first_pending + 1) % m->fault_record_count);
	vi_vtd_fault_status_show(m);
	if (!is_quiet(m))
		vi_regs_interrupt_raise(&m->fault_event);
}

/*
 * 7.2.1: a record that is still in use sets PFO, and while PFO is set nothing is
 * recorded; but on a polled page it may have been cleared unseen, and a free record
 * does no harm to a driver that has not cleared it.
 */
static bool is_full(struct vi_vtd *m)
{
	if (m->records[m->next_record].hi & VTD_FRCD_HI_F) {
		m->fault_status |= VTD_FSTS_PFO;
		return true;
	}
	return (m->fault_status & VTD_FSTS_PFO) && !vi_regs_is_shared(&m->regs);
}

static void record(struct vi_vtd *m, const struct vi_fault *f)
{
	unsigned i = m->next_record;
	bool waits;

	vi_vtd_fault_records_poll(m); /* what the guest cleared before this fault is free for it */
	waits = may_wait(m);
	if (is_full(m)) {
		vi_count(&m->unit->counters, VI_COUNT_faults_lost, 1);
		vi_vtd_fault_status_show(m);
		return;
	}
	m->records[i].lo = f->iova & VTD_FRCD_LO_FI;
	m->records[i].hi = VTD_FRCD_HI_F | (f->write ? 0 : VTD_FRCD_HI_T1) |
			   vi_to_field(VTD_FRCD_HI_FR, f->reason) | vi_to_field(VTD_FRCD_HI_SID, f->rid);
	if (m->pending_records++ == 0)
		m->first_pending = (uint8_t)i;
	m->next_record = (uint8_t)((i + 1) % m->fault_record_count);
	vi_vtd_fault_record_publish(m, i);
	vi_count(&m->unit->counters, VI_COUNT_faults_recorded, 1);
	vi_vtd_fault_status_show(m);
	if (waits)
		vi_regs_interrupt_raise(&m->fault_event);
}

int vi_vtd_fault_process(struct vi_vtd *m, unsigned budget)
{
	struct vi_fault f;
	unsigned n;

	for (n = 0; n < budget && vi_fault_take(m->unit, &f); n++) {
		record(m, &f);
		vi_guest_error(m->unit, VIOMMU_GUEST_FAULT, &f, vi_vtd_reason_text(f.reason));
	}
	return (int)n;
}
