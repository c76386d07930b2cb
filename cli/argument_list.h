/* SPDX-License-Identifier: BSD-3-Clause */
/* A command line that grows. Running out of memory ends the program. */
#ifndef CLI_ARGUMENT_LIST_H
#define CLI_ARGUMENT_LIST_H

#include <stddef.h>
#include <stdio.h>

/* Starts as zeros. */
struct argument_list {
	char **items; /* ends with a NULL once something was added */
	size_t count;
};

void argument_list_add(struct argument_list *l, const char *argument);
void argument_list_addf(struct argument_list *l, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void argument_list_append(struct argument_list *l, const struct argument_list *tail);
void argument_list_finish(struct argument_list *l);

/* Quoted for a shell, so that it can be pasted. */
void argument_print_quoted(FILE *out, const char *argument);

#endif
