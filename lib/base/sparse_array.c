/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/sparse_array.h"

#include <assert.h>
#include <stdlib.h>

#define ENTRIES (1u << VI_SPARSE_BITS)

/* Tables of levels above 1 hold pointers, those of level 1 words. */
static void **new_table(unsigned level)
{
	return calloc(ENTRIES, level > 1 ? sizeof(void *) : sizeof(uint64_t));
}

static void free_table(void **table, unsigned level)
{
	for (unsigned i = 0; table && level > 1 && i < ENTRIES; i++)
		free_table(table[i], level - 1);
	free(table);
}

void vi_sparse_finish(struct vi_sparse_array *a)
{
	free_table(a->root, VI_SPARSE_LEVELS);
	a->root = NULL;
}

static unsigned position(uint64_t index, unsigned level)
{
	return (unsigned)(index >> (level - 1) * VI_SPARSE_BITS) & (ENTRIES - 1);
}

uint64_t *vi_sparse_find(const struct vi_sparse_array *a, uint64_t index)
{
	void **table = a->root;

	assert(index <= VI_SPARSE_LAST);
	for (unsigned level = VI_SPARSE_LEVELS; table && level > 1; level--)
		table = table[position(index, level)];
	return table ? (uint64_t *)(void *)table + position(index, 1) : NULL;
}

uint64_t *vi_sparse_make(struct vi_sparse_array *a, uint64_t index)
{
	void ***place = &a->root;

	assert(index <= VI_SPARSE_LAST);
	for (unsigned level = VI_SPARSE_LEVELS;; level--) {
		if (!*place)
			*place = new_table(level);
		if (!*place)
			return NULL;
		if (level == 1)
			return (uint64_t *)(void *)*place + position(index, 1);
		place = (void ***)&(*place)[position(index, level)];
	}
}
