/* SPDX-License-Identifier: BSD-3-Clause */
/* Building and taking apart control messages. */
#ifndef CONTROL_MESSAGE_H
#define CONTROL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

/*
 * Who builds a message need not look whether there was memory for each part of
 * it. What could not be made is NULL, which all of these take; an object that
 * lacks something is marked, and so is what it is put into; and of what is
 * NULL or marked control_line() makes no line.
 */

struct json_object *control_object(void);
struct json_object *control_array(void);
/* A reply that holds only {"ok": true}, to be filled. */
struct json_object *control_ok(void);
/* A reply {"error": "..."}; what is wrong and what to do, without a full stop at its end. */
struct json_object *control_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* These take `value` over. */
void control_add(struct json_object *object, const char *key, struct json_object *value);
void control_append(struct json_object *array, struct json_object *value);
void control_set_string(struct json_object *object, const char *key, const char *value);
void control_set_bool(struct json_object *object, const char *key, bool value);
void control_set_u64(struct json_object *object, const char *key, uint64_t value);

/* NULL, false or `otherwise` when the key is not there or holds another type. */
const char *control_get_string(struct json_object *object, const char *key);
/* The same, "" instead of NULL. */
const char *control_get_text(struct json_object *object, const char *key);
bool control_get_bool(struct json_object *object, const char *key);
uint64_t control_get_u64(struct json_object *object, const char *key, uint64_t otherwise);
/* 0 .. length - 1 of an array under `key`; length 0 when there is none. */
size_t control_get_length(struct json_object *object, const char *key);
struct json_object *control_get_item(struct json_object *object, const char *key, size_t index);

/*
 * Parse `len` bytes as exactly one JSON object, strictly. NULL: they are not,
 * and a sentence in `why`; errno is ENOMEM when it is for want of memory.
 * The caller puts the object.
 */
struct json_object *control_parse(const char *text, size_t len, char *why, size_t why_size);

/* The object as one line with its newline, malloc'ed; NULL without memory, now or when it was built. */
char *control_line(struct json_object *object, size_t *ret_len);

#endif
