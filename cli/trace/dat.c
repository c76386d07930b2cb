/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/dat.h"

#include <errno.h>

#ifdef HAVE_TRACECMD
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include <trace-cmd/trace-cmd.h>

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
	struct tep_record *ahead; /* a record whose line comes after that of what was lost before it */
	struct trace_seq text;
	uint64_t number;
};

static int add_sources(struct dat *d)
{
	int buffers = tracecmd_buffer_instances(d->input), cpus = tep_get_cpus(d->tep);

	d->sources = calloc((size_t)(buffers + 1) * (size_t)cpus + 1, sizeof(*d->sources));
	if (!d->sources)
		return -ENOMEM;
	for (int buffer = -1; buffer < buffers; buffer++) {
		struct tracecmd_input *input =
			buffer < 0 ? d->input : tracecmd_buffer_instance_handle(d->input, buffer);

		for (int cpu = 0; input && cpu < cpus; cpu++)
			d->sources[d->count++] = (struct source){.input = input, .cpu = cpu};
	}
	return 0;
}

int dat_open(const char *path, struct dat **ret_dat)
{
	struct dat *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	tracecmd_set_loglevel(TEP_LOG_NONE);
	d->input = tracecmd_open(path, TRACECMD_FL_LOAD_NO_PLUGINS);
	if (!d->input) {
		free(d);
		return -EBADMSG;
	}
	d->tep = tracecmd_get_tep(d->input);
	trace_seq_init(&d->text);
	err = add_sources(d);
	if (err) {
		dat_close(d);
		return err;
	}
	*ret_dat = d;
	return 0;
}

void dat_close(struct dat *d)
{
	if (!d)
		return;
	tracecmd_free_record(d->ahead);
	for (unsigned i = 0; i < d->count; i++)
		tracecmd_free_record(d->sources[i].next);
	for (unsigned i = 0; i < d->count; i++)
		if (d->sources[i].cpu == 0 && d->sources[i].input != d->input)
			tracecmd_close(d->sources[i].input);
	free(d->sources);
	tracecmd_close(d->input);
	trace_seq_destroy(&d->text);
	free(d);
}

static int give(struct dat *d, char **ret_text, size_t *ret_len)
{
	trace_seq_terminate(&d->text);
	if (d->text.state != TRACE_SEQ__GOOD)
		return -ENOMEM;
	*ret_text = d->text.buffer;
	*ret_len = d->text.len;
	d->number++;
	return 1;
}

static int give_record(struct dat *d, struct tep_record *record, char **ret_text, size_t *ret_len)
{
	trace_seq_printf(&d->text, "x-1 [%03d] %" PRIu64 ".%09" PRIu64 ": ", record->cpu,
			 (uint64_t)record->ts / 1000000000, (uint64_t)record->ts % 1000000000);
	tep_print_event(d->tep, &d->text, record, "%s: %s", TEP_PRINT_NAME, TEP_PRINT_INFO);
	tracecmd_free_record(record);
	return give(d, ret_text, ret_len);
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

int dat_next(struct dat *d, char **ret_text, size_t *ret_len)
{
	struct tep_record *record = d->ahead;

	trace_seq_reset(&d->text);
	d->ahead = NULL;
	if (record)
		return give_record(d, record, ret_text, ret_len);
	record = read_first(d);
	if (!record)
		return 0;
	if (!record->missed_events)
		return give_record(d, record, ret_text, ret_len);
	/* Negative: it does not say how many. */
	if (record->missed_events > 0)
		trace_seq_printf(&d->text, "CPU:%d [LOST %lld EVENTS]", record->cpu,
				 (long long)record->missed_events);
	else
		trace_seq_printf(&d->text, "CPU:%d [LOST EVENTS]", record->cpu);
	d->ahead = record;
	return give(d, ret_text, ret_len);
}

uint64_t dat_number(const struct dat *d)
{
	return d->number;
}

#else /* without libtracecmd */

int dat_open(const char *path, struct dat **ret_dat)
{
	return -EOPNOTSUPP;
}

void dat_close(struct dat *d)
{
}

int dat_next(struct dat *d, char **ret_text, size_t *ret_len)
{
	return 0;
}

uint64_t dat_number(const struct dat *d)
{
	return 0;
}

#endif
