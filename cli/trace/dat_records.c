/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libtraceevent cannot print what the kernel's format calls a function for, such
 * as the arrays of scatter lists. So fields are read as they were recorded, and
 * written as the kernel writes them.
 */
#include "cli/trace/dat_records.h"

#ifdef HAVE_TRACECMD
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <trace-cmd/trace-cmd.h>

/* The library has it and its header does not; without it clocks are not told apart. */
const char *tracecmd_get_trace_clock(struct tracecmd_input *input) __attribute__((weak));

#ifndef BUFFER /* a test has a smaller one */
#define BUFFER	  (256u << 10)
#define LINE_MOST (200u << 10) /* of a record: it lies in one page of the kernel's buffer, at most 64 KiB */
#endif

/* One sequence of records: of a CPU, in the top buffer or in one with a name ('trace-cmd record -B'). */
struct source {
	struct tracecmd_input *input;
	int cpu;
	struct tep_record *next;
	bool ended;
};

struct dat {
	struct tracecmd_input *input;
	struct tep_handle *tep;
	struct source *sources;
	unsigned count;
	int out;
	bool broken;  /* nobody reads on */
	bool too_big; /* the line: something of it had no room */
	size_t line, filled;
	char buffer[BUFFER];
};

/* ---------------------------------------------------------------------------- text */

static void flush(struct dat *d)
{
	for (size_t at = 0; at < d->filled && !d->broken;) {
		ssize_t done = write(d->out, d->buffer + at, d->filled - at);

		if (done <= 0)
			d->broken = true;
		else
			at += (size_t)done;
	}
	d->filled = 0;
}

static __attribute__((format(printf, 2, 3))) void say(struct dat *d, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(d->buffer + d->filled, BUFFER - d->filled, format, args);
	va_end(args);
	if (len > 0 && (size_t)len < BUFFER - d->filled)
		d->filled += (size_t)len;
	else if (len > 0)
		d->too_big = true;
}

static void begin_line(struct dat *d)
{
	if (d->filled > BUFFER - LINE_MOST)
		flush(d);
	d->line = d->filled;
	d->too_big = false;
}

/* In part it might be read as another event than it is; the kernel's text has the same words. */
static void end_line(struct dat *d)
{
	say(d, "\n");
	if (!d->too_big)
		return;
	d->filled = d->line;
	say(d, "[LINE TOO BIG]\n");
}

/* -------------------------------------------------------------------------- fields */

/* What a field of the record is; data NULL: it does not lie within the record. */
struct raw {
	const uint8_t *data;
	int len;
};

static struct raw find_raw(struct tep_event *event, struct tep_record *record, const char *name)
{
	const uint8_t *all = record->data;
	struct raw r = {0};

	r.data = tep_get_field_raw(NULL, event, name, record, &r.len, 0);
	if (r.data &&
	    (r.data < all || r.len < 0 || r.data > all + record->size || r.len > all + record->size - r.data))
		r.data = NULL;
	return r;
}

static void say_text(struct dat *d, const char *before, struct raw r)
{
	say(d, "%s%.*s", before, (int)strnlen((const char *)r.data, (size_t)r.len), (const char *)r.data);
}

/* The numbers of an array, each as wide as its type says. */
static bool say_array(struct dat *d, struct raw r, const char *type)
{
	int width = strstr(type, "64") ? 8 : strstr(type, "int") || strstr(type, "32") ? 4 : 0;

	if (!width && strstr(type, "long"))
		width = tep_get_long_size(d->tep);
	if (!width || r.len % width)
		return false;
	for (int at = 0; at < r.len; at += width)
		say(d, "%s0x%llx", at ? "," : "{", tep_read_number(d->tep, r.data + at, width));
	say(d, r.len ? "}" : "{}");
	return true;
}

static const char *direction_name(uint64_t number)
{
	static const char *const names[] = {"BIDIRECTIONAL", "TO_DEVICE", "FROM_DEVICE", "NONE"};

	return number < sizeof(names) / sizeof(names[0]) ? names[number] : "UNKNOWN";
}

