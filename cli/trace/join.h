/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From events to steps: which map an unmap ends, which pieces a list has. What
 * cannot be told from the recording is counted, and never made up.
 */
#ifndef CLI_TRACE_JOIN_H
#define CLI_TRACE_JOIN_H

#include <stddef.h>
#include <stdint.h>

#include "cli/trace/event.h"
#include "cli/trace/live.h"
#include "cli/trace/trace.h"

/* X(name, what it counts) */
#define JOIN_COUNTS(X)                                                                                       \
	X(lines, "lines of the trace")                                                                       \
	X(other_events, "events that say nothing of DMA")                                                    \
	X(iommu_events, "events of the IOMMU (iommu:map, iommu:unmap), which name no device")                \
	X(iommu_maps, "of them maps")                                                                        \
	X(inferred,                                                                                          \
	  "maps of the IOMMU that no event of DMA tells: inferred to be buffers of the one device that "     \
	  "fits, whole pages, for both directions")                                                          \
	X(untold,                                                                                            \
	  "maps of the IOMMU that no event of DMA tells, left out: which device they are for is not known")  \
	X(dma_events, "events of DMA that were read")                                                        \
	X(unreadable, "lines about DMA that are cut short or not as the kernel writes them, left out")       \
	X(lost_events, "events that the recorder lost, as far as it says how many")                          \
	X(lost_marks, "times that the recorder lost events")                                                 \
	X(out_of_order,                                                                                      \
	  "events with a time before that of the event before them, taken as of the same time")              \
	X(crowded, "maps of a page at which 4096 others live, left out")                                     \
	X(failed_maps, "maps that failed, left out")                                                         \
	X(unmaps_before, "unmaps of what was mapped before the recording or in a gap of it, left out")       \
	X(lists_before,                                                                                      \
	  "unmaps of scatter lists that were mapped before the recording or in a gap, left out")             \
	X(frees_before, "frees of what was allocated before the recording or in a gap of it, left out")      \
	X(syncs_unjoined, "syncs of what is not mapped as far as the recording says, left out")              \
	X(unmaps_lost, "maps at an address that was mapped: its unmap is missing, and was taken to be then") \
	X(size_differs, "unmaps of another length than the map at their address, joined")                    \
	X(lists_truncated, "scatter lists of which the kernel recorded the first 128 entries only")          \
	X(lists_merged, "scatter lists whose pieces were merged: the pieces' lengths are taken to be pages") \
	X(allocations, "allocations, whose memory the kernel does not tell: they get memory of their own")   \
	X(left_mapped, "mappings that live at the end")

enum join_count {
#define JOIN_COUNT_NAME(name, doc) JOIN_##name,
	JOIN_COUNTS(JOIN_COUNT_NAME)
#undef JOIN_COUNT_NAME
		JOIN_COUNT_MAX
};

struct join {
	struct live live;
	uint64_t counts[JOIN_COUNT_MAX];
	uint64_t now_ns, last_mapping, last_list;
	/* The list that dma_iova_link makes, call by call: where the next one goes on. */
	uint64_t link_list, link_iova;
	uint64_t unlinked, unlinked_size; /* the range that was unlinked last: one call may be told twice */
	uint32_t link_device, unlinked_device;
	char **devices;
	unsigned device_count, last_device;

	/* Steps that wait to be told. */
	struct trace_step *steps;
	size_t step_count, step_room, step_next;
};

void join_init(struct join *j);
void join_finish(struct join *j);
/* 0, or -ENOMEM, -E2BIG: more live at a time than LIVE_MOST, -ENFILE: more devices than LIVE_DEVICES. */
int join_event(struct join *j, const struct event *e);
/* The number of the event's device, a new one if it was not seen before. -ENOMEM, -ENFILE. */
int join_device(struct join *j, const struct event *e, uint32_t *ret_device);
/* The next step that came of it. False: none. */
bool join_next(struct join *j, struct trace_step *ret_step);

#endif
