/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of a VM as bytes: its devices, its units and the functions
 * with their registers, one section each behind a header, a checksum at the end. Numbers
 * are little-endian. Guest memory and disks are not in it.
 *
 * Main thread; the work is done by the work thread, between two of its rounds.
 */
#ifndef DAEMON_COMMANDS_SAVED_STATE_H
#define DAEMON_COMMANDS_SAVED_STATE_H

#include <stddef.h>
#include <stdint.h>

struct vm;

#define SAVED_STATE_MAX (1u << 20)
#define SAVED_HOLD_MS	500 /* no new commands for so long after each try to save */

/*
 * The state, malloc'ed. The VM is frozen then: neither unit nor controllers
 * work until it is restored or reset, as nothing may change behind a state. 0, or a negative errno and a
 * sentence in `why`. -EAGAIN: commands are under way; no new ones begin for SAVED_HOLD_MS, so try again soon.
 */
int saved_state_take(struct vm *vm, uint8_t **ret_bytes, size_t *ret_size, char *why, size_t why_size);

/*
 * Go on from a state, whoever wrote it. All or nothing. 0, or a negative errno
 * and a sentence in `why`. -EAGAIN: the work thread did not get to it; try again.
 */
int saved_state_apply(struct vm *vm, const uint8_t *bytes, size_t size, char *why, size_t why_size);

#endif
