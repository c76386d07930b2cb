/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json-c is linked into these tests statically, so that its allocations fail
 * too. What it (0.16) does wrong without memory is not counted against us: its
 * parser follows a NULL when it cannot copy a key and loses a value that it
 * cannot add to an array, and an object that cannot grow loses the copied key.
 */
#include <json-c/json.h>
#include <stdbool.h>

#include "failing_alloc.h"

struct json_object *__real_json_tokener_parse_ex(struct json_tokener *t, const char *text, int len);
struct json_object *__wrap_json_tokener_parse_ex(struct json_tokener *t, const char *text, int len);
int __real_json_object_array_add(struct json_object *array, struct json_object *value);
int __wrap_json_object_array_add(struct json_object *array, struct json_object *value);
int __real_json_object_object_add(struct json_object *object, const char *key, struct json_object *value);
int __wrap_json_object_object_add(struct json_object *object, const char *key, struct json_object *value);

static _Thread_local bool parsing;

struct json_object *__wrap_json_tokener_parse_ex(struct json_tokener *t, const char *text, int len)
{
	struct json_object *object;

	parsing = true;
	alloc_exempt("strdup");
	object = __real_json_tokener_parse_ex(t, text, len);
	parsing = false;
	alloc_exempt(NULL);
	return object;
}

int __wrap_json_object_object_add(struct json_object *object, const char *key, struct json_object *value)
{
	int ret;

	alloc_exempt(parsing ? "strdup,calloc" : "calloc");
	ret = __real_json_object_object_add(object, key, value);
	alloc_exempt(parsing ? "strdup" : NULL);
	return ret;
}

int __wrap_json_object_array_add(struct json_object *array, struct json_object *value)
{
	int ret = __real_json_object_array_add(array, value);

	if (ret && parsing)
		json_object_put(value);
	return ret;
}
