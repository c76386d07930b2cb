/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/systems.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/trace/fields.h"

static void fill_shown(struct systems *s, unsigned number)
{
	const char *name = s->names[number];
	bool any = false;
	char *to = s->shown[number];

	for (; *name; name++, to++) {
		bool is_text = *name >= ' ' && *name <= '~';

		*to = is_text ? *name : '?';
		any = any || !is_text;
	}
	*to = '\0';
	if (any)
		snprintf(to, sizeof(s->shown[0]) - (size_t)(name - s->names[number]), "#%u", number + 1);
}

/* Its number, a new one if it was not seen before; SYSTEMS_MOST: there is no room. */
static unsigned number_of(struct systems *s, const char *name, size_t len, bool is_guest)
{
	unsigned i;

	for (i = 0; i < s->count; i++)
		if (s->is_guest[i] == is_guest && !strncmp(s->names[i], name, len) && !s->names[i][len])
			return i;
	if (i == SYSTEMS_MOST)
		return i;
	memcpy(s->names[i], name, len);
	s->names[i][len] = '\0';
	s->is_guest[i] = is_guest;
	fill_shown(s, i);
	s->count++;
	return i;
}

bool systems_take_heading(struct systems *s, const char *text)
{
	const char *name = fields_skip_spaces(text), *end = strstr(name, ": cpus=");
	size_t len = end ? (size_t)(end - name) : 0;

	if (!len || len > SYSTEMS_LONGEST || strspn(end + 7, "0123456789\r") != strlen(end + 7))
		return true;
	return number_of(s, name, len, false) < SYSTEMS_MOST;
}

/* "VM:1234", or only its number where it was padded. 0: something else. */
static size_t take_guest(const char *text, const char **ret_name)
{
	const char *from = text + 3, *number = fields_skip_spaces(from);
	size_t digits = strspn(number, "0123456789");

	if (!digits || digits + 3 > SYSTEMS_LONGEST || number[digits] != ' ')
		return 0;
	*ret_name = number == from ? text : number;
	return digits + (number == from ? 3 : 0);
}

int systems_find(struct systems *s, const char *text, const char **ret_name, size_t *ret_len)
{
	const char *name = text = fields_skip_spaces(text);
	size_t len = strncmp(text, "VM:", 3) ? 0 : take_guest(text, &name);
	unsigned number = len ? number_of(s, name, len, true) : 0;

	for (; !len && number < s->count; number++) {
		size_t most = strlen(s->names[number]);

		if (!s->is_guest[number] && !strncmp(text, s->names[number], most) && text[most] == ':' &&
		    text[most + 1] == ' ') {
			len = most;
			break;
		}
	}
	*ret_name = text;
	*ret_len = 0;
	if (!len)
		return 0;
	if (number == SYSTEMS_MOST)
		return -EMLINK;
	*ret_name = s->shown[number];
	*ret_len = strlen(s->shown[number]);
	return (int)number + 1;
}
