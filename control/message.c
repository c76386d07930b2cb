/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/message.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/protocol.h"
#include "os/sentence.h"

/* Objects and arrays have no other use for json-c's user data. */
static char incomplete;

static void mark(struct json_object *object)
{
	if (object)
		json_object_set_userdata(object, &incomplete, NULL);
}

static bool is_complete(struct json_object *object)
{
	return object && json_object_get_userdata(object) != &incomplete;
}

static bool is_whole(struct json_object *value)
{
	return value && (!(json_object_is_type(value, json_type_object) ||
			   json_object_is_type(value, json_type_array)) ||
			 is_complete(value));
}

struct json_object *control_object(void)
{
	return json_object_new_object();
}

struct json_object *control_array(void)
{
	return json_object_new_array();
}

struct json_object *control_ok(void)
{
	struct json_object *reply = control_object();

	control_set_bool(reply, "ok", true);
	return reply;
}

struct json_object *control_error(const char *format, ...)
{
	struct json_object *reply = control_object();
	char text[1024];
	va_list args;

	va_start(args, format);
	os_say_v(text, sizeof(text), format, args);
	va_end(args);
	control_set_string(reply, "error", text);
	return reply;
}

void control_add(struct json_object *object, const char *key, struct json_object *value)
{
	if (!is_whole(value))
		mark(object);
	if (value && (!object || json_object_object_add(object, key, value))) {
		mark(object);
		json_object_put(value);
	}
}

void control_append(struct json_object *array, struct json_object *value)
{
	if (!is_whole(value))
		mark(array);
	if (value && (!array || json_object_array_add(array, value))) {
		mark(array);
		json_object_put(value);
	}
}

void control_set_string(struct json_object *object, const char *key, const char *value)
{
	control_add(object, key, json_object_new_string(value));
}

void control_set_bool(struct json_object *object, const char *key, bool value)
{
	control_add(object, key, json_object_new_boolean(value));
}

void control_set_u64(struct json_object *object, const char *key, uint64_t value)
{
	control_add(object, key, json_object_new_uint64(value));
}

static struct json_object *find(struct json_object *object, const char *key, enum json_type type)
{
	struct json_object *found;

	if (!json_object_object_get_ex(object, key, &found) || !json_object_is_type(found, type))
		return NULL;
	return found;
}

const char *control_get_string(struct json_object *object, const char *key)
{
	struct json_object *found = find(object, key, json_type_string);

	return found ? json_object_get_string(found) : NULL;
}

const char *control_get_text(struct json_object *object, const char *key)
{
	const char *text = control_get_string(object, key);

	return text ? text : "";
}

bool control_get_bool(struct json_object *object, const char *key)
{
	struct json_object *found = find(object, key, json_type_boolean);

	return found && json_object_get_boolean(found);
}

uint64_t control_get_u64(struct json_object *object, const char *key, uint64_t otherwise)
{
	struct json_object *found = find(object, key, json_type_int);

	/* json-c would turn a negative number into 0. */
	if (!found || json_object_get_int64(found) < 0)
		return otherwise;
	return json_object_get_uint64(found);
}

size_t control_get_length(struct json_object *object, const char *key)
{
	struct json_object *found = find(object, key, json_type_array);

	return found ? json_object_array_length(found) : 0;
}

struct json_object *control_get_item(struct json_object *object, const char *key, size_t index)
{
	struct json_object *found = find(object, key, json_type_array);

	return found ? json_object_array_get_idx(found, index) : NULL;
}

static const char no_memory[] = "there is no memory for it";

static const char *refuse(struct json_tokener *tok, struct json_object *object)
{
	enum json_tokener_error error = json_tokener_get_error(tok);

	/* json-c leaves out what it finds no memory for, and says nothing. */
	if (errno == ENOMEM)
		return no_memory;
	if (error == json_tokener_error_depth)
		return "it is nested too deeply";
	if (error != json_tokener_success || !object)
		return "it is not valid JSON";
	if (!json_object_is_type(object, json_type_object))
		return "it is not a JSON object";
	return NULL;
}

struct json_object *control_parse(const char *text, size_t len, char *why, size_t why_size)
{
	struct json_tokener *tok = json_tokener_new_ex(CONTROL_JSON_DEPTH);
	struct json_object *object;
	const char *reason;

	errno = tok ? 0 : ENOMEM;
	if (!tok || len > INT_MAX) {
		if (tok)
			json_tokener_free(tok);
		os_say(why, why_size, "%s", no_memory);
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* JSON_TOKENER_STRICT makes whatever follows the first value an error. */
	object = json_tokener_parse_ex(tok, text, (int)len);
	reason = refuse(tok, object);
	json_tokener_free(tok);
	if (!reason)
		return object;
	json_object_put(object);
	os_say(why, why_size, "%s", reason);
	return NULL;
}

char *control_line(struct json_object *object, size_t *ret_len)
{
	const char *text;
	char *line;
	size_t len;

	if (!is_complete(object))
		return NULL;
	errno = 0; /* a text that it has no memory for is only cut short */
	text = json_object_to_json_string_length(object, JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	line = text && errno != ENOMEM ? malloc(len + 2) : NULL;
	if (!line)
		return NULL;
	memcpy(line, text, len);
	line[len] = '\n';
	line[len + 1] = '\0';
	*ret_len = len + 1;
	return line;
}
