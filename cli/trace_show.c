/* SPDX-License-Identifier: BSD-3-Clause */
/* What is in a trace: its devices, what they were given, for how long, and what was not joined. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cli/command.h"
#include "cli/number_map.h"
#include "cli/progress.h"
#include "cli/replay/histogram.h"
#include "cli/replay/output.h"
#include "cli/trace/trace.h"
#include "cli/trace_command.h"
#include "os/sentence.h"

#define TELL_EVERY 8192

/* What one device was given. */
struct device {
	uint64_t maps, unmaps, syncs, lists, coherent, inferred, to_device, from_device, bytes;
	uint64_t live, most_live, live_bytes, most_live_bytes;
	struct histogram sizes, lives; /* bytes; ns from map to unmap */
};

struct show {
	const char *file;
	bool as_json;
	struct trace *trace;
	struct device **devices;
	unsigned count;
	struct number_map begun; /* by mapping: when, in ns since the first step */
	uint64_t first_ns, last_ns, steps, last_list;
};

static struct device *device_of(struct show *s, unsigned number)
{
	while (s->count <= number) {
		struct device **devices = realloc(s->devices, (s->count + 1) * sizeof(*devices));

		if (!devices)
			return NULL;
		s->devices = devices;
		devices[s->count] = calloc(1, sizeof(**devices));
		if (!devices[s->count])
			return NULL;
		s->count++;
	}
	return s->devices[number];
}

static int take_map(struct show *s, struct device *d, const struct trace_step *step)
{
	d->maps++;
	d->bytes += step->len;
	d->coherent += step->coherent;
	d->inferred += step->inferred;
	d->to_device += (step->direction & TRACE_TO_DEVICE) != 0;
	d->from_device += (step->direction & TRACE_FROM_DEVICE) != 0;
	d->lists += step->list && step->list != s->last_list;
	s->last_list = step->list;
	histogram_add(&d->sizes, step->len, 1);
	if (++d->live > d->most_live)
		d->most_live = d->live;
	d->live_bytes += step->len;
	if (d->live_bytes > d->most_live_bytes)
		d->most_live_bytes = d->live_bytes;
	return number_map_put(&s->begun, step->mapping, step->time_ns - s->first_ns);
}

static void take_unmap(struct show *s, struct device *d, const struct trace_step *step)
{
	uint64_t began;

	d->unmaps++;
	d->live--;
	d->live_bytes -= step->len;
	if (number_map_take(&s->begun, step->mapping, &began))
		histogram_add(&d->lives, step->time_ns - s->first_ns - began, 1);
}

static int take_step(struct show *s, const struct trace_step *step)
{
	struct device *d = device_of(s, step->device);

	if (!d)
		return -ENOMEM;
	if (!s->steps++)
		s->first_ns = step->time_ns;
	s->last_ns = step->time_ns;
	if (step->kind == TRACE_MAP)
		return take_map(s, d, step);
	if (step->kind == TRACE_UNMAP)
		take_unmap(s, d, step);
	else
		d->syncs++;
	return 0;
}

static int read_all(struct show *s, char *why, size_t why_size)
{
	struct progress progress;
	struct trace_step step;
	uint64_t done, of;
	int got, err = 0;

	progress_begin(&progress);
	while (!err && (got = trace_next(s->trace, &step, why, why_size)) > 0) {
		err = take_step(s, &step);
		if (s->steps % TELL_EVERY)
			continue;
		trace_progress(s->trace, &done, &of);
		progress_show(&progress, "reading the trace", done, of);
	}
	progress_end(&progress);
	if (err)
		os_say(why, why_size, "no memory");
	return err ? err : got;
}

/* -------------------------------------------------------------------- telling it */

static void print_number(const char *name, double value)
{
	char text[32];

	replay_format_number(value, text, sizeof(text));
	printf("  %-34s %8s\n", name, text);
}

static void print_spread(const char *name, const struct histogram *h, bool is_time)
{
	static const double percents[] = {50, 90, 99, 100};
	char text[32];

	printf("  %-34s", name);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		double value = (double)histogram_percentile(h, percents[i]);

		if (is_time)
			replay_format_time(value / 1e3, text, sizeof(text));
		else
			replay_format_number(value, text, sizeof(text));
		printf(" %8s", text);
	}
	putchar('\n');
}

static void print_device(const char *name, const struct device *d)
{
	printf("\n%s\n", name);
	print_number("buffers mapped", (double)d->maps);
	if (d->inferred)
		print_number("of them inferred", (double)d->inferred);
	print_number("unmapped", (double)d->unmaps);
	print_number("synced", (double)d->syncs);
	print_number("for the device to read", (double)d->to_device);
	print_number("for the device to write", (double)d->from_device);
	if (d->lists)
		print_number("scatter lists", (double)d->lists);
	if (d->coherent)
		print_number("allocations", (double)d->coherent);
	print_number("buffers at a time, at most", (double)d->most_live);
	print_number("bytes of them, at most", (double)d->most_live_bytes);
	printf("  %-34s %8s %8s %8s %8s\n", "", "p50", "p90", "p99", "most");
	print_spread("bytes of a buffer", &d->sizes, false);
	if (d->lives.count)
		print_spread("time from map to unmap", &d->lives, true);
}

