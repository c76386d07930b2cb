/* SPDX-License-Identifier: BSD-3-Clause */
/* What of a VT-d unit is saved: registers as the guest sees them, and what the model remembers beside them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "core/state.h"
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

static void page(struct vi_vtd *m, struct vi_state *s)
{
	for (unsigned offset = 0; offset < VTD_PAGE_SIZE; offset += 8) {
		uint64_t value = vi_vtd_load64(m, offset);

		vi_state_number(s, &value, ANY);
		if (s->loading)
			vi_vtd_store64(m, offset, value);
	}
}

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

static void event(struct vi_vtd_event *e, struct vi_state *s)
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
	page(m, s);
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

static uint32_t control(const struct vi_vtd_event *e)
{
	return (e->masked ? VTD_ECTL_IM : 0) | (e->pending ? VTD_ECTL_IP : 0);
}

static void clear_bits(struct vi_vtd *m, unsigned offset, uint32_t bits)
{
	vi_vtd_store32(m, offset, vi_vtd_load32(m, offset) & ~bits);
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

	vi_vtd_regs_loaded(m);
	vi_vtd_store32(m, VTD_VER, VTD_VER_1_0);
	vi_vtd_store64(m, VTD_CAP, m->cap);
	vi_vtd_store64(m, VTD_ECAP, m->ecap);
	vi_vtd_store32(m, VTD_GSTS, m->gsts);
	clear_bits(m, VTD_CCMD + 4, (uint32_t)(VTD_CCMD_ICC >> 32));
	vi_vtd_store32(m, VTD_FECTL, control(&m->fault_event));
	vi_vtd_fault_status_show(m);
	vi_vtd_store64(m, VTD_IQH, m->queue.head);
	vi_vtd_store32(m, VTD_IECTL, control(&m->queue_event));
	vi_vtd_wait_status_write(m, 0);
	vi_vtd_store64(m, VTD_IQERCD, m->queue_error);
	clear_bits(m, VTD_IRO_OFFSET + VTD_IOTLB + 4, (uint32_t)(VTD_IOTLB_IVT >> 32));
	vi_vtd_store32(m, VTD_PMEN, protecting);
	if (protecting)
		vi_vtd_protect_latch(m);
}

/* Loaded into a spare model first: a state that is bad half-way leaves nothing behind. */
int vi_vtd_restore(void *state, const uint8_t *numbers, size_t length)
{
	struct vi_vtd *m = state, *spare = aligned_alloc(_Alignof(struct vi_vtd), sizeof(*spare));
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	int ret = 0;

	if (!spare)
		return -ENOMEM;
	memcpy(spare, m, sizeof(*spare));
	spare->page = spare->own_page;
	vi_vtd_state(spare, &s);
	if (spare->cap != m->cap || spare->ecap != m->ecap)
		ret = -ENOTSUP;
	else if (s.bad || s.used != length || !says_what_it_does(spare))
		ret = -EBADMSG;
	free(spare);
	if (ret == 0) {
		s.used = 0;
		vi_vtd_state(m, &s);
		show(m);
	}
	return ret;
}
