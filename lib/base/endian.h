/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian words in memory that somebody else may be writing: each is touched exactly once. */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>

/* Aligned, one access, acquire: what the writer stored before is seen too. */
static inline uint64_t vi_load_le64(const void *p)
{
	return le64toh(__atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE));
}

static inline uint32_t vi_load_le32(const void *p)
{
	return le32toh(__atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE));
}

static inline uint16_t vi_load_le16(const void *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE));
}

/* Aligned, one access, release: who sees it sees what was stored before. */
static inline void vi_store_le16(void *p, uint16_t value)
{
	__atomic_store_n((uint16_t *)p, htole16(value), __ATOMIC_RELEASE);
}

static inline void vi_store_le64(void *p, uint64_t value)
{
	__atomic_store_n((uint64_t *)p, htole64(value), __ATOMIC_RELEASE);
}

static inline void vi_store_le32(void *p, uint32_t value)
{
	__atomic_store_n((uint32_t *)p, htole32(value), __ATOMIC_RELEASE);
}

#endif
