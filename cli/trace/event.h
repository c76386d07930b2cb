/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line of a trace as an event. ftrace's text, 'trace-cmd report' and 'perf
 * script' have different columns, and options add more of them. So a line is read
 * from the event's name outwards: before it the last time, before that the CPU;
 * behind it the fields, each by its own name.
 */
#ifndef CLI_TRACE_EVENT_H
#define CLI_TRACE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/trace/fields.h"
#include "cli/trace/trace.h"

#define EVENT_DEVICE_LONGEST 128u /* characters of a device's name */

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
	EVENT_IOVA_LINK,   /* mapped past the traced calls; comes before the IOMMU's event */
	EVENT_IOVA_UNLINK, /* all that lives in its range */
	EVENT_IOMMU_MAP,   /* `dma_addr`, `size`, of a map `phys_addr`; no device */
	EVENT_IOMMU_UNMAP,
	EVENT_IOMMU_DEVICE, /* behind the IOMMU, as the recorder says */
};

struct event {
	enum event_kind kind;
	uint64_t time_ns;
	unsigned cpu;
	const char *device; /* not ended by a zero */
	size_t device_len;
	const char *system; /* which of several machines; not ended by a zero, system_len 0: there is one */
	size_t system_len;
	unsigned system_number; /* as systems.h counts them */
	enum trace_direction direction;
	uint64_t dma_addr, size, phys_addr;
	bool has_phys, truncated;
	struct event_array dma_addrs, sizes, phys_addrs;
	uint64_t lost;
	bool no_time;  /* EVENT_BAD: it has no time, or one that is not seconds */
	bool has_hole; /* EVENT_NONE, EVENT_BAD: there are zeros in the line, so a part of the file was not
			  written */
};

/*
 * `text` ends with a zero behind its `len` characters, and lives as long as the event. Zeros
 * within it are made '?'.
 */
void event_parse(char *text, size_t len, struct event *ret_event);
/* What a terminal is shown must be text: ASCII, since others turn its lines round or look like it. */
bool event_is_device_name(const char *name, size_t len);

#endif
