/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/metrics_server.h"
#include "cli/openmetrics.h"
#include "cli/query.h"
#include "cli/replace_file.h"
#include "cli/signals.h"
#include "cli/stat_view.h"
#include "cli/terminal.h"
#include "control/message.h"
#include "os/sentence.h"

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

struct stat_options {
	struct query query; /* its dir */
	bool json, openmetrics;
	double interval;    /* seconds; 0: not said */
	unsigned count;	    /* 0: not said */
	const char *file;   /* NULL: stdout */
	const char *listen; /* NULL: no server */
};

/* ------------------------------------------------------------------- options */

static const struct option table[] = {
	{"dir", required_argument, NULL, 'd'},
	{"json", no_argument, NULL, 'j'},
	{"openmetrics", no_argument, NULL, 'o'},
	{"interval", required_argument, NULL, 'i'},
	{"count", required_argument, NULL, 'c'},
	{"file", required_argument, NULL, 'f'},
	{"listen", required_argument, NULL, 'l'},
	{"iommu", required_argument, NULL, 'u'},
	{NULL},
};

static int take_interval(struct stat_options *o, const char *text)
{
	char *end;

	o->interval = strtod(text, &end);
	if (end == text || *end || !(o->interval >= INTERVAL_MIN && o->interval <= INTERVAL_MAX))
		return usage_failure("--interval %s: write seconds, 0.1 to 3600", text);
	return 0;
}

static int take_count(struct stat_options *o, const char *text)
{
	char *end;
	unsigned long count = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || count < 1 || count > 1000000000)
		return usage_failure("--count %s: write a number from 1", text);
	o->count = (unsigned)count;
	return 0;
}

static int take_option(struct stat_options *o, int code)
{
	switch (code) {
	case 'd':
		o->query.dir = optarg;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'o':
		o->openmetrics = true;
		return 0;
	case 'i':
		return take_interval(o, optarg);
	case 'c':
		return take_count(o, optarg);
	case 'f':
		o->file = optarg;
		return 0;
	case 'u':
		o->query.iommu = optarg;
		return 0;
	default:
		o->listen = optarg;
		return 0;
	}
}

static int check_options(const struct stat_options *o)
{
	if (!o->query.dir)
		return usage_failure(
			"say which daemon: --dir DIR, the folder that viommud printed when it was ready");
	if (o->json && (o->openmetrics || o->file || o->listen))
		return usage_failure("--json goes to stdout and is no OpenMetrics; leave one of them out");
	if (o->file && o->listen)
		return usage_failure("--file and --listen are two ways; choose one");
	if (o->listen && (o->interval || o->count))
		return usage_failure(
			"--listen answers when it is asked, so leave --interval and --count out");
	return 0;
}

