/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls that take a resource, by the linker's --wrap: they fail in the
 * count of failing_alloc.h. The names are those that 64-bit offsets have in
 * glibc.
 */
#ifndef TESTS_NTH_FAILING_CALLS_H
#define TESTS_NTH_FAILING_CALLS_H

/* Mappings of the code under test that were made and not unmapped. */
long calls_mapped(void);

#endif