/* As the kernel writes it: its name there, and how. */
static const struct written {
	const char *field, *name;
	enum { HEX, DECIMAL, DIRECTION, ARRAY, TRUNCATED } how;
} written[] = {
	{"dir", "dir", DIRECTION},
	{"truncated", "", TRUNCATED},
	{"dma_addr", "dma_addr", HEX},
	{"addr", "dma_addr", HEX},
	{"size", "size", DECIMAL},
	{"phys_addr", "phys_addr", HEX},
	{"dma_addrs", "dma_addrs", ARRAY},
	{"lengths", "sizes", ARRAY},
	{"phys_addrs", "phys_addrs", ARRAY},
	{"addrs", "phys_addrs", ARRAY},
	{"err", "err", DECIMAL},
	{"attrs", "attrs", HEX}, /* the last: that the line is whole */
};

static bool say_number(struct dat *d, const struct written *w, struct raw r)
{
	uint64_t number;

	if (r.len != 1 && r.len != 2 && r.len != 4 && r.len != 8)
		return false;
	number = tep_read_number(d->tep, r.data, r.len);
	if (w->how == HEX)
		say(d, " %s=%" PRIx64, w->name, number);
	else if (w->how == DECIMAL)
		say(d, " %s=%" PRIu64, w->name, number);
	else if (w->how == DIRECTION)
		say(d, " %s=%s", w->name, direction_name(number));
	else if (number)
		say(d, " [TRUNCATED]");
	return true;
}

/* False: a field is there and cannot be read. */
static bool say_field(struct dat *d, struct tep_event *event, struct tep_record *record,
		      const struct written *w)
{
	struct tep_format_field *field = tep_find_field(event, w->field);
	struct raw r;

	if (!field)
		return true;
	r = find_raw(event, record, w->field);
	if (!r.data)
		return false;
	if (w->how != ARRAY)
		return say_number(d, w, r);
	say(d, " %s=", w->name);
	return say_array(d, r, field->type ? field->type : "");
}

/* "0000:00:02.0 dir=TO_DEVICE dma_addr=..." */
static void say_dma(struct dat *d, struct tep_event *event, struct tep_record *record)
{
	struct raw device = find_raw(event, record, "device");
	bool good = device.data;

	if (good)
		say_text(d, " ", device);
	for (size_t i = 0; good && i < sizeof(written) / sizeof(written[0]); i++)
		good = say_field(d, event, record, &written[i]);
	if (!good)
		say(d, " (a field lies outside of the record)");
}

/* 0 when it is not there: then it is not that event either. */
static uint64_t number_of(struct dat *d, struct tep_event *event, struct tep_record *record, const char *name)
{
	struct raw r = find_raw(event, record, name);

	return r.data && r.len == 8 ? tep_read_number(d->tep, r.data, 8) : 0;
}

/* "IOMMU: iova=0x0 - 0x1000 paddr=0x0 size=4096" */
static void say_iommu(struct dat *d, struct tep_event *event, struct tep_record *record)
{
	uint64_t iova = number_of(d, event, record, "iova"), size = number_of(d, event, record, "size");
	struct raw device = find_raw(event, record, "device"), group = find_raw(event, record, "gid");

	say(d, " IOMMU:");
	if (group.data && group.len == 4)
		say(d, " groupID=%llu", tep_read_number(d->tep, group.data, 4));
	if (device.data) {
		say_text(d, " device=", device);
		return;
	}
	say(d, " iova=0x%016" PRIx64 " - 0x%016" PRIx64, iova, iova + size);
	if (tep_find_field(event, "paddr"))
		say(d, " paddr=0x%016" PRIx64, number_of(d, event, record, "paddr"));
	say(d, " size=%" PRIu64, size);
	if (tep_find_field(event, "unmapped_size"))
		say(d, " unmapped_size=%" PRIu64, number_of(d, event, record, "unmapped_size"));
}

/* ------------------------------------------------------------------------- records */

