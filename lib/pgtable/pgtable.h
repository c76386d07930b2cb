/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page tables in guest memory: one walk for all formats; a format is data and
 * two small functions, and belongs to no vendor.
 *
 * Levels count as specifications count them: level 1 holds the smallest leaves,
 * of 4 KiB, and level L has its index at bit 12 + the index bits of the levels
 * below. How many bits an index has, and how large a leaf is, says the format.
 * Every walk is bounded by the number of levels, whatever the tables contain, and
 * loads each entry once.
 */
#ifndef PGTABLE_PGTABLE_H
#define PGTABLE_PGTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "guestmem/guestmem.h"

#define VI_PGTABLE_READ	 (1u << 0)
#define VI_PGTABLE_WRITE (1u << 1)

#define VI_PAGE_SHIFT 12
#define VI_PAGE_SIZE  UINT64_C(4096)

/* The tables of one address space, and what the unit that walks them can do. */
struct vi_pgtable {
	const struct vi_pgtable_format *format;
	uint64_t root; /* gpa of the top table */
	uint8_t levels;
	uint8_t address_width; /* bits of physical address; higher ones in an entry are reserved */
	uint8_t leaf_levels;   /* bit L: a leaf is allowed at level L */
};

enum vi_pte_kind {
	VI_PTE_NONE, /* not present */
	VI_PTE_TABLE,
	VI_PTE_LEAF,
	VI_PTE_RESERVED,  /* a reserved bit is set */
	VI_PTE_BAD_LEVEL, /* of a level, or a leaf of a size, that it cannot have where it is */
};

struct vi_pte {
	enum vi_pte_kind kind;
	unsigned access;  /* VI_PGTABLE_* that the entry grants */
	uint64_t address; /* of the next table or the page */
	uint8_t size_lg2; /* of a leaf: bytes that it translates; the size of its level, or more if equal
			   * entries follow each other */
	uint8_t next; /* of a table: its level; one that is not below the entry's is taken for BAD_LEVEL */
};

enum vi_walk_result {
	VI_WALK_OK,
	/* An entry lacks the right. Without a present bit, not-present is the lack of all. */
	VI_WALK_DENIED,
	/* A reserved bit is set; without a present bit, in an entry that grants what is asked for. */
	VI_WALK_RESERVED,
	VI_WALK_TABLE_ACCESS, /* a table is not in memory */
	VI_WALK_BEYOND,	      /* the first stage leads to an address that the second has no bits for */
	VI_WALK_NOT_PRESENT,  /* the present bit of an entry is clear */
	VI_WALK_BAD_LEVEL,    /* the level of the next table is not below, or bits of the iova that belong to
			       * skipped levels are not 0; a leaf has a size that is not one of its level */
};

/* What the first of two stages asked the second for. */
enum vi_walk_purpose { VI_WALK_FOR_PAGE, VI_WALK_FOR_TABLE, VI_WALK_FOR_TOP_TABLE };

struct vi_walk {
	enum vi_walk_result result;
	unsigned level;	  /* where the walk ended */
	unsigned reads;	  /* entries that were loaded, or tried to */
	bool top;	  /* it ended in the top table */
	uint8_t stage;	  /* of two, where it ended, 1 or 2; 0: there is one */
	uint8_t purpose;  /* in stage 2: enum vi_walk_purpose */
	bool piece;	  /* on OK, of a larger leaf of the first stage, whose invalidation drops all of it */
	uint8_t size_lg2; /* of the leaf, on OK */
	unsigned access;  /* granted by all entries on the way; on OK also what the leaf is good for */
	uint64_t address; /* of the leaf page, on OK; on TABLE_ACCESS of the entry that is not in memory */
};

