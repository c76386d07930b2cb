/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who of several VMs has the work thread next, so that one whose work never
 * ends hurts only itself.
 *
 * A turn lasts TURN_NS, or as long as one step if that takes longer. Time in
 * which nobody else had work is free. A VM that is found with work after turns
 * of others was kept waiting by them, and each pays its turn: it owes that time,
 * and has no further turn until it owes nothing, or until nobody else has had
 * work for TURNS_ACTIVE_NS. A debt goes down by 1 ns in n ns, where n is the
 * number of other VMs at work; so VMs that all want everything get the same.
 *
 * A VM that keeps many requests waiting is heavy: a queue that never gets empty,
 * DMA without end. It does not notice when it is served later, and one that
 * waits for each answer does. So heavy VMs pay to light ones, light ones do not
 * pay to heavy ones, and while a light one is at work the debts of heavy ones go
 * down by 1 ns in TURNS_HEAVY_PART: that is the part of the thread that they can
 * take from it.
 *
 * Plain computation, without a clock; times are in ns. Belongs to the work
 * thread.
 */
#ifndef DAEMON_SIDECORE_TURNS_H
#define DAEMON_SIDECORE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/options.h"

#define TURN_NS		  1000
#define TURNS_ACTIVE_NS	  2000000
#define TURNS_QUIET_NS	  100000
#define TURNS_HEAVY_PART  24
#define TURNS_DEBT_MAX_NS 20000000
#define TURNS_IDLE_NS	  2000
#define TURNS_DEEP_NS	  100000

struct turns {
	unsigned count;
	struct turn {
		int64_t debt;	       /* not below 0 */
		uint64_t paid_back_ns; /* `debt` is of that time */
		uint64_t worked_ns;    /* when its last turn with work ended */
		uint64_t deep_ns;      /* heavy from TURNS_DEEP_NS on, see turns_ended() */
		uint64_t kept[VM_MAX]; /* ns of the turns of others since this one was looked at */
	} of[VM_MAX];
};

void turns_init(struct turns *t, unsigned count);

/* May it be looked at now? */
bool turns_may_begin(struct turns *t, unsigned who, uint64_t now);
/* It was looked at, and had nothing to do, or something. */
void turns_idle(struct turns *t, unsigned who);
void turns_begun(struct turns *t, unsigned who, uint64_t now);
/*
 * The turn that had begun is over. `deep`: many requests are waiting still. The
 * time of such turns makes a VM heavy, the time of others and the finding that it
 * had nothing to do (TURNS_IDLE_NS) make it light again.
 */
void turns_ended(struct turns *t, unsigned who, uint64_t began, uint64_t ended, bool deep);

bool turns_is_heavy(const struct turns *t, unsigned who);
/* Nothing to do for so long that it need not be looked at each time. */
bool turns_is_quiet(const struct turns *t, unsigned who, uint64_t now);

#endif
