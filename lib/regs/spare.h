/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading a saved state into a model that is one struct with pages of registers
 * in it. It is loaded into a spare first, a copy of the model, and into the model
 * only when the spare has been found good: a state that is bad half-way leaves
 * nothing behind.
 */
#ifndef REGS_SPARE_H
#define REGS_SPARE_H

#include <stddef.h>
#include <stdint.h>

#include "core/state.h"

struct vi_regs_loading {
	size_t size, alignment; /* of the model's struct */
	/* Let the copy have pages of its own; the rest that it shares with the model is not written. */
	void (*separate)(void *spare);
	void (*state)(void *model, struct vi_state *s);
	/* May the model become as the spare is? 0, -ENOTSUP for other capabilities, -EBADMSG. */
	int (*judge)(const void *model, const void *spare);
};

/* -EBADMSG, -ENOTSUP, -ENOMEM: nothing changed. */
int vi_regs_load(void *model, const struct vi_regs_loading *l, const uint8_t *numbers, size_t length);

#endif
