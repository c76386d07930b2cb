/* SPDX-License-Identifier: BSD-3-Clause */
/* Bit fields, alignment and checked arithmetic. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VI_BIT(n) (UINT64_C(1) << (n))
/* Bits hi..lo, both inclusive, as specifications count them. */
#define VI_BITS(hi, lo) ((~UINT64_C(0) >> (63 - (hi))) & (~UINT64_C(0) << (lo)))

#define VI_ARRAY_SIZE(a)		   (sizeof(a) / sizeof((a)[0]))
#define VI_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The field of `word` under `mask`, shifted down. */
static inline uint64_t vi_field(uint64_t word, uint64_t mask)
{
	return (word & mask) / (mask & -mask);
}

/* `value` shifted up to `mask`; what does not fit is cut off. */
static inline uint64_t vi_to_field(uint64_t mask, uint64_t value)
{
	return (value * (mask & -mask)) & mask;
}

static inline uint64_t vi_align_down(uint64_t value, uint64_t size)
{
	return value & ~(size - 1);
}

static inline bool vi_is_aligned(uint64_t value, uint64_t size)
{
	return (value & (size - 1)) == 0;
}

/* The last byte of `len` bytes from `first`. False: there are none, or they wrap. */
static inline bool vi_last_of(uint64_t first, uint64_t len, uint64_t *ret_last)
{
	return len != 0 && !__builtin_add_overflow(first, len - 1, ret_last);
}

static inline uint64_t vi_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t vi_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The smallest i with value <= 2^i: the bucket of a histogram by powers of two, the order that has room. */
static inline unsigned vi_ceil_lg2(uint64_t value)
{
	return value > 1 ? 64 - (unsigned)__builtin_clzll(value - 1) : 0;
}

#endif
