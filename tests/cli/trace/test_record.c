/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 'viommu trace record' over files in place of a tracefs. The kernel makes those of
 * an instance when its folder is made, and so does this test; which probes the
 * kernel allows is the test's choice.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/trace_command.h"

static const char *const functions[] = {"dma_iova_link", "dma_iova_unlink", "dma_iova_destroy"};

static char folder[] = "/tmp/viommu-test-XXXXXX", tracefs[64], out[64], said[64];
static const char *refused; /* the kernel allows no probe of this function; NULL: of each */
static int refusal;
static char log_of_probes[4096];

int __real_mkdir(const char *path, mode_t mode);
ssize_t __real_write(int fd, const void *data, size_t size);
int __wrap_mkdir(const char *path, mode_t mode);
ssize_t __wrap_write(int fd, const void *data, size_t size);

static void make_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_in(const char *instance, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", instance, name);
	for (char *at = path + strlen(instance) + 1; (at = strchr(at, '/')); *at++ = '/') {
		*at = '\0';
		__real_mkdir(path, 0700);
	}
	make_file(path, "");
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	static const char *const names[] = {"buffer_size_kb", "trace_clock", "tracing_on",
					    "events/dma/enable", "trace_pipe"};
	int err = __real_mkdir(path, mode);
	char name[128];

	if (err || !strstr(path, "instances/viommu-"))
		return err;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		make_in(path, names[i]);
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "events/viommu_%d/%s/enable", (int)getpid(), functions[i]);
		make_in(path, name);
	}
	return 0;
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	char text[256] = "";

	memcpy(text, data, size < sizeof(text) ? size : sizeof(text) - 1);
	if ((*text == 'p' || *text == '-') && strstr(text, ":viommu_"))
		strncat(log_of_probes, text, sizeof(log_of_probes) - strlen(log_of_probes) - 1);
	if (*text == 'p' && refused && strstr(text, refused)) {
		errno = refusal;
		return -1;
	}
	return __real_write(fd, data, size);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void read_file(const char *name, char *text, size_t size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	assert_true(fd >= 0);
	got = read(fd, text, size - 1);
	assert_true(got >= 0);
	text[got] = '\0';
	close(fd);
}

static void make_folders(void)
{
	strcpy(folder + sizeof(folder) - 7, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(tracefs, sizeof(tracefs), "%s/fs", folder);
	snprintf(out, sizeof(out), "%s/out", folder);
	snprintf(said, sizeof(said), "%s/said", folder);
	assert_int_equal(__real_mkdir(tracefs, 0700), 0);
	make_in(tracefs, "instances/README");
	make_in(tracefs, "events/dma/enable");
	make_in(tracefs, "kprobe_events");
}

/* What it said on stderr; and in `during` whether each probe was on while it recorded.
 */
static void record(char *text, char *during, size_t size)
{
	char script[512];
	const char *argv[] = {"record", "-o", out, "--tracefs", tracefs, "--", "sh", "-c", script, NULL};
	int err = dup(STDERR_FILENO), fd;

	snprintf(script, sizeof(script),
		 "cd %s/instances/viommu-*/events/viommu_* && for i in dma_iova_*/enable; do "
		 "printf '%%s ' \"$(cat $i)\"; done > %s/during",
		 tracefs, folder);
	fd = open(said, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
	log_of_probes[0] = '\0';
	trace_record(9, (char **)(uintptr_t)argv);
	dup2(err, STDERR_FILENO);
	close(err);
	read_file(said, text, size);
	snprintf(script, sizeof(script), "%s/during", folder);
	read_file(script, during, size);
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* How often the log has it. */
static unsigned count(const char *what)
{
	unsigned n = 0;

	for (const char *at = log_of_probes; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static void test_all_probes_run(void **state)
{
	char text[4096], during[4096];

	refused = NULL;
	make_folders();
	record(text, during, sizeof(text));
	assert_string_equal(during, "1 1 1 ");
	assert_null(strstr(text, "probe"));
	assert_int_equal(count("p:"), 3);
	assert_int_equal(count("-:"), 3);
}

/* With one of them missing, buffers would be begun that never end, or end that never began. */
static void test_all_run_or_none(void **state)
{
	static const int errors[] = {ENOENT, EINVAL, EPERM};
	char text[4096], during[4096];

	for (size_t i = 0; i < 3; i++) {
		for (size_t e = 0; e < 3; e++) {
			refused = functions[i];
			refusal = errors[e];
			make_folders();
			record(text, during, sizeof(text));
			assert_null(strchr(during, '1'));
			assert_int_equal(count("-:"), i);
			/* A kernel without the first has no such calls. */
			if (!i && refusal == ENOENT) {
				assert_null(strstr(text, "probe"));
				continue;
			}
			assert_non_null(strstr(text, "without its device"));
			assert_non_null(strstr(text, functions[i]));
			assert_non_null(strstr(text, strerror(refusal)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_probes_run),
		cmocka_unit_test(test_all_run_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
