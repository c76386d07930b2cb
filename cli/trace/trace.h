/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A recording of what drivers did with DMA, as one step after the other, whatever
 * the format. An unmap names the map that it ends.
 *
 * Memory is bounded by the mappings that live, never by the length of the file.
 */
#ifndef CLI_TRACE_TRACE_H
#define CLI_TRACE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trace_kind { TRACE_MAP, TRACE_UNMAP, TRACE_SYNC_FOR_DEVICE, TRACE_SYNC_FOR_CPU };

enum trace_direction { TRACE_TO_DEVICE = 1, TRACE_FROM_DEVICE = 2, TRACE_BIDIRECTIONAL = 3 };

struct trace_step {
	enum trace_kind kind;
	enum trace_direction direction; /* of the mapping */
	uint64_t time_ns;		/* of the recording's clock, never goes back */
	uint64_t mapping; /* the same number for map, syncs and unmap of one buffer; never used twice */
	unsigned device;  /* index, trace_device_name(); devices are numbered as they are first seen */
	unsigned cpu;
	uint64_t phys;	      /* MAP: physical address of the first byte */
	uint64_t iova;	      /* what the recorded kernel gave out */
	uint64_t offset, len; /* len: bytes of the mapping; for SYNC offset, len say which bytes */
	uint64_t list; /* scatter list: the same nonzero number for all its entries, which follow one another;
			  0: none */
	bool coherent; /* dma_alloc: lives long, allocated and mapped at once */
	bool inferred; /* from events of the IOMMU alone: whole pages, for both directions */
};

/* Something that was counted, what was not joined above all. */
struct trace_count {
	const char *name, *doc;
	uint64_t value;
};

/* A line that could not be read, as it may be shown: without what is no text, cut short if it is long. */
struct trace_line {
	uint64_t number;
	char text[161];
	bool is_cut;
};

struct trace;

/* A line of a recording that names a device behind the IOMMU, one each. */
#define TRACE_BEHIND_IOMMU "# behind the IOMMU: "

/*
 * Formats are told apart by content, gzip is read as it is, "-" is stdin. Returns
 * 0, or a negative errno with one line in `why`: what was found, what is expected.
 */
int trace_open(const char *path, struct trace **ret_trace, char *why, size_t why_size);
/* 1: a step; 0: the end; or a negative errno: unreadable, with the line number in `why`. */
int trace_next(struct trace *t, struct trace_step *ret_step, char *why, size_t why_size);
const char *trace_device_name(const struct trace *t, unsigned device);
unsigned trace_device_count(const struct trace *t);
/* Bytes of the (compressed) file read so far, and its size (0: unknown). */
void trace_progress(const struct trace *t, uint64_t *ret_read, uint64_t *ret_size);
size_t trace_counts(const struct trace *t, const struct trace_count **ret_counts);
/* The first lines that could not be read: how many are kept to be shown, of all that there were. */
size_t trace_unreadable(const struct trace *t, const struct trace_line **ret_lines, uint64_t *ret_all);
/*
 * What is missing in what was read so far, with numbers, and how to record so that it
 * is not: one sentence without its end, that goes before everything else that is
 * said of the trace. It ends with "..." where `size` is too small for it. False: nothing
 * is, and `text` is untouched.
 */
bool trace_missing(const struct trace *t, char *text, size_t size);
void trace_close(struct trace *t);

#endif
