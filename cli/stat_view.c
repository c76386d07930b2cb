/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/stat_view.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "control/message.h"
#include "os/percentile.h"

#define BUCKETS_MAX 64
#define BAR_WIDTH   40

struct pair {
	struct json_object *before, *now; /* NULL: all zeros */
	double seconds;
};

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *found = NULL;

	json_object_object_get_ex(object, key, &found);
	return found;
}

static struct pair part(const struct pair *p, const char *key)
{
	return (struct pair){member(p->before, key), member(p->now, key), p->seconds};
}

/* A counter that went back is one of a daemon that began anew. */
static uint64_t growth(const struct pair *p, const char *name)
{
	uint64_t before = control_get_u64(p->before, name, 0), now = control_get_u64(p->now, name, 0);

	return now > before ? now - before : 0;
}

/* ------------------------------------------------------------------- numbers */

/* "999", "1.0k", "12.3M": at most 6 characters. */
static const char *rate_text(double value, char text[16])
{
	static const char units[] = " kMGTPE";
	unsigned unit = 0;

	while (value >= 999.5 && units[unit + 1]) {
		value /= 1000;
		unit++;
	}
	if (unit == 0)
		snprintf(text, 16, "%.0f", value);
	else
		snprintf(text, 16, value < 99.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return text;
}

static const char *time_text(uint64_t ns, char text[16])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	unsigned unit = 0;

	while (value >= 999.5 && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(text, 16, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return text;
}

static const char *rate_of(const struct pair *p, const char *name, char text[16])
{
	return rate_text((double)growth(p, name) / p->seconds, text);
}

/* ------------------------------------------------------------------ sidecore */

static void show_sidecore(FILE *out, const struct pair *p)
{
	struct pair sidecore = part(p, "sidecore");
	double share = (double)growth(&sidecore, "sidecore_busy_ns") / (p->seconds * 1e9);
	char bar[BAR_WIDTH + 1], polls[16], sleeps[16];
	size_t filled;

	share = share > 1 ? 1 : share;
	filled = (size_t)(share * BAR_WIDTH + 0.5);
	memset(bar, '#', filled);
	memset(bar + filled, '.', BAR_WIDTH - filled);
	bar[BAR_WIDTH] = '\0';
	fprintf(out, "sidecore  [%s] %3.0f %% busy, %s polls/s, %s sleeps/s\n", bar, share * 100,
		rate_of(&sidecore, "sidecore_polls", polls), rate_of(&sidecore, "sidecore_sleeps", sleeps));
}

/* -------------------------------------------------------------------- drains */

/* How long drains took that ended in between: buckets, and the bound of each, UINT64_MAX: it has none. */
static size_t count_drains(const struct pair *p, uint64_t counts[BUCKETS_MAX], uint64_t bounds[BUCKETS_MAX])
{
	struct pair drains = part(p, "drains");
	size_t count = control_get_length(drains.now, "buckets");

	for (size_t i = 0; i < count && i < BUCKETS_MAX; i++) {
		struct pair bucket = {control_get_item(drains.before, "buckets", i),
				      control_get_item(drains.now, "buckets", i), p->seconds};

		bounds[i] = control_get_u64(bucket.now, "at_most_ns", UINT64_MAX);
		counts[i] = growth(&bucket, "count");
	}
	return count < BUCKETS_MAX ? count : BUCKETS_MAX;
}

static void show_drains(FILE *out, const struct pair *p)
{
	struct pair counters = part(p, "counters"), drains = part(p, "drains");
	uint64_t worst = control_get_u64(drains.now, "worst_ns", 0);
	uint64_t counts[BUCKETS_MAX], bounds[BUCKETS_MAX];
	size_t n = count_drains(p, counts, bounds), at;
	char text[16], rate[16];

	fprintf(out, "drains    %s/s", rate_of(&counters, "drains", rate));
	for (unsigned i = 0; i < 2; i++) {
		at = os_percentile_bucket(counts, n, i ? 99 : 50);
		if (at < n)
			fprintf(out, ", %s at most %s", i ? "p99" : "p50",
				time_text(bounds[at] < worst ? bounds[at] : worst, text));
	}
	if (worst)
		fprintf(out, ", worst since start %s", time_text(worst, text));
	fprintf(out, "\n");
}

/* -------------------------------------------------------- devices and domains */

static const struct column {
	const char *title, *names[2]; /* their sum */
} columns[] = {
	{"hits/s", {"iotlb_hits"}},
	{"misses/s", {"iotlb_misses"}},
	{"walks/s", {"walks"}},
	{"bytes rd/s", {"bytes_read"}},
	{"bytes wr/s", {"bytes_written"}},
	{"inval/s", {"iotlb_page_invalidations", "iotlb_domain_invalidations"}},
	{"blocked/s", {"blocked"}},
};

#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))
#define NAME_WIDTH   18

static uint64_t column_value(const struct pair *p, const struct column *column)
{
	return growth(p, column->names[0]) + (column->names[1] ? growth(p, column->names[1]) : 0);
}

static void show_row(FILE *out, const char *name, const uint64_t *values, double seconds)
{
	char text[16];

	fprintf(out, "%-*.*s", NAME_WIDTH, NAME_WIDTH, name);
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		fprintf(out, " %*s", (int)strlen(columns[i].title),
			rate_text((double)values[i] / seconds, text));
	fprintf(out, "\n");
}

static void add_row(const struct pair *counters, uint64_t *values)
{
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		values[i] += column_value(counters, &columns[i]);
}

/* `p` holds a thing with "counters". */
static void show_counters(FILE *out, const char *name, const struct pair *p)
{
	struct pair counters = part(p, "counters");
	uint64_t values[COLUMN_COUNT] = {0};

	add_row(&counters, values);
	show_row(out, name, values, p->seconds);
}

static void show_head(FILE *out)
{
	fprintf(out, "%-*s", NAME_WIDTH, "");
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		fprintf(out, " %s", columns[i].title);
	fprintf(out, "\n");
}

static bool has_several_units(struct json_object *reply)
{
	return control_get_length(reply, "units") > 1;
}

static void show_units(FILE *out, const struct pair *p)
{
	for (size_t i = 0; has_several_units(p->now) && i < control_get_length(p->now, "units"); i++) {
		struct pair unit = {control_get_item(p->before, "units", i),
				    control_get_item(p->now, "units", i), p->seconds};

		show_counters(out, control_get_text(unit.now, "iommu"), &unit);
	}
}

static void show_devices(FILE *out, const struct pair *p)
{
	for (size_t i = 0; i < control_get_length(p->now, "devices"); i++) {
		struct pair device = {control_get_item(p->before, "devices", i),
				      control_get_item(p->now, "devices", i), p->seconds};
		const char *translation = control_get_text(device.now, "translation");
		char name[64];

		if (!strcmp(translation, "paged"))
			snprintf(name, sizeof(name), "%s", control_get_text(device.now, "device"));
		else
			snprintf(name, sizeof(name), "%s (%s)", control_get_text(device.now, "device"),
				 translation);
		show_counters(out, name, &device);
	}
}

/* Each unit numbers its own. */
static struct json_object *find_domain(struct json_object *reply, struct json_object *wanted)
{
	for (size_t i = 0; i < control_get_length(reply, "domains"); i++) {
		struct json_object *domain = control_get_item(reply, "domains", i);

		if (control_get_u64(domain, "domain", UINT64_MAX) == control_get_u64(wanted, "domain", 0) &&
		    !strcmp(control_get_text(domain, "iommu"), control_get_text(wanted, "iommu")))
			return domain;
	}
	return NULL;
}

static void domain_name(struct json_object *domain, bool several, char name[64])
{
	size_t devices = control_get_length(domain, "devices");
	int used = several ? snprintf(name, 64, "%.16s: ", control_get_text(domain, "iommu")) : 0;

	used += snprintf(name + used, 64 - (size_t)used, "domain %" PRIu64,
			 control_get_u64(domain, "domain", 0));

	if (devices)
		snprintf(name + used, 64 - (size_t)used, ": %s%s",
			 json_object_get_string(control_get_item(domain, "devices", 0)),
			 devices > 1 ? ", ..." : "");
}

static void show_domains(FILE *out, const struct pair *p, unsigned limit)
{
	struct pair rest = part(p, "domains_rest"), none = part(p, "no_domain");
	uint64_t others[COLUMN_COUNT] = {0}, undomained[COLUMN_COUNT] = {0};
	size_t count = control_get_length(p->now, "domains");
	char name[64];

	for (size_t i = 0; i < count; i++) {
		struct json_object *now = control_get_item(p->now, "domains", i);
		struct pair domain = {find_domain(p->before, now), now, p->seconds};
		struct pair counters = part(&domain, "counters");

		domain_name(now, has_several_units(p->now), name);
		if (i < limit)
			show_counters(out, name, &domain);
		else
			add_row(&counters, others);
	}
	add_row(&rest, others);
	show_row(out, "other domains", others, p->seconds);
	add_row(&none, undomained);
	show_row(out, "no domain", undomained, p->seconds);
}

/* ------------------------------------------------- invalidations and faults */

static void show_invalidations(FILE *out, const struct pair *p)
{
	struct pair counters = part(p, "counters");
	char page[16], domain[16], all[16], context[16];

	fprintf(out, "invalidations/s: %s of pages, %s of domains, %s of all, %s of contexts\n",
		rate_of(&counters, "iotlb_page_invalidations", page),
		rate_of(&counters, "iotlb_domain_invalidations", domain),
		rate_of(&counters, "iotlb_global_invalidations", all),
		rate_of(&counters, "context_invalidations", context));
}

static void show_fault(FILE *out, struct json_object *fault)
{
	const char *device = control_get_string(fault, "device");
	char ago[16];

	fprintf(out, "  %s ago: %s wanted to %s 0x%" PRIx64 ": %s (reason 0x%02" PRIx64 ")\n",
		time_text(control_get_u64(fault, "ago_ns", 0), ago),
		device ? device : control_get_text(fault, "address"),
		control_get_bool(fault, "write") ? "write" : "read", control_get_u64(fault, "iova", 0),
		control_get_text(fault, "text"), control_get_u64(fault, "reason", 0));
}

static void show_faults(FILE *out, struct json_object *now, unsigned limit)
{
	size_t reasons = control_get_length(now, "faults_by_reason"),
	       faults = control_get_length(now, "last_faults");

	fprintf(out, "refused since start:%s\n", reasons ? "" : " nothing");
	for (size_t i = 0; i < reasons; i++) {
		struct json_object *r = control_get_item(now, "faults_by_reason", i);

		fprintf(out, "  %" PRIu64 " times: %s (reason 0x%02" PRIx64 ")\n",
			control_get_u64(r, "count", 0), control_get_text(r, "text"),
			control_get_u64(r, "reason", 0));
	}
	if (faults)
		fprintf(out, "last faults:\n");
	for (size_t i = faults; i > 0 && faults - i < limit; i--)
		show_fault(out, control_get_item(now, "last_faults", i - 1));
}

/* ---------------------------------------------------------------------- all */

void stat_view(FILE *out, struct json_object *before, struct json_object *now,
	       const struct stat_limits *limits)
{
	struct pair p = {before, now, 0};
	uint64_t ns = growth(&p, "time_ns");

	p.seconds = ns ? (double)ns / 1e9 : 1e-9;
	show_sidecore(out, &p);
	show_drains(out, &p);
	show_invalidations(out, &p);
	show_head(out);
	show_counters(out, "all", &p);
	show_units(out, &p);
	show_devices(out, &p);
	show_domains(out, &p, limits->domains);
	show_faults(out, now, limits->faults);
}

unsigned stat_view_height(struct json_object *now)
{
	size_t faults = control_get_length(now, "last_faults") ? 1 : 0;
	size_t units = has_several_units(now) ? control_get_length(now, "units") : 0;

	/* Sidecore, drains, invalidations, the head, all, other domains, no domain, refused. */
	return (unsigned)(8 + units + control_get_length(now, "devices") +
			  control_get_length(now, "faults_by_reason") + faults);
}
