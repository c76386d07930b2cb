/* SPDX-License-Identifier: BSD-3-Clause */
/* The time, as all programs of this tree read it. */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Of a clock of clock_gettime(), in ns. */
static inline uint64_t os_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Time that only ever goes on, since some moment of the past. */
static inline uint64_t os_now_ns(void)
{
	return os_clock_ns(CLOCK_MONOTONIC);
}

/* The same in ms, with a sign, as differences of it have one. */
static inline int64_t os_now_ms(void)
{
	return (int64_t)(os_now_ns() / 1000000);
}

/* The moment in so many ms, for waits by CLOCK_MONOTONIC. */
static inline struct timespec os_deadline(unsigned ms)
{
	uint64_t ns = os_now_ns() + ms * UINT64_C(1000000);

	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

#endif
