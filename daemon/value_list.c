/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/value_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/sentence.h"

#define Q35_OWN_SLOT 0x1f /* its ISA bridge, SATA and SMBus */

const char *value_switch(const char *text, void *field)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off"))
		return "on or off";
	*(bool *)field = on;
	return NULL;
}

const char *value_string(const char *text, void *field)
{
	char **string = field;

	free(*string);
	*string = strdup(text);
	return *string ? NULL : "it later, there is no memory";
}

const char *value_pci_address(const char *text, void *field)
{
	unsigned slot, function = 0;
	int end = 0, full_end = 0;

	/* Only digits: sscanf would take signs, spaces and 0x too. */
	if (text[strspn(text, "0123456789abcdefABCDEF.")] == '\0' &&
	    sscanf(text, "%2x%n.%1u%n", &slot, &end, &function, &full_end) >= 1 && slot > 0 &&
	    slot < Q35_OWN_SLOT && function == 0 && text[full_end ? full_end : end] == '\0') {
		*(unsigned *)field = slot << 3;
		return NULL;
	}
	/* Guests look for the others only where function 0 says that there are some. */
	return "a slot of bus 0 such as 11 or 11.0, from 1 to 1e in hexadecimal; only function 0 of a slot "
	       "can be served";
}

int value_number(const char *text, unsigned from, unsigned to, unsigned *ret_value)
{
	char *end;
	unsigned long value;

	if (text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value < from || value > to)
		return -1;
	*ret_value = (unsigned)value;
	return 0;
}

/* The next piece, undoubled, written over the text itself; *rest behind it, or NULL. */
static char *next_piece(char **rest)
{
	char *piece = *rest, *from = piece, *to = piece;

	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return piece;
}

static int take_key(char *piece, const struct value_key *keys, void *object, char *why, size_t why_size)
{
	char *value = strchr(piece, '=');
	const char *wanted;

	if (value)
		*value++ = '\0';
	while (keys->key && strcmp(keys->key, piece))
		keys++;
	if (!keys->key)
		return os_say(why, why_size, "there is no key '%s' (a comma in a name is written twice)",
			      piece);
	wanted = keys->take(value ? value : "", (char *)object + keys->offset);
	if (!wanted)
		return 0;
	return os_say(why, why_size, "%s=%s: write %s", piece, value ? value : "", wanted);
}

int value_list_parse(const char *argument, const struct value_key *keys, void *object, char **ret_first,
		     char *why, size_t why_size)
{
	char *copy = strdup(argument), *rest = copy, *piece;
	int err = 0;

	*ret_first = copy ? strdup(next_piece(&rest)) : NULL;
	if (!*ret_first) {
		os_say(why, why_size, "there is no memory");
		free(copy);
		return -1;
	}
	while (!err && rest) {
		piece = next_piece(&rest);
		err = take_key(piece, keys, object, why, why_size);
	}
	free(copy);
	return err;
}
