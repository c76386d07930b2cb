/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/commands/hex.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

char *hex_text(const uint8_t *bytes, size_t size)
{
	char *text = malloc(2 * size + 1);

	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * size] = '\0';
	return text;
}

bool hex_bytes(const char *text, uint8_t *ret_bytes)
{
	size_t length = strlen(text);

	if (length % 2 || strspn(text, digits) != length)
		return false;
	for (size_t i = 0; i < length / 2; i++)
		ret_bytes[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
					 (strchr(digits, text[2 * i + 1]) - digits));
	return true;
}
