/* SPDX-License-Identifier: BSD-3-Clause */
#include "failing_alloc.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define POISON 0xdd

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

static atomic_uint fail_in;
static atomic_long live;
static atomic_size_t largest; /* where threads allocate at once it may miss one */

void alloc_fail_at(unsigned nth)
{
	fail_in = nth;
}

long alloc_live(void)
{
	return live;
}

size_t alloc_largest(void)
{
	return atomic_exchange(&largest, 0);
}

static bool is_failing(size_t size)
{
	if (size > largest)
		largest = size;
	return fail_in > 0 && --fail_in == 0;
}

static void *counted(void *p)
{
	live += p != NULL;
	return p;
}

void *__wrap_malloc(size_t size)
{
	return is_failing(size) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_failing(count * size) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_failing(size) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p)
{
	if (!p)
		return;
	live--;
	memset(p, POISON, malloc_usable_size(p));
	__real_free(p);
}
