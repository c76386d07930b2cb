/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of a trace, kept in a temporary file, so that each strategy is given
 * the same ones and the trace, which may be a pipe, is read once. Also what has to
 * be known of all of them before the first is executed: memory, devices, time.
 *
 * What stays in this process is bounded by the mappings that live at a time and by
 * the memory they lie in.
 */
#ifndef CLI_REPLAY_STEPS_H
#define CLI_REPLAY_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/replay/memory.h"
#include "cli/number_map.h"
#include "cli/trace/trace.h"

#define REPLAY_LIST_MOST    256
#define REPLAY_DEVICES_MOST 256
/* A century and a half. Time that is damaged or made up says more; the sum of two such times is a number
 * still. */
#define REPLAY_TIME_MOST_NS (UINT64_MAX / 4)

/* Maps that no machine here has. */
#define REPLAY_LEFT_OUT "longer than a GiB or beyond 2^52, which replay leaves out"

/* One step, as replay needs it. */
struct replay_step {
	enum trace_kind kind;
	enum trace_direction direction;
	bool joins;	 /* belongs to the same list, and call, as the step before */
	unsigned device; /* 0.. in the order of their first steps */
	unsigned cpu;
	uint32_t slot;	  /* of the mapping; given again when it is unmapped */
	uint64_t time_ns; /* since the first step, at most REPLAY_TIME_MOST_NS */
	uint64_t phys;	  /* MAP */
	uint64_t offset;  /* SYNC */
	uint64_t len;	  /* MAP, SYNC */
};

/* What the steps have in common. */
struct replay_facts {
	uint64_t steps, maps, unmaps;
	uint64_t inferred; /* of the maps, from events of the IOMMU alone */
	uint64_t left_out; /* maps that no machine has: longer than a GiB, or beyond 2^52 */
	uint64_t last_ns;  /* the time of the last step */
	unsigned devices, cpus;
	uint32_t slots;	     /* mappings that live at a time */
	uint64_t peak_pages; /* pages of them, each mapping's counted for itself */
};

/* What is known of a mapping that lives. */
struct replay_owner {
	uint64_t pages;
	unsigned device;
};

struct replay_steps {
	struct replay_facts facts;
	struct number_map blocks; /* that buffers lie in, as memory.h has them */

	struct number_map devices; /* by the trace's number */

	/* While steps are added. */
	int fd;
	uint8_t *buffer;
	uint64_t used, written; /* of the buffer; to the file before */
	uint64_t first_ns, before_ns, before_list, pages, list_length;
	struct number_map slots;	  /* by mapping */
	uint32_t *free_slots, free_count; /* given back */
	struct replay_owner *owners;	  /* by slot */
	uint32_t slot_room;
	struct replay_step before;
};

/* -errno: no temporary file in TMPDIR or /tmp. -ENOMEM. */
int replay_steps_init(struct replay_steps *s);
void replay_steps_finish(struct replay_steps *s);
/*
 * Returns 0, or a negative errno: the file cannot be written; -ENOMEM; -EFBIG: the
 * buffers lie in more than REPLAY_MEMORY_MOST; -ENFILE: more than REPLAY_DEVICES_MOST.
 */
int replay_steps_add(struct replay_steps *s, const struct trace_step *step);
/* Are steps of this device of the trace among them? */
bool replay_steps_have(const struct replay_steps *s, unsigned device);
/* No more are coming; they can be read. */
int replay_steps_end(struct replay_steps *s);

/* A reader. Any number of them at a time. */
struct replay_cursor {
	const struct replay_steps *steps;
	uint64_t at, time_ns; /* of the file */
	uint8_t *buffer;
	uint64_t used, filled;
	struct replay_step ahead;
	bool is_ahead;
};

int replay_cursor_init(struct replay_cursor *c, const struct replay_steps *s);
void replay_cursor_finish(struct replay_cursor *c);
/*
 * The steps that are one call of the driver: one, or all of a scatter list. Returns
 * how many, at most REPLAY_LIST_MOST; 0: the end; or a negative errno.
 */
int replay_cursor_next(struct replay_cursor *c, struct replay_step *ret_steps);

#endif
