/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences for people, in the room that there is. Why an operation failed is
 * such a sentence, in `char *why, size_t why_size` of the caller, who gives
 * OS_WHY_SIZE bytes: what was wrong and what to do. It means nothing where the operation succeeded.
 *
 * Names come from outside and may be as long as the room. What does not fit is
 * left out of the middle, so that the beginning and the reason at the end stay.
 */
#ifndef OS_SENTENCE_H
#define OS_SENTENCE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OS_WHY_SIZE 1024
#define OS_LEFT_OUT "[...]"

/* A byte of UTF-8 that begins no character: JSON takes no text that is cut before one. */
static inline bool os_is_inside_character(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* `whole` is longer than the room. */
static inline void os_leave_out(char *ret_text, size_t size, const char *whole)
{
	size_t room = size - sizeof(OS_LEFT_OUT), head = room / 2, tail = strlen(whole) - (room - head);

	while (head && os_is_inside_character(whole[head]))
		head--;
	while (os_is_inside_character(whole[tail]))
		tail++;
	snprintf(ret_text, size, "%.*s" OS_LEFT_OUT "%s", (int)head, whole, whole + tail);
}

/* `args` do not point into `ret_text`. Without memory for a long sentence its end is cut off. */
static inline void os_say_v(char *ret_text, size_t size, const char *format, va_list args)
{
	va_list again;
	char *whole;
	int len;

	va_copy(again, args);
	len = vsnprintf(ret_text, size, format, args);
	if (len > 0 && (size_t)len >= size && size > sizeof(OS_LEFT_OUT) &&
	    vasprintf(&whole, format, again) >= 0) {
		os_leave_out(ret_text, size, whole);
		free(whole);
	}
	va_end(again);
}

static inline int os_say(char *ret_text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Returns -1, as do most who say why they fail. */
static inline int os_say(char *ret_text, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	os_say_v(ret_text, size, format, args);
	va_end(args);
	return -1;
}

#endif
