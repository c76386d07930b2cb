/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/replay/cost.h"
#include "cli/replay/load.h"
#include "cli/replay/output.h"
#include "cli/replay/run.h"
#include "cli/replace_file.h"
#include "os/sentence.h"

#define COUNTS_MOST 64
#define HELP_WIDTH  92

enum format { TABLE, JSON, CSV };

/* A command line, and what becomes of it. */
struct replay {
	const char *file, *html; /* html: where to; NULL: no page */
	const char **strategies, **devices;
	size_t strategy_count, device_count;
	enum replay_registers registers;
	unsigned width, rounds;
	enum format format;

	struct progress progress;
	const char *doing; /* what the progress is of */
	struct trace *trace;
	char missing[OS_WHY_SIZE]; /* in the trace; empty: nothing */
	struct trace_count counts[COUNTS_MOST];
	struct replay_steps steps;
	struct replay_memory memory;
	struct replay_result *results;
	size_t result_count;
};

/* --------------------------------------------------------------- the request */

static const struct option options[] = {
	{"strategy", required_argument, NULL, 's'},
	{"device", required_argument, NULL, 'd'},
	{"registers", required_argument, NULL, 'r'},
	{"width", required_argument, NULL, 'w'},
	{"rounds", required_argument, NULL, 'n'},
	{"html", required_argument, NULL, 'h'},
	{"json", no_argument, NULL, 'j'},
	{"csv", no_argument, NULL, 'c'},
	{NULL},
};

static int take_registers(struct replay *r, const char *value)
{
	if (!strcmp(value, "sidecore"))
		r->registers = REPLAY_SIDECORE;
	else if (!strcmp(value, "trap"))
		r->registers = REPLAY_TRAP;
	else
		return usage_failure("--registers is sidecore or trap, not '%s'", value);
	return 0;
}

/* 0, or the exit status. */
static int take_number(const char *option, const char *what, unsigned least, unsigned most, const char *value,
		       unsigned *ret_number)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (*end || end == value || number < least || number > most)
		return usage_failure("%s is a number of %s from %u to %u, not '%s'", option, what, least,
				     most, value);
	*ret_number = (unsigned)number;
	return 0;
}

static int take_strategy(struct replay *r, const char *value)
{
	char why[OS_WHY_SIZE];

	if (replay_check_strategy(value, why, sizeof(why)))
		return usage_failure("--strategy %s: %s; 'viommu replay --help' lists them", value, why);
	r->strategies[r->strategy_count++] = value;
	return 0;
}

static int take_option(struct replay *r, int code, char **argv)
{
	switch (code) {
	case 's':
		return take_strategy(r, optarg);
	case 'd':
		r->devices[r->device_count++] = optarg;
		return 0;
	case 'r':
		return take_registers(r, optarg);
	case 'w':
		return take_number("--width", "bits", 12, 64, optarg, &r->width);
	case 'n':
		return take_number("--rounds", "rounds", 1, COST_ROUNDS_MOST, optarg, &r->rounds);
	case 'h':
		r->html = optarg;
		return 0;
	case 'j':
	case 'c':
		r->format = code == 'j' ? JSON : CSV;
		return 0;
	case ':':
		return usage_failure("%s needs a value; 'viommu replay --help' tells which",
				     argv[optind - 1]);
	default:
		return usage_failure(
			"'%s' is not an option of 'viommu replay'; 'viommu replay --help' lists them",
			argv[optind - 1]);
	}
}

static void take_all_strategies(struct replay *r)
{
	const struct viommu_dma_strategy_info *info;

	while ((info = viommu_dma_strategy_describe(r->strategy_count)))
		r->strategies[r->strategy_count++] = info->name;
}

static size_t count_strategies(void)
{
	size_t count = 0;

	while (viommu_dma_strategy_describe(count))
		count++;
	return count;
}

/* Without a core of its own a sidecore only takes turns with whom it serves. */
static enum replay_registers usual_registers(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) > 1 ? REPLAY_SIDECORE
										 : REPLAY_TRAP;
}

