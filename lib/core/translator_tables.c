/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables of one stage as a translator. */
#include "core/translator.h"

static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	return vi_pgtable_walk(&t->table, gm, iova, need, any);
}

static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	return vi_pgtable_next(&t->table, gm, io_iova, io_budget, ret_leaf);
}

struct vi_translator vi_translator_of_tables(const struct vi_pgtable *table)
{
	static const struct vi_translator_ops ops = {.walk = walk, .next = next};

	return (struct vi_translator){.ops = &ops, .table = *table};
}
