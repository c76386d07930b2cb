/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMAR table (VT-d specification, chapter 8), which tells the guest that
 * there is a remapping unit, where its registers are and which devices it is
 * for. Written as QEMU's -acpitable data= wants it: what follows the 36 bytes
 * of the ACPI header, which QEMU makes.
 */
#ifndef CLI_DMAR_H
#define CLI_DMAR_H

#include <stddef.h>
#include <stdint.h>

#define DMAR_SCOPES_MAX 16

struct dmar {
	unsigned address_width; /* bits of guest physical address */
	uint64_t base;		/* of the registers */
	unsigned scope_count;
	unsigned scopes[DMAR_SCOPES_MAX]; /* slot << 3 | function on bus 0 */
};

/* Write the table to `path`, at once: a reader finds the old or the new one. 0 or a negative errno. */
int dmar_write(const struct dmar *d, const char *path);

#endif
