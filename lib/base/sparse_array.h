/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words by an index of up to 45 bits (a page number, say), of which few are
 * not zero: a radix tree whose tables come when first written. The owner
 * serialises.
 */
#ifndef BASE_SPARSE_ARRAY_H
#define BASE_SPARSE_ARRAY_H

#include <stdint.h>

#define VI_SPARSE_LEVELS 5
#define VI_SPARSE_BITS	 9
#define VI_SPARSE_LAST	 ((UINT64_C(1) << VI_SPARSE_LEVELS * VI_SPARSE_BITS) - 1)

struct vi_sparse_array {
	void **root;
};

/* All words are zero. Nothing is allocated. */
static inline void vi_sparse_init(struct vi_sparse_array *a)
{
	a->root = 0;
}

void vi_sparse_finish(struct vi_sparse_array *a);

/* The place of the word; NULL: it was never made. index <= VI_SPARSE_LAST. */
uint64_t *vi_sparse_find(const struct vi_sparse_array *a, uint64_t index);
/* The place of the word, made if need be, good until finish. NULL: no memory. */
uint64_t *vi_sparse_make(struct vi_sparse_array *a, uint64_t index);

#endif
