/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_QEMU_PROBE_H
#define CLI_QEMU_PROBE_H

#include <stddef.h>

/*
 * Does this QEMU run, and have a vfio-user client? 0, or a negative errno and a
 * sentence in `why`. -ENOENT: there is no such program. -ENODEV: it has none.
 */
int qemu_probe(const char *program, char *why, size_t why_size);

#endif
