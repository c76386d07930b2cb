/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line of a trace as an event. ftrace's text, 'trace-cmd report' and 'perf
 * script' all say: who, [CPU], flags or not, seconds, event, fields.
 */
#ifndef CLI_TRACE_EVENT_H
#define CLI_TRACE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/trace/trace.h"

enum event_kind {
	EVENT_NONE,  /* no event: a comment, a heading, something else */
	EVENT_OTHER, /* one that says nothing of DMA */
	EVENT_LOST,  /* the recorder had no room; `lost` events, 0: it does not say how many */
	EVENT_BAD,   /* of DMA, and not as the kernel writes it */
	EVENT_MAP,
	EVENT_UNMAP,
	EVENT_MAP_SG,
	EVENT_UNMAP_SG,
	EVENT_MAP_SG_FAILED,
	EVENT_ALLOC,
	EVENT_FREE,
	EVENT_SYNC_FOR_CPU,
	EVENT_SYNC_FOR_DEVICE,
	EVENT_SYNC_SG_FOR_CPU,
	EVENT_SYNC_SG_FOR_DEVICE,
	EVENT_IOMMU_MAP,
	EVENT_IOMMU_UNMAP,
};

/* Numbers of an array in the line, "{0x1000,0x2000}". */
struct event_array {
	const char *text; /* NULL: the line has none */
};

struct event {
	enum event_kind kind;
	uint64_t time_ns;
	unsigned cpu;
	const char *device; /* not ended by a zero */
	size_t device_len;
	enum trace_direction direction;
	uint64_t dma_addr, size, phys_addr;
	bool has_phys, truncated;
	struct event_array dma_addrs, sizes, phys_addrs;
	uint64_t lost;
	bool no_time; /* EVENT_BAD: its time is not seconds */
};

/* `text` ends with a zero, and lives as long as the event. */
void event_parse(const char *text, size_t len, struct event *ret_event);
/* The next number of an array. False: there is none. */
bool event_array_next(struct event_array *a, uint64_t *ret_number);

#endif
