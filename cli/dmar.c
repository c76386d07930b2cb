/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/dmar.h"

#include <errno.h>
#include <stdbool.h>

#include "cli/replace_file.h"

/* 8.1, 8.3, 8.3.1; the ACPI header that precedes is 36 bytes. */
enum {
	DMAR_FIXED_SIZE = 12, /* width, flags, 10 reserved */
	DRHD_SIZE = 16,
	SCOPE_SIZE = 8,
	TYPE_DRHD = 0,
	SCOPE_PCI_ENDPOINT = 1,
};

struct bytes {
	uint8_t data[DMAR_FIXED_SIZE + DMAR_UNITS_MAX * (DRHD_SIZE + DMAR_SCOPES_MAX * SCOPE_SIZE)];
	size_t used;
};

static void put(struct bytes *b, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		b->data[b->used++] = (uint8_t)(value >> (8 * i));
}

static void put_scope(struct bytes *b, unsigned devfn)
{
	put(b, SCOPE_PCI_ENDPOINT, 1);
	put(b, SCOPE_SIZE, 1);
	put(b, 0, 2); /* reserved */
	put(b, 0, 1); /* enumeration id: for IO-APICs and HPETs */
	put(b, 0, 1); /* start bus */
	put(b, devfn >> 3, 1);
	put(b, devfn & 7, 1);
}

static void put_unit(struct bytes *b, const struct dmar_unit *u)
{
	put(b, TYPE_DRHD, 2);
	put(b, DRHD_SIZE + u->scope_count * SCOPE_SIZE, 2);
	put(b, 0, 1); /* flags: only the devices listed */
	put(b, 0, 1); /* the register set is 2^0 pages */
	put(b, 0, 2); /* segment */
	put(b, u->base, 8);
	for (unsigned i = 0; i < u->scope_count; i++)
		put_scope(b, u->scopes[i]);
}

static void build(const struct dmar *d, struct bytes *b)
{
	put(b, d->address_width - 1, 1);
	put(b, 0, 1); /* flags: no interrupt remapping */
	put(b, 0, 8);
	put(b, 0, 2);
	for (unsigned i = 0; i < d->unit_count; i++)
		put_unit(b, &d->units[i]);
}

static bool fits(const struct dmar *d)
{
	for (unsigned i = 0; i < d->unit_count && i < DMAR_UNITS_MAX; i++) {
		if (d->units[i].scope_count > DMAR_SCOPES_MAX)
			return false;
	}
	return d->unit_count <= DMAR_UNITS_MAX;
}

int dmar_write(const struct dmar *d, const char *path)
{
	struct bytes b = {.used = 0};

	if (!fits(d))
		return -E2BIG;
	build(d, &b);
	return replace_file(path, (const char *)b.data, b.used, REPLACE_FOR_OWNER);
}
