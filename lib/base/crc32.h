/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC-32C (Castagnoli): finds every changed byte, and every burst of up to 32 bits. Not against forgery. */
#ifndef BASE_CRC32_H
#define BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Of `len` bytes; `crc` 0 at first, the result before to go on. */
static inline uint32_t vi_crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	return ~crc;
}

#endif
