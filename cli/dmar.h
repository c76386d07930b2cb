/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMAR table (VT-d specification, chapter 8), which tells the guest which
 * remapping units there are, where the registers of each are and which devices
 * it is for. Written as QEMU's -acpitable data= wants it: what follows the 36
 * bytes of the ACPI header, which QEMU makes.
 */
#ifndef CLI_DMAR_H
#define CLI_DMAR_H

#include <stddef.h>
#include <stdint.h>

#define DMAR_UNITS_MAX	4
#define DMAR_SCOPES_MAX 16 /* of one unit */

struct dmar_unit {
	uint64_t base; /* of the registers */
	unsigned scope_count;
	unsigned scopes[DMAR_SCOPES_MAX]; /* slot << 3 | function on bus 0 */
};

struct dmar {
	unsigned address_width; /* bits of guest physical address */
	unsigned unit_count;
	struct dmar_unit units[DMAR_UNITS_MAX];
};

/* Write the table to `path`, at once: a reader finds the old or the new one. 0 or a negative errno. */
int dmar_write(const struct dmar *d, const char *path);

#endif
