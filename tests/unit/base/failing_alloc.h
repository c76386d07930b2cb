/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * malloc, calloc, aligned_alloc and free of the code under test, by the
 * linker's --wrap: the n-th allocation fails, what is alive is counted, and
 * what is freed is overwritten, so that who still reads it is found out.
 */
#ifndef UNIT_FAILING_ALLOC_H
#define UNIT_FAILING_ALLOC_H

#include <stddef.h>

/* The nth allocation from now fails, once; 0: none does. Only while no other thread allocates. */
void alloc_fail_at(unsigned nth);
/* Allocations that were made and not freed. */
long alloc_live(void);
/* The most bytes asked for at once since the last time this was called. */
size_t alloc_largest(void);

#endif
