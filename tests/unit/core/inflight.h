/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that write as fast as they can, against a driver that maps a page,
 * lets it be used, unmaps, invalidates, and then takes the page back for
 * itself: it fills the page with a pattern and looks again and again. A stamp
 * of a device that lands after the invalidation was seen to be complete is a
 * stale write.
 *
 * The words are written one at a time and atomically on both sides, so that
 * ThreadSanitizer sees only races of ours.
 */
#ifndef UNIT_INFLIGHT_H
#define UNIT_INFLIGHT_H

#include "machine.h"

struct inflight {
	enum machine_registers registers;
	bool queue;			   /* else by registers */
	unsigned devices, rounds, pinning; /* so many of the devices pin what they write */
	unsigned seconds;		   /* fewer rounds when they take longer; 0: all of them */
};

struct inflight_result {
	unsigned stale; /* 0, or the count in the round that ended the run */
	uint64_t landed, blocked;
};

void inflight_run(const struct inflight *i, struct inflight_result *ret);

#endif
