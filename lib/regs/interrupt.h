/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interrupt of the unit itself, with a mask bit and a pending bit in a control
 * register of a watched page (LEVEL), and its message in three plain ones. While
 * it is masked an event is pending; when the mask is lifted it is sent. The mask
 * is as the guest last wrote it, also when it writes the page directly: before the
 * control register is shown, what was written there is taken.
 */
#ifndef REGS_INTERRUPT_H
#define REGS_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/unit.h"
#include "regs/page.h"

struct vi_regs_interrupt_words {
	uint16_t control, data, address, upper_address; /* offsets in the page */
	uint32_t mask, pending;				/* bits of the control register */
};

struct vi_regs_interrupt {
	struct viommu *unit;
	struct vi_regs_page *page;
	const struct vi_regs_interrupt_words *words;
	bool masked, pending;
};

/* At power-on: masked, nothing pending, and shown so. */
void vi_regs_interrupt_reset(struct vi_regs_interrupt *i);
/* Show the control register on a page that nobody writes, after a state was loaded. */
void vi_regs_interrupt_loaded(struct vi_regs_interrupt *i);
/* Send it, now or when the guest lifts the mask. */
void vi_regs_interrupt_raise(struct vi_regs_interrupt *i);
/* What it would tell of is over: a pending one does not come any more. */
void vi_regs_interrupt_cancel(struct vi_regs_interrupt *i);
/* The guest wrote the control register. */
void vi_regs_interrupt_control_write(struct vi_regs_interrupt *i, uint32_t value);

#endif
