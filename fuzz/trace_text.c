/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trace that anybody wrote, read line by line and joined. Beside what the
 * sanitizers see: time never goes back, a mapping is begun once and ended at most
 * once, syncs are of mappings that live and within them, and what lives at the end
 * is what is counted.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/number_map.h"
#include "cli/trace/event.h"
#include "cli/trace/join.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *at, *end;
	struct number_map known = {0};
	uint64_t now = 0, live = 0;
	struct trace_step step;
	struct event e;
	struct join j;

	require(text);
	memcpy(text, data, size);
	text[size] = '\0';
	join_init(&j);
	for (at = text; at < text + size; at = end + 1) {
		end = memchr(at, '\n', (size_t)(text + size - at));
		if (!end)
			end = text + size;
		*end = '\0';
		event_parse(at, (size_t)(end - at), &e);
		if (join_event(&j, &e))
			break;
		while (join_next(&j, &step))
			check(&known, &step, &now, &live);
	}
	if (at >= text + size)
		require(live == j.counts[JOIN_left_mapped]);
	join_finish(&j);
	number_map_finish(&known);
	free(text);
	return 0;
}
