/* SPDX-License-Identifier: BSD-3-Clause */
#include "regs/interrupt.h"

#include "core/host.h"

static void send(struct vi_regs_interrupt *i)
{
	uint32_t data = vi_regs_load32(i->page, i->words->data);
	uint64_t address = vi_regs_load32(i->page, i->words->address) |
			   (uint64_t)vi_regs_load32(i->page, i->words->upper_address) << 32;

	i->pending = false;
	vi_msi_send(i->unit, address & ~UINT64_C(3), data);
}

static uint32_t control(void *arg)
{
	const struct vi_regs_interrupt *i = arg;

	return (i->masked ? i->words->mask : 0) | (i->pending ? i->words->pending : 0);
}

/* A mask that is lifted while an event is pending sends it. */
static void take_control(void *arg, uint32_t written)
{
	struct vi_regs_interrupt *i = arg;

	i->masked = written & i->words->mask;
	if (!i->masked && i->pending)
		send(i);
}

static void show(struct vi_regs_interrupt *i)
{
	vi_regs_show(i->page, i->words->control, control, take_control, i);
}

void vi_regs_interrupt_reset(struct vi_regs_interrupt *i)
{
	i->masked = true;
	i->pending = false;
	vi_regs_interrupt_loaded(i);
}

void vi_regs_interrupt_loaded(struct vi_regs_interrupt *i)
{
	vi_regs_store32(i->page, i->words->control, control(i));
}

void vi_regs_interrupt_raise(struct vi_regs_interrupt *i)
{
	i->pending = true;
	show(i); /* and the mask is as the guest last wrote it */
	if (i->masked || !i->pending)
		return;
	send(i);
	show(i);
}

void vi_regs_interrupt_cancel(struct vi_regs_interrupt *i)
{
	if (!i->pending)
		return;
	i->pending = false;
	show(i);
}

void vi_regs_interrupt_control_write(struct vi_regs_interrupt *i, uint32_t value)
{
	take_control(i, value);
	show(i);
}
