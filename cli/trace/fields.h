/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fields of an event, "device dir=TO_DEVICE dma_addr=fffff686 ...", in each
 * form that a tool gives them: as the kernel prints them, with lists as libtraceevent
 * prints them, and raw, "device=... dma_addr=fffff686 ...". Behind "[FAILED TO PARSE]"
 * libtraceevent writes them raw and, as it does not know better, addresses in decimal.
 */
#ifndef CLI_TRACE_FIELDS_H
#define CLI_TRACE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/trace/trace.h"

enum field {
	FIELD_DEVICE, /* raw only; else it stands before the first field */
	FIELD_DIR,
	FIELD_DMA_ADDR,
	FIELD_PHYS_ADDR,
	FIELD_SIZE,
	FIELD_DMA_ADDRS,
	FIELD_SIZES,
	FIELD_PHYS_ADDRS,
	FIELD_ATTRS,
	FIELD_TRUNCATED, /* raw; else " [TRUNCATED]" */
	FIELD_IOVA,
	FIELD_PADDR,
	FIELD_BASE,   /* of the functions that 'viommu trace record' probes */
	FIELD_OFFSET, /* likewise */
	FIELD_OTHER,  /* known, so that it is no part of a device's name */
	FIELD_MAX
};

struct fields {
	const char *text, *device; /* device: not ended by a zero */
	size_t device_len;
	bool is_raw, is_decimal;       /* is_decimal: addresses, too, unless they begin with 0x */
	const char *values[FIELD_MAX]; /* behind the "="; NULL: there is none */
};

enum array_form {
	ARRAY_HEX,     /* "{0x1000,0x2000}" */
	ARRAY_DECIMAL, /* "4096 8192" */
	ARRAY_BYTES,   /* "ARRAY[00, 10, 00, 00, ...]", of a little-endian machine */
};

/* Numbers of a list, in the line. */
struct event_array {
	const char *text;
	unsigned count;	    /* that are left */
	uint8_t form, size; /* size: bytes of a number, for ARRAY_BYTES */
};

void fields_split(const char *text, struct fields *ret_fields);
/* False: there is none, or it is cut short or no number. */
bool fields_address(const struct fields *f, enum field which, uint64_t *ret_number);
bool fields_size(const struct fields *f, uint64_t *ret_size);
bool fields_direction(const struct fields *f, enum trace_direction *ret_direction);
/* `size`: bytes of one of its numbers, as the kernel has it. False also: one of its numbers is none. */
bool fields_array(const struct fields *f, enum field which, unsigned size, struct event_array *ret_array);
/* The next number of an array. False: there is none. */
bool event_array_next(struct event_array *a, uint64_t *ret_number);

/* "123": where it ends. NULL: no number, or more than 64 bits. */
const char *fields_take_decimal(const char *at, uint64_t *ret_number);
const char *fields_skip_spaces(const char *at);

#endif
