/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/fields.h"

#include <string.h>

#define FAILED "[FAILED TO PARSE]"

/* -------------------------------------------------------------------- numbers */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_end(char c)
{
	return !c || is_space(c) || c == '\r';
}

const char *fields_skip_spaces(const char *at)
{
	while (is_space(*at))
		at++;
	return at;
}

const char *fields_take_decimal(const char *at, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (!is_digit(*at))
		return NULL;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
			return NULL;
	}
	*ret_number = number;
	return at;
}

static bool has_0x(const char *at)
{
	return at[0] == '0' && (at[1] | 0x20) == 'x';
}

/* With 0x before it or without. */
static const char *take_hex(const char *at, uint64_t *ret_number)
{
	uint64_t number = 0;
	int digit;

	if (has_0x(at))
		at += 2;
	if (hex_digit(*at) < 0)
		return NULL;
	while ((digit = hex_digit(*at)) >= 0) {
		if (number >> 60)
			return NULL;
		number = number << 4 | (uint64_t)digit;
		at++;
	}
	*ret_number = number;
	return at;
}

/* --------------------------------------------------------------------- arrays */

/* "00, 82, ...": the lowest byte comes first. */
static const char *take_bytes(const char *at, unsigned size, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < size; i++) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0)
			return NULL;
		number |= (uint64_t)(high << 4 | low) << (8 * i);
		at += 2;
		if (i + 1 < size) {
			if (at[0] != ',' || at[1] != ' ')
				return NULL;
			at += 2;
		}
	}
	*ret_number = number;
	return at;
}

static const char *take_number(const struct event_array *a, const char *at, uint64_t *ret_number)
{
	if (a->form == ARRAY_HEX)
		return take_hex(at, ret_number);
	if (a->form == ARRAY_DECIMAL)
		return fields_take_decimal(at, ret_number);
	return take_bytes(at, a->size, ret_number);
}

/* What stands between two numbers; NULL: it is something else. */
static const char *skip_comma(const struct event_array *a, const char *at)
{
	if (a->form == ARRAY_DECIMAL)
		return *at == ' ' ? at + 1 : NULL;
	if (*at != ',')
		return NULL;
	return at[1] == ' ' ? at + 2 : at + 1;
}

/* Does the array end there? */
static bool ends(const struct event_array *a, const char *at)
{
	if (a->form == ARRAY_HEX)
		return *at == '}';
	if (a->form == ARRAY_BYTES)
		return *at == ']';
	/* The next field's name, or nothing. */
	return !*at || *at == '\r' || (is_space(*at) && !is_digit(at[1]));
}

bool event_array_next(struct event_array *a, uint64_t *ret_number)
{
	const char *at;

	if (!a->count)
		return false;
	at = take_number(a, a->text, ret_number);
	if (--a->count)
		at = skip_comma(a, at);
	a->text = at;
	return true;
}

static bool begin_array(const char *value, struct event_array *a)
{
	a->text = value;
	if (*value == '{') {
		a->form = ARRAY_HEX;
		a->text++;
	} else if (!strncmp(value, "ARRAY[", 6)) {
		a->form = ARRAY_BYTES;
		a->text += 6;
	} else {
		a->form = ARRAY_DECIMAL;
	}
	return a->form != ARRAY_DECIMAL || is_digit(*value);
}

/* All of it is looked at here once, so that event_array_next() need not. */
bool fields_array(const struct fields *f, enum field which, unsigned size, struct event_array *ret_array)
{
	struct event_array a = {.size = (uint8_t)size};
	uint64_t ignored;
	const char *at;

	if (!f->values[which] || !begin_array(f->values[which], &a))
		return false;
	at = a.text;
	while (!ends(&a, at)) {
		at = a.count ? skip_comma(&a, at) : at;
		at = at ? take_number(&a, at, &ignored) : NULL;
		if (!at)
			return false;
		a.count++;
	}
	*ret_array = a;
	return true;
}

/* --------------------------------------------------------------------- fields */

