/* SPDX-License-Identifier: BSD-3-Clause */
/* The log into a pipe that is full: nobody waits, and what was not taken is told. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log.h"

static int ends[2], kept;

static int redirect(void **state)
{
	(void)state;
	if (pipe2(ends, O_NONBLOCK))
		return -1;
	kept = dup(STDERR_FILENO);
	return dup2(ends[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int restore(void **state)
{
	(void)state;
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void fill(void)
{
	char junk[4096] = "";

	while (write(ends[1], junk, sizeof(junk)) > 0)
		continue;
}

static void empty(char *text, size_t size)
{
	ssize_t n, len = 0;

	while ((n = read(ends[0], text, size - 1)) > 0)
		len = n;
	text[len] = '\0';
}

static void test_untaken_lines_are_counted(void **state)
{
	struct log_bucket b;
	char text[4096];

	(void)state;
	log_bucket_init(&b, "vm: ");
	fill();
	for (unsigned i = 0; i < 3; i++)
		log_limited(&b, "line %u", i);
	empty(text, sizeof(text));
	log_limited(&b, "a line that is taken");
	empty(text, sizeof(text));
	assert_string_equal(text, "viommud: vm: a line that is taken (3 such lines were left out)\n");
	log_limited(&b, "and another");
	empty(text, sizeof(text));
	assert_string_equal(text, "viommud: vm: and another\n");
}

/* The burst is used up, and then the pipe is full, too: both kinds count. */
static void test_both_kinds_are_counted(void **state)
{
	struct log_bucket b;
	char text[8192];
	unsigned lost = 0;

	(void)state;
	log_bucket_init(&b, "");
	fill();
	for (unsigned i = 0; i < LOG_BURST + 7; i++)
		log_limited(&b, "line");
	empty(text, sizeof(text));
	usleep(1500000 / LOG_PER_SECOND);
	log_limited(&b, "line");
	empty(text, sizeof(text));
	assert_int_equal(sscanf(text, "viommud: line (%u such lines were left out)", &lost), 1);
	assert_int_equal(lost, LOG_BURST + 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_untaken_lines_are_counted, redirect, restore),
		cmocka_unit_test_setup_teardown(test_both_kinds_are_counted, redirect, restore),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
