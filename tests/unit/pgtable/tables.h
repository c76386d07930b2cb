/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables in guest memory for the conformance suite, the formats under test, and
 * the naive oracle: what a walk must find, worked out from the words alone by
 * an interpreter that was written from the specification and not from lib/.
 */
#ifndef UNIT_PGTABLE_TABLES_H
#define UNIT_PGTABLE_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "pgtable/pgtable.h"

#define READ  VI_PGTABLE_READ
#define WRITE VI_PGTABLE_WRITE
#define RW    (READ | WRITE)

#define PAGE	   UINT64_C(4096)
#define TABLE_GPA  UINT64_C(0x40000000) /* of the first table page */
#define TABLE_MOST 16			/* pages; of the last one only the first half is memory */

enum meaning_kind { ABSENT, NEXT_TABLE, PAGE_LEAF, MALFORMED, MISPLACED };

struct meaning {
	enum meaning_kind kind;
	unsigned access;
	uint64_t address;
	unsigned next;	   /* of a table: its level */
	unsigned size_lg2; /* of a leaf */
};

/* One row for each format that lib/ has. */
struct format_case {
	const struct vi_pgtable_format *format;
	unsigned fewest_levels, most_levels;
	unsigned leaf_most; /* no leaves above this level */
	struct meaning (*interpret)(uint64_t entry, unsigned level, const struct vi_pgtable *t);
	uint64_t (*compose)(uint64_t address, bool leaf, unsigned level, unsigned access);
	/* A leaf of any size, NULL: each level has one. */
	uint64_t (*compose_sized)(uint64_t address, unsigned size_lg2, unsigned access);
	enum vi_walk_result
		absent; /* that an entry is not present is told as; NOT_PRESENT: it has a bit for it */
	enum vi_walk_result bad_leaf; /* a leaf at a level that has none */
	unsigned write_only;	      /* what an entry grants that shall be written and not read */
	uint64_t ignored;	      /* bits, at each level */
	bool names_level;	      /* an entry names the level of its table, which so has one level only */
};

extern const struct format_case format_cases[];
extern const unsigned format_count;

struct tables {
	struct vi_guestmem gm;
	uint64_t *words;    /* TABLE_MOST pages, little-endian */
	bool called;	    /* through callbacks, which count and fail at will */
	unsigned loads;	    /* since it was set to 0 */
	unsigned fail_load; /* this one fails; 0: none */
};

void tables_init(struct tables *m, bool called);
void tables_finish(struct tables *m);
void tables_clear(struct tables *m);
uint64_t tables_gpa(unsigned page);
void tables_set(struct tables *m, unsigned page, unsigned index, uint64_t entry);
uint64_t tables_get(const struct tables *m, unsigned page, unsigned index);

#define LEVELS_MOST 6

/* The 9 bits of iova that level looks at; and an iova made of such indexes, [0] for level 1. */
unsigned index_at(uint64_t iova, unsigned level);
uint64_t iova_of(const unsigned index[LEVELS_MOST]);
/* The last iova that so many levels reach. */
uint64_t last_iova(unsigned levels);
/* Which levels may have leaves, by a number below 8. */
uint8_t leaf_levels_of(const struct format_case *f, unsigned sizes);
unsigned granted_by(const struct format_case *f, unsigned access);

/* What the walk must answer, and how many entries it must load. */
struct vi_walk oracle_walk(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
			   uint64_t iova, unsigned need, bool any, unsigned *ret_loads);

struct leaves {
	unsigned count, most;
	struct vi_leaf *leaf;
};

/* Append all leaves that grant something, in ascending order. The fail_load of `m` is not honoured. */
void oracle_enumerate(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
		      struct leaves *out);

bool is_same_walk(const struct vi_walk *a, const struct vi_walk *b);
/* Fails the test, and says where, if the library walks otherwise than the oracle. */
void check_walk(struct tables *m, const struct format_case *f, const struct vi_pgtable *t, uint64_t iova,
		unsigned need, bool any);
/* With each need and with `any`. */
void check_walks(struct tables *m, const struct format_case *f, const struct vi_pgtable *t, uint64_t iova);

#endif
