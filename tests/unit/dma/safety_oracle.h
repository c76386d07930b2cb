/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device may reach at a time, by what a strategy promises: a naive model
 * of the driver's maps and unmaps, page by page, that knows nothing of how a
 * strategy works.
 *
 * Whoever looks at what the device can reach asks the oracle about each page. It
 * keeps the first answer that was wrong, and how far the promise was used: a
 * promise that is never come close to is not what was tested.
 */
#ifndef TESTS_UNIT_DMA_SAFETY_ORACLE_H
#define TESTS_UNIT_DMA_SAFETY_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#define ORACLE_PAGES 48

enum oracle_kind {
	ORACLE_NOTHING,	   /* is reachable once unmap has returned */
	ORACLE_LIMITED,	   /* for less than `limit_ns` after an unmap, at most `pages` such pages */
	ORACLE_EVER,	   /* all that was mapped at some time, with the rights of then; at most `pages` */
	ORACLE_KNOWN,	   /* all memory that was made known */
	ORACLE_EVERYTHING, /* all memory */
	ORACLE_SHADOW,	   /* none of the driver's memory, ever */
};

struct oracle_promise {
	const char *strategy; /* "NAME[,option=value]..." */
	enum oracle_kind kind;
	uint64_t limit_ns;
	unsigned pages; /* 0: no limit */
};

struct oracle {
	const struct oracle_promise *promise;
	uint64_t now_ns;
	struct {
		unsigned live[4];    /* mappings by their rights */
		uint64_t died_ns[4]; /* when the last one with these rights was unmapped */
		bool ever[4];
	} page[ORACLE_PAGES];

	char wrong[200]; /* the first; "": none */
	/* What was seen. */
	unsigned most_dead_pages, stale_seen;
	uint64_t longest_ns; /* after an unmap */
};

void oracle_init(struct oracle *o, const struct oracle_promise *promise);
void oracle_map(struct oracle *o, unsigned first, unsigned last, unsigned rights);
void oracle_unmap(struct oracle *o, unsigned first, unsigned last, unsigned rights);
/* The rights that the driver wants the device to have now. */
unsigned oracle_live(const struct oracle *o, unsigned page);
/* The device can reach this page with these rights, by `how`. */
void oracle_reaches(struct oracle *o, unsigned page, unsigned rights, const char *how);
/* All pages at once, as they are now. */
void oracle_reaches_all(struct oracle *o, const unsigned rights[ORACLE_PAGES], const char *how);
void oracle_complain(struct oracle *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
