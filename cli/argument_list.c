/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/argument_list.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void add_owned(struct argument_list *l, char *argument)
{
	char **items = realloc(l->items, (l->count + 2) * sizeof(*items));

	if (!items || !argument)
		abort();
	l->items = items;
	l->items[l->count++] = argument;
	l->items[l->count] = NULL;
}

void argument_list_add(struct argument_list *l, const char *argument)
{
	add_owned(l, strdup(argument));
}

void argument_list_addf(struct argument_list *l, const char *format, ...)
{
	char *argument = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&argument, format, args) < 0)
		abort();
	va_end(args);
	add_owned(l, argument);
}

void argument_list_append(struct argument_list *l, const struct argument_list *tail)
{
	for (size_t i = 0; i < tail->count; i++)
		argument_list_add(l, tail->items[i]);
}

void argument_list_finish(struct argument_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct argument_list){0};
}

void argument_print_quoted(FILE *out, const char *argument)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";

	if (*argument && !argument[strspn(argument, plain)]) {
		fputs(argument, out);
		return;
	}
	putc('\'', out);
	for (const char *c = argument; *c; c++) {
		if (*c == '\'')
			fputs("'\\''", out);
		else
			putc(*c, out);
	}
	putc('\'', out);
}
