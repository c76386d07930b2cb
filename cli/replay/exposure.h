/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one device can reach, and which bytes of that belong to buffers that are
 * mapped. The first is told by the library's observer, which stands below the
 * strategy as the IOMMU does; the second by who plays the driver.
 *
 * A page is stale from the end of the last buffer in it until the device
 * cannot reach it, or until it holds a buffer again. Memory that is not the trace's, such as
 * shadow buffers, counts as mapped and pinned only.
 */
#ifndef CLI_REPLAY_EXPOSURE_H
#define CLI_REPLAY_EXPOSURE_H

#include <stdbool.h>

#include <viommu/backing.h>

#include "cli/replay/memory.h"
#include "cli/replay/meter.h"

struct exposed_page;

struct exposure {
	const struct replay_memory *memory;
	struct meter *meter;	       /* of all devices together */
	struct viommu_backing backing; /* the observer: what a strategy is opened on */
	struct exposed_page *pages;    /* by page of the memory */
	uint64_t covered;	       /* bytes of buffers */
	bool through;		       /* all of the memory is reachable */
};

/* -ENOMEM; exposure_finish() in any case. */
int exposure_init(struct exposure *e, const struct replay_memory *memory, struct meter *meter);
void exposure_finish(struct exposure *e);

/* A buffer is mapped by the driver, and no longer. -ENOMEM. */
int exposure_add(struct exposure *e, uint64_t offset, uint64_t len);
void exposure_remove(struct exposure *e, uint64_t offset, uint64_t len);
/* The trace is over: what is stale was so until now. */
void exposure_settle(struct exposure *e);
/* Did the strategy break a rule of viommu/backing.h? */
bool exposure_broke_rules(const struct exposure *e);

#endif
