/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu-bench: the micro benchmarks. `viommu bench micro` runs it. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/micro.h"

static bool as_json;
static struct json_object *report;

void report_number(const char *key, double value, const char *unit, const char *text)
{
	json_object_object_add(report, key, json_object_new_double(value));
	if (!as_json) {
		printf("%12.1f %-3s %s\n", value, unit, text);
		fflush(stdout);
	}
}

void report_progress(const char *text)
{
	fprintf(stderr, "viommu bench: %s ...\n", text);
}

/* The value of "model name" in /proc/cpuinfo. */
static void find_cpu(char *ret_name, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(ret_name, size, "unknown CPU");
	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(ret_name, size, "%s", colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static void describe_machine(void)
{
	struct json_object *machine = json_object_new_object();
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct utsname uts;
	char cpu[256];

	uname(&uts);
	find_cpu(cpu, sizeof(cpu));
	json_object_object_add(machine, "cpu", json_object_new_string(cpu));
	json_object_object_add(machine, "cores", json_object_new_int64(cores));
	json_object_object_add(machine, "kernel", json_object_new_string(uts.release));
	json_object_object_add(machine, "version", json_object_new_string(VIOMMU_VERSION));
	json_object_object_add(report, "machine", machine);
	if (!as_json)
		printf("%s, %ld cores, Linux %s, viommu %s\n\n", cpu, cores, uts.release, VIOMMU_VERSION);
}

static int usage(void)
{
	fprintf(stderr, "viommu bench micro: that is no option; 'viommu bench micro --help' lists them\n");
	return 2;
}

static int help(void)
{
	printf("usage: viommu bench micro [--json]\n\n"
	       "Measures what the library does on this machine: translation from the cache and by a\n"
	       "walk, alone and beside invalidations, DMA copies, device addresses, and how soon an "
	       "invalidation is\n"
	       "complete for the guest's half, with registers polled and trapped.\n\n"
	       "  --json             one JSON object on standard output\n"
	       "  --viommud PROGRAM  measure invalidations with this viommud\n");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"viommud", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{NULL},
	};
	const char *viommud = "viommud";
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'j')
			as_json = true;
		else if (c == 'd')
			viommud = optarg;
		else if (c == 'h')
			return help();
		else
			return usage();
	}
	if (optind != argc)
		return usage();
	report = json_object_new_object();
	describe_machine();
	bench_translate();
	bench_copy();
	bench_iova();
	bench_invalidate(viommud);
	if (as_json)
		printf("%s\n", json_object_to_json_string_ext(report, JSON_C_TO_STRING_PRETTY));
	json_object_put(report);
	return 0;
}