static void print_unreadable(const struct show *s)
{
	const struct trace_line *lines;
	uint64_t all;
	size_t count = trace_unreadable(s->trace, &lines, &all);

	if (count)
		printf("\nLines that cannot be read, %zu of %" PRIu64 ":\n", count, all);
	for (size_t i = 0; i < count; i++)
		printf("  line %" PRIu64 ": %s%s\n", lines[i].number, lines[i].text,
		       lines[i].is_cut ? "..." : "");
}

/* Others are only known to be there. */
static bool is_used(const struct device *d)
{
	return d->maps || d->unmaps || d->syncs;
}

static unsigned count_used(const struct show *s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < s->count; i++)
		count += is_used(s->devices[i]);
	return count;
}

static void print(const struct show *s)
{
	const struct trace_count *counts;
	size_t count = trace_counts(s->trace, &counts);
	char text[32], why[OS_WHY_SIZE];

	if (trace_missing(s->trace, why, sizeof(why)))
		printf("%s: %s.\n", s->file, why);
	replay_format_time((double)(s->last_ns - s->first_ns) / 1e3, text, sizeof(text));
	printf("%s: %s of DMA, %u device%s\n", s->file, text, count_used(s), count_used(s) == 1 ? "" : "s");
	for (unsigned i = 0; i < s->count; i++)
		if (is_used(s->devices[i]))
			print_device(trace_device_name(s->trace, i), s->devices[i]);
	putchar('\n');
	for (size_t i = 0; i < count; i++)
		if (counts[i].value)
			printf("  %10" PRIu64 "  %s\n", counts[i].value, counts[i].doc);
	print_unreadable(s);
}

static struct json_object *number(uint64_t value)
{
	return json_object_new_uint64(value);
}

static struct json_object *device_object(const char *name, const struct device *d)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "device", json_object_new_string(name));
	json_object_object_add(o, "maps", number(d->maps));
	json_object_object_add(o, "inferred", number(d->inferred));
	json_object_object_add(o, "unmaps", number(d->unmaps));
	json_object_object_add(o, "syncs", number(d->syncs));
	json_object_object_add(o, "lists", number(d->lists));
	json_object_object_add(o, "allocations", number(d->coherent));
	json_object_object_add(o, "bytes", number(d->bytes));
	json_object_object_add(o, "peak_buffers", number(d->most_live));
	json_object_object_add(o, "peak_bytes", number(d->most_live_bytes));
	json_object_object_add(o, "size_p50_bytes", number(histogram_percentile(&d->sizes, 50)));
	json_object_object_add(o, "size_max_bytes", number(d->sizes.most));
	json_object_object_add(o, "life_p50_ns", number(histogram_percentile(&d->lives, 50)));
	json_object_object_add(o, "life_p99_ns", number(histogram_percentile(&d->lives, 99)));
	json_object_object_add(o, "life_max_ns", number(d->lives.most));
	return o;
}

static void add_unreadable(struct json_object *to, const struct show *s)
{
	struct json_object *list = json_object_new_array();
	const struct trace_line *lines;
	uint64_t all;
	size_t count = trace_unreadable(s->trace, &lines, &all);

	for (size_t i = 0; i < count; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "line", number(lines[i].number));
		json_object_object_add(o, "text", json_object_new_string(lines[i].text));
		json_object_array_add(list, o);
	}
	json_object_object_add(to, "unreadable_lines", list);
}

static void print_json(const struct show *s)
{
	struct json_object *all = json_object_new_object(), *devices = json_object_new_array(),
			   *counted = json_object_new_object();
	const struct trace_count *counts;
	size_t count = trace_counts(s->trace, &counts);
	char why[OS_WHY_SIZE];

	if (trace_missing(s->trace, why, sizeof(why)))
		json_object_object_add(all, "missing", json_object_new_string(why));
	json_object_object_add(all, "duration_ns", number(s->last_ns - s->first_ns));
	for (unsigned i = 0; i < s->count; i++)
		if (is_used(s->devices[i]))
			json_object_array_add(devices,
					      device_object(trace_device_name(s->trace, i), s->devices[i]));
	json_object_object_add(all, "devices", devices);
	for (size_t i = 0; i < count; i++)
		json_object_object_add(counted, counts[i].name, number(counts[i].value));
	json_object_object_add(all, "counts", counted);
	add_unreadable(all, s);
	puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
}

static void finish(struct show *s)
{
	trace_close(s->trace);
	for (unsigned i = 0; i < s->count; i++)
		free(s->devices[i]);
	free(s->devices);
	number_map_finish(&s->begun);
}

static int show_file(struct show *s)
{
	char why[OS_WHY_SIZE] = "";
	int err = trace_open(s->file, &s->trace, why, sizeof(why));

	if (!err)
		err = read_all(s, why, sizeof(why));
	if (err)
		return failure("%s: %s", s->file, why);
	if (s->as_json)
		print_json(s);
	else
		print(s);
	return fflush(stdout) || ferror(stdout) ? failure("stdout cannot be written: %s", strerror(errno))
						: 0;
}

int trace_show(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL}};
	struct show s = {.trace = NULL};
	int code, err;

	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (code != 'j')
			return usage_failure("'%s' is not an option of 'viommu trace show'",
					     argv[optind - 1]);
		s.as_json = true;
	}
	if (argc - optind != 1)
		return usage_failure("say which trace: viommu trace show FILE, or - for stdin");
	s.file = argv[optind];
	err = show_file(&s);
	finish(&s);
	return err;
}
