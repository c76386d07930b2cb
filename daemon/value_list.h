/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An option's argument of the form VALUE[,key=value]..., as QEMU's users know
 * it: a comma within the value is written twice.
 */
#ifndef DAEMON_VALUE_LIST_H
#define DAEMON_VALUE_LIST_H

#include <stddef.h>

/* Take `text` into `field`. NULL, or what should have been written instead ("on or off"). */
typedef const char *(*value_fn)(const char *text, void *field);

struct value_key {
	const char *key;
	value_fn take;
	size_t offset; /* of the field in the struct that is filled */
};

/* The takers. Each says the type of its field. */
const char *value_switch(const char *text, void *field);      /* bool */
const char *value_string(const char *text, void *field);      /* char *, allocated */
const char *value_pci_address(const char *text, void *field); /* unsigned: slot << 3 */

/* A decimal number from..to. 0, or -1 and nothing changed. */
int value_number(const char *text, unsigned from, unsigned to, unsigned *ret_value);

/*
 * Split `argument`; *ret_first, allocated, is what stands before the first
 * key, and the keys fill `object` by `keys`, which ends with a NULL key.
 * 0, or -1 and a sentence in `why`.
 */
int value_list_parse(const char *argument, const struct value_key *keys, void *object, char **ret_first,
		     char *why, size_t why_size);

#endif
