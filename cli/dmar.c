/* SPDX-License-Identifier: BSD-3-Clause */
/* The DMA remapping reporting table (VT-d specification, chapter 8). */
#include <string.h>

#include "cli/firmware_tables.h"

/* 8.1, 8.3, 8.3.1 */
enum {
	DRHD_SIZE = 16,
	SCOPE_SIZE = 8,
	TYPE_DRHD = 0,
	SCOPE_PCI_ENDPOINT = 1,
};

static void put_scope(struct table_bytes *b, unsigned devfn)
{
	table_put(b, SCOPE_PCI_ENDPOINT, 1);
	table_put(b, SCOPE_SIZE, 1);
	table_put(b, 0, 2); /* reserved */
	table_put(b, 0, 1); /* enumeration id: for IO-APICs and HPETs */
	table_put(b, 0, 1); /* start bus */
	table_put(b, devfn >> 3, 1);
	table_put(b, devfn & 7, 1);
}

static void put_unit(struct table_bytes *b, const struct table_unit *u)
{
	table_put(b, TYPE_DRHD, 2);
	table_put(b, DRHD_SIZE + u->device_count * SCOPE_SIZE, 2);
	table_put(b, 0, 1); /* flags: only the devices listed */
	table_put(b, 0, 1); /* the register set is 2^0 pages */
	table_put(b, 0, 2); /* segment */
	table_put(b, u->base, 8);
	for (unsigned i = 0; i < u->device_count; i++)
		put_scope(b, u->devices[i]);
}

void dmar_build(const struct table_units *units, const char *model, struct table_bytes *b)
{
	table_put(b, units->address_width - 1, 1);
	table_put(b, 0, 1); /* flags: no interrupt remapping */
	table_put(b, 0, 8); /* reserved */
	table_put(b, 0, 2);
	for (unsigned i = 0; i < units->count; i++) {
		if (!strcmp(units->of[i].model, model))
			put_unit(b, &units->of[i]);
	}
}
