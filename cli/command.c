/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/sentence.h"

static void say(const char *format, va_list args)
{
	char text[2048];

	os_say_v(text, sizeof(text), format, args);
	for (char *c = text; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	fprintf(stderr, "viommu: %s\n", text);
}

int failure(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	return EXIT_FAILURE;
}

int usage_failure(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	return EXIT_USAGE;
}