static int parse(struct replay *r, int argc, char **argv)
{
	int code, err;

	r->strategies = calloc((size_t)argc + count_strategies(), sizeof(*r->strategies));
	r->devices = calloc((size_t)argc, sizeof(*r->devices));
	if (!r->strategies || !r->devices)
		return failure("no memory");
	r->registers = usual_registers();
	opterr = 0;
	while ((code = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		err = take_option(r, code, argv);
		if (err)
			return err;
	}
	if (optind == argc)
		return usage_failure("say which trace: viommu replay FILE, or - for stdin");
	if (optind + 1 < argc)
		return usage_failure("'%s' is too much; one trace at a time", argv[optind + 1]);
	r->file = argv[optind];
	if (!r->strategy_count)
		take_all_strategies(r);
	return 0;
}

/* ------------------------------------------------------------------- doing it */

static void show_progress(void *arg, uint64_t done, uint64_t of)
{
	struct replay *r = arg;

	progress_show(&r->progress, r->doing, done, of);
}

static int load(struct replay *r)
{
	struct replay_wish wish = {
		.devices = r->devices, .device_count = r->device_count, .progress = show_progress, .arg = r};
	char why[OS_WHY_SIZE] = "";
	int err = replay_steps_init(&r->steps);

	if (err)
		return failure(
			"no temporary file can be made: %s; set TMPDIR to a folder where that is allowed",
			strerror(-err));
	if (trace_open(r->file, &r->trace, why, sizeof(why)))
		return failure("%s: %s", r->file, why);
	r->doing = "reading the trace";
	err = replay_load(&r->steps, r->trace, &wish, why, sizeof(why));
	progress_end(&r->progress);
	if (err)
		return failure("%s: %s", r->file, why);
	trace_missing(r->trace, r->missing, sizeof(r->missing));
	err = replay_memory_init(&r->memory, &r->steps.blocks);
	return err ? failure("no memory for the memory of the trace: %s", strerror(-err)) : 0;
}

static uint64_t find_count(const struct replay *r, const char *name)
{
	const struct trace_count *counts;
	size_t count = trace_counts(r->trace, &counts);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(counts[i].name, name))
			return counts[i].value;
	return 0;
}

static int run_strategy(struct replay *r, size_t i)
{
	struct replay_options o = {.strategy = r->strategies[i],
				   .registers = r->registers,
				   .rounds = r->rounds,
				   .width = r->width,
				   .progress = show_progress,
				   .arg = r};
	char why[OS_WHY_SIZE];
	int err;

	r->doing = r->strategies[i];
	err = replay_run(&r->steps, &r->memory, &o, &r->results[i], why, sizeof(why));
	progress_end(&r->progress);
	r->results[i].inferred_maps = r->steps.facts.inferred;
	r->results[i].untold_maps = find_count(r, "untold");
	return err ? failure("%s", why) : 0;
}

static int run_all(struct replay *r)
{
	r->results = calloc(r->strategy_count, sizeof(*r->results));
	if (!r->results)
		return failure("no memory");
	for (size_t i = 0; i < r->strategy_count; i++) {
		int err = run_strategy(r, i);

		if (err)
			return err;
		r->result_count++;
	}
	return 0;
}

/* ---------------------------------------------------------------- telling it */

/* Those of the trace, and what replay itself left out. */
static const struct trace_count *list_counts(struct replay *r, size_t *ret_count)
{
	const struct trace_count *counts;
	size_t count = trace_counts(r->trace, &counts);

	if (count >= COUNTS_MOST)
		count = COUNTS_MOST - 1;
	memcpy(r->counts, counts, count * sizeof(*counts));
	r->counts[count] =
		(struct trace_count){"left_out", "maps that are " REPLAY_LEFT_OUT, r->steps.facts.left_out};
	*ret_count = count + 1;
	return r->counts;
}

static void print_unreadable(const struct replay *r)
{
	const struct trace_line *lines;
	uint64_t all;
	size_t count = trace_unreadable(r->trace, &lines, &all);

	for (size_t i = 0; i < count; i++)
		printf("  cannot be read: line %llu: %.60s...\n", (unsigned long long)lines[i].number,
		       lines[i].text);
	if (count)
		printf("  ('viommu trace show' shows %zu of %llu such lines whole)\n", count,
		       (unsigned long long)all);
}

