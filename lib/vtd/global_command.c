/* SPDX-License-Identifier: BSD-3-Clause */
/* GCMD and GSTS, 11.4.4. */
#include "base/bits.h"
#include "vtd/vtd.h"

/*
 * The command is carried out: GSTS tells. When neither address nor interrupt
 * translation is enabled any more, the next fault goes to record 0 (7.2.1);
 * interrupt translation is not offered.
 */
static void complete(struct vi_vtd *m)
{
	if (m->gsts & ~m->completes & VTD_GSTS_TES)
		m->next_record = 0;
	m->gsts = m->completes;
	vi_regs_store32(&m->regs, VTD_GSTS, m->gsts);
}

/* Cached contexts stay, as in hardware, until the guest invalidates them (6.6). */
static void set_root_pointer(struct vi_vtd *m)
{
	atomic_store(&m->root, vi_regs_load64(&m->regs, VTD_RTADDR) & (VTD_RTADDR_RTA | VTD_RTADDR_TTM));
	m->completes |= VTD_GSTS_RTPS;
	vi_count(&m->unit->counters, VI_COUNT_commands, 1);
}

static void set_queue(struct vi_vtd *m, bool enable) VI_WITH(m->unit->lock)
{
	if (enable)
		vi_vtd_queue_enable(m);
	else
		vi_vtd_queue_disable(m, &m->command_drain);
	m->completes = (m->completes & ~VTD_GSTS_QIES) | (enable ? VTD_GSTS_QIES : 0);
	vi_count(&m->unit->counters, VI_COUNT_commands, 1);
}

static void set_translation(struct vi_vtd *m, bool enable) VI_WITH(m->unit->lock)
{
	atomic_store(&m->translating, enable);
	vi_context_drop_all(m->unit, &m->command_drain);
	vi_iotlb_invalidate_all(m->unit, &m->command_drain);
	m->completes = (m->completes & ~VTD_GSTS_TES) | (enable ? VTD_GSTS_TES : 0);
	vi_count(&m->unit->counters, VI_COUNT_translation_enables, enable);
	vi_count(&m->unit->counters, VI_COUNT_commands, 1);
}

/*
 * Software changes one field at a time and waits for it (11.4.4.1). When it
 * does not, the order is: root pointer, queue, translation, so that each finds
 * what it needs. A field that equals the status is no command; SRTP is one-shot.
 * Commands of features that CAP and ECAP do not offer change nothing. GSTS
 * follows when no access is in flight that began the other way.
 */
void vi_vtd_command_write(struct vi_vtd *m, uint32_t value)
{
	uint32_t changed = value ^ m->gsts;

	if (m->command_drain.active) {
		m->next_command = value;
		m->has_next_command = true;
		return;
	}
	m->completes = m->gsts;
	if (value & VTD_GCMD_SRTP)
		set_root_pointer(m);
	if (changed & VTD_GCMD_QIE)
		set_queue(m, value & VTD_GCMD_QIE);
	if (changed & VTD_GCMD_TE)
		set_translation(m, value & VTD_GCMD_TE);
	if (m->command_drain.needed) {
		vi_drain_begin(m->unit, &m->command_drain);
		return;
	}
	complete(m);
}

int vi_vtd_command_process(struct vi_vtd *m)
{
	if (!m->command_drain.active)
		return 0;
	if (!vi_drain_soon(m->unit, &m->command_drain))
		return VIOMMU_PROCESS_PENDING;
	complete(m);
	if (m->has_next_command) {
		m->has_next_command = false;
		vi_vtd_command_write(m, m->next_command);
	}
	/* On the page, the next one has waited for this moment: who settles looks no second time. */
	vi_regs_poll_word(&m->regs, VTD_GCMD);
	return m->command_drain.active ? 1 | VIOMMU_PROCESS_PENDING : 1;
}
