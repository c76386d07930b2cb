/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trace that anybody wrote, read line by line, joined, and what it does not tell inferred. Beside what the
 * sanitizers see: time never goes back, a mapping is begun once and ended at most
 * once, syncs are of mappings that live and within them, what lives at the end
 * is what is counted, each line is counted as what it is, and a line that is not
 * read can be shown.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/number_map.h"
#include "cli/trace/event.h"
#include "cli/trace/infer.h"
#include "cli/trace/join.h"
#include "cli/trace/missing.h"
#include "cli/trace/systems.h"
#include "os/sentence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ENDED UINT64_C(0xffffffff) /* in place of a length */

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* `known`: lengths by mapping. */
static void check(struct number_map *known, const struct trace_step *step, uint64_t *io_now,
		  uint64_t *io_live)
{
	uint64_t len;

	require(step->time_ns >= *io_now);
	*io_now = step->time_ns;
	if (step->kind == TRACE_MAP) {
		require(!number_map_get(known, step->mapping, &len) && step->len);
		require(number_map_put(known, step->mapping, step->len % ENDED) == 0);
		(*io_live)++;
		return;
	}
	require(number_map_get(known, step->mapping, &len) && len != ENDED);
	if (step->kind == TRACE_UNMAP) {
		require(step->len % ENDED == len && number_map_put(known, step->mapping, ENDED) == 0);
		(*io_live)--;
	} else {
		require(step->len && step->offset + step->len - 1 >= step->offset);
	}
}

/* A line of an event that is known is read, or told: it never vanishes. */
static void check_counts(const struct event *e, const struct join *j, uint64_t known_before)
{
	const uint64_t *c = j->counts;
	uint64_t known = c[JOIN_dma_events] + c[JOIN_iommu_events] + c[JOIN_unreadable];

	require(e->kind < EVENT_BAD ? known == known_before : known > known_before);
	require(e->kind <= EVENT_BAD || e->kind >= EVENT_IOMMU_MAP || e->kind == EVENT_MAP_SG_FAILED ||
		(e->device_len && e->device_len <= EVENT_DEVICE_LONGEST));
}

static void check_missing(const struct missing *m, const struct join *j)
{
	char text[OS_WHY_SIZE] = "", cut[64];
	bool any = missing_tell(m, j, text, sizeof(text));

	require(any == (j->counts[JOIN_unreadable] || j->counts[JOIN_lost_marks] ||
			j->counts[JOIN_lists_truncated] || j->counts[JOIN_inferred] ||
			j->counts[JOIN_untold] || j->counts[JOIN_crowded]));
	require(any == !!*text && strlen(text) < sizeof(text) - 1);
	require(missing_tell(m, j, cut, sizeof(cut)) == any);
	require(!any || !strcmp(cut, text) || !strcmp(cut + sizeof(cut) - 4, "..."));
	for (size_t i = 0; i < m->count; i++)
		for (const char *at = m->lines[i].text; *at; at++)
			require(*at >= ' ' && *at < 0x7f);
}

static int take_line(struct join *j, struct infer *f, struct systems *systems, struct missing *missing,
		     char *text, size_t len)
{
	struct trace_step step;
	int err = 0, system;
	const uint64_t *c = j->counts;
	uint64_t known = c[JOIN_dma_events] + c[JOIN_iommu_events] + c[JOIN_unreadable],
		 bad = c[JOIN_unreadable];
	struct event e;

	event_parse(text, len, &e);
	require(strlen(text) == len && (!e.has_hole || e.kind == EVENT_NONE || e.kind == EVENT_BAD));
	if (e.kind == EVENT_NONE && !systems_take_heading(systems, text))
		return -1;
	system = systems_find(systems, text, &e.system, &e.system_len);
	require(system <= (int)SYSTEMS_MOST && (system > 0) == !!e.system_len);
	if (system < 0)
		return -1;
	for (size_t i = 0; i < e.system_len; i++)
		require(e.system[i] >= ' ' && e.system[i] <= '~');
	e.system_number = (unsigned)system;
	if (join_event(j, &e))
		return -1;
	check_counts(&e, j, known);
	if (c[JOIN_unreadable] > bad)
		missing_add(missing, 1, text);
	while (!err && join_next(j, &step))
		err = infer_step(f, &step, &e);
	if (!err && (e.kind == EVENT_IOMMU_MAP || e.kind == EVENT_IOMMU_UNMAP))
		err = infer_iommu(f, &e, j->now_ns, c[JOIN_lost_marks]);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *at, *end;
	struct systems *systems = calloc(1, sizeof(*systems));
	struct missing missing = {.count = 0};
	struct number_map known = {0};
	uint64_t now = 0, live = 0;
	struct trace_step step;
	struct infer f;
	struct join j;

	require(text && systems);
	memcpy(text, data, size);
	text[size] = '\0';
	join_init(&j);
	infer_init(&f);
	for (at = text; at < text + size; at = end + 1) {
		end = memchr(at, '\n', (size_t)(text + size - at));
		if (!end)
			end = text + size;
		*end = '\0';
		if (take_line(&j, &f, systems, &missing, at, (size_t)(end - at)))
			break;
		while (infer_next(&f, &step))
			check(&known, &step, &now, &live);
	}
	infer_end(&f);
	while (infer_next(&f, &step))
		check(&known, &step, &now, &live);
	if (at >= text + size)
		require(live == j.counts[JOIN_left_mapped] + f.left_mapped);
	require(f.inferred + f.untold <= f.maps && f.first == f.count && !f.open);
	j.counts[JOIN_inferred] = f.inferred;
	j.counts[JOIN_untold] = f.untold;
	check_missing(&missing, &j);
	join_finish(&j);
	infer_finish(&f);
	number_map_finish(&known);
	free(systems);
	free(text);
	return 0;
}
