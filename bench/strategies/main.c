/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu-bench-strategies: `viommu bench strategies` runs it. */
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/dma.h>

#include "bench/sample.h"
#include "bench/strategies/loop.h"

#define STRATEGIES_MAX 32
#define ROUNDS_MAX     25

struct request {
	const char *strategies[STRATEGIES_MAX];
	unsigned strategy_count, rounds;
	uint64_t ns; /* of each measurement */
	const char *workload, *registers, *backing;
	bool as_json;
};

/* Of one strategy on one workload with one kind of registers. */
struct row {
	const struct workload *load;
	const char *strategy;
	struct world_kind kind;
	double ops[ROUNDS_MAX], of_passthrough[ROUNDS_MAX];
	struct figures f; /* of the last round, but ops_per_s, which is the median */
	double share;
};

static const char *backing_name(const struct world_kind *kind)
{
	return kind->virtio ? "virtio" : "vtd";
}

/* ------------------------------------------------------------------------ measure */

static void show_progress(const struct workload *load, const struct world_kind *kind, unsigned round,
			  const struct request *r, const char *strategy)
{
	fprintf(stderr, "viommu bench: %s, %s %s, round %u of %u: %s ...\n", load->name, backing_name(kind),
		kind->trap ? "trapped" : "polled", round + 1, r->rounds, strategy);
}

/* A round is passthrough, and then each strategy: what disturbs the machine disturbs all. */
static void measure_round(const struct request *r, const struct workload *load, const struct world_kind *kind,
			  unsigned round, struct row *rows)
{
	struct figures base;

	show_progress(load, kind, round, r, "passthrough");
	loop_measure(load, "passthrough", kind, r->ns, &base);
	for (unsigned i = 0; i < r->strategy_count; i++) {
		struct row *row = &rows[i];

		if (!strcmp(row->strategy, "passthrough")) {
			row->f = base;
		} else {
			show_progress(load, kind, round, r, row->strategy);
			loop_measure(load, row->strategy, kind, r->ns, &row->f);
		}
		row->ops[round] = row->f.ops_per_s;
		row->of_passthrough[round] = row->f.ops_per_s / base.ops_per_s;
	}
}

static void measure(const struct request *r, const struct workload *load, const struct world_kind *kind,
		    struct row *rows)
{
	for (unsigned i = 0; i < r->strategy_count; i++)
		rows[i] = (struct row){.load = load, .strategy = r->strategies[i], .kind = *kind};
	for (unsigned round = 0; round < r->rounds; round++)
		measure_round(r, load, kind, round, rows);
	for (unsigned i = 0; i < r->strategy_count; i++) {
		loop_watch(load, rows[i].strategy, kind, r->ns / 4, &rows[i].f);
		rows[i].f.ops_per_s = median_of(rows[i].ops, r->rounds);
		rows[i].share = median_of(rows[i].of_passthrough, r->rounds);
	}
}

/* --------------------------------------------------------------------------- tell */

static void add_number(struct json_object *o, const char *key, double value)
{
	json_object_object_add(o, key, json_object_new_double(value));
}

static void add_json(struct json_object *array, const struct row *row)
{
	struct json_object *o = json_object_new_object();
	const struct figures *f = &row->f;

	json_object_object_add(o, "strategy", json_object_new_string(row->strategy));
	json_object_object_add(o, "backing", json_object_new_string(backing_name(&row->kind)));
	json_object_object_add(o, "registers", json_object_new_string(row->kind.trap ? "trap" : "sidecore"));
	json_object_object_add(o, "workload", json_object_new_string(row->load->name));
	add_number(o, "ops_per_s", f->ops_per_s);
	add_number(o, "of_passthrough", row->share);
	add_number(o, "map_p50_ns", f->map_p50_ns);
	add_number(o, "unmap_p50_ns", f->unmap_p50_ns);
	add_number(o, "unmap_p50_cycles", f->unmap_p50_cycles);
	json_object_object_add(o, "maps", json_object_new_uint64(f->maps));
	json_object_object_add(o, "invalidations", json_object_new_uint64(f->invalidations));
	add_number(o, "reuse_rate", f->maps ? (double)f->reused / (double)f->maps : 0);
	json_object_object_add(o, "peak_mapped_pages", json_object_new_uint64(f->peak_mapped_pages));
	add_number(o, "stale_p99_us", f->stale_p99_us);
	add_number(o, "stale_max_us", f->stale_max_us);
	add_number(o, "excess_byte_seconds", f->excess_byte_seconds);
	json_object_object_add(o, "bytes_copied", json_object_new_uint64(f->bytes_copied));
	json_object_array_add(array, o);
}

