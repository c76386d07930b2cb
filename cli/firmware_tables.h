/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ACPI tables that tell a guest which remapping units there are, and which
 * devices stand behind each: a table for each model, in a file of its own. Written
 * as QEMU's -acpitable data= wants it: what follows the 36 bytes of the ACPI header,
 * which QEMU makes.
 */
#ifndef CLI_FIRMWARE_TABLES_H
#define CLI_FIRMWARE_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/argument_list.h"

#define TABLE_UNITS_MAX	  4
#define TABLE_DEVICES_MAX 16 /* behind one unit */

/* PCI functions as slot << 3 | function on bus 0. */
struct table_unit {
	char name[32], model[16]; /* as --iommu names them */
	uint64_t base;		  /* of the registers, where the model's table tells it */
	uint64_t features[2];	  /* of AMD-Vi: EFR and EFR2 */
	unsigned function;	  /* by which the guest knows the unit */
	unsigned device_count;
	unsigned devices[TABLE_DEVICES_MAX];
};

struct table_units {
	unsigned address_width; /* bits of guest physical address */
	unsigned count;
	struct table_unit of[TABLE_UNITS_MAX];
};

struct table_bytes {
	uint8_t data[64 + TABLE_UNITS_MAX * (64 + TABLE_DEVICES_MAX * 24)];
	size_t used;
};

/* Append a little-endian number of `size` bytes. */
void table_put(struct table_bytes *b, uint64_t value, unsigned size);

/* What follows the header, of the units that have this model; each in its own file. */
void dmar_build(const struct table_units *units, const char *model, struct table_bytes *b);
void ivrs_build(const struct table_units *units, const char *model, struct table_bytes *b);
void viot_build(const struct table_units *units, const char *model, struct table_bytes *b);

/* Does a table tell of units of this model? */
bool firmware_tables_know(const char *model);
/* Does that table tell where the registers are? Firmware decides that. */
bool firmware_tables_tell_place(const char *model);

/* Write the tables that `units` need into `dir`, each at once: a reader finds the old or the new one. 0 or a
 * negative errno, and the file's name in *ret_file. */
int firmware_tables_write(const struct table_units *units, const char *dir, const char **ret_file);
/* Append QEMU's arguments for them. */
void firmware_tables_add(const struct table_units *units, const char *dir, struct argument_list *added);
/* Remove all that firmware_tables_write() has left. */
void firmware_tables_remove(const char *dir);

#endif
