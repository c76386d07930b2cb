/* SPDX-License-Identifier: BSD-3-Clause */
/* Benchmarks end with a sentence when something fails. */
#ifndef BENCH_FAIL_H
#define BENCH_FAIL_H

/* `err`: an errno, negative or not. */
void bench_fail(const char *what, int err) __attribute__((noreturn));

#endif
