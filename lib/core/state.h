/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved state: numbers in a row, little-endian, 64 bits each, written and read
 * by the same function of the model, so that the two cannot drift apart.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vi_state {
	uint8_t *bytes; /* NULL: only count */
	size_t size, used;
	bool loading;
	bool bad; /* loading: it ended early, or a number is out of its range */
};

/* The next number: out of *io_value when saving, into it when loading, where it must be at most `largest`. */
static inline void vi_state_number(struct vi_state *s, uint64_t *io_value, uint64_t largest)
{
	uint64_t word = htole64(*io_value);

	if (s->bytes && s->size - s->used < sizeof(word)) {
		s->bad = true;
		return;
	}
	if (s->loading) {
		memcpy(&word, s->bytes + s->used, sizeof(word));
		word = le64toh(word);
		s->bad |= word > largest;
		*io_value = word;
	} else if (s->bytes) {
		memcpy(s->bytes + s->used, &word, sizeof(word));
	}
	s->used += sizeof(word);
}

/* The same for smaller members, by way of a number. */
#define VI_STATE_MEMBER(s, member, largest)                                                                  \
	do {                                                                                                 \
		uint64_t number_ = (member);                                                                 \
		vi_state_number(s, &number_, largest);                                                       \
		(member) = (__typeof__(member))number_;                                                      \
	} while (0)

#endif
