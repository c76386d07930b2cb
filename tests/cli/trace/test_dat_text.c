/* SPDX-License-Identifier: BSD-3-Clause */
/* The text of a trace.dat, built with a buffer that its longer lines do not fit in: none is written in part.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/trace/dat_records.h"

#define SKIPPED 77

static const char *path;

static bool is_whole(const char *line)
{
	return strncmp(line, "x-1 [", 5) == 0 &&
	       (!strstr(line, ": dma_map") || strstr(line, " attrs=") || strstr(line, "_err:"));
}

/* As in the tool, a process ends with it. */
static int write_in_a_child(int in, int out)
{
	pid_t child = fork();
	int status = -1;

	assert_true(child >= 0);
	if (!child)
		_exit(dat_records_write(in, out));
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_no_line_is_cut(void **state)
{
	unsigned whole = 0, too_big = 0;
	FILE *text = tmpfile();
	char line[4096];
	int in = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(text && in >= 0);
	assert_int_equal(write_in_a_child(in, fileno(text)), DAT_WRITTEN);
	close(in);
	rewind(text);
	while (fgets(line, sizeof(line), text)) {
		assert_int_equal(line[strlen(line) - 1], '\n');
		if (!strcmp(line, "[LINE TOO BIG]\n")) {
			too_big++;
			continue;
		}
		if (!is_whole(line))
			fail_msg("%s", line);
		whole++;
	}
	fclose(text);
	assert_true(whole > 20 && too_big >= 4);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_line_is_cut)};

	if (!dat_records_possible())
		return SKIPPED;
	path = argv[argc - 1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
