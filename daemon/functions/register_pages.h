/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers of a unit that its client writes without telling us: a file that
 * begins as the BAR does, of which the client may map the pages that the model
 * can poll. Main thread.
 */
#ifndef DAEMON_FUNCTIONS_REGISTER_PAGES_H
#define DAEMON_FUNCTIONS_REGISTER_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "vfio_user/server.h"

#define REGISTER_AREAS_MOST 4 /* pollable pages in a row; what a unit has more of stays trapped */

struct viommu;

struct register_pages {
	int fd;		/* -1: none is shared */
	uint8_t *bytes; /* NULL: none is shared */
	uint64_t size;
	struct vfu_mmap_area areas[REGISTER_AREAS_MOST]; /* the parts of the file that the client may map */
	size_t area_count;
};

/* None is shared. */
void register_pages_init(struct register_pages *p);
/* Share what `v` can poll. 0, or a negative errno; register_pages_finish() is due in either case. */
int register_pages_open(struct register_pages *p, struct viommu *v);
/* The same with a page at `offset` where no register is: it can be mapped, and nobody looks at it. */
int register_pages_open_empty(struct register_pages *p, uint64_t offset);
/* After the unit is gone. */
void register_pages_finish(struct register_pages *p);
/* The client may map what is shared of this region, which is the BAR. */
void register_pages_offer(const struct register_pages *p, struct vfu_region *region);

#endif