struct vi_pgtable_format {
	const char *name;
	uint8_t max_levels;
	uint8_t index_bits; /* of a level */
	/* A bit says whether an entry is there. Then not to be present is a refusal of its own, and an entry
	 * is looked at as a whole before its rights are. */
	bool has_present_bit;
	/* Never fails: whatever is not as it must be is VI_PTE_RESERVED or VI_PTE_BAD_LEVEL. */
	struct vi_pte (*decode)(const struct vi_pgtable *t, uint64_t entry, unsigned level);
	/* vi_pgtable_walk() as the compiler has made it for this format (pgtable/walk.h); NULL: the one for
	 * all. A copy of a format with another decode sets it to NULL. */
	struct vi_walk (*walk)(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			       unsigned need, bool any);
	/* What a driver writes into a table of this level. `address` is aligned to the level's page, or a
	 * table's. A format that has no right to write alone grants both. */
	uint64_t (*encode_leaf)(uint64_t address, unsigned level, unsigned access);
	uint64_t (*encode_table)(uint64_t address, unsigned level);
};

/* Second-stage tables of Intel VT-d (9.8): 3 or 4 levels of R/W entries. */
extern const struct vi_pgtable_format vi_pgtable_vtd_second_stage;
/* Host page tables of AMD-Vi (2.2.3): 1 to 6 levels. An entry names the level of the next table, or the size
 * of its leaf. */
extern const struct vi_pgtable_format vi_pgtable_amd_v1;
/* Guest page tables of AMD-Vi (2.2.6): 4 or 5 levels as CPUs have them in long mode, for accesses with the
 * rights of a user. */
extern const struct vi_pgtable_format vi_pgtable_amd_v2;

/* Does `granted` suffice? */
static inline bool vi_pgtable_grants(unsigned granted, unsigned need, bool any)
{
	return any ? (granted & need) != 0 : (need & ~granted) == 0;
}

/*
 * Translate the page of `iova`. Each right in `need` must be granted at each
 * level; with `any` one right that all levels
 * grant suffices (a zero-length read).
 * iova must lie within the levels.
 */
struct vi_walk vi_pgtable_walk(const struct vi_pgtable *t, const struct vi_guestmem *gm, uint64_t iova,
			       unsigned need, bool any);

/* Where entries are loaded from, in place of guest memory. */
struct vi_pgtable_source {
	/* Once each; `address` is aligned to 8 bytes. False: there is no memory. */
	bool (*load)(void *arg, uint64_t address, uint64_t *ret_entry);
	void *arg;
};

struct vi_walk vi_pgtable_walk_from(const struct vi_pgtable *t, const struct vi_pgtable_source *source,
				    uint64_t iova, unsigned need, bool any);

struct vi_leaf {
	uint64_t first, last; /* iova */
	uint64_t address;
	unsigned access;
};

enum vi_next_result { VI_NEXT_FOUND, VI_NEXT_END, VI_NEXT_BUDGET };

/*
 * The first leaf that ends at or after *io_iova and grants something; of a leaf
 * that has several entries, the part of one of them, as each may differ. FOUND
 * and END say so; BUDGET: *io_budget entries were read (a walk
 * that was begun is finished), *io_iova is where to
 * go on. Entries with reserved bits or in tables out of memory are passed over.
 */
enum vi_next_result vi_pgtable_next(const struct vi_pgtable *t, const struct vi_guestmem *gm,
				    uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf);
enum vi_next_result vi_pgtable_next_from(const struct vi_pgtable *t, const struct vi_pgtable_source *source,
					 uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf);

static inline unsigned vi_pgtable_shift(const struct vi_pgtable_format *f, unsigned level)
{
	return VI_PAGE_SHIFT + f->index_bits * (level - 1);
}

/* Bytes that an entry of this level stands for. */
static inline uint64_t vi_pgtable_page_size(const struct vi_pgtable_format *f, unsigned level)
{
	return UINT64_C(1) << vi_pgtable_shift(f, level);
}

static inline unsigned vi_pgtable_entries(const struct vi_pgtable_format *f)
{
	return 1u << f->index_bits;
}

/* Where in its table the entry for `iova` lies. */
static inline uint64_t vi_pgtable_entry_gpa(const struct vi_pgtable_format *f, uint64_t table, uint64_t iova,
					    unsigned level)
{
	return table + ((iova >> vi_pgtable_shift(f, level)) & (vi_pgtable_entries(f) - 1)) * 8;
}

/* The last iova that the levels reach. */
static inline uint64_t vi_pgtable_last(const struct vi_pgtable *t)
{
	unsigned bits = vi_pgtable_shift(t->format, t->levels + 1u);

	return bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
}

#endif
