/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a VT-d unit is saved: registers as the guest sees them, and what the model remembers beside them.
 */
#include <errno.h>

#include "base/bits.h"
#include "base/endian.h"
#include "core/state.h"
#include "regs/spare.h"
#include "vtd/vtd.h"

#define ANY UINT64_MAX

/* Members that device threads read. */
#define ATOMIC_MEMBER(s, member, largest)                                                                    \
	do {                                                                                                 \
		uint64_t number_ = atomic_load(&(member));                                                   \
		vi_state_number(s, &number_, largest);                                                       \
		if ((s)->loading)                                                                            \
			atomic_store(&(member), number_);                                                    \
	} while (0)

static void queue(struct vi_vtd *m, struct vi_state *s)
{
	VI_STATE_MEMBER(s, m->queue.enabled, 1);
	VI_STATE_MEMBER(s, m->queue.base, VTD_IQA_IQA);
	VI_STATE_MEMBER(s, m->queue.size, 4096u << 7);
	VI_STATE_MEMBER(s, m->queue.head, m->queue.size ? m->queue.size - 16 : 0);
	s->bad |= m->queue.head % 16 != 0 || (m->queue.size & (m->queue.size - 1)) ||
		  (m->queue.enabled && m->queue.size < 4096);
	VI_STATE_MEMBER(s, m->wait_completed, 1);
	VI_STATE_MEMBER(s, m->queue_error, VTD_IQERCD_IQEI);
}

static void faults(struct vi_vtd *m, struct vi_state *s)
{
	VI_STATE_MEMBER(s, m->fault_status, VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE);
	VI_STATE_MEMBER(s, m->first_pending, m->fault_record_count - 1u);
	VI_STATE_MEMBER(s, m->next_record, m->fault_record_count - 1u);
	m->pending_records = 0;
	for (unsigned i = 0; i < VTD_MAX_FAULT_RECORDS; i++) {
		VI_STATE_MEMBER(s, m->records[i].lo, ANY);
		VI_STATE_MEMBER(s, m->records[i].hi, ANY);
		if (i >= m->fault_record_count || !(m->records[i].hi & VTD_FRCD_HI_F))
			continue;
		m->pending_records++;
		s->bad |= vi_field(m->records[i].hi, VTD_FRCD_HI_FR) == 0;
	}
	/* The page came before, and may say otherwise in a forged state. */
	for (unsigned i = 0; s->loading && i < m->fault_record_count; i++)
		vi_vtd_fault_record_publish(m, i);
}

static void event(struct vi_regs_interrupt *e, struct vi_state *s)
{
	VI_STATE_MEMBER(s, e->masked, 1);
	VI_STATE_MEMBER(s, e->pending, 1);
}

/* Capabilities first: who loads looks at them before the rest. */
void vi_vtd_state(void *state, struct vi_state *s)
{
	struct vi_vtd *m = state;

	VI_STATE_MEMBER(s, m->cap, ANY);
	VI_STATE_MEMBER(s, m->ecap, ANY);
	vi_regs_state(&m->regs, s);
	ATOMIC_MEMBER(s, m->translating, 1);
	ATOMIC_MEMBER(s, m->root, VTD_RTADDR_RTA | VTD_RTADDR_TTM);
	ATOMIC_MEMBER(s, m->protecting, 1);
	ATOMIC_MEMBER(s, m->low_first, ANY);
	ATOMIC_MEMBER(s, m->low_last, ANY);
	ATOMIC_MEMBER(s, m->high_first, ANY);
	ATOMIC_MEMBER(s, m->high_last, ANY);
	VI_STATE_MEMBER(s, m->gsts, VTD_GSTS_TES | VTD_GSTS_RTPS | VTD_GSTS_QIES);
	queue(m, s);
	faults(m, s);
	event(&m->fault_event, s);
	event(&m->queue_event, s);
}

/*
 * GSTS and what the unit does, which the same command changes: who wrote a
 * state where they differ would have the guest believe that it is protected.
 */
static bool says_what_it_does(const struct vi_vtd *m)
{
	return atomic_load(&m->translating) == ((m->gsts & VTD_GSTS_TES) != 0) &&
	       m->queue.enabled == ((m->gsts & VTD_GSTS_QIES) != 0);
}

static void clear_bits(struct vi_vtd *m, unsigned offset, uint32_t bits)
{
	vi_regs_store32(&m->regs, offset, vi_regs_load32(&m->regs, offset) & ~bits);
}

/*
 * Words of the page that the model writes follow from the model, whatever the
 * state says: on a polled page the guest may have overwritten them, too, and what
 * is shown once is put back for ever. Nothing is under way in a saved unit. The
 * regions that PMEN protects are those that their registers name.
 */
static void show(struct vi_vtd *m)
{
	uint32_t protecting = atomic_load(&m->protecting) ? VTD_PMEN_EPM | VTD_PMEN_PRS : 0;

	vi_regs_loaded(&m->regs);
	vi_regs_store32(&m->regs, VTD_VER, VTD_VER_1_0);
	vi_regs_store64(&m->regs, VTD_CAP, m->cap);
	vi_regs_store64(&m->regs, VTD_ECAP, m->ecap);
	m->completes = m->gsts;
	vi_regs_store32(&m->regs, VTD_GCMD, m->gsts & VTD_LASTING_COMMANDS);
	vi_regs_store32(&m->regs, VTD_GSTS, m->gsts);
	clear_bits(m, VTD_CCMD + 4, (uint32_t)(VTD_CCMD_ICC >> 32));
	vi_regs_interrupt_loaded(&m->fault_event);
	vi_vtd_fault_status_show(m);
	vi_regs_store64(&m->regs, VTD_IQH, m->queue.head);
	vi_regs_interrupt_loaded(&m->queue_event);
	vi_vtd_wait_status_write(m, 0);
	m->wait_again = m->wait_completed;
	vi_regs_store64(&m->regs, VTD_IQERCD, m->queue_error);
	clear_bits(m, VTD_IRO_OFFSET + VTD_IOTLB + 4, (uint32_t)(VTD_IOTLB_IVT >> 32));
	vi_regs_store32(&m->regs, VTD_PMEN, protecting);
	if (protecting)
		vi_vtd_protect_latch(m);
}

static void separate(void *spare)
{
	struct vi_vtd *m = spare;

	m->regs.bytes = m->regs.own;
}

static int judge(const void *model, const void *spare)
{
	const struct vi_vtd *m = model, *loaded = spare;

	if (loaded->cap != m->cap || loaded->ecap != m->ecap)
		return -ENOTSUP;
	return says_what_it_does(loaded) ? 0 : -EBADMSG;
}

int vi_vtd_restore(void *state, const uint8_t *numbers, size_t length)
{
	static const struct vi_regs_loading loading = {.size = sizeof(struct vi_vtd),
						       .alignment = _Alignof(struct vi_vtd),
						       .separate = separate,
						       .state = vi_vtd_state,
						       .judge = judge};
	int ret = vi_regs_load(state, &loading, numbers, length);

	if (ret == 0)
		show(state);
	return ret;
}
