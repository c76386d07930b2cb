/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/openmetrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "control/message.h"

#define NAME_MAX_LENGTH 128

struct writer {
	FILE *out;
	struct json_object *stat;
	const char *dir;
	const char *unit; /* that all of it is about; NULL: all units */
};

/* One family: what all its samples have in common. */
struct family {
	char name[NAME_MAX_LENGTH];
	bool counter; /* else a gauge */
	bool seconds; /* values are ns */
};

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *found = NULL;

	json_object_object_get_ex(object, key, &found);
	return found;
}

/* ---------------------------------------------------------------------- text */

static void write_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || *text == '"')
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

struct label {
	const char *name, *value;
};

/* Behind another. */
static void write_label(struct writer *w, const char *name, const char *value)
{
	fprintf(w->out, "\",%s=\"", name);
	write_escaped(w->out, value);
}

/* A series' name with dir="..." and `labels`, which end without a name; NULL: none. One without a value is
 * left out. */
static void write_series(struct writer *w, const char *name, const char *suffix, const struct label *labels)
{
	fprintf(w->out, "%s%s{dir=\"", name, suffix);
	write_escaped(w->out, w->dir);
	for (; labels && labels->name; labels++) {
		if (labels->value)
			write_label(w, labels->name, labels->value);
	}
	fputs("\"}", w->out);
}

static void write_value(struct writer *w, const struct family *f, uint64_t value)
{
	if (f->seconds)
		fprintf(w->out, " %" PRIu64 ".%09" PRIu64 "\n", value / 1000000000, value % 1000000000);
	else
		fprintf(w->out, " %" PRIu64 "\n", value);
}

static void write_sample(struct writer *w, const struct family *f, const struct label *labels, uint64_t value)
{
	write_series(w, f->name, f->counter ? "_total" : "", labels);
	write_value(w, f, value);
}

/* Of which unit a device or a domain is; NULL: there is one. */
static const char *unit_of(const struct writer *w, struct json_object *part)
{
	if (w->unit)
		return w->unit;
	return control_get_length(w->stat, "units") > 1 ? control_get_string(part, "iommu") : NULL;
}

/* Of a device or a domain. */
static void write_part(struct writer *w, const struct family *f, const char *unit, const char *label,
		       const char *label_value, uint64_t value)
{
	struct label labels[] = {{"iommu", unit}, {label, label_value}, {NULL, NULL}};

	write_sample(w, f, labels, value);
}

static void write_head(struct writer *w, const char *name, const char *type, const char *unit,
		       const char *help)
{
	fprintf(w->out, "# TYPE %s %s\n", name, type);
	if (unit)
		fprintf(w->out, "# UNIT %s %s\n", name, unit);
	fprintf(w->out, "# HELP %s ", name);
	write_escaped(w->out, help);
	fputc('\n', w->out);
}

/* ------------------------------------------------------------------ families */

/* Take `piece` out of the text. */
static void cut(char *text, const char *piece)
{
	char *found = strstr(text, piece);

	if (found)
		memmove(found, found + strlen(piece), strlen(found + strlen(piece)) + 1);
}

/* A counter's samples end in _total of their own, and seconds in _seconds. */
static void name_family(struct family *f, const char *prefix, struct json_object *info)
{
	char base[NAME_MAX_LENGTH / 2];

	snprintf(base, sizeof(base), "%s", control_get_text(info, "name"));
	f->counter = !control_get_bool(info, "maximum");
	f->seconds = !strcmp(control_get_text(info, "unit"), "ns");
	if (f->counter)
		cut(base, "_total");
	if (f->seconds)
		cut(base, "_ns");
	snprintf(f->name, sizeof(f->name), "viommu_%s%s%s", prefix, base, f->seconds ? "_seconds" : "");
}

static void begin_family(struct writer *w, struct family *f, const char *prefix, struct json_object *info)
{
	name_family(f, prefix, info);
	write_head(w, f->name, f->counter ? "counter" : "gauge", f->seconds ? "seconds" : NULL,
		   control_get_text(info, "doc"));
}

static void write_of_vm(struct writer *w, struct json_object *info)
{
	const char *scope = control_get_text(info, "scope");
	struct json_object *counters = member(w->stat, strcmp(scope, "sidecore") ? "counters" : "sidecore");
	struct label labels[] = {{"iommu", strcmp(scope, "iommu") ? NULL : w->unit}, {NULL, NULL}};
	struct family f;

	begin_family(w, &f, "", info);
	write_sample(w, &f, labels, control_get_u64(counters, control_get_text(info, "name"), 0));
}

static void write_of_devices(struct writer *w, struct json_object *info)
{
	struct family f;

	begin_family(w, &f, "device_", info);
	for (size_t i = 0; i < control_get_length(w->stat, "devices"); i++) {
		struct json_object *device = control_get_item(w->stat, "devices", i);

		write_part(w, &f, unit_of(w, device), "device", control_get_text(device, "device"),
			   control_get_u64(member(device, "counters"), control_get_text(info, "name"), 0));
	}
}

