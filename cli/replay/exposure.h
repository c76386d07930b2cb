/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one device can reach, and which bytes of that belong to buffers that are
 * mapped. It stands below a strategy as the IOMMU does (its backing), and is told of
 * the buffers by who plays the driver.
 *
 * A page is stale from the end of the last buffer in it until the device
 * cannot reach it, or until it holds a buffer again. Memory that is not the trace's, such as
 * shadow buffers, counts as mapped and pinned only.
 */
#ifndef CLI_REPLAY_EXPOSURE_H
#define CLI_REPLAY_EXPOSURE_H

#include <viommu/backing.h>

#include "cli/replay/coverage.h"
#include "cli/replay/memory.h"
#include "cli/replay/meter.h"
#include "cli/number_map.h"

struct exposed_page;

struct exposure {
	const struct replay_memory *memory;
	struct meter *meter;	    /* of all devices together */
	struct exposed_page *pages; /* by page of the memory */
	struct number_map by_iova;  /* 512 pages of device addresses -> what each leads to */
	struct number_map foreign;  /* page that is not the memory's -> how many addresses lead to it */
	uint64_t *taken_out;	    /* pages of device addresses that wait for an invalidation */
	uint64_t taken_out_count, taken_out_room;
	uint64_t covered;      /* bytes of buffers */
	bool through;	       /* all of the memory is reachable */
	uint64_t broken_rules; /* of viommu/backing.h */
};

/* -ENOMEM. */
int exposure_init(struct exposure *e, const struct replay_memory *memory, struct meter *meter);
void exposure_finish(struct exposure *e);
/* What a strategy is opened on. */
struct viommu_backing exposure_backing(struct exposure *e);

/* A buffer is mapped by the driver, and no longer. -ENOMEM. */
int exposure_add(struct exposure *e, uint64_t offset, uint64_t len);
void exposure_remove(struct exposure *e, uint64_t offset, uint64_t len);
/* The trace is over: what is stale was so until now. */
void exposure_settle(struct exposure *e);

#endif
