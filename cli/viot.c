/* SPDX-License-Identifier: BSD-3-Clause */
/* The virtual I/O translation table (ACPI 6.5, 5.2.32), of virtio-iommu units that are PCI functions. */
#include <string.h>

#include "cli/firmware_tables.h"

enum {
	ACPI_HEADER_SIZE = 36, /* which offsets count in */
	VIOT_FIXED_SIZE = 12,
	VIRTIO_NODE_SIZE = 16,
	RANGE_NODE_SIZE = 24,
	TYPE_PCI_RANGE = 1,
	TYPE_VIRTIO_PCI = 3,
};

static void put_unit(struct table_bytes *b, const struct table_unit *u)
{
	table_put(b, TYPE_VIRTIO_PCI, 1);
	table_put(b, 0, 1); /* reserved */
	table_put(b, VIRTIO_NODE_SIZE, 2);
	table_put(b, 0, 2); /* segment */
	table_put(b, u->function, 2);
	table_put(b, 0, 8); /* reserved */
}

/* A range of one function; its endpoint id is its requester id. `unit` is the offset of the unit's node. */
static void put_device(struct table_bytes *b, unsigned device, size_t unit)
{
	table_put(b, TYPE_PCI_RANGE, 1);
	table_put(b, 0, 1); /* reserved */
	table_put(b, RANGE_NODE_SIZE, 2);
	table_put(b, device, 4); /* endpoint id of the first */
	table_put(b, 0, 2);	 /* segments, first and last */
	table_put(b, 0, 2);
	table_put(b, device, 2); /* functions, first and last */
	table_put(b, device, 2);
	table_put(b, unit, 2);
	table_put(b, 0, 6); /* reserved */
}

void viot_build(const struct table_units *units, const char *model, struct table_bytes *b)
{
	unsigned nodes = 0;

	for (unsigned i = 0; i < units->count; i++) {
		if (!strcmp(units->of[i].model, model))
			nodes += 1 + units->of[i].device_count;
	}
	table_put(b, nodes, 2);
	table_put(b, ACPI_HEADER_SIZE + VIOT_FIXED_SIZE, 2);
	table_put(b, 0, 8); /* reserved */
	for (unsigned i = 0; i < units->count; i++) {
		const struct table_unit *u = &units->of[i];
		size_t at = ACPI_HEADER_SIZE + b->used;

		if (strcmp(u->model, model))
			continue;
		put_unit(b, u);
		for (unsigned d = 0; d < u->device_count; d++)
			put_device(b, u->devices[d], at);
	}
}