static const struct {
	const char *name;
	enum field field;
} names[] = {
	{"dir", FIELD_DIR},
	{"dma_addr", FIELD_DMA_ADDR},
	{"size", FIELD_SIZE},
	{"phys_addr", FIELD_PHYS_ADDR},
	{"attrs", FIELD_ATTRS},
	{"dma_addrs", FIELD_DMA_ADDRS},
	{"sizes", FIELD_SIZES},
	{"lengths", FIELD_SIZES}, /* raw */
	{"phys_addrs", FIELD_PHYS_ADDRS},
	{"addr", FIELD_DMA_ADDR},    /* raw, of dma_unmap_page */
	{"addrs", FIELD_PHYS_ADDRS}, /* raw, of dma_unmap_sg */
	{"device", FIELD_DEVICE},
	{"truncated", FIELD_TRUNCATED},
	{"iova", FIELD_IOVA},
	{"paddr", FIELD_PADDR},
	{"base", FIELD_BASE},
	{"offset", FIELD_OFFSET},
	{"nents", FIELD_OTHER},
	{"full_nents", FIELD_OTHER},
	{"virt_addr", FIELD_OTHER},
};

/* "name=" there: what stands behind it. NULL: no field of ours. */
static const char *match(const char *at, enum field *ret_field)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *name = names[i].name;
		size_t len;

		if (*name != *at)
			continue;
		len = strlen(name);
		if (!strncmp(at, name, len) && at[len] == '=') {
			*ret_field = names[i].field;
			return at + len + 1;
		}
	}
	return NULL;
}

static void end_device(struct fields *f, const char *end)
{
	while (end > f->device && is_space(end[-1]))
		end--;
	f->device_len = (size_t)(end - f->device);
}

/* The first of a name counts: what a column behind the event repeats is none of it. */
void fields_split(const char *text, struct fields *ret_fields)
{
	struct fields *f = ret_fields;
	bool any = false;

	*f = (struct fields){0};
	text = fields_skip_spaces(text);
	if (!strncmp(text, FAILED, sizeof(FAILED) - 1)) {
		text = fields_skip_spaces(text + sizeof(FAILED) - 1);
		f->is_raw = f->is_decimal = true;
	}
	f->text = f->device = text;
	for (const char *at = text; at; at = strchr(at, ' ')) {
		enum field field;
		const char *value;

		at = fields_skip_spaces(at);
		value = match(at, &field);
		if (!value)
			continue;
		if (!f->values[field])
			f->values[field] = value;
		if (at == text) {
			f->is_raw = true;
			f->device = field == FIELD_DEVICE ? value : text;
			any = field != FIELD_DEVICE;
		} else if (!any) {
			end_device(f, at);
			any = true;
		}
	}
}

bool fields_address(const struct fields *f, enum field which, uint64_t *ret_number)
{
	const char *value = f->values[which], *end;
	uint64_t number;

	if (!value)
		return false;
	end = f->is_decimal && !has_0x(value) ? fields_take_decimal(value, &number)
					      : take_hex(value, &number);
	if (!end || !is_end(*end))
		return false;
	*ret_number = number;
	return true;
}

bool fields_size(const struct fields *f, uint64_t *ret_size)
{
	const char *value = f->values[FIELD_SIZE], *end;
	uint64_t size;

	if (!value)
		return false;
	end = has_0x(value) ? take_hex(value, &size) : fields_take_decimal(value, &size);
	if (!end || !is_end(*end))
		return false;
	*ret_size = size;
	return true;
}

/* By name, or as the number that enum dma_data_direction gives it. */
bool fields_direction(const struct fields *f, enum trace_direction *ret_direction)
{
	static const struct {
		const char *name, *number;
		enum trace_direction direction;
	} directions[] = {{"BIDIRECTIONAL", "0", TRACE_BIDIRECTIONAL},
			  {"TO_DEVICE", "1", TRACE_TO_DEVICE},
			  {"FROM_DEVICE", "2", TRACE_FROM_DEVICE}};
	const char *value = f->values[FIELD_DIR];

	for (size_t i = 0; value && i < sizeof(directions) / sizeof(directions[0]); i++) {
		const char *word = f->is_raw && is_digit(*value) ? directions[i].number : directions[i].name;
		size_t len = strlen(word);

		if (!strncmp(value, word, len) && is_end(value[len])) {
			*ret_direction = directions[i].direction;
			return true;
		}
	}
	return false;
}
