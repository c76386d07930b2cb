/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "cli/replay/output.h"

/* Short, and the same number when it is read. */
static void format_double(double value, char *text, size_t size)
{
	snprintf(text, size, "%.15g", value);
}

/* ------------------------------------------------------------------------- JSON */

static int add(struct json_object *to, const char *key, struct json_object *value)
{
	if (value && !json_object_object_add(to, key, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static struct json_object *value_of(const struct replay_result *r, const struct replay_column *c)
{
	double value = replay_value(r, c);
	char text[40];

	if (!c->is_double)
		return json_object_new_uint64(*(const uint64_t *)((const uint8_t *)r + c->offset));
	format_double(value, text, sizeof(text));
	return json_object_new_double_s(value, text);
}

static int add_columns(struct json_object *to, const struct replay_result *r)
{
	size_t count;
	const struct replay_column *columns = replay_columns(&count);
	int err = 0;

	for (size_t i = 0; !err && i < count; i++)
		err = add(to, columns[i].name, value_of(r, &columns[i]));
	return err;
}

static int add_counts(struct json_object *to, const struct trace_count *counts, size_t count)
{
	struct json_object *trace = json_object_new_object();
	int err = add(to, "trace", trace);

	for (size_t i = 0; !err && i < count; i++)
		err = add(trace, counts[i].name, json_object_new_uint64(counts[i].value));
	return err;
}

static int fill(struct json_object *to, const struct replay_result *r, const struct trace_count *counts,
		size_t count)
{
	int err = add(to, "strategy", json_object_new_string(r->strategy));

	if (!err)
		err = add(to, "registers", json_object_new_string(r->registers));
	if (!err && *r->why_not)
		err = add(to, "why_not", json_object_new_string(r->why_not));
	else if (!err)
		err = add_columns(to, r);
	return err ? err : add_counts(to, counts, count);
}

int replay_print_json(FILE *to, const struct replay_result *results, size_t count,
		      const struct trace_count *counts, size_t count_count, const char *missing)
{
	struct json_object *all = json_object_new_array();
	const char *text = NULL;
	int err = all ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < count; i++) {
		struct json_object *one = json_object_new_object();

		err = !one ? -ENOMEM : *missing ? add(one, "missing", json_object_new_string(missing)) : 0;
		if (!err)
			err = fill(one, &results[i], counts, count_count);
		if (!err && json_object_array_add(all, one))
			err = -ENOMEM;
		if (err)
			json_object_put(one);
	}
	if (!err)
		text = json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY |
								   JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		fprintf(to, "%s\n", text);
	json_object_put(all);
	return err ? err : text ? 0 : -ENOMEM;
}

/* -------------------------------------------------------------------------- CSV */

/* RFC 4180: commas need quotation marks around all of it, and those within are doubled. */
static void print_text(FILE *to, const char *text)
{
	if (!strpbrk(text, ",\"")) {
		fputs(text, to);
		return;
	}
	fputc('"', to);
	for (; *text; text++)
		fprintf(to, *text == '"' ? "\"\"" : "%c", *text);
	fputc('"', to);
}

static void print_line(FILE *to, const struct replay_result *r, const char *missing)
{
	size_t count;
	const struct replay_column *columns = replay_columns(&count);
	char text[40];

	if (*missing) {
		print_text(to, missing);
		fputc(',', to);
	}
	print_text(to, r->strategy);
	fprintf(to, ",%s", r->registers);
	for (size_t i = 0; i < count; i++) {
		if (columns[i].is_double)
			format_double(replay_value(r, &columns[i]), text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%" PRIu64,
				 *(const uint64_t *)((const uint8_t *)r + columns[i].offset));
		fprintf(to, ",%s", *r->why_not ? "" : text);
	}
	fputc('\n', to);
}

void replay_print_csv(FILE *to, const struct replay_result *results, size_t count, const char *missing)
{
	size_t column_count;
	const struct replay_column *columns = replay_columns(&column_count);

	fprintf(to, "%sstrategy,registers", *missing ? "missing," : "");
	for (size_t i = 0; i < column_count; i++)
		fprintf(to, ",%s", columns[i].name);
	fputc('\n', to);
	for (size_t i = 0; i < count; i++)
		print_line(to, &results[i], missing);
}
