/* SPDX-License-Identifier: BSD-3-Clause */
/* A QEMU of viommu's own, for machines whose QEMU is missing or has no vfio-user client. */
#ifndef CLI_PRIVATE_QEMU_H
#define CLI_PRIVATE_QEMU_H

#include <limits.h>
#include <stdbool.h>

/* Can it stand for what the user wrote? It is a qemu-system-x86_64, and no path says which one is meant. */
bool private_qemu_replaces(const char *program);

/*
 * Find it in the cache folder, or fetch it there first, which may take minutes.
 * 0 and its path, or the exit status, said on stderr.
 */
int private_qemu_find(char ret_path[PATH_MAX]);

#endif
