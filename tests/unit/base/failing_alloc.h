/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * malloc, calloc, realloc, strdup, aligned_alloc and free of the code under
 * test, by the linker's --wrap: the n-th allocation fails, what is alive is
 * counted, and what is freed is overwritten, so that who still reads it is
 * found out.
 */
#ifndef UNIT_FAILING_ALLOC_H
#define UNIT_FAILING_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* The nth allocation from now that this thread makes fails, once; 0: none does. */
void alloc_fail_at(unsigned nth);
/* And all that come after it. */
void alloc_fail_from(unsigned nth);
/* The last call that failed since, NULL: none; *ret_error is its errno. */
const char *alloc_failed(int *ret_error);
/* While it is on, nothing fails and the count stands still: for what a test itself does. */
void alloc_pause(bool on);
/* Calls of these names, as in "strdup,calloc", do neither fail nor count; NULL: all do. */
void alloc_exempt(const char *names);
/* Allocations that were made and not freed. */
long alloc_live(void);
/* The most bytes asked for at once since the last time this was called. */
size_t alloc_largest(void);

/* For other calls, which then fail in the same count: is this the one? errno is `error` then. */
bool alloc_call_fails(const char *name, int error);

#endif
