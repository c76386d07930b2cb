/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O virtualization reporting structure (publication 48882, chapter 5), of AMD-Vi units. */
#include <string.h>

#include "cli/firmware_tables.h"

enum {
	IVHD_TYPE = 0x11,
	IVHD_SIZE = 40, /* without the entries for devices */
	ENTRY_SIZE = 4,
	ENTRY_SELECT = 0x02,
	CAPABILITY = 0x40, /* of the function that the guest sees */
};

/* 5.2.1: EFRSup, widths of guest virtual (2), physical and virtual addresses. */
static uint32_t information(unsigned address_width)
{
	return 1u | 2u << 5 | address_width << 8 | 64u << 15;
}

static void put_unit(struct table_bytes *b, const struct table_unit *u)
{
	table_put(b, IVHD_TYPE, 1);
	table_put(b, 0, 1); /* flags */
	table_put(b, IVHD_SIZE + u->device_count * ENTRY_SIZE, 2);
	table_put(b, u->function, 2);
	table_put(b, CAPABILITY, 2);
	table_put(b, u->base, 8);
	table_put(b, 0, 2); /* segment */
	table_put(b, 0, 2); /* information */
	table_put(b, 0, 4); /* attributes */
	table_put(b, u->features[0], 8);
	table_put(b, u->features[1], 8);
	for (unsigned i = 0; i < u->device_count; i++) {
		table_put(b, ENTRY_SELECT, 1);
		table_put(b, u->devices[i], 2);
		table_put(b, 0, 1); /* data setting */
	}
}

void ivrs_build(const struct table_units *units, const char *model, struct table_bytes *b)
{
	table_put(b, information(units->address_width), 4);
	table_put(b, 0, 8); /* reserved */
	for (unsigned i = 0; i < units->count; i++) {
		if (!strcmp(units->of[i].model, model))
			put_unit(b, &units->of[i]);
	}
}
