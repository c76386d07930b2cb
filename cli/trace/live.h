/* SPDX-License-Identifier: BSD-3-Clause */
/* The mappings that live at a point of a trace, found by device address or, of scatter lists, by memory. */
#ifndef CLI_TRACE_LIVE_H
#define CLI_TRACE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/number_map.h"
#include "cli/trace/trace.h"

#define LIVE_MOST    (1u << 20)
#define LIVE_NONE    UINT32_MAX
#define LIVE_DEVICES 4096u
#define LIVE_AT_PAGE 4096u /* of a device that begin in one page, and are looked at one by one */

/* Numbers of mappings; `before` of the first is the last, `next` of the last LIVE_NONE. */
struct live_link {
	uint32_t next, before;
};

struct live_mapping {
	uint64_t iova, phys, len, mapping, list;
	uint32_t device;
	struct live_link by_iova,
		by_phys; /* their pages' chains; of a list, only its first is in the second */
	uint32_t next_in_list, first_in_list;
	uint8_t direction;
	bool coherent, is_first; /* of its list */
};

struct live {
	struct live_mapping *mappings;
	uint32_t used, room, free, count;   /* free: a chain by next_in_list */
	struct number_map by_iova, by_phys; /* device and page -> the first, and above it how many */
};

/* All zeros but `free` is an empty one. */
void live_init(struct live *l);
void live_finish(struct live *l);
/*
 * A number for it, or -ENOMEM, -E2BIG: there are LIVE_MOST; -EXFULL: there are LIVE_AT_PAGE in its
 * page. `is_first` puts it where live_find_list() finds it.
 */
int64_t live_add(struct live *l, const struct live_mapping *m);
/* Not with its list, whose chain is the caller's to go through before. */
void live_remove(struct live *l, uint32_t number);
/* The one that begins there, of this length if there are several; LIVE_NONE. */
uint32_t live_find(const struct live *l, uint32_t device, uint64_t iova, uint64_t len);
/* The one that holds this address; looked for as far as 2 MiB before it, and among LIVE_AT_PAGE. */
uint32_t live_find_around(const struct live *l, uint32_t device, uint64_t iova);
/* The first mapping of the list whose memory begins there. */
uint32_t live_find_list(const struct live *l, uint32_t device, uint64_t phys, enum trace_direction direction);

#endif