static void write_of_domains(struct writer *w, struct json_object *info)
{
	const char *name = control_get_text(info, "name");
	struct family f;
	char id[24];

	begin_family(w, &f, "domain_", info);
	for (size_t i = 0; i < control_get_length(w->stat, "domains"); i++) {
		struct json_object *domain = control_get_item(w->stat, "domains", i);

		snprintf(id, sizeof(id), "%" PRIu64, control_get_u64(domain, "domain", 0));
		write_part(w, &f, unit_of(w, domain), "domain", id,
			   control_get_u64(member(domain, "counters"), name, 0));
	}
	write_part(w, &f, w->unit, "domain", "rest",
		   control_get_u64(member(w->stat, "domains_rest"), name, 0));
	write_part(w, &f, w->unit, "domain", "none", control_get_u64(member(w->stat, "no_domain"), name, 0));
}

static void write_tables(struct writer *w)
{
	for (size_t i = 0; i < control_get_length(w->stat, "tables"); i++) {
		struct json_object *info = control_get_item(w->stat, "tables", i);

		write_of_vm(w, info);
		if (control_get_bool(info, "per_device"))
			write_of_devices(w, info);
		if (control_get_bool(info, "per_domain"))
			write_of_domains(w, info);
	}
}

/* --------------------------------------------------- what is no plain counter */

static void write_reasons(struct writer *w)
{
	struct family f = {"viommu_blocked_by_reason", true, false};

	write_head(w, f.name, "counter", NULL,
		   "device accesses that the IOMMU refused, by the reason code of its specification");
	for (size_t i = 0; i < control_get_length(w->stat, "faults_by_reason"); i++) {
		struct json_object *r = control_get_item(w->stat, "faults_by_reason", i);
		char code[24];
		struct label labels[] = {{"iommu", w->unit},
					 {"reason", code},
					 {"text", control_get_text(r, "text")},
					 {NULL, NULL}};

		snprintf(code, sizeof(code), "0x%02" PRIx64, control_get_u64(r, "reason", 0));
		write_sample(w, &f, labels, control_get_u64(r, "count", 0));
	}
}

static void write_bucket(struct writer *w, const char *name, uint64_t at_most_ns, uint64_t count)
{
	char bound[32] = "+Inf";
	struct label labels[] = {{"iommu", w->unit}, {"le", bound}, {NULL, NULL}};

	if (at_most_ns)
		snprintf(bound, sizeof(bound), "%.10g", (double)at_most_ns / 1e9);
	write_series(w, name, "_bucket", labels);
	fprintf(w->out, " %" PRIu64 "\n", count);
}

static void write_drains(struct writer *w)
{
	static const char name[] = "viommu_drain_duration_seconds";
	struct json_object *drains = member(w->stat, "drains");
	struct family sum = {"viommu_drain_duration_seconds_sum", false, true},
		      count = {"viommu_drain_duration_seconds_count", false, false};
	struct label labels[] = {{"iommu", w->unit}, {NULL, NULL}};
	uint64_t below = 0;

	write_head(w, name, "histogram", "seconds", "how long invalidations waited for accesses in flight");
	for (size_t i = 0; i < control_get_length(drains, "buckets"); i++) {
		struct json_object *bucket = control_get_item(drains, "buckets", i);

		below += control_get_u64(bucket, "count", 0);
		write_bucket(w, name, control_get_u64(bucket, "at_most_ns", 0), below);
	}
	write_sample(w, &count, labels, below);
	write_sample(w, &sum, labels, control_get_u64(member(w->stat, "counters"), "drain_ns_total", 0));
}

static void write_sidecore_share(struct writer *w)
{
	struct json_object *share = member(member(w->stat, "sidecore"), "busy_share");

	write_head(w, "viommu_sidecore_busy_ratio", "gauge", NULL,
		   "part of its time since it started that the sidecore spent in rounds with work");
	write_series(w, "viommu_sidecore_busy_ratio", "", NULL);
	fprintf(w->out, " %.6f\n", json_object_get_double(share));
}

/* Which device is where: to be joined with the others by its name. */
static void write_device_info(struct writer *w)
{
	write_head(w, "viommu_device_state", "gauge", NULL,
		   "1; the labels tell a device's address, and its domain by the guest's tables");
	for (size_t i = 0; i < control_get_length(w->stat, "devices"); i++) {
		struct json_object *device = control_get_item(w->stat, "devices", i);
		uint64_t domain = control_get_u64(device, "domain", UINT64_MAX);
		char id[24] = "none";
		struct label labels[] = {{"iommu", unit_of(w, device)},
					 {"device", control_get_text(device, "device")},
					 {"address", control_get_text(device, "address")},
					 {"translation", control_get_text(device, "translation")},
					 {"domain", id},
					 {NULL, NULL}};

		if (domain != UINT64_MAX)
			snprintf(id, sizeof(id), "%" PRIu64, domain);
		write_series(w, "viommu_device_state", "", labels);
		fprintf(w->out, " 1\n");
	}
}

void openmetrics_write(FILE *out, struct json_object *stat, const char *unit)
{
	struct writer w = {out, stat, control_get_text(stat, "directory"), unit};

	write_tables(&w);
	write_reasons(&w);
	write_drains(&w);
	write_sidecore_share(&w);
	write_device_info(&w);
	fprintf(out, "# EOF\n");
}