static void print_trace(struct replay *r)
{
	const struct replay_facts *f = &r->steps.facts;
	char memory[32], duration[32];
	size_t count;
	const struct trace_count *counts = list_counts(r, &count);

	if (*r->missing)
		printf("%s: %s.\n", r->file, r->missing);
	replay_format_number((double)r->memory.size, memory, sizeof(memory));
	replay_format_time((double)f->last_ns / 1e3, duration, sizeof(duration));
	printf("%llu buffers", (unsigned long long)f->maps);
	if (f->inferred)
		printf(" (%llu of them inferred)", (unsigned long long)f->inferred);
	printf(" of %u device%s in %s, in %sB of memory, registers by %s.\n", f->devices,
	       f->devices == 1 ? "" : "s", duration, memory,
	       r->registers == REPLAY_SIDECORE ? "a sidecore" : "traps");
	for (size_t i = 0; i < count; i++)
		if (counts[i].value)
			printf("  %10llu  %s\n", (unsigned long long)counts[i].value, counts[i].doc);
	print_unreadable(r);
}

/* JSON and CSV are read by programs: who looks at the terminal reads it there. */
static void warn_of_missing(const struct replay *r)
{
	if (*r->missing && r->format != TABLE)
		fprintf(stderr, "viommu: %s: %s\n", r->file, r->missing);
}

static int print(struct replay *r)
{
	size_t count;
	const struct trace_count *counts = list_counts(r, &count);

	warn_of_missing(r);
	if (r->format == JSON &&
	    replay_print_json(stdout, r->results, r->result_count, counts, count, r->missing))
		return failure("no memory");
	if (r->format == CSV)
		replay_print_csv(stdout, r->results, r->result_count, r->missing);
	if (r->format == TABLE) {
		print_trace(r);
		putchar('\n');
		replay_print_table(stdout, r->results, r->result_count);
		putchar('\n');
		replay_print_advice(stdout, r->results, r->result_count, REPLAY_ADVICE_WIDTH);
	}
	return fflush(stdout) || ferror(stdout) ? failure("stdout cannot be written: %s", strerror(errno))
						: 0;
}

static void fill_page(FILE *to, struct replay *r, const char **names)
{
	struct replay_report report = {.file = strcmp(r->file, "-") ? r->file : "a trace on stdin",
				       .devices = names,
				       .maps = r->steps.facts.maps,
				       .inferred = r->steps.facts.inferred,
				       .memory = r->memory.size,
				       .results = r->results,
				       .count = r->result_count};

	for (unsigned i = 0; i < trace_device_count(r->trace); i++)
		if (replay_steps_have(&r->steps, i))
			names[report.device_count++] = trace_device_name(r->trace, i);
	report.counts = list_counts(r, &report.count_count);
	report.missing = r->missing;
	replay_print_html(to, &report);
}

static int write_page(struct replay *r)
{
	const char **names = calloc(trace_device_count(r->trace) + 1, sizeof(*names));
	char *text = NULL;
	size_t size = 0;
	FILE *to = names ? open_memstream(&text, &size) : NULL;
	int err = -ENOMEM;

	if (to) {
		fill_page(to, r, names);
		err = fclose(to) ? -ENOMEM : replace_file(r->html, text, size, REPLACE_FOR_ALL);
	}
	free(text);
	free(names);
	return err ? failure("%s cannot be written: %s", r->html, strerror(-err)) : 0;
}

static void finish(struct replay *r)
{
	if (r->trace)
		trace_close(r->trace);
	replay_memory_finish(&r->memory);
	replay_steps_finish(&r->steps);
	free(r->results);
	free(r->strategies);
	free(r->devices);
}

static int run(int argc, char **argv)
{
	struct replay r = {.steps = {.fd = -1}};
	int err = parse(&r, argc, argv);

	progress_begin(&r.progress);
	if (!err)
		err = load(&r);
	if (!err)
		err = run_all(&r);
	if (!err && r.html)
		err = write_page(&r);
	if (!err)
		err = print(&r);
	finish(&r);
	return err;
}

/* Below a term, in lines that fit a screen. */
static void print_folded(const char *text)
{
	int column = 0;

	while (*text) {
		int length = (int)strcspn(text, " ");

		if (column && column + 1 + length > HELP_WIDTH) {
			printf("\n");
			column = 0;
		}
		column += printf("%s%.*s", column ? " " : "        ", length, text);
		text += length + strspn(text + length, " ");
	}
	printf("\n");
}

