/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <string.h>

#include "cli/replay/output.h"

#define NAME_WIDTH 13
#define WIDTH	   6 /* of a column; the first of a group has one more */

void replay_format_number(double value, char *text, size_t size)
{
	static const char units[] = "kMGTP";
	const char *unit = NULL;
	int digits;

	if (value < 9999.5) {
		digits = value == 0 || value >= 99.95 || value == (double)(uint64_t)value ? 0
			 : value < 9.995						  ? 2
											  : 1;
		snprintf(text, size, "%.*f", digits, value);
		return;
	}
	for (unit = units, value /= 1000; value >= 999.5 && unit[1]; unit++)
		value /= 1000;
	digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	snprintf(text, size, "%.*f%c", digits, value, *unit);
}

void replay_format_time(double us, char *text, size_t size)
{
	double value = us;
	const char *unit = "us";

	if (us == 0) {
		snprintf(text, size, "0");
		return;
	}
	if (us < 0.9995) {
		value = us * 1e3;
		unit = "ns";
	} else if (us >= 999.5e3) {
		value = us / 1e6;
		unit = "s";
	} else if (us >= 999.5) {
		value = us / 1e3;
		unit = "ms";
	}
	snprintf(text, size, "%.*f%s", value < 9.95 && us >= 0.9995 ? 1 : 0, value, unit);
}

static void format_share(double value, char *text, size_t size)
{
	snprintf(text, size, "%.*f", value > 0 && value < 0.0995 ? 1 : 0, value * 100);
}

static void format_ns(double value, char *text, size_t size)
{
	replay_format_time(value / 1e3, text, size);
}

static const struct replay_shown shown[] = {
	{"a buffer", "costs", "buffer_mean_ns", format_ns},
	{"", "median", "buffer_median_ns", format_ns},
	{"map, ns", "p50", "map_p50_ns", replay_format_number},
	{"", "p99", "map_p99_ns", replay_format_number},
	{"unmap, ns", "p50", "unmap_p50_ns", replay_format_number},
	{"", "p99", "unmap_p99_ns", replay_format_number},
	{"table", "writes", "table_writes", replay_format_number},
	{"invalidated", "ranges", "page_invalidations", replay_format_number},
	{"", "all", "full_invalidations", replay_format_number},
	{"reused", "%", "reuse_rate", format_share},
	{"mapped pages", "peak", "peak_mapped_pages", replay_format_number},
	{"", "mean", "mean_mapped_pages", replay_format_number},
	{"pinned", "pages", "peak_pinned_pages", replay_format_number},
	{"stale time", "p50", "stale_p50_us", replay_format_time},
	{"", "p99", "stale_p99_us", replay_format_time},
	{"", "worst", "stale_max_us", replay_format_time},
	{"excess", "B*s", "excess_byte_seconds", replay_format_number},
	{"copied", "bytes", "bytes_copied", replay_format_number},
};

#define SHOWN_COUNT (sizeof(shown) / sizeof(shown[0]))

const struct replay_shown *replay_shown(size_t *ret_count)
{
	*ret_count = SHOWN_COUNT;
	return shown;
}

static int width_of(size_t i)
{
	return *shown[i].group ? WIDTH + 1 : WIDTH;
}

/* How wide a group is that begins with column i. */
static int group_width(size_t i)
{
	int width = width_of(i);

	while (++i < SHOWN_COUNT && !*shown[i].group)
		width += WIDTH;
	return width;
}

static void print_headings(FILE *to)
{
	fprintf(to, "%*s", NAME_WIDTH, "");
	for (size_t i = REPLAY_PAGE_ONLY; i < SHOWN_COUNT; i++)
		if (*shown[i].group)
			fprintf(to, "%*s", group_width(i), shown[i].group);
	fprintf(to, "\n%-*s", NAME_WIDTH, "strategy");
	for (size_t i = REPLAY_PAGE_ONLY; i < SHOWN_COUNT; i++)
		fprintf(to, "%*s", width_of(i), shown[i].heading);
	fputc('\n', to);
}

const struct replay_column *replay_find_column(const char *name)
{
	size_t count;
	const struct replay_column *columns = replay_columns(&count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(columns[i].name, name))
			return &columns[i];
	return NULL;
}

static void print_row(FILE *to, const struct replay_result *r)
{
	char text[32];

	/* A name with options stands on a line of its own. */
	if (strlen(r->strategy) <= NAME_WIDTH)
		fprintf(to, "%-*s", NAME_WIDTH, r->strategy);
	else
		fprintf(to, "%s\n%*s", r->strategy, NAME_WIDTH, "");
	for (size_t i = REPLAY_PAGE_ONLY; i < SHOWN_COUNT; i++) {
		shown[i].format(replay_value(r, replay_find_column(shown[i].column)), text, sizeof(text));
		fprintf(to, "%*s", width_of(i), text);
	}
	fputc('\n', to);
}

void replay_print_table(FILE *to, const struct replay_result *results, size_t count)
{
	print_headings(to);
	for (size_t i = 0; i < count; i++)
		if (!*results[i].why_not)
			print_row(to, &results[i]);
	for (size_t i = 0; i < count; i++) {
		if (*results[i].why_not)
			fprintf(to, "%s does not run here: %s.\n", results[i].strategy, results[i].why_not);
		else if (results[i].refused)
			fprintf(to,
				"%s could not map %llu of the buffers; the rest of its row is about the "
				"others.\n",
				results[i].strategy, (unsigned long long)results[i].refused);
	}
}
