/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/systems.h"

#include <errno.h>
#include <string.h>

#include "cli/trace/fields.h"

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
	s->count++;
	return i;
}

bool systems_take_heading(struct systems *s, const char *text)
{
	const char *name = fields_skip_spaces(text), *end = strstr(name, ": cpus=");
	size_t len = end ? (size_t)(end - name) : 0;

	if (!len || len > SYSTEMS_LONGEST || strspn(end + 7, "0123456789\r") != strlen(end + 7))
		return true;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
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
	if (len && number == SYSTEMS_MOST)
		return -EMLINK;
	*ret_name = name;
	*ret_len = len;
	return len ? (int)number + 1 : 0;
}
