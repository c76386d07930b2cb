/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/missing.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void missing_add(struct missing *m, uint64_t number, const char *text)
{
	struct trace_line *line = &m->lines[m->count];
	size_t len = strlen(text);

	if (m->count == MISSING_SHOWN)
		return;
	line->number = number;
	line->is_cut = len >= sizeof(line->text);
	if (line->is_cut)
		len = sizeof(line->text) - 1;
	for (size_t i = 0; i < len; i++)
		line->text[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : text[i] == '\t' ? ' ' : '?';
	line->text[len] = '\0';
	m->count++;
}

/* A text that grows, as far as there is room. */
struct sentence {
	char *text;
	size_t size, used;
};

static __attribute__((format(printf, 2, 3))) void say(struct sentence *s, const char *format, ...)
{
	va_list args;
	int len;

	if (s->used >= s->size)
		return;
	va_start(args, format);
	len = vsnprintf(s->text + s->used, s->size - s->used, format, args);
	va_end(args);
	s->used += len > 0 ? (size_t)len : 0;
}

static void mark_cut(const struct sentence *s)
{
	static const char mark[] = "...";

	if (s->used >= s->size && s->size >= sizeof(mark))
		memcpy(s->text + s->size - sizeof(mark), mark, sizeof(mark));
}

static void say_unreadable(struct sentence *s, const struct missing *m, uint64_t bad, uint64_t read)
{
	say(s, " %" PRIu64 " of %" PRIu64 " lines about DMA cannot be read", bad, bad + read);
	if (m->count)
		say(s, " (the first is line %" PRIu64 ")", m->lines[0].number);
}

static void say_lost(struct sentence *s, uint64_t lost, uint64_t marks)
{
	say(s, " the recorder lost");
	if (lost)
		say(s, " %" PRIu64 "%s events", lost, marks > 1 ? " or more" : "");
	else
		say(s, " events");
	say(s, " in %" PRIu64 " gap%s", marks, marks == 1 ? "" : "s");
}

static void say_crowded(struct sentence *s, uint64_t crowded)
{
	say(s, " %" PRIu64 " map%s left out, as %u others are mapped in the page", crowded,
	    crowded == 1 ? " is" : "s are", LIVE_AT_PAGE);
}

static void say_untold(struct sentence *s, const struct missing *m, const uint64_t *counts)
{
	uint64_t untold = counts[JOIN_untold], inferred = counts[JOIN_inferred],
		 maps = counts[JOIN_iommu_maps];

	say(s,
	    " no event of DMA tells %" PRIu64 " of %" PRIu64
	    " maps of the IOMMU (those of NVMe since Linux 6.17):",
	    untold + inferred, maps);
	if (untold)
		say(s, " %" PRIu64 " are left out, as their device is not known%s", untold,
		    inferred ? ", and" : "");
	if (inferred && m->inferred_of)
		say(s, " %" PRIu64 " are inferred to be buffers of %s, the one device in it that fits",
		    inferred, m->inferred_of);
	else if (inferred)
		say(s, " %" PRIu64 " are inferred to be buffers of the one device that fits each", inferred);
}

bool missing_tell(const struct missing *m, const struct join *j, char *text, size_t size)
{
	const uint64_t *counts = j->counts;
	uint64_t bad = counts[JOIN_unreadable], gaps = counts[JOIN_lost_marks],
		 cut = counts[JOIN_lists_truncated], untold = counts[JOIN_untold],
		 inferred = counts[JOIN_inferred], crowded = counts[JOIN_crowded];
	bool any = bad || gaps || cut || crowded;
	struct sentence s = {text, size, 0};

	if (!any && !untold && !inferred)
		return false;
	say(&s, "this trace is not complete:");
	if (bad)
		say_unreadable(&s, m, bad, counts[JOIN_dma_events]);
	if (gaps) {
		say(&s, "%s", bad ? ";" : "");
		say_lost(&s, counts[JOIN_lost_events], gaps);
	}
	if (cut)
		say(&s, "%s the kernel recorded the first 128 entries only of %" PRIu64 " scatter list%s",
		    bad || gaps ? ";" : "", cut, cut == 1 ? "" : "s");
	if (crowded) {
		say(&s, "%s", bad || gaps || cut ? ";" : "");
		say_crowded(&s, crowded);
	}
	if (untold || inferred) {
		say(&s, "%s", any ? ";" : "");
		say_untold(&s, m, counts);
	}
	if (bad || untold || inferred)
		say(&s, "; what 'viommu trace record' writes can be read whole");
	if (gaps)
		say(&s, "; 'viommu trace record' with a larger --buffer loses less");
	mark_cut(&s);
	return true;
}
