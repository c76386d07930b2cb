/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/trace/dat.h"
#include "cli/trace/event.h"
#include "cli/trace/infer.h"
#include "cli/trace/join.h"
#include "cli/trace/lines.h"
#include "cli/trace/missing.h"
#include "cli/trace/systems.h"
#include "os/sentence.h"

#define LOOKED_AT    2000		/* lines that say nothing, and it is no trace */
#define IDLE_DEVICES (LIVE_DEVICES / 2) /* that are kept by their name alone; others may do something */
#define SHOWN	     40			/* characters of what was found */

struct trace {
	struct lines *lines;
	struct dat *dat; /* NULL: text */
	struct join join;
	struct infer infer;
	struct systems systems;
	struct missing missing;
	bool any_event, any_no_time, ended;
	uint64_t odd_lines; /* before the first event, that say nothing */
	char first_line[SHOWN + 4];
	struct trace_count counts[JOIN_COUNT_MAX];
};

static const struct trace_count names[JOIN_COUNT_MAX] = {
#define NAME(name, doc) {#name, doc, 0},
	JOIN_COUNTS(NAME)
#undef NAME
};

#define EXPECTED                                                                                             \
	"expected is a trace.dat, or the text of /sys/kernel/tracing/trace, 'trace-cmd report' or 'perf "    \
	"script', gzip or not"

/* 0 also when it is none. */
static int open_dat(struct trace *t, const char *path, char *why, size_t why_size)
{
	char bytes[DAT_MAGIC_LEN];
	int err;

	if (lines_peek(t->lines, bytes, sizeof(bytes)) < sizeof(bytes) ||
	    memcmp(bytes, DAT_MAGIC, sizeof(bytes)))
		return 0;
	err = strcmp(path, "-") ? dat_open(path, &t->dat) : -ESPIPE;
	if (err == -ESPIPE)
		os_say(why, why_size, "a trace.dat of trace-cmd cannot be read from a pipe; give its name");
	else if (err == -EMEDIUMTYPE)
		os_say(why, why_size,
		       "this is a trace.dat of trace-cmd that is compressed with gzip; unpack it first");
	else if (err == -EOPNOTSUPP)
		os_say(why, why_size,
		       "this is a trace.dat of trace-cmd, and viommu was built without libtracecmd; give "
		       "the output of 'trace-cmd report'");
	else if (err)
		os_say(why, why_size, "a process that reads this trace.dat cannot be started: %s",
		       strerror(-err));
	return err;
}

/* Files that begin like this, and what to do with them. */
static const struct {
	const char *bytes;
	size_t len;
	const char *what;
} others[] = {
	{"PERFILE2", 8, "this is a perf.data; give the output of 'perf script'"},
	{"\x7f"
	 "ELF",
	 4, "this is a program"},
	{"BZh", 3, "this is compressed with bzip2; give it uncompressed, or with gzip"},
	{"\xfd"
	 "7zXZ",
	 5, "this is compressed with xz; give it uncompressed, or with gzip"},
	{"\x28\xb5\x2f\xfd", 4, "this is compressed with zstd; give it uncompressed, or with gzip"},
};

static int refuse_others(struct trace *t, char *why, size_t why_size)
{
	char bytes[16];
	size_t len = lines_peek(t->lines, bytes, sizeof(bytes));

	if (!len) {
		os_say(why, why_size, "the file is empty; %s", EXPECTED);
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (len < others[i].len || memcmp(bytes, others[i].bytes, others[i].len))
			continue;
		os_say(why, why_size, "%s; %s", others[i].what, EXPECTED);
		return -EINVAL;
	}
	return 0;
}

int trace_open(const char *path, struct trace **ret_trace, char *why, size_t why_size)
{
	struct trace *t = calloc(1, sizeof(*t));
	int err;

	if (!t) {
		os_say(why, why_size, "no memory");
		return -ENOMEM;
	}
	join_init(&t->join);
	infer_init(&t->infer);
	err = lines_open(path, &t->lines);
	if (err)
		os_say(why, why_size, "the file cannot be read: %s", strerror(-err));
	else
		err = refuse_others(t, why, why_size);
	if (!err)
		err = open_dat(t, path, why, why_size);
	if (err) {
		trace_close(t);
		return err;
	}
	*ret_trace = t;
	return 0;
}

