/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who translates the addresses of a device: page tables in guest memory, or what
 * a model has in their place. Core, and all that tells what a device can reach,
 * know translators only by this table.
 */
#ifndef CORE_TRANSLATOR_H
#define CORE_TRANSLATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pgtable/pgtable.h"

struct vi_ranges;
struct vi_translator;

struct vi_translator_ops {
	/*
	 * Any thread, inside a section: translate `iova`, each right in `need` having to be granted; with
	 * `any` one of them suffices (a zero-length read). The leaf has 2^size_lg2 bytes, 4 KiB or more, and
	 * its iova is aligned to them, its address to 4 KiB; at most so many words of guest memory are loaded
	 * as the translator bounds.
	 */
	struct vi_walk (*walk)(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			       unsigned need, bool any);
	/* With the unit lock: the first leaf that ends at or after *io_iova and grants something, as
	 * vi_pgtable_next(); after END *io_iova means nothing. */
	enum vi_next_result (*next)(const struct vi_translator *t, const struct vi_guestmem *gm,
				    uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf);
};

/* Addresses first..last, whole pages, below the end of the address space. */
struct vi_aperture {
	uint64_t first, last;
	uint64_t table; /* gpa; an entry of 32 bits for each page, aligned to a page */
	/* Where the page of this entry is. False: it is not valid. */
	bool (*decode)(uint32_t entry, uint64_t *ret_address);
};

/* Page tables whose own addresses, and those of their pages, are translated by others. */
struct vi_two_stages {
	struct vi_pgtable first, second;
};

/* Addresses first..last, whole pages, that are not translated, whatever a translator says of them. */
struct vi_exemption {
	uint64_t first, last;
	unsigned rights;      /* VI_PGTABLE_*: of all other addresses, whatever the translator grants */
	uint64_t others_last; /* the last address that the translator has */
	const struct vi_translator_ops *others;
};

/* A value. What it names stays until the model has dropped the contexts that hold it (context.h) and the
 * drain is over. */
struct vi_translator {
	const struct vi_translator_ops *ops;
	union {
		struct vi_pgtable table;
		struct vi_aperture aperture;
		struct vi_ranges *ranges;
		struct vi_two_stages stages;
		const void *state; /* of a model's own ops */
	};
	struct vi_exemption exemption; /* of vi_translator_with_exemption() */
};

/* Page tables of one stage. */
struct vi_translator vi_translator_of_tables(const struct vi_pgtable *table);
/*
 * Page tables of two stages. Each right has to be granted by both. A walk loads at
 * most (levels of the first + 1) * (levels of the second + 1) - 1 entries.
 */
struct vi_translator vi_translator_of_two_stages(const struct vi_two_stages *stages);
/* Remapped in the aperture, untranslated outside of it; no rights anywhere. */
struct vi_translator vi_translator_of_aperture(const struct vi_aperture *aperture);
/* Untranslated with both rights in e->first..e->last; elsewhere as `inner` has it within e->rights, or
 * untranslated where that is NULL. */
struct vi_translator vi_translator_with_exemption(const struct vi_translator *inner,
						  const struct vi_exemption *e);
/* Where a range is (ranges.h); nothing is read from guest memory. The address in one is not bounded. */
struct vi_translator vi_translator_of_ranges(struct vi_ranges *ranges);

#endif
