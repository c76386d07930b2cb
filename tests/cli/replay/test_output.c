/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said of results that are known. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "cli/replay/output.h"

static void check_number(double value, const char *wanted)
{
	char text[32];

	replay_format_number(value, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void check_time(double us, const char *wanted)
{
	char text[32];

	replay_format_time(us, text, sizeof(text));
	assert_string_equal(text, wanted);
}

static void test_numbers(void **state)
{
	(void)state;
	check_number(0, "0");
	check_number(0.254, "0.25");
	check_number(1, "1");
	check_number(9.994, "9.99");
	check_number(9.996, "10.0");
	check_number(99.94, "99.9");
	check_number(99.96, "100");
	check_number(9999, "9999");
	check_number(9999.4, "9999");
	check_number(9999.6, "10.0k");
	check_number(36353, "36.4k");
	check_number(999499, "999k");
	check_number(999600, "1.00M");
	check_number(1.234e9, "1.23G");
	check_number(1e15, "1.00P");
}

static void test_times(void **state)
{
	(void)state;
	check_time(0, "0");
	check_time(0.421, "421ns");
	check_time(0.9996, "1.0us");
	check_time(1, "1.0us");
	check_time(12.6, "13us");
	check_time(9999, "10ms");
	check_time(4200, "4.2ms");
	check_time(3.2e6, "3.2s");
	check_time(999.4, "999us");
	check_time(999.6, "1.0ms");
}

/* A column of numbers never runs into its neighbour. */
static void test_width(void **state)
{
	struct chance c = {3};
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		double value = (double)chance_word(&c) / (double)(UINT64_C(1) << chance_below(&c, 64));

		replay_format_number(value / 1e4, text, sizeof(text));
		assert_in_range(strlen(text), 1, 5);
		replay_format_time(value / 1e10, text, sizeof(text));
		assert_in_range(strlen(text), 1, 5);
	}
}

static const struct replay_result all[] = {
	{.strategy = "passthrough",
	 .buffer_mean_ns = 10,
	 .reaches_all = true,
	 .stale_max_us = 1e6,
	 .excess_byte_seconds = 1e9,
	 .duration_s = 2},
	{.strategy = "single-use",
	 .buffer_mean_ns = 2000,
	 .invalidations = 1000,
	 .excess_byte_seconds = 500,
	 .duration_s = 2},
	{.strategy = "optimistic",
	 .buffer_mean_ns = 100,
	 .invalidations = 10,
	 .excess_byte_seconds = 900,
	 .stale_max_us = 10000,
	 .duration_s = 2},
	{.strategy = "persistent",
	 .buffer_mean_ns = 50,
	 .excess_byte_seconds = 5000,
	 .stale_max_us = 1.5e6,
	 .duration_s = 2},
	{.strategy = "copy", .buffer_mean_ns = 40, .refused = 7, .duration_s = 2},
	{.strategy = "direct", .why_not = "it cannot"},
};

static char *text_of(void (*print)(FILE *to, const struct replay_result *results, size_t count),
		     const struct replay_result *results, size_t count)
{
	static char *text; /* the stream keeps its address */
	static size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	print(to, results, count);
	fclose(to);
	return text;
}

static void print_advice(FILE *to, const struct replay_result *results, size_t count)
{
	replay_print_advice(to, results, count, REPLAY_ADVICE_WIDTH);
}

/* As words, without regard to how they are broken into lines. */
static char *advice_on(const struct replay_result *results, size_t count)
{
	char *text = text_of(print_advice, results, count);

	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	return text;
}

static void check_said(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' is not in: %s", words, text);
}

static void test_advice(void **state)
{
	char *text = advice_on(all, sizeof(all) / sizeof(all[0]));

	(void)state;
	check_said(text, "Safest: single-use, at 2.0us a buffer and 500 invalidations a second. "
			 "Nothing stays reachable after its unmap;");
	check_said(text, "Cheapest that protects at all: persistent, at 50ns a buffer");
	check_said(text, "for up to 1.5s after its unmap");
	check_said(text, "Choose optimistic: it saves 99 % of the invalidations of single-use and leaves 900 "
			 "byte-seconds in place of 500, each page for at most 10ms after its unmap.");
	check_said(text, "passthrough lets devices reach all memory");
	assert_null(strstr(text, "copy"));
	assert_null(strstr(text, "direct"));
	free(text);
}

/* When less safety is no cheaper, safety it is. */
static void test_advice_to_be_safe(void **state)
{
	const struct replay_result two[] = {
		{.strategy = "single-use", .buffer_mean_ns = 100, .invalidations = 10, .duration_s = 1},
		{.strategy = "optimistic", .buffer_mean_ns = 90, .stale_max_us = 10000, .duration_s = 1},
	};
	char *text = advice_on(two, 2);

	(void)state;
	check_said(text, "Choose single-use");
	check_said(text, "no byte that is not in a mapped buffer ever is.");
	free(text);
}

/* The last digits of a measurement are nothing to choose by. */
static void test_advice_by_what_repeats(void **state)
{
	struct replay_result three[] = {
		{.strategy = "single-use", .buffer_mean_ns = 2000, .duration_s = 1},
		{.strategy = "optimistic", .stale_max_us = 10000, .duration_s = 1},
		{.strategy = "deferred", .stale_max_us = 9000, .duration_s = 1},
	};

	(void)state;
	for (double cost = 85; cost <= 120; cost++) {
		three[1].buffer_mean_ns = cost;
		three[2].buffer_mean_ns = 205 - cost;
		if (205 - cost <= 1.25 * cost)
			assert_string_equal(replay_choice(three, 3)->strategy, "deferred");
		else
			assert_string_equal(replay_choice(three, 3)->strategy, "optimistic");
	}
}

static const char *const noisy = "This run was too noisy to judge";

static void check_noisy(const struct replay_result *results, size_t count, bool wanted)
{
	char *text = advice_on(results, count);

	if (!strstr(text, noisy) == wanted)
		fail_msg("noisy or not? %s", text);
	free(text);
}

static void test_advice_on_a_busy_machine(void **state)
{
	struct replay_result two[] = {
		{.strategy = "copy",
		 .buffer_mean_ns = 400,
		 .buffer_median_ns = 410,
		 .rounds = 3,
		 .duration_s = 1},
		{.strategy = "optimistic",
		 .buffer_mean_ns = 100,
		 .buffer_median_ns = 330,
		 .stale_max_us = 10000,
		 .rounds = 3,
		 .duration_s = 1},
	};
	char *text;

	(void)state;
	check_noisy(two, 2, true); /* were 330 right, copy would cost hardly more */
	two[1].buffer_median_ns = 110;
	check_noisy(two, 2, false);
	two[0].buffer_median_ns = 4000; /* it is too dear, whatever is right */
	check_noisy(two, 2, false);
	two[0].buffer_mean_ns = 130;
	check_noisy(two, 2, true);
	text = advice_on(two, 2);
	check_said(text, "Safest: copy, at 130ns to 4.0us a buffer");
	free(text);
	two[0].buffer_mean_ns = 90; /* copy is the choice, if it is not that dear */
	check_noisy(two, 2, true);
	two[0].buffer_median_ns = 100;
	check_noisy(two, 2, false);
	two[0].rounds = 1;
	text = advice_on(two, 2);
	check_said(text, "timed in one round only");
	free(text);
}

/* One that is safer, and was found too dear by a round that others may have been in the way of. */
static void test_advice_of_few_rounds(void **state)
{
	struct replay_result two[] = {
		{.strategy = "copy", .buffer_mean_ns = 4000, .buffer_median_ns = 4000, .rounds = 1},
		{.strategy = "optimistic",
		 .buffer_mean_ns = 100,
		 .buffer_median_ns = 110,
		 .stale_max_us = 10000,
		 .rounds = 3},
	};
	char *text = advice_on(two, 2);

	(void)state;
	check_said(text, "Choose optimistic");
	check_said(text, "The calls of copy were timed in one round only");
	free(text);
	two[0].rounds = 2;
	text = advice_on(two, 2);
	check_said(text, "The calls of copy were timed in two rounds only");
	free(text);
	two[0].rounds = 3;
	text = advice_on(two, 2);
	assert_null(strstr(text, "timed"));
	free(text);
	two[0].rounds = 1; /* it is the only one that protects */
	two[1].reaches_all = true;
	text = advice_on(two, 2);
	check_said(text, "Choose copy");
	assert_null(strstr(text, "another strategy"));
	free(text);
}

static void test_nothing_to_advise(void **state)
{
	char *text = advice_on(all, 1);

	(void)state;
	assert_string_equal(text, "passthrough lets devices reach all memory, always. ");
	free(text);
	text = advice_on(all, 0);
	assert_string_equal(text, "");
	free(text);
}

static void test_table(void **state)
{
	char *text = text_of(replay_print_table, all, sizeof(all) / sizeof(all[0])), *line = text, *end;

	(void)state;
	check_said(text, "\npersistent ");
	check_said(text, "copy could not map 7 of the buffers");
	check_said(text, "direct does not run here: it cannot.");
	for (; (end = strchr(line, '\n')); line = end + 1)
		assert_in_range(end - line, 1, 120);
	free(text);
}

static void print_csv(FILE *to, const struct replay_result *results, size_t count)
{
	replay_print_csv(to, results, count, "");
}

static void print_csv_of_a_part(FILE *to, const struct replay_result *results, size_t count)
{
	replay_print_csv(to, results, count, "7 of 9 lines, of \"perf\"");
}

static void test_csv_of_a_part(void **state)
{
	const struct replay_result one = {.strategy = "copy", .registers = "trap"};
	char *text = text_of(print_csv_of_a_part, &one, 1);

	(void)state;
	assert_ptr_equal(strstr(text, "missing,strategy,registers,"), text);
	check_said(text, "\n\"7 of 9 lines, of \"\"perf\"\"\",copy,trap,0,");
	free(text);
}

static void test_csv(void **state)
{
	const struct replay_result one = {
		.strategy = "optimistic,quota=4", .registers = "trap", .maps = 3, .reuse_rate = 0.25};
	char *text = text_of(print_csv, &one, 1), *line = strchr(text, '\n') + 1;
	size_t columns, names = 1, values = 1;

	(void)state;
	replay_columns(&columns);
	for (const char *c = text; c < line; c++)
		names += *c == ',';
	for (const char *c = strstr(line, "\","); *c; c++)
		values += *c == ',';
	assert_int_equal(names, columns + 2);
	assert_int_equal(values, columns + 2);
	check_said(line, "\"optimistic,quota=4\",trap,3,0,0,");
	check_said(line, ",0.25,");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_advice_to_be_safe),
		cmocka_unit_test(test_advice_by_what_repeats),
		cmocka_unit_test(test_advice_on_a_busy_machine),
		cmocka_unit_test(test_advice_of_few_rounds),
		cmocka_unit_test(test_nothing_to_advise),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_csv_of_a_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
