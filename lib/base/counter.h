/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters with one writer at a time and any number of readers, who see each value whole and no order among
 * them. */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

static inline uint64_t vi_counter_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void vi_counter_set(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed);
}

static inline void vi_counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
	vi_counter_set(counter, vi_counter_read(counter) + amount);
}

/* The counter is the highest value so far. */
static inline void vi_counter_raise(_Atomic uint64_t *counter, uint64_t value)
{
	if (value > vi_counter_read(counter))
		vi_counter_set(counter, value);
}

#endif
