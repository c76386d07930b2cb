/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU for real: stay beside it until it ends. */
#ifndef CLI_MACHINE_RUN_H
#define CLI_MACHINE_RUN_H

#include "cli/argument_list.h"
#include "cli/daemon_process.h"

/*
 * Start `line` with our stdin, stdout and stderr, pass signals on, and watch
 * that firmware places the registers where the DMAR table says, at each boot.
 * Returns the exit status: QEMU's own, or 1 and said why on stderr. When
 * viommud ends first, d->pid is 0 afterwards.
 */
int machine_run(struct daemon_process *d, const struct argument_list *line, int signals);

#endif