void trace_close(struct trace *t)
{
	if (!t)
		return;
	lines_close(t->lines);
	dat_close(t->dat);
	join_finish(&t->join);
	infer_finish(&t->infer);
	free(t);
}

/* ---------------------------------------------------------------------- lines */

static void keep_first_line(struct trace *t, const char *text, size_t len)
{
	size_t kept = len < SHOWN ? len : SHOWN;

	if (*t->first_line || !len)
		return;
	for (size_t i = 0; i < kept; i++)
		t->first_line[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	if (len > SHOWN)
		strcpy(t->first_line + kept, "...");
}

static int not_a_trace(struct trace *t, char *why, size_t why_size)
{
	if (t->any_no_time)
		os_say(why, why_size,
		       "the events have no times, or times that are no seconds; record with a clock that "
		       "counts them (echo mono > /sys/kernel/tracing/trace_clock), and have them printed "
		       "('perf script -F +time', 'trace-cmd report' without --raw-ts)");
	else
		os_say(why, why_size, "the file begins with '%s', and has no events; %s", t->first_line,
		       EXPECTED);
	return -EINVAL;
}

static uint64_t line_number(const struct trace *t)
{
	return t->dat ? dat_number(t->dat) : lines_number(t->lines);
}

static int explain(const struct trace *t, int err, char *why, size_t why_size)
{
	unsigned long long line = line_number(t);

	if (err == -E2BIG)
		os_say(why, why_size, "line %llu: more than %u mappings live; the unmaps are missing", line,
		       LIVE_MOST);
	else if (err == -ENFILE)
		os_say(why, why_size, "line %llu: more than %u devices", line, LIVE_DEVICES);
	else if (err == -EBADMSG)
		os_say(why, why_size,
		       "the file begins like a trace.dat of trace-cmd, and libtracecmd cannot read it%s: "
		       "%s; can 'trace-cmd report'?",
		       line ? " to its end" : "", dat_error(t->dat));
	else if (err == -EMLINK)
		os_say(why, why_size, "line %llu: more than %u systems", line, SYSTEMS_MOST);
	else if (err == -EIO)
		os_say(why, why_size, "line %llu: the rest of the file cannot be read: %s", line + 1,
		       lines_error(t->lines));
	else
		os_say(why, why_size, "line %llu: %s", line, strerror(-err));
	return err;
}

/* Steps of the event go to wait among those before, and what the IOMMU says to what waits. */
static int infer(struct trace *t, const struct event *e)
{
	uint64_t *counts = t->join.counts;
	struct trace_step step;
	int err = 0;

	while (!err && join_next(&t->join, &step))
		err = infer_step(&t->infer, &step, e);
	if (!err && (e->kind == EVENT_IOMMU_MAP || e->kind == EVENT_IOMMU_UNMAP))
		err = infer_iommu(&t->infer, e, t->join.now_ns, counts[JOIN_lost_marks]);
	return err;
}

/* What the recorder says of the machine: then a device is known also without an event of its own. */
static int take_device(struct trace *t, const char *name)
{
	struct event e = {.kind = EVENT_IOMMU_DEVICE, .device = name, .device_len = strcspn(name, " \r\n")};
	uint32_t device;
	int err;

	if (t->join.device_count >= IDLE_DEVICES) {
		infer_unseen(&t->infer, 0);
		return 0;
	}
	err = event_is_device_name(name, e.device_len) ? join_device(&t->join, &e, &device) : -EINVAL;

	if (err == -EINVAL)
		return 0;
	return err ? err : infer_device(&t->infer, device, 0);
}

static int take_system(struct trace *t, const char *text, struct event *e)
{
	int number = systems_find(&t->systems, text, &e->system, &e->system_len);

	if (number < 0)
		return number;
	e->system_number = (unsigned)number;
	return 0;
}

static int take_line(struct trace *t, char *text, size_t len)
{
	uint64_t unreadable = t->join.counts[JOIN_unreadable];
	struct event e;
	int err;

	t->join.counts[JOIN_lines]++;
	event_parse(text, len, &e);
	/* Of a trace it is a part that was not written. */
	if (e.has_hole && t->any_event)
		e.kind = EVENT_BAD;
	if (!t->any_event) {
		keep_first_line(t, text, len);
		t->any_no_time = t->any_no_time || e.no_time;
		t->any_event = e.kind != EVENT_NONE && !e.no_time;
	}
	if (e.kind == EVENT_NONE && !strncmp(text, TRACE_BEHIND_IOMMU, sizeof(TRACE_BEHIND_IOMMU) - 1))
		return take_device(t, text + sizeof(TRACE_BEHIND_IOMMU) - 1);
	t->odd_lines += !t->any_event;
	if (e.kind == EVENT_NONE && !systems_take_heading(&t->systems, text))
		return -EMLINK;
	err = e.kind > EVENT_BAD ? take_system(t, text, &e) : 0;
	if (!err)
		err = join_event(&t->join, &e);
	if (!err)
		err = infer(t, &e);
	if (t->join.counts[JOIN_unreadable] != unreadable)
		missing_add(&t->missing, line_number(t), text);
	return err;
}

static void leave_out(struct trace *t)
{
	t->join.counts[JOIN_lines]++;
	t->join.counts[JOIN_unreadable]++;
	t->odd_lines++;
	missing_add(&t->missing, line_number(t), "(longer than any line of a trace)");
}

/* 1: a line was taken. */
static int read_line(struct trace *t, char *why, size_t why_size)
{
	char *text;
	size_t len;
	int got = t->dat ? dat_next(t->dat, &text, &len) : lines_next(t->lines, &text, &len);

	if (got == -EMSGSIZE) {
		leave_out(t);
		return 1;
	}
	if (got == 0 && t->any_event)
		return 0;
	t->any_no_time = t->any_no_time || got == -EDOM;
	if (got == 0 || got == -EDOM)
		return not_a_trace(t, why, why_size);
	if (got == 1)
		got = take_line(t, text, len);
	if (got < 0)
		return explain(t, got, why, why_size);
	if (!t->any_event && t->odd_lines >= LOOKED_AT)
		return not_a_trace(t, why, why_size);
	return 1;
}

int trace_next(struct trace *t, struct trace_step *ret_step, char *why, size_t why_size)
{
	while (!infer_next(&t->infer, ret_step)) {
		int got = t->ended ? 0 : read_line(t, why, why_size);

		if (got < 0 || t->ended)
			return got;
		if (!got) {
			t->ended = true;
			infer_end(&t->infer);
		}
	}
	return 1;
}

/* ----------------------------------------------------------------- what others ask */

const char *trace_device_name(const struct trace *t, unsigned device)
{
	return t->join.devices[device];
}

unsigned trace_device_count(const struct trace *t)
{
	return t->join.device_count;
}

void trace_progress(const struct trace *t, uint64_t *ret_read, uint64_t *ret_size)
{
	lines_progress(t->lines, ret_read, ret_size);
}

size_t trace_unreadable(const struct trace *t, const struct trace_line **ret_lines, uint64_t *ret_all)
{
	*ret_all = t->join.counts[JOIN_unreadable];
	*ret_lines = t->missing.lines;
	return t->missing.count;
}

/* What came of what waited is counted there. */
static void take_counts(struct trace *t)
{
	uint64_t *counts = t->join.counts;

	counts[JOIN_iommu_maps] = t->infer.maps;
	counts[JOIN_inferred] = t->infer.inferred;
	counts[JOIN_untold] = t->infer.untold;
	t->missing.inferred_of = t->infer.inferred && t->infer.inferred_device != INFER_NONE
					 ? t->join.devices[t->infer.inferred_device]
					 : NULL;
	counts[JOIN_left_mapped] = t->join.live.count + t->infer.left_mapped;
}

bool trace_missing(const struct trace *t, char *text, size_t size)
{
	take_counts((struct trace *)(uintptr_t)t);
	return missing_tell(&t->missing, &t->join, text, size);
}

size_t trace_counts(const struct trace *t, const struct trace_count **ret_counts)
{
	struct trace *mine = (struct trace *)(uintptr_t)t;

	take_counts(mine);
	for (unsigned i = 0; i < JOIN_COUNT_MAX; i++) {
		mine->counts[i] = names[i];
		mine->counts[i].value = t->join.counts[i];
	}
	*ret_counts = t->counts;
	return JOIN_COUNT_MAX;
}