static void print_heading(const struct workload *load, const struct world_kind *kind)
{
	printf("\n%s, %s %s\n\n%-22s %10s %7s %8s %9s %8s %7s %7s %11s\n", load->text,
	       kind->virtio ? "virtio-iommu, its queue" : "VT-d, its registers",
	       kind->trap ? "trapped over vfio-user" : "polled by a sidecore", "strategy", "buffers/s",
	       "of pt", "map, ns", "unmap, ns", "unmap, c", "inval.", "reused", "stale, us");
}

static void print_row(const struct row *row)
{
	const struct figures *f = &row->f;

	printf("%-22s %10.0f %6.1f%% %8.0f %9.0f %8.0f %6.1f%% %6.1f%% %11.1f\n", row->strategy, f->ops_per_s,
	       100 * row->share, f->map_p50_ns, f->unmap_p50_ns, f->unmap_p50_cycles,
	       f->maps ? 100.0 * (double)f->invalidations / (double)f->maps : 0,
	       f->maps ? 100.0 * (double)f->reused / (double)f->maps : 0, f->stale_max_us);
}

static void print_published(void)
{
	printf("\nThe published measurement that this answers to (Amit et al., USENIX ATC 2011: TCP of a "
	       "guest\n"
	       "behind an emulated IOMMU, of the line rate of 10 Gb/s): strict 10 %% on the guest's own "
	       "core,\n"
	       "30 %% on a sidecore, 43 %% on bare metal; optimistic 82 %%, 100 %% and 100 %%.\n\n"
	       "of pt: of passthrough in the same round. map, unmap: the median call; unmap, c: in cycles of "
	       "the\n"
	       "time stamp counter. inval.: invalidations for 100 buffers. stale: the longest time that a "
	       "device\n"
	       "could still reach a page after its unmap.\n");
}

/* ------------------------------------------------------------------------ request */

static int help(void)
{
	printf("usage: viommu bench strategies [--json] [--quick] [--secs N] [--rounds N]\n"
	       "                               [--strategy NAME[,OPTION=VALUE]...]... [--workload nic|disk]\n"
	       "                               [--registers sidecore|trap] [--backing vtd|virtio|all]\n\n"
	       "Measures each DMA mapping strategy in a loop: map a buffer, a device thread moves data\n"
	       "through the emulated unit, unmap. Throughput is told relative to passthrough in the\n"
	       "same round. Two threads: the driver, and one that is the device and the unit: it polls\n"
	       "the unit's registers (sidecore), or each register access is a vfio-user message (trap).\n"
	       "Behind virtio-iommu a batch of requests goes through a virtqueue, with one notification.\n"
	       "How long devices could reach pages comes from a shorter run with a backing that watches.\n\n"
	       "  --json             an array of one object for each row\n"
	       "  --quick            one round of 50 ms each: seconds, rough\n"
	       "  --secs N           seconds of each measurement, may be a fraction (0.3)\n"
	       "  --rounds N         how often each is measured; medians are told (3)\n"
	       "  --strategy NAME[,OPTION=VALUE]...\n"
	       "                     only this one; repeatable; 'viommu replay --help' lists them\n"
	       "  --workload NAME    only nic or disk\n"
	       "  --registers HOW    only sidecore or trap\n"
	       "  --backing UNIT     vtd, the default, virtio or all\n");
	return 0;
}

static int usage(const char *what)
{
	fprintf(stderr, "viommu bench strategies: %s; 'viommu bench strategies --help' lists what there is\n",
		what);
	return 2;
}

static bool is_strategy(const char *text)
{
	const struct viommu_dma_strategy_info *info;
	size_t len = strcspn(text, ",");

	for (size_t i = 0; (info = viommu_dma_strategy_describe(i)); i++)
		if (strlen(info->name) == len && !strncmp(info->name, text, len))
			return true;
	return false;
}

