/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes as text, for control messages. */
#ifndef DAEMON_COMMANDS_HEX_H
#define DAEMON_COMMANDS_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 2 * size digits and a zero, malloc'ed; NULL: no memory. */
char *hex_text(const uint8_t *bytes, size_t size);
/* The strlen(text) / 2 bytes that it says. False: it is not pairs of hexadecimal digits. */
bool hex_bytes(const char *text, uint8_t *ret_bytes);

#endif
