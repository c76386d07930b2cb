/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMDVI_STATUS (3.4.11), and the interrupt of the unit (3.5). A bit that is set
 * anew sends the message where its enable in AMDVI_CONTROL is set, so that while it
 * stands there is no further one.
 *
 * On a polled page a guest may have cleared a bit without our seeing it (CLEAR in
 * regs/page.h). Nothing but the next message hangs on that, so it is sent again as
 * long as the guest has not taken all events, or if a wait was completed meanwhile.
 */
#include "amdvi/amdvi.h"
#include "base/bits.h"

/* By IntCapXT, or by what the message registers name (viommu.h tells who writes those). */
static bool find_message(const struct vi_amdvi *m, uint64_t *ret_address, uint32_t *ret_data)
{
	uint64_t xt = vi_regs_load64(&m->base, AMDVI_XT_INTERRUPT), vector = vi_field(xt, AMDVI_XT_VECTOR),
		 destination = vi_field(xt, AMDVI_XT_DEST_LO) | vi_field(xt, AMDVI_XT_DEST_HI) << 24;

	if (!(vi_amdvi_control(m) & AMDVI_CONTROL_INT_CAP_XT_EN)) {
		*ret_address = vi_regs_load32(&m->base, AMDVI_MSI_ADDRESS) |
			       (uint64_t)vi_regs_load32(&m->base, AMDVI_MSI_UPPER_ADDRESS) << 32;
		*ret_data = vi_regs_load32(&m->base, AMDVI_MSI_DATA);
		return true;
	}
	*ret_address = VI_MESSAGE_FIRST | (destination & 0xff) << 12 | (xt & AMDVI_XT_DEST_MODE ? 4 : 0) |
		       (destination & ~UINT64_C(0xff)) << 32;
	*ret_data = (uint32_t)(vector | (xt & AMDVI_XT_DELIVERY_MODE ? 1u << 8 : 0));
	return vector >= AMDVI_XT_LEAST_VECTOR;
}

static void send(struct vi_amdvi *m)
{
	uint64_t address;
	uint32_t data;

	m->interrupt_pending = !find_message(m, &address, &data);
	if (!m->interrupt_pending)
		vi_msi_send(m->unit, address, data);
}

void vi_amdvi_interrupt_vector_written(struct vi_amdvi *m)
{
	if (m->interrupt_pending)
		send(m);
}

/* Those bits of the status whose enable is set. */
static uint32_t enabled_bits(const struct vi_amdvi *m)
{
	uint64_t control = vi_amdvi_control(m);

	return (control & AMDVI_CONTROL_EVENT_INT_EN ? AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_INT
						     : 0) |
	       (control & AMDVI_CONTROL_COM_WAIT_INT_EN ? AMDVI_STATUS_COM_WAIT_INT : 0);
}

void vi_amdvi_interrupt_enabled(struct vi_amdvi *m, uint32_t bits)
{
	if (m->status & bits)
		send(m);
}

static uint32_t status(void *arg)
{
	const struct vi_amdvi *m = arg;

	return m->status | (m->events.running ? AMDVI_STATUS_EVENT_LOG_RUN : 0) |
	       (m->commands.running ? AMDVI_STATUS_CMD_BUF_RUN : 0);
}

static void clear(void *arg, uint32_t written)
{
	struct vi_amdvi *m = arg;

	m->status &= ~(written & AMDVI_STATUS_RW1C);
	if (written & AMDVI_STATUS_COM_WAIT_INT)
		m->wait_again = false;
}

void vi_amdvi_status_show(struct vi_amdvi *m)
{
	vi_regs_show(&m->pointers, AMDVI_STATUS, status, clear, m);
}

void vi_amdvi_status_write(struct vi_amdvi *m, uint32_t value)
{
	clear(m, value);
	vi_amdvi_status_show(m);
}

/* The guest may have cleared a bit since the page was looked at. */
void vi_amdvi_status_set(struct vi_amdvi *m, uint32_t bits)
{
	uint32_t fresh;

	vi_regs_poll_word(&m->pointers, AMDVI_STATUS);
	fresh = bits & ~m->status;
	m->wait_again |= (bits & m->status & AMDVI_STATUS_COM_WAIT_INT) != 0;
	m->status |= bits;
	vi_amdvi_status_show(m);
	if (fresh & enabled_bits(m))
		send(m);
}

static bool is_event_waiting(struct vi_amdvi *m)
{
	uint32_t head = vi_regs_load32(&m->pointers, AMDVI_EVT_HEAD);

	if (!vi_amdvi_events_wait_for_guest(m) || head != m->head_looked_at)
		m->event_reminder = (struct vi_regs_reminder){0};
	m->head_looked_at = head;
	return vi_amdvi_events_wait_for_guest(m);
}

void vi_amdvi_remind(struct vi_amdvi *m)
{
	uint32_t bits = 0;

	if (!vi_regs_is_shared(&m->pointers))
		return;
	if (is_event_waiting(m) && vi_regs_reminder_is_due(&m->event_reminder))
		bits |= AMDVI_STATUS_EVENT_INT;
	if (m->wait_again && vi_regs_reminder_is_due(&m->wait_reminder)) {
		m->wait_again = false;
		m->wait_reminder = (struct vi_regs_reminder){0};
		bits |= AMDVI_STATUS_COM_WAIT_INT;
	}
	if (!bits)
		return;
	m->status |= bits;
	vi_amdvi_status_show(m);
	if (bits & enabled_bits(m))
		send(m);
}
