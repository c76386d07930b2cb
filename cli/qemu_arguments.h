/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the user's QEMU command line: is it a machine that the IOMMU can
 * serve, and what must be added so that its memory can be shared?
 */
#ifndef CLI_QEMU_ARGUMENTS_H
#define CLI_QEMU_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/argument_list.h"

/*
 * Look at `qemu` (the program first) and append to `added` what gives it a machine
 * that can be served, q35 unless it says pc, with shared memory. 0, or -1 and a sentence in `why`.
 */
int qemu_arguments_complete(char *const *qemu, struct argument_list *added, char *why, size_t why_size);

/* Does it ask QEMU for its version or for help, which starts no machine? */
bool qemu_arguments_only_ask(char *const *qemu);

/* Firmware tables tell of viommud's IOMMUs or of QEMU's: is none among QEMU's own devices? 0, or -1 and a
 * sentence in `why`. */
int qemu_arguments_check_iommu(char *const *qemu, char *why, size_t why_size);

/* The name of the first PCI bus. Of a line that qemu_arguments_complete() took. */
const char *qemu_arguments_bus(char *const *qemu);

/*
 * Append to `added` what keeps the guest from sleeping in S3 and S4, unless
 * the line says what it may. QEMU resets its devices when the guest wakes, and
 * the registers of the IOMMU lose their address, which only firmware that boots
 * gives them. Of a line that qemu_arguments_complete() took.
 */
void qemu_arguments_keep_awake(char *const *qemu, struct argument_list *added);

/*
 * Append to `pass` the user's command line for the firmware pass: the same
 * devices, but nothing that keeps the processors from starting.
 */
void qemu_arguments_for_firmware(char *const *qemu, struct argument_list *pass);

#endif
