/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On a polled page a driver may have cleared status without our seeing it (CLEAR in
 * regs/page.h). Where its next event would hang on that, the event is sent again:
 * after this many looks, then twice as many, and so on, so that a driver that never
 * clears anything is not kept busy. 0 is its state at first.
 */
#ifndef REGS_REMINDER_H
#define REGS_REMINDER_H

#include <stdbool.h>
#include <stdint.h>

#define VI_REGS_REMINDER_LOOKS 4096 /* below a millisecond of a thread that only looks */
#define VI_REGS_REMINDER_MOST  16   /* times that the number is doubled */

struct vi_regs_reminder {
	uint32_t looks;
	uint8_t doubled;
};

/* Once for each look. True: now. */
static inline bool vi_regs_reminder_is_due(struct vi_regs_reminder *r)
{
	if (++r->looks < (uint32_t)VI_REGS_REMINDER_LOOKS << r->doubled)
		return false;
	r->looks = 0;
	if (r->doubled < VI_REGS_REMINDER_MOST)
		r->doubled++;
	return true;
}

#endif
