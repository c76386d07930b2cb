/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/firmware_tables.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/replace_file.h"
#include "control/protocol.h"

static const struct table {
	const char *signature, *file, *model;
	unsigned revision;
	bool tells_place;
	void (*build)(const struct table_units *units, const char *model, struct table_bytes *b);
} tables[] = {
	{"DMAR", DMAR_FILE_NAME, "vtd", 1, true, dmar_build},
	{"IVRS", IVRS_FILE_NAME, "amdvi", 2, true, ivrs_build},
	{"VIOT", VIOT_FILE_NAME, "virtio", 0, false, viot_build},
};

#define TABLE_COUNT (sizeof(tables) / sizeof(tables[0]))

static bool is_needed(const struct table *t, const struct table_units *units)
{
	for (unsigned i = 0; i < units->count; i++) {
		if (!strcmp(units->of[i].model, t->model))
			return true;
	}
	return false;
}

static void path_of(const struct table *t, const char *dir, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 16, dir, t->file);
}

void table_put(struct table_bytes *b, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		b->data[b->used++] = (uint8_t)(value >> (8 * i));
}

static const struct table *table_of(const char *model)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (!strcmp(tables[i].model, model))
			return &tables[i];
	}
	return NULL;
}

bool firmware_tables_know(const char *model)
{
	return table_of(model);
}

bool firmware_tables_tell_place(const char *model)
{
	const struct table *t = table_of(model);

	return t && t->tells_place;
}

int firmware_tables_write(const struct table_units *units, const char *dir, const char **ret_file)
{
	int err = 0;

	for (size_t i = 0; i < TABLE_COUNT && !err; i++) {
		struct table_bytes b = {.used = 0};
		char path[PATH_MAX];

		if (!is_needed(&tables[i], units))
			continue;
		tables[i].build(units, tables[i].model, &b);
		path_of(&tables[i], dir, path);
		err = replace_file(path, (const char *)b.data, b.used, REPLACE_FOR_OWNER);
		*ret_file = tables[i].file;
	}
	return err;
}

void firmware_tables_add(const struct table_units *units, const char *dir, struct argument_list *added)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (!is_needed(&tables[i], units))
			continue;
		path_of(&tables[i], dir, path);
		argument_list_add(added, "-acpitable");
		argument_list_addf(added, "sig=%s,rev=%u,oem_id=VIOMMU,oem_table_id=VIOMMU,data=%s",
				   tables[i].signature, tables[i].revision, path);
	}
}

void firmware_tables_remove(const char *dir)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < TABLE_COUNT; i++) {
		path_of(&tables[i], dir, path);
		unlink(path);
	}
}
