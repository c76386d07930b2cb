/* SPDX-License-Identifier: BSD-3-Clause */
/* What a fuzz target is fed with, and how its oracle ends it. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct input {
	const uint8_t *data;
	size_t left;
};

/* So many bytes of the input, little-endian; zeros behind its end. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->left > 0; i++, in->left--)
		value |= (uint64_t)*in->data++ << (8 * i);
	return value;
}

static inline void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "oracle: %s\n", what);
	abort();
}

#endif
