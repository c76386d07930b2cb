/* SPDX-License-Identifier: BSD-3-Clause */
#include "failing_alloc.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>

#define POISON 0xdd

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);

static _Thread_local unsigned fail_in;
static _Thread_local bool lasting, paused;
static _Thread_local const char *failed, *exempt;
static _Thread_local int failed_error;
static atomic_long live;
static atomic_size_t largest; /* where threads allocate at once it may miss one */

void alloc_fail_at(unsigned nth)
{
	fail_in = nth;
	lasting = false;
	failed = NULL;
}

void alloc_fail_from(unsigned nth)
{
	alloc_fail_at(nth);
	lasting = true;
}

const char *alloc_failed(int *ret_error)
{
	*ret_error = failed_error;
	return failed;
}

void alloc_pause(bool on)
{
	paused = on;
}

void alloc_exempt(const char *names)
{
	exempt = names;
}

long alloc_live(void)
{
	return live;
}

size_t alloc_largest(void)
{
	return atomic_exchange(&largest, 0);
}

bool alloc_call_fails(const char *name, int error)
{
	if (paused || (exempt && strstr(exempt, name)))
		return false;
	if (fail_in == 0 || --fail_in > 0)
		return false;
	fail_in = lasting ? 1 : 0;
	failed = name;
	errno = failed_error = error;
	return true;
}

static bool is_failing(const char *name, size_t size)
{
	if (size > largest)
		largest = size;
	return alloc_call_fails(name, ENOMEM);
}

static void *counted(void *p)
{
	live += p != NULL;
	return p;
}

void *__wrap_malloc(size_t size)
{
	return is_failing("malloc", size) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_failing("calloc", count * size) ? NULL : counted(__real_calloc(count, size));
}

/* What it grows from stays where it was when it fails. */
void *__wrap_realloc(void *p, size_t size)
{
	if (is_failing("realloc", size))
		return NULL;
	return p ? __real_realloc(p, size) : counted(__real_realloc(p, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_failing("aligned_alloc", size) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text)
{
	return is_failing("strdup", strlen(text) + 1) ? NULL : counted(__real_strdup(text));
}

void __wrap_free(void *p)
{
	if (!p)
		return;
	live--;
	memset(p, POISON, malloc_usable_size(p));
	__real_free(p);
}
