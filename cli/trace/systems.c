/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/systems.h"

#include <string.h>

#include "cli/trace/fields.h"

bool systems_take_heading(struct systems *s, const char *text)
{
	const char *name = fields_skip_spaces(text), *end = strstr(name, ": cpus=");
	size_t len = end ? (size_t)(end - name) : 0;

	if (!len || len > SYSTEMS_LONGEST || strspn(end + 7, "0123456789\r") != strlen(end + 7))
		return true;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return true;
	if (s->count == SYSTEMS_MOST)
		return false;
	memcpy(s->names[s->count], name, len);
	s->names[s->count++][len] = '\0';
	return true;
}

static const char *find_guest(const char *text, size_t *ret_len)
{
	const char *from = text + 3, *number = fields_skip_spaces(from);
	size_t digits = strspn(number, "0123456789");

	if (!digits || digits > SYSTEMS_LONGEST || number[digits] != ' ')
		return text;
	/* "VM:1234", or only its number where it was padded. */
	*ret_len = digits + (number == from ? 3 : 0);
	return number == from ? text : number;
}

const char *systems_find(const struct systems *s, const char *text, size_t *ret_len)
{
	*ret_len = 0;
	text = fields_skip_spaces(text);
	if (!strncmp(text, "VM:", 3))
		return find_guest(text, ret_len);
	for (unsigned i = 0; i < s->count; i++) {
		size_t len = strlen(s->names[i]);

		if (!strncmp(text, s->names[i], len) && text[len] == ':' && text[len + 1] == ' ') {
			*ret_len = len;
			return s->names[i];
		}
	}
	return text;
}