static void take_all(struct request *r)
{
	const struct viommu_dma_strategy_info *info;

	while (r->strategy_count < STRATEGIES_MAX && (info = viommu_dma_strategy_describe(r->strategy_count)))
		r->strategies[r->strategy_count++] = info->name;
}

static const char *take(struct request *r, int c)
{
	char *end;
	double number;

	switch (c) {
	case 'j':
		r->as_json = true;
		return NULL;
	case 'q':
		r->rounds = 1;
		r->ns = 50000000;
		return NULL;
	case 's':
		number = strtod(optarg, &end);
		r->ns = (uint64_t)(number * 1e9);
		return *end || number < 0.001 || number > 3600 ? "--secs is a number of seconds" : NULL;
	case 'r':
		r->rounds = (unsigned)strtoul(optarg, &end, 10);
		return *end || !r->rounds || r->rounds > ROUNDS_MAX ? "--rounds is a number from 1 to 25"
								    : NULL;
	case 'n':
		if (!is_strategy(optarg) || r->strategy_count == STRATEGIES_MAX)
			return "there is no such strategy";
		r->strategies[r->strategy_count++] = optarg;
		return NULL;
	case 'w':
		r->workload = optarg;
		return strcmp(optarg, "nic") && strcmp(optarg, "disk") ? "--workload is nic or disk" : NULL;
	case 'g':
		r->registers = optarg;
		return strcmp(optarg, "sidecore") && strcmp(optarg, "trap")
			       ? "--registers is sidecore or trap"
			       : NULL;
	case 'b':
		r->backing = strcmp(optarg, "all") ? optarg : NULL;
		return r->backing && strcmp(optarg, "vtd") && strcmp(optarg, "virtio")
			       ? "--backing is vtd, virtio or all"
			       : NULL;
	default:
		return "that is no option";
	}
}

static void run_kind(const struct request *r, const struct workload *load, const struct world_kind *kind,
		     struct json_object *array)
{
	struct row rows[STRATEGIES_MAX];

	measure(r, load, kind, rows);
	if (!r->as_json)
		print_heading(load, kind);
	for (unsigned i = 0; i < r->strategy_count; i++) {
		add_json(array, &rows[i]);
		if (!r->as_json)
			print_row(&rows[i]);
	}
}

static bool is_wanted(const char *wanted, const char *name)
{
	return !wanted || !strcmp(wanted, name);
}

static void run(const struct request *r)
{
	static const struct world_kind kinds[] = {{false, false}, {false, true}, {true, false}, {true, true}};
	struct json_object *array = json_object_new_array();

	for (unsigned w = 0; w < workload_count; w++) {
		for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			if (is_wanted(r->workload, workloads[w].name) &&
			    is_wanted(r->registers, kinds[k].trap ? "trap" : "sidecore") &&
			    is_wanted(r->backing, backing_name(&kinds[k])))
				run_kind(r, &workloads[w], &kinds[k], array);
		}
	}
	if (r->as_json)
		printf("%s\n", json_object_to_json_string_ext(array, JSON_C_TO_STRING_PRETTY));
	else
		print_published();
	json_object_put(array);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"quick", no_argument, NULL, 'q'},
		{"secs", required_argument, NULL, 's'},
		{"rounds", required_argument, NULL, 'r'},
		{"strategy", required_argument, NULL, 'n'},
		{"workload", required_argument, NULL, 'w'},
		{"registers", required_argument, NULL, 'g'},
		{"backing", required_argument, NULL, 'b'},
		{"help", no_argument, NULL, 'h'},
		{NULL},
	};
	struct request r = {.rounds = 3, .ns = 300000000, .backing = "vtd"};
	const char *wrong = NULL;
	int c;

	opterr = 0;
	while (!wrong && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			return help();
		wrong = take(&r, c);
	}
	if (!wrong && optind != argc)
		wrong = "it takes options only";
	if (wrong)
		return usage(wrong);
	if (!r.strategy_count)
		take_all(&r);
	run(&r);
	return 0;
}
