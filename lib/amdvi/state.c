/* SPDX-License-Identifier: BSD-3-Clause */
/* What of an AMD-Vi unit is saved: registers as the guest sees them, and what the model remembers beside
 * them. */
#include <errno.h>

#include "amdvi/amdvi.h"
#include "base/bits.h"
#include "core/state.h"
#include "regs/spare.h"

#define ANY	  UINT64_MAX
#define RING_LAST ((uint32_t)AMDVI_RING_ENTRY << AMDVI_RING_LEN_MAX)

/* A ring that runs, or where it was stopped: of a size that there is, with a pointer inside. */
static void ring(struct vi_amdvi_ring *r, bool running, uint32_t *io_pointer, struct vi_state *s)
{
	VI_STATE_MEMBER(s, r->base, AMDVI_RING_ADDR);
	VI_STATE_MEMBER(s, r->size, RING_LAST);
	VI_STATE_MEMBER(s, *io_pointer, AMDVI_RING_POINTER);
	s->bad |= (r->base & ~AMDVI_RING_ADDR) || (*io_pointer & ~(uint32_t)AMDVI_RING_POINTER) ||
		  (r->size & (r->size - 1));
	if (running)
		s->bad |= r->size < AMDVI_RING_ENTRY << AMDVI_RING_LEN_MIN || *io_pointer >= r->size;
}

/* Features first: who loads looks at them before the rest. */
void vi_amdvi_state(void *state, struct vi_state *s)
{
	struct vi_amdvi *m = state;

	VI_STATE_MEMBER(s, m->efr, ANY);
	vi_regs_state(&m->base, s);
	vi_regs_state(&m->pointers, s);
	VI_STATE_MEMBER(s, m->commands.running, 1);
	ring(&m->commands.ring, m->commands.running, &m->commands.head, s);
	VI_STATE_MEMBER(s, m->events.running, 1);
	ring(&m->events.ring, m->events.running, &m->events.tail, s);
	VI_STATE_MEMBER(s, m->status, AMDVI_STATUS_RW1C);
	VI_STATE_MEMBER(s, m->wait_again, 1);
	VI_STATE_MEMBER(s, m->interrupt_pending, 1);
}

/* Words of the pages that the model writes follow from the model, whatever the state says. */
static void show(struct vi_amdvi *m)
{
	vi_regs_loaded(&m->base);
	vi_regs_loaded(&m->pointers);
	vi_regs_store64(&m->base, AMDVI_EFR, m->efr);
	vi_regs_store32(&m->pointers, AMDVI_CMD_HEAD, m->commands.head);
	vi_regs_store32(&m->pointers, AMDVI_EVT_TAIL, m->events.tail);
	vi_amdvi_regs_latch(m);
	vi_amdvi_status_show(m);
	m->wait_again |= (m->status & AMDVI_STATUS_COM_WAIT_INT) != 0;
	vi_amdvi_faults_tell_all_again(m);
}

static void separate(void *spare)
{
	struct vi_amdvi *m = spare;

	m->base.bytes = m->base.own;
	m->pointers.bytes = m->pointers.own;
}

/* What runs has been enabled; it may have been stopped since. */
static bool says_what_it_does(const struct vi_amdvi *m)
{
	uint64_t control = vi_regs_load64(&m->base, AMDVI_CONTROL);
	bool on = control & AMDVI_CONTROL_IOMMU_EN;

	return (!m->commands.running || (on && control & AMDVI_CONTROL_CMD_BUF_EN)) &&
	       (!m->events.running || (on && control & AMDVI_CONTROL_EVENT_LOG_EN));
}

static int judge(const void *model, const void *spare)
{
	const struct vi_amdvi *m = model, *loaded = spare;

	if (loaded->efr != m->efr)
		return -ENOTSUP;
	return says_what_it_does(loaded) ? 0 : -EBADMSG;
}

int vi_amdvi_restore(void *state, const uint8_t *numbers, size_t length)
{
	static const struct vi_regs_loading loading = {.size = sizeof(struct vi_amdvi),
						       .alignment = _Alignof(struct vi_amdvi),
						       .separate = separate,
						       .state = vi_amdvi_state,
						       .judge = judge};
	int ret = vi_regs_load(state, &loading, numbers, length);

	if (ret == 0)
		show(state);
	return ret;
}