static int parse(struct stat_options *o, int argc, char **argv)
{
	int code, err = 0;

	*o = (struct stat_options){0};
	opterr = 0;
	while (!err && (code = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (code == ':')
			err = usage_failure("%s needs a value; 'viommu stat --help' says which",
					    argv[optind - 1]);
		else if (code == '?')
			err = usage_failure(
				"'%s' is not an option of 'viommu stat'; 'viommu stat --help' lists them",
				argv[optind - 1]);
		else
			err = take_option(o, code);
	}
	if (!err && optind < argc)
		err = usage_failure("'%s' is too much; 'viommu stat --help' tells what is taken",
				    argv[optind]);
	return err ? err : check_options(o);
}

/* --------------------------------------------------------------------- time */

static int interval_ms(const struct stat_options *o)
{
	return (int)((o->interval ? o->interval : 1) * 1000);
}

/* Once, or as often as was said; with an interval and no count until a signal. */
static bool is_last(const struct stat_options *o, unsigned done)
{
	return o->count ? done >= o->count : !o->interval;
}

/* --------------------------------------------------------- what is printed */

static void print_json(const struct stat_options *o, struct json_object *reply)
{
	bool one = !o->count && !o->interval;

	puts(json_object_to_json_string_ext(reply, (one ? JSON_C_TO_STRING_PRETTY : 0) |
							   JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
}

static char *page_of(const struct stat_options *o, struct json_object *reply, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	openmetrics_write(out, reply, o->query.iommu);
	fclose(out);
	return text;
}

static int put_page(const struct stat_options *o, struct json_object *reply)
{
	size_t len;
	char *text = page_of(o, reply, &len);
	int err = 0;

	if (o->file)
		err = replace_file(o->file, text, len, REPLACE_FOR_ALL);
	else if (fwrite(text, 1, len, stdout) != len || fflush(stdout))
		err = -errno;
	free(text);
	if (err)
		return failure("%s cannot be written: %s", o->file ? o->file : "stdout", strerror(-err));
	return 0;
}

static int put(const struct stat_options *o, struct json_object *reply)
{
	if (!o->json)
		return put_page(o, reply);
	print_json(o, reply);
	return 0;
}

/* Each reply as it is, as JSON or OpenMetrics. */
static int run_samples(const struct stat_options *o, int signals)
{
	for (unsigned done = 1;; done++) {
		struct json_object *reply;
		int err = query_ask(&o->query, "stat", NULL, &reply);

		if (err)
			return err;
		err = put(o, reply);
		json_object_put(reply);
		if (err || is_last(o, done) || signals_wait(signals, interval_ms(o)))
			return err;
	}
}

/* --------------------------------------------------------------------- rates */

/* A GART remaps, and keeps devices from nothing. */
static const char *iommu_text(struct json_object *stat)
{
	const char *iommu = control_get_text(stat, "iommu");

	return strcmp(iommu, "gart") ? iommu : "gart (NOT PROTECTED)";
}

static void print_title(FILE *out, const struct stat_options *o, struct json_object *now, bool live)
{
	fprintf(out, "viommu stat: %s, IOMMU %s%s%s, registers %s, each %g s%s\n",
		control_get_text(now, "directory"), iommu_text(now), o->query.iommu ? " " : "",
		o->query.iommu ? o->query.iommu : "", control_get_text(now, "registers"),
		interval_ms(o) / 1000.0, live ? ", q ends" : "");
}

static void print_rates(const struct stat_options *o, struct json_object *before, struct json_object *now)
{
	struct stat_limits limits = {.domains = 16, .faults = 16};

	print_title(stdout, o, now, false);
	stat_view(stdout, before, now, &limits);
	printf("\n");
	fflush(stdout);
}

static void show_rates(const struct stat_options *o, struct json_object *before, struct json_object *now)
{
	unsigned rows, columns, taken = stat_view_height(now) + 2, left; /* title, cursor */
	struct stat_limits limits;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	terminal_size(&rows, &columns);
	left = rows > taken ? rows - taken : 0;
	limits.domains = left > 6 ? left - 4 : left / 2;
	if (limits.domains > control_get_length(now, "domains"))
		limits.domains = (unsigned)control_get_length(now, "domains");
	limits.faults = left - limits.domains;
	print_title(out, o, now, true);
	stat_view(out, before, now, &limits);
	fclose(out);
	terminal_show(text);
	free(text);
}

/* Rates between each reply and the one before; `live` on a screen of their own. */
static int run_rates(const struct stat_options *o, int signals, bool live)
{
	struct json_object *before = NULL, *now;
	int err = query_ask(&o->query, "stat", NULL, &before);

	for (unsigned done = 1; !err; done++) {
		if (live ? terminal_wait(signals, done == 1 ? 200 : interval_ms(o))
			 : signals_wait(signals, interval_ms(o)) != 0)
			break;
		err = query_ask(&o->query, "stat", NULL, &now);
		if (err)
			break;
		(live ? show_rates : print_rates)(o, before, now);
		json_object_put(before);
		before = now;
		if (!live && is_last(o, done))
			break;
	}
	json_object_put(before);
	return err;
}

static int run_live(const struct stat_options *o, int signals)
{
	int err;

	terminal_begin();
	err = run_rates(o, signals, true);
	terminal_end();
	return err;
}

/* -------------------------------------------------------------------- server */

static char *make_page(void *arg, size_t *ret_len)
{
	const struct stat_options *o = arg;
	struct json_object *reply;
	char *text;

	if (query_ask(&o->query, "stat", NULL, &reply))
		return NULL;
	text = page_of(o, reply, ret_len);
	json_object_put(reply);
	return text;
}

static int run_server(struct stat_options *o, int signals)
{
	struct metrics_server s;
	struct pollfd p[2];
	char why[OS_WHY_SIZE];

	if (metrics_server_open(&s, o->listen, why, sizeof(why)))
		return usage_failure("--listen %s", why);
	printf("viommu: metrics at %s\n", s.where);
	fflush(stdout);
	p[0] = (struct pollfd){.fd = signals, .events = POLLIN};
	p[1] = (struct pollfd){.fd = s.fd, .events = POLLIN};
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[0].revents && signals_wait(signals, 0))
			break;
		if (p[1].revents)
			metrics_server_serve(&s, make_page, o);
	}
	metrics_server_close(&s);
	return 0;
}

static int run(int argc, char **argv)
{
	struct stat_options o;
	int err = parse(&o, argc, argv), signals;

	if (err)
		return err;
	signals = signals_open();
	if (signals < 0)
		return failure("signals cannot be watched: %s", strerror(-signals));
	if (o.listen)
		err = run_server(&o, signals);
	else if (o.json || o.openmetrics || o.file)
		err = run_samples(&o, signals);
	else if (terminal_is_there() && !o.count)
		err = run_live(&o, signals);
	else
		err = run_rates(&o, signals, false);
	close(signals);
	return err;
}

const struct command stat_command = {
	.name = "stat",
	.run = run,
	.summary = "what the IOMMU does now: rates, drains, faults, devices, domains",
	.help = "usage: viommu stat --dir DIR [--iommu NAME] [--interval S] [--count N]\n"
		"       viommu stat --dir DIR [--iommu NAME] --json [--interval S] [--count N]\n"
		"       viommu stat --dir DIR [--iommu NAME] --openmetrics [--interval S] [--count N] "
		"[--file PATH]\n"
		"       viommu stat --dir DIR [--iommu NAME] --openmetrics --listen SOCKET|PORT|HOST:PORT\n\n"
		"On a terminal the screen is drawn anew each S seconds (1); q ends. Otherwise, or with\n"
		"--count, lines are printed: once, N times, or with --interval alone for ever. Rates are\n"
		"those of the last interval. The most active domains are shown one by one.\n\n"
		"With several IOMMUs their figures are added up, each IOMMU has a line, and domains are\n"
		"told with the IOMMU that numbers them; --iommu NAME tells of one IOMMU alone, and of the\n"
		"devices behind it.\n\n"
		"--json prints all counters and the table that explains them, one object for each sample;\n"
		"--openmetrics the same for Prometheus: to stdout, into a file that is replaced as a whole\n"
		"(for node_exporter's textfile collector), or at http://.../metrics for clients on a UNIX\n"
		"socket or on a port of this machine alone.\n",
};