static void say_record(struct dat *d, struct tep_record *record)
{
	struct tep_event *event = tep_find_event_by_record(d->tep, record);

	begin_line(d);
	say(d, "x-1 [%03d] %" PRIu64 ".%09" PRIu64 ": %s:", record->cpu, (uint64_t)record->ts / 1000000000,
	    (uint64_t)record->ts % 1000000000, event && event->name ? event->name : "unknown");
	if (event && event->system && !strcmp(event->system, "dma"))
		say_dma(d, event, record);
	else if (event && event->system && !strcmp(event->system, "iommu"))
		say_iommu(d, event, record);
	end_line(d);
}

/* Negative: the recorder does not say how many. */
static void say_lost(struct dat *d, const struct tep_record *record)
{
	begin_line(d);
	if (record->missed_events > 0)
		say(d, "CPU:%d [LOST %lld EVENTS]\n", record->cpu, (long long)record->missed_events);
	else
		say(d, "CPU:%d [LOST EVENTS]\n", record->cpu);
}

static int add_sources(struct dat *d)
{
	int buffers = tracecmd_buffer_instances(d->input), cpus = tep_get_cpus(d->tep);

	if (buffers < 0 || cpus < 0)
		return DAT_NOT_UNDERSTOOD;
	d->sources = calloc((size_t)(buffers + 1) * (size_t)cpus + 1, sizeof(*d->sources));
	if (!d->sources)
		return DAT_NO_MEMORY;
	for (int buffer = -1; buffer < buffers; buffer++) {
		struct tracecmd_input *input =
			buffer < 0 ? d->input : tracecmd_buffer_instance_handle(d->input, buffer);

		for (int cpu = 0; input && cpu < cpus; cpu++)
			d->sources[d->count++] = (struct source){.input = input, .cpu = cpu};
	}
	return 0;
}

/* The next of all: each source has its own sequence, of which the first is here. */
static struct tep_record *read_first(struct dat *d)
{
	struct source *first = NULL;
	struct tep_record *record;

	for (unsigned i = 0; i < d->count; i++) {
		struct source *s = &d->sources[i];

		if (!s->next && !s->ended)
			s->next = tracecmd_read_data(s->input, s->cpu);
		s->ended = !s->next;
		if (s->next && (!first || s->next->ts < first->next->ts))
			first = s;
	}
	if (!first)
		return NULL;
	record = first->next;
	first->next = NULL;
	return record;
}

/* Those of the kernel whose unit is another one than ns. */
static bool counts_seconds(struct tracecmd_input *input)
{
	static const char *const others[] = {"counter", "uptime", "x86-tsc", "ppc-tb"};
	const char *clock = tracecmd_get_trace_clock ? tracecmd_get_trace_clock(input) : NULL;

	for (size_t i = 0; clock && i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(clock, others[i]))
			return false;
	return true;
}

bool dat_records_possible(void)
{
	return true;
}

/* The process ends with it, so nothing is given back but the records. */
int dat_records_write(int in, int out)
{
	struct dat *d = calloc(1, sizeof(*d));
	struct tep_record *record;
	int err;

	if (!d)
		return DAT_NO_MEMORY;
	d->out = out;
	tracecmd_set_loglevel(TEP_LOG_NONE);
	d->input = tracecmd_open_fd(in, TRACECMD_FL_LOAD_NO_PLUGINS);
	if (!d->input)
		return DAT_NOT_UNDERSTOOD;
	if (!counts_seconds(d->input))
		return DAT_NO_SECONDS;
	d->tep = tracecmd_get_tep(d->input);
	err = add_sources(d);
	while (!err && !d->broken && (record = read_first(d))) {
		if (record->missed_events)
			say_lost(d, record);
		say_record(d, record);
		tracecmd_free_record(record);
	}
	flush(d);
	return err;
}

#else /* without libtracecmd */

bool dat_records_possible(void)
{
	return false;
}

int dat_records_write(int in, int out)
{
	return DAT_NOT_UNDERSTOOD;
}

#endif
