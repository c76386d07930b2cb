/* SPDX-License-Identifier: BSD-3-Clause */
/* What fits stays as it is; of what does not, the beginning and the reason at the end stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/sentence.h"

static void test_fits(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(os_say(text, sizeof(text), "%s: %d", "name", 7), -1);
	assert_string_equal(text, "name: 7");
	os_say(text, sizeof(text), "%s", "fifteen letters");
	assert_string_equal(text, "fifteen letters");
	os_say(text, sizeof(text), "%s", "");
	assert_string_equal(text, "");
}

static void test_middle_is_left_out(void **state)
{
	char text[25];

	(void)state;
	os_say(text, sizeof(text), "%s: no such file", "/a/very/long/name/of/a/file");
	assert_string_equal(text, "/a/very/l[...] such file");
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

/* Also when nothing else than the name is longer than all the room. */
static void test_longest_name(void **state)
{
	char name[4096], why[OS_WHY_SIZE];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	os_say(why, sizeof(why), "--nvme %s: the disk is locked; take another", name);
	assert_int_equal(strlen(why), sizeof(why) - 1);
	assert_int_equal(strncmp(why, "--nvme xxx", 10), 0);
	assert_non_null(strstr(why, "x" OS_LEFT_OUT "x"));
	assert_non_null(strstr(why, "x: the disk is locked; take another"));
}

static unsigned length_of(unsigned char first)
{
	return first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
}

/* A reply in JSON that ended in half a character would be none. */
static void test_whole_characters(void **state)
{
	static const char name[] = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe\xc3\xb6\xe2\x82\xac\xf0\x9f\x92\xbe"
				   "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe\xc3\xb6\xe2\x82\xac\xf0\x9f\x92\xbe";
	char text[sizeof(name)];

	(void)state;
	for (size_t size = sizeof(OS_LEFT_OUT) + 1; size < sizeof(name); size++) {
		size_t at = 0;

		memset(text, 0x55, sizeof(text));
		os_say(text, size, "%s", name);
		assert_true(strlen(text) < size);
		assert_non_null(strstr(text, OS_LEFT_OUT));
		while (text[at]) {
			unsigned len = length_of((unsigned char)text[at++]);

			while (--len)
				assert_true(os_is_inside_character(text[at++]));
		}
		for (size_t i = size; i < sizeof(text); i++)
			assert_int_equal(text[i], 0x55);
	}
}

static void test_hardly_any_room(void **state)
{
	char text[8] = "1234567";

	(void)state;
	os_say(text, 0, "%s", "abcdefghij");
	assert_string_equal(text, "1234567");
	os_say(text, 1, "%s", "abcdefghij");
	assert_string_equal(text, "");
	os_say(text, sizeof(OS_LEFT_OUT), "%s", "abcdefghij");
	assert_string_equal(text, "abcde");
	os_say(text, sizeof(text), "%s", "abcdefghij");
	assert_string_equal(text, "a[...]j");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_middle_is_left_out),
		cmocka_unit_test(test_longest_name),
		cmocka_unit_test(test_whole_characters),
		cmocka_unit_test(test_hardly_any_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
