/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ranges.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/query.h"
#include "control/message.h"

/* Behind an IOMMU that refuses no address of memory. */
static void show_unprotected(struct json_object *reply, const char *device)
{
	printf("NOT PROTECTED: a GART keeps %s from none of the guest's memory; ", device);
	if (!strcmp(control_get_text(reply, "translation"), "aperture"))
		printf("addresses in the aperture, 0x%" PRIx64 " - 0x%" PRIx64
		       ", go by the table, all others are addresses of memory\n",
		       control_get_u64(reply, "aperture_first", 0),
		       control_get_u64(reply, "aperture_last", 0));
	else
		printf("the aperture is off, all device addresses are addresses of memory\n");
}

static void show_summary(struct json_object *reply, const char *device)
{
	uint64_t pages = control_get_u64(reply, "pages", 0), all = control_get_u64(reply, "memory_pages", 0);
	char reached[32], memory[32];

	if (control_get_string(reply, "iommu") && !control_get_bool(reply, "protects")) {
		show_unprotected(reply, device);
		return;
	}
	if (control_get_bool(reply, "blocked")) {
		printf("%s can reach no memory right now: the guest's tables block it\n", device);
		return;
	}
	printf("%s can reach %" PRIu64 " of %" PRIu64 " pages of guest memory right now (%s of %s), "
	       "and write %" PRIu64 " of them\n",
	       device, pages, all, query_size_text(pages, reached), query_size_text(all, memory),
	       control_get_u64(reply, "writable_pages", 0));
}

static void show_range(struct json_object *range)
{
	uint64_t first = control_get_u64(range, "first", 0), last = control_get_u64(range, "last", 0);
	char size[32];
	bool readable = control_get_bool(range, "read"), writable = control_get_bool(range, "write");

	printf("  0x%012" PRIx64 " - 0x%012" PRIx64 "  %s memory 0x%012" PRIx64 "  %s%s%s, %s\n", first, last,
	       control_get_bool(range, "one_page") ? "each page to" : "to",
	       control_get_u64(range, "memory", 0), readable ? "read" : "", readable && writable ? " " : "",
	       writable ? "write" : "", query_size_text((last >> 12) - (first >> 12) + 1, size));
}

void ranges_show(struct json_object *reply, const char *device)
{
	show_summary(reply, device);
	for (size_t i = 0; i < control_get_length(reply, "ranges"); i++)
		show_range(control_get_item(reply, "ranges", i));
	if (!control_get_bool(reply, "complete"))
		printf("  ... there is more than can be listed\n");
}
