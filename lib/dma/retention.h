/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is logically dead but still mapped, in the order of its death: until a
 * time limit, within a quota, ended in batches. Knows nothing of what it keeps,
 * nor of drivers: the host's side uses it too.
 *
 * The owner serialises. Nothing is allocated: the link lives in what is kept.
 */
#ifndef DMA_RETENTION_H
#define DMA_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct vi_retained {
	struct vi_list link;
	uint64_t since_ns; /* when it died */
	uint64_t weight;   /* what it counts against the quota */
};

struct vi_retention {
	struct vi_list dead; /* oldest first */
	uint64_t limit_ns;   /* none is kept longer; UINT64_MAX: no limit */
	uint64_t quota;	     /* the sum of weights stays at or below it; UINT64_MAX: no quota */
	uint64_t weight;     /* the sum now */
	uint64_t count;
};

void vi_retention_init(struct vi_retention *r, uint64_t limit_ns, uint64_t quota);

/* Keep `item` from now on. Times must not go back; one that does is taken as the latest so far. */
void vi_retention_add(struct vi_retention *r, struct vi_retained *item, uint64_t weight, uint64_t now_ns);

/* It lives again, or ended otherwise: no longer kept. */
void vi_retention_remove(struct vi_retention *r, struct vi_retained *item);

/* Is there one that is over its time, or over the quota? */
bool vi_retention_is_due(const struct vi_retention *r, uint64_t now_ns);

/* The oldest that is due at now_ns, removed; NULL: none. Call again for a batch. */
struct vi_retained *vi_retention_take_due(struct vi_retention *r, uint64_t now_ns);

/* The oldest, due or not, removed; NULL: none. */
struct vi_retained *vi_retention_take_oldest(struct vi_retention *r);

/* When the oldest is due by its time; UINT64_MAX: never. */
uint64_t vi_retention_next_ns(const struct vi_retention *r);

#endif
