/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers that no event of DMA tells. Since Linux 6.17 some drivers (NVMe) have
 * memory mapped in the IOMMU without one; what is left are the IOMMU's own events,
 * which name no device. A map of the IOMMU that an event of DMA at the same address
 * explains is that event's. The others are buffers of the one device that fits, marked
 * as inferred: a device that was seen to be behind the IOMMU, and that had nothing
 * else mapped at this address. Each system (systems.h) has devices and addresses of its own. If not one and
 * only one device fits, they are counted and left out.
 *
 * Which device that is may show later than the map, so steps wait here, in their order,
 * as long as there are maps to be decided: at most INFER_WAITING of them.
 */
#ifndef CLI_TRACE_INFER_H
#define CLI_TRACE_INFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/number_map.h"
#include "cli/trace/event.h"
#include "cli/trace/systems.h"
#include "cli/trace/trace.h"

#define INFER_WAITING (1u << 16)
#define INFER_NONE    UINT32_MAX
#define INFER_SYSTEMS (SYSTEMS_MOST + 1)
#define INFER_NOT     4u /* devices that a piece is not of; with more it is decided that nobody knows */

/* A map of the IOMMU. */
struct infer_piece {
	uint64_t iova, len, mapping, list;
	uint64_t gaps; /* of the recording, until it was mapped */
	uint32_t next; /* of those at its address, or of the free ones */
	unsigned system;
	uint32_t device, not_devices[INFER_NOT], not_count;
	uint32_t items; /* steps that wait and are about it */
	enum { INFER_OPEN, INFER_EXPLAINED, INFER_TOLD, INFER_UNTOLD } state;
	bool lives, is_rival;
};

struct infer_item {
	struct trace_step step;
	uint32_t piece; /* INFER_NONE: a step of its own */
};

struct infer_device {
	uint64_t behind; /* maps that its events explain; 0: it is not known to be behind the IOMMU */
	unsigned system;
};

struct infer {
	struct infer_piece *pieces;
	uint32_t used, room, free;
	struct number_map by_iova;   /* system and page -> the first of those that live there */
	struct number_map announced; /* system and page -> device: the driver said so before it mapped */
	struct infer_device *devices;
	unsigned device_count;
	bool unseen[INFER_SYSTEMS]; /* a map was seen that is of no device that the trace names */

	struct infer_item *items; /* first..count wait */
	size_t first, count, item_room, open;
	uint64_t last_mapping, last_list, told_list;
	bool ended;

	uint64_t maps, inferred, untold; /* pieces */
	uint32_t inferred_device;	 /* of them all; INFER_NONE: of several */
	uint64_t left_mapped;		 /* of the inferred ones */
};

void infer_init(struct infer *f);
void infer_finish(struct infer *f);
/* A step that an event of DMA tells. -ENOMEM. */
int infer_step(struct infer *f, const struct trace_step *step, const struct event *e);
/* EVENT_IOMMU_MAP or EVENT_IOMMU_UNMAP. `gaps`: how often the recorder lost events before it. -ENOMEM. */
int infer_iommu(struct infer *f, const struct event *e, uint64_t now_ns, uint64_t gaps);
/* A device that is known to be behind the IOMMU. -ENOMEM. */
int infer_device(struct infer *f, unsigned device, unsigned system);
/* There is one that has no number: then no device is sure. */
void infer_unseen(struct infer *f, unsigned system);
/* Nothing more is coming: what waits is decided. */
void infer_end(struct infer *f);
/* The next step. False: there is none, or it is not decided. */
bool infer_next(struct infer *f, struct trace_step *ret_step);

#endif