static void print_strategy(const struct viommu_dma_strategy_info *info)
{
	printf("  %s", info->name);
	for (size_t i = 0; i < info->option_count; i++)
		printf("[,%s=%llu]", info->options[i].name, (unsigned long long)info->options[i].usual);
	printf("\n");
	print_folded(info->doc);
	for (size_t i = 0; i < info->option_count; i++) {
		const struct viommu_dma_option_info *o = &info->options[i];
		char text[256];

		snprintf(text, sizeof(text), "%s=%llu to %llu %s: %s", o->name, (unsigned long long)o->least,
			 (unsigned long long)o->most, o->unit, o->doc);
		print_folded(text);
	}
}

static void print_more_help(void)
{
	size_t count;
	const struct replay_column *columns = replay_columns(&count);

	printf("\nThe strategies, and the usual values of their options:\n\n");
	for (size_t i = 0; viommu_dma_strategy_describe(i); i++)
		print_strategy(viommu_dma_strategy_describe(i));
	printf("\nThe columns of --json and --csv, beside strategy and registers; the table has the most\n"
	       "important ones:\n\n");
	for (size_t i = 0; i < count; i++) {
		printf("  %s\n", columns[i].name);
		print_folded(columns[i].doc);
	}
}

_Static_assert(COST_ROUNDS_MOST == 8, "the help text says so");

const struct command replay_command = {
	.name = "replay",
	.run = run,
	.summary = "what each DMA mapping strategy costs and leaves exposed, on a recorded trace",
	.help = "usage: viommu replay FILE [--strategy NAME[,OPTION=VALUE]...]... [--device NAME]...\n"
		"                     [--registers sidecore|trap] [--width BITS] [--rounds N]\n"
		"                     [--json | --csv] [--html REPORT]\n\n"
		"Executes a trace of DMA mappings: each strategy really maps, unmaps and invalidates, in "
		"the\n"
		"tables of an emulated VT-d unit, what the recorded drivers mapped and unmapped, at the\n"
		"times at which they did. The table tells what that costs and what devices could reach.\n"
		"Below it stand which strategy is the safest, which the cheapest, and which to choose.\n\n"
		"  FILE\n"
		"        a trace; - is stdin\n"
		"  --strategy NAME[,OPTION=VALUE]...\n"
		"        a strategy of the list below; may be repeated; default: each strategy, with its\n"
		"        usual options\n"
		"  --device NAME\n"
		"        only the buffers of this device; may be repeated; default: all devices, each with\n"
		"        an address space and a unit of its own\n"
		"  --registers sidecore|trap\n"
		"        how the driver reaches the unit: a thread polls its registers, or each access is a\n"
		"        message over a socket and an answer, as for a guest that exits (without the cost\n"
		"        of the exit itself; 'viommu bench guest' has all of it). Default sidecore, or trap\n"
		"        where there is one core only\n"
		"  --width BITS\n"
		"        the devices put out addresses of so many bits; default: as many as the unit takes.\n"
		"        Addresses below 4 GiB are used first in any case\n"
		"  --rounds N\n"
		"        time the calls of each strategy in so many rounds, 1 to 8, one after the other;\n"
		"        default: three or more, fewer if they take over a minute. One is enough where\n"
		"        only the exposure matters\n"
		"  --json\n"
		"        an array with an object for each strategy, with what was counted in the trace\n"
		"  --html REPORT\n"
		"        write a page for people, too: cost against exposure, mapped pages over time, the\n"
		"        table and what was not joined, in one file that needs nothing else\n"
		"  --csv\n"
		"        the names of the columns, and a line for each strategy. When the trace is not\n"
		"        complete the first column is 'missing', and tells by how much\n\n"
		"Strategies live in the trace's time: what they keep for 10 ms they keep for 10 ms of it. "
		"What\n"
		"calls take is real time, measured in several rounds (--rounds); the device uses each\n"
		"buffer once before it is unmapped. The cost of a buffer is made of the fastest calls among\n"
		"those that did the same work, so other programs change it little. Where the rounds differ\n"
		"so much that another strategy may be the better one, or are too few to tell, the advice\n"
		"says so.\n\n"
		"The trace's memory is what its buffers lie in, in pieces of 2 MiB; the rest of the\n"
		"recorded machine is left out. A strategy that lets a device reach all memory lets it\n"
		"reach the trace's memory. Buffers that the trace does not unmap are unmapped at its end,\n"
		"which is not counted.\n",
	.more_help = print_more_help,
};
