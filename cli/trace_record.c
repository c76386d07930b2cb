/* SPDX-License-Identifier: BSD-3-Clause */
/* Recording on a live system, through a tracefs instance of our own. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/trace/trace.h"
#include "cli/trace_command.h"
#include "os/clock.h"

#define BUFFER_KIB_USUAL 8192
#define TICK_MS		 50

struct recording {
	const char *file, *tracefs;
	double seconds; /* 0: no limit */
	unsigned long buffer_kib;
	char *const *command; /* NULL: none */

	char instance[PATH_MAX];
	char probes[32];    /* the group of our probes */
	size_t probe_count; /* that there are */
	int pipe, signals;
	gzFile out;
	pid_t child;
	bool child_ended;
	int child_status;
	uint64_t lines, bytes, lost;
	struct progress progress;
};

/* ------------------------------------------------------------------------ tracefs */

static int write_to(const struct recording *r, const char *name, const char *value)
{
	char path[PATH_MAX + 64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", r->instance, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static bool is_there(const char *folder, const char *name)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return !access(path, F_OK);
}

/* What is missing, in words; 0: nothing. */
static int check_system(const struct recording *r)
{
	struct utsname u;

	uname(&u);
	if (access(r->tracefs, F_OK))
		return failure("there is no tracefs at %s; as root: mount -t tracefs nodev "
			       "/sys/kernel/tracing, or say "
			       "where it is with --tracefs",
			       r->tracefs);
	if (access(r->tracefs, X_OK | R_OK) || !is_there(r->tracefs, "instances"))
		return failure("%s cannot be used by this user; recording needs root", r->tracefs);
	if (!is_there(r->tracefs, "events/dma"))
		return failure("this kernel, Linux %s, has no events of DMA; Linux 6.12 and newer have them",
			       u.release);
	return 0;
}

/*
 * Since Linux 6.17 drivers may map without an event of DMA: these functions are what
 * they call then. The name of a device is the first word of what its first word points to.
 */
static const struct probe {
	const char *function, *arguments;
} probes[] = {
	{"dma_iova_link",
	 "device=+0(+0($arg1)):string base=+0($arg2):x64 phys_addr=$arg3:x64 offset=$arg4:x64 size=$arg5:u64 "
	 "dir=$arg6:u32"},
	{"dma_iova_unlink",
	 "device=+0(+0($arg1)):string base=+0($arg2):x64 offset=$arg3:x64 size=$arg4:u64 dir=$arg5:u32"},
	{"dma_iova_destroy", "device=+0(+0($arg1)):string base=+0($arg2):x64 size=$arg3:u64 dir=$arg4:u32"},
};

#define PROBES (sizeof(probes) / sizeof(probes[0]))

static int enable_probe(const struct recording *r, const struct probe *p, const char *value)
{
	char name[128];

	snprintf(name, sizeof(name), "events/%s/%s/enable", r->probes, p->function);
	return write_to(r, name, value);
}

static int write_probe(const struct recording *r, const char *format, const struct probe *p)
{
	char path[PATH_MAX + 64], line[512];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/kprobe_events", r->tracefs);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(line, sizeof(line), "%s:%s/%s %s %s\n", format, r->probes, p->function,
		 *format == 'p' ? p->function : "", *format == 'p' ? p->arguments : "");
	if (write(fd, line, strlen(line)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Only probes that are off can be removed. */
static void disable_probes(const struct recording *r)
{
	for (size_t i = 0; i < r->probe_count; i++)
		enable_probe(r, &probes[i], "0");
}

static void remove_probes(struct recording *r)
{
	while (r->probe_count)
		write_probe(r, "-", &probes[--r->probe_count]);
}

static int open_probe(struct recording *r, const struct probe *p)
{
	int err = write_probe(r, "p", p);

	if (err)
		return err;
	r->probe_count++;
	return enable_probe(r, p, "1");
}

/*
 * All of them or none: with one missing, buffers would end that never began, or begin that never
 * end. Without them the IOMMU's own events remain, from which buffers can be inferred at best.
 */
static void open_probes(struct recording *r)
{
	const char *function = "";
	int err = 0;

	snprintf(r->probes, sizeof(r->probes), "viommu_%d", (int)getpid());
	for (size_t i = 0; !err && i < PROBES; i++) {
		function = probes[i].function;
		err = open_probe(r, &probes[i]);
	}
	if (!err)
		return;
	/* The kernel has no such functions, as before Linux 6.17: nothing is missing then. */
	if (err != -ENOENT || r->probe_count || !is_there(r->tracefs, "kprobe_events"))
		fprintf(stderr,
			"viommu: what drivers map past the events of DMA, as NVMe does since Linux 6.17, is "
			"recorded without its device, since the kernel allows no probe of "
			"%s(): %s\n",
			function, strerror(-err));
	disable_probes(r);
	remove_probes(r);
}

static int open_instance(struct recording *r)
{
	char kib[32];
	int err;

	snprintf(r->instance, sizeof(r->instance), "%s/instances/viommu-%d", r->tracefs, (int)getpid());
	if (mkdir(r->instance, 0700)) {
		err = errno;
		r->instance[0] = '\0';
		return failure("no trace instance can be made in %s: %s%s", r->tracefs, strerror(err),
			       err == EACCES || err == EPERM ? "; recording needs root" : "");
	}
	snprintf(kib, sizeof(kib), "%lu", r->buffer_kib);
	err = write_to(r, "buffer_size_kb", kib);
	if (!err)
		err = write_to(r, "trace_clock", "mono");
	if (!err)
		err = write_to(r, "events/dma/enable", "1");
	if (err)
		return failure("tracing cannot be set up: %s", strerror(-err));
	/* They name no device; they show whether events of DMA tell all. A kernel without an IOMMU has none.
	 */
	write_to(r, "events/iommu/map/enable", "1");
	write_to(r, "events/iommu/unmap/enable", "1");
	open_probes(r);
	return 0;
}

static int open_pipe(struct recording *r)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/trace_pipe", r->instance);
	r->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return r->pipe < 0 ? failure("%s cannot be read: %s", path, strerror(errno)) : 0;
}

/* Devices whose addresses the IOMMU translates, so that a reader knows of those that no event names. */
static void write_devices(struct recording *r)
{
	char path[PATH_MAX];
	glob_t found = {0};

	if (glob("/sys/kernel/iommu_groups/*/devices/*", 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char type[16] = "";
		FILE *f;

		/* Not by "..", since a device is a symbolic link. */
		snprintf(path, sizeof(path), "%.*s/type",
			 (int)(strstr(found.gl_pathv[i], "/devices/") - found.gl_pathv[i]),
			 found.gl_pathv[i]);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(type, sizeof(type), f) && !strncmp(type, "DMA", 3))
			gzprintf(r->out, TRACE_BEHIND_IOMMU "%s\n", strrchr(found.gl_pathv[i], '/') + 1);
		fclose(f);
	}
	globfree(&found);
}

static int open_file(struct recording *r)
{
	size_t len = strlen(r->file);
	struct utsname u;

	r->out = gzopen(r->file, len > 3 && !strcmp(r->file + len - 3, ".gz") ? "wb6" : "wbT");
	if (!r->out)
		return failure("%s cannot be written: %s", r->file, strerror(errno));
	uname(&u);
	gzprintf(r->out, "# recorded by viommu trace record, Linux %s %s\n", u.release, u.machine);
	write_devices(r);
	return 0;
}

/* ---------------------------------------------------------------------- recording */

static void count_lines(struct recording *r, const char *text, size_t len)
{
	for (const char *at = text, *end = text + len; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		r->lines++;
	/* "CPU:0 [LOST 123 EVENTS]" */
	for (const char *at = text; (at = strstr(at, "[LOST ")); at++)
		r->lost += strtoull(at + 6, NULL, 10);
}

/* All that there is now. 0 or an exit status. */
static int take(struct recording *r)
{
	static char text[1 << 18];
	ssize_t got;

	while ((got = read(r->pipe, text, sizeof(text) - 1)) > 0) {
		text[got] = '\0';
		count_lines(r, text, (size_t)got);
		r->bytes += (uint64_t)got;
		if (gzwrite(r->out, text, (unsigned)got) != got)
			return failure("%s cannot be written on: %s", r->file, strerror(errno));
	}
	return 0;
}

static int start_command(struct recording *r)
{
	const struct child_plan plan = {.argv = r->command, .in = -1, .out = -1, .err = -1};
	int err = r->command ? child_start(&plan, &r->child) : 0;

	return err ? failure("%s cannot be started: %s", r->command[0], strerror(-err)) : 0;
}

static int record(struct recording *r)
{
	uint64_t limit = (uint64_t)(r->seconds * 1000);
	int64_t began = os_now_ms();
	int err = 0;

	while (!err) {
		int signal = signals_wait(r->signals, TICK_MS);
		uint64_t spent = (uint64_t)(os_now_ms() - began);

		err = take(r);
		progress_show(&r->progress, "recording", limit ? spent : r->bytes, limit);
		if (r->child > 0 && child_ended(r->child, &r->child_status))
			r->child_ended = true;
		if (r->child_ended || (signal && signal != SIGCHLD) || (limit && spent >= limit))
			break;
	}
	progress_end(&r->progress);
	return err;
}

static int tell(const struct recording *r)
{
	if (!r->lines)
		return failure(
			"no event came: no device did DMA, or only past the kernel's DMA API, as virtio "
			"devices without an IOMMU do; %s is empty",
			r->file);
	printf("%s: %" PRIu64 " lines", r->file, r->lines);
	if (r->lost)
		printf(", %" PRIu64 " events were lost; give --buffer more than %lu", r->lost, r->buffer_kib);
	printf("\nviommu trace show %s tells what is in it, viommu replay %s what it would cost\n", r->file,
	       r->file);
	return 0;
}

static int finish(struct recording *r, int err)
{
	if (r->child > 0 && !r->child_ended)
		child_stop(r->child, 2000);
	if (r->pipe >= 0) {
		write_to(r, "tracing_on", "0");
		if (!err)
			err = take(r);
		close(r->pipe);
	}
	disable_probes(r);
	if (r->instance[0])
		rmdir(r->instance);
	remove_probes(r);
	if (r->out && gzclose(r->out) != Z_OK && !err)
		err = failure("%s cannot be written to its end: %s", r->file, strerror(errno));
	return err;
}

static int run(struct recording *r)
{
	int err = check_system(r);

	if (!err) {
		r->signals = signals_open();
		err = r->signals < 0 ? failure("signals cannot be waited for: %s", strerror(-r->signals)) : 0;
	}
	if (!err)
		err = open_file(r);
	if (!err)
		err = open_instance(r);
	if (!err)
		err = open_pipe(r);
	if (!err)
		err = start_command(r);
	progress_begin(&r->progress);
	if (!err)
		err = record(r);
	err = finish(r, err);
	return err ? err : tell(r);
}

/* ------------------------------------------------------------------------ request */

static const struct option options[] = {
	{"buffer", required_argument, NULL, 'b'},
	{"tracefs", required_argument, NULL, 't'},
	{NULL},
};

static int take_option(struct recording *r, int code, char **argv)
{
	char *end;

	switch (code) {
	case 'o':
		r->file = optarg;
		return 0;
	case 'd':
		r->seconds = strtod(optarg, &end);
		return *end || !(r->seconds > 0 && r->seconds < 1e7)
			       ? usage_failure("-d is a number of seconds, not '%s'", optarg)
			       : 0;
	case 'b':
		r->buffer_kib = strtoul(optarg, &end, 10);
		return *end || r->buffer_kib < 16 || r->buffer_kib > 16u << 20
			       ? usage_failure("--buffer is a number of KiB from 16 on, not '%s'", optarg)
			       : 0;
	case 't':
		r->tracefs = optarg;
		return 0;
	default:
		return usage_failure("'%s' is not an option of 'viommu trace record', or it lacks its value",
				     argv[optind - 1]);
	}
}

int trace_record(int argc, char **argv)
{
	struct recording r = {
		.tracefs = "/sys/kernel/tracing", .buffer_kib = BUFFER_KIB_USUAL, .pipe = -1, .signals = -1};
	int code, err;

	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, "+o:d:", options, NULL)) != -1) {
		err = take_option(&r, code, argv);
		if (err)
			return err;
	}
	if (!r.file)
		return usage_failure("say where it goes: viommu trace record -o FILE");
	if (optind < argc)
		r.command = argv + optind;
	return run(&r);
}
