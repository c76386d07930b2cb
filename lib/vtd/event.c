/* SPDX-License-Identifier: BSD-3-Clause */
/* The unit's own interrupts, fault event and invalidation event: 7.3 and 6.5.2.10, masks and pending bits. */
#include "base/bits.h"
#include "vtd/vtd.h"

static void send(struct vi_vtd_event *e)
{
	struct vi_vtd *m = e->model;
	uint32_t data = vi_vtd_load32(m, e->control + 4u);
	uint64_t address = vi_vtd_load32(m, e->control + 8u) | (uint64_t)vi_vtd_load32(m, e->control + 12u)
								       << 32;

	e->pending = false;
	vi_msi_send(m->unit, address & ~UINT64_C(3), data);
}

static uint32_t control_value(void *arg)
{
	const struct vi_vtd_event *e = arg;

	return (e->masked ? VTD_ECTL_IM : 0) | (e->pending ? VTD_ECTL_IP : 0);
}

/* A mask that is lifted while an event is pending sends it. */
static void take_control(void *arg, uint32_t written)
{
	struct vi_vtd_event *e = arg;

	e->masked = written & VTD_ECTL_IM;
	if (!e->masked && e->pending)
		send(e);
}

static void show(struct vi_vtd_event *e)
{
	vi_vtd_show(e->model, e->control, control_value, take_control, e);
}

void vi_vtd_event_raise(struct vi_vtd_event *e)
{
	e->pending = true;
	show(e); /* and the mask is as the guest last wrote it */
	if (e->masked || !e->pending)
		return;
	send(e);
	show(e);
}

void vi_vtd_event_cancel(struct vi_vtd_event *e)
{
	if (!e->pending)
		return;
	e->pending = false;
	show(e);
}

void vi_vtd_event_control_write(struct vi_vtd_event *e, uint32_t value)
{
	take_control(e, value);
	show(e);
}
