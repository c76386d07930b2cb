/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/event.h"

#include <string.h>

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

static const char *skip_spaces(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

/* NULL: there is none, or it does not fit. */
static const char *take_decimal(const char *at, uint64_t *ret_number)
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

/* With 0x before it or without. */
static const char *take_hex(const char *at, uint64_t *ret_number)
{
	uint64_t number = 0;
	int digit;

	if (at[0] == '0' && (at[1] | 0x20) == 'x')
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

bool event_array_next(struct event_array *a, uint64_t *ret_number)
{
	const char *at = a->text;

	if (!at)
		return false;
	while (*at == '{' || *at == ',' || *at == ' ')
		at++;
	at = take_hex(at, ret_number);
	a->text = at;
	return at;
}

/* --------------------------------------------------------------------- fields */

/* What stands behind " name="; NULL: nothing. */
static const char *find_value(const char *fields, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strchr(fields, ' '); at; at = strchr(at + 1, ' ')) {
		if (!strncmp(at + 1, name, len) && at[1 + len] == '=')
			return at + 1 + len + 1;
	}
	return NULL;
}

static bool find_hex(const char *fields, const char *name, uint64_t *ret_number)
{
	const char *value = find_value(fields, name);

	return value && take_hex(value, ret_number);
}

static bool find_size(const char *fields, uint64_t *ret_number)
{
	const char *value = find_value(fields, "size");

	return value && take_decimal(value, ret_number);
}

static bool find_array(const char *fields, const char *name, struct event_array *ret_array)
{
	const char *value = find_value(fields, name);

	if (!value || *value != '{')
		return false;
	ret_array->text = value;
	return true;
}

static bool find_direction(const char *fields, enum trace_direction *ret_direction)
{
	static const struct {
		const char *name;
		enum trace_direction direction;
	} directions[] = {{"TO_DEVICE", TRACE_TO_DEVICE},
			  {"FROM_DEVICE", TRACE_FROM_DEVICE},
			  {"BIDIRECTIONAL", TRACE_BIDIRECTIONAL}};
	const char *value = find_value(fields, "dir");

	for (size_t i = 0; value && i < sizeof(directions) / sizeof(directions[0]); i++) {
		if (!strncmp(value, directions[i].name, strlen(directions[i].name))) {
			*ret_direction = directions[i].direction;
			return true;
		}
	}
	return false;
}

/* "0000:00:02.0 dir=TO_DEVICE ..." */
static bool take_common(const char *fields, struct event *e)
{
	e->device = fields;
	e->device_len = strcspn(fields, " ");
	return e->device_len && fields[e->device_len] == ' ' && find_direction(fields, &e->direction);
}

static bool take_single(const char *fields, struct event *e)
{
	if (!take_common(fields, e) || !find_hex(fields, "dma_addr", &e->dma_addr) ||
	    !find_size(fields, &e->size))
		return false;
	e->has_phys = find_hex(fields, "phys_addr", &e->phys_addr);
	find_array(fields, "phys_addrs", &e->phys_addrs); /* of dma_alloc_sgt */
	return true;
}

static bool take_map(const char *fields, struct event *e)
{
	return take_single(fields, e) && e->has_phys;
}

static bool take_map_list(const char *fields, struct event *e)
{
	e->truncated = strstr(fields, " [TRUNCATED]");
	return take_common(fields, e) && find_array(fields, "dma_addrs", &e->dma_addrs) &&
	       find_array(fields, "sizes", &e->sizes) && find_array(fields, "phys_addrs", &e->phys_addrs);
}

static bool take_unmap_list(const char *fields, struct event *e)
{
	return take_common(fields, e) && find_array(fields, "phys_addrs", &e->phys_addrs);
}

static bool take_sync_list(const char *fields, struct event *e)
{
	return take_common(fields, e) && find_array(fields, "dma_addrs", &e->dma_addrs) &&
	       find_array(fields, "sizes", &e->sizes);
}

static bool take_nothing(const char *fields, struct event *e)
{
	return true;
}

/* Others may call their events so, too. */
static bool take_iommu(const char *fields, struct event *e)
{
	return !strncmp(fields, "IOMMU:", 6);
}

static const struct {
	const char *name;
	enum event_kind kind;
	bool (*take)(const char *fields, struct event *e);
} events[] = {
	{"dma_map_page", EVENT_MAP, take_map},
	{"dma_unmap_page", EVENT_UNMAP, take_single},
	{"dma_map_phys", EVENT_MAP, take_map},
	{"dma_unmap_phys", EVENT_UNMAP, take_single},
	{"dma_map_resource", EVENT_MAP, take_map},
	{"dma_unmap_resource", EVENT_UNMAP, take_single},
	{"dma_map_sg", EVENT_MAP_SG, take_map_list},
	{"dma_map_sg_err", EVENT_MAP_SG_FAILED, take_nothing},
	{"dma_unmap_sg", EVENT_UNMAP_SG, take_unmap_list},
	{"dma_alloc", EVENT_ALLOC, take_single},
	{"dma_alloc_pages", EVENT_ALLOC, take_single},
	{"dma_alloc_sgt", EVENT_ALLOC, take_single},
	{"dma_free", EVENT_FREE, take_single},
	{"dma_free_pages", EVENT_FREE, take_single},
	{"dma_free_sgt", EVENT_FREE, take_single},
	{"dma_sync_single_for_cpu", EVENT_SYNC_FOR_CPU, take_single},
	{"dma_sync_single_for_device", EVENT_SYNC_FOR_DEVICE, take_single},
	{"dma_sync_sg_for_cpu", EVENT_SYNC_SG_FOR_CPU, take_sync_list},
	{"dma_sync_sg_for_device", EVENT_SYNC_SG_FOR_DEVICE, take_sync_list},
	{"map", EVENT_IOMMU_MAP, take_iommu},
	{"unmap", EVENT_IOMMU_UNMAP, take_iommu},
};

/* ---------------------------------------------------------------------- lines */

/* "[003]", which stands behind the task, whose name may have brackets too. */
static const char *take_cpu(const char *at, unsigned *ret_cpu)
{
	for (at = strchr(at, '['); at; at = strchr(at + 1, '[')) {
		uint64_t cpu;
		const char *end = take_decimal(at + 1, &cpu);

		if (end && end[0] == ']' && end[1] == ' ' && cpu < 65536) {
			*ret_cpu = (unsigned)cpu;
			return end + 1;
		}
	}
	return NULL;
}

/* "33.996382:" with 6 digits or 9. NULL: no time stands here. */
static const char *take_time(const char *at, uint64_t *ret_ns, bool *ret_is_seconds)
{
	uint64_t seconds, ns = 0, unit = 1000000000;

	at = take_decimal(at, &seconds);
	if (!at || (*at != '.' && *at != ':'))
		return NULL;
	*ret_is_seconds = *at == '.';
	if (*at == '.') {
		for (at++; is_digit(*at) && unit > 1; at++) {
			unit /= 10;
			ns += (uint64_t)(*at - '0') * unit;
		}
	}
	*ret_ns = seconds < UINT64_MAX / 1000000000 - 1 ? seconds * 1000000000 + ns : UINT64_MAX;
	return *at == ':' ? at + 1 : NULL;
}

/* "dma_map_page:" or "dma:dma_map_page:"; what follows are the fields. */
static const char *take_name(const char *at, size_t *ret_len, const char **ret_fields)
{
	size_t len = strcspn(at, ": ");

	if (at[len] == ':' && at[len + 1] != ' ' && at[len + 1]) {
		at += len + 1;
		len = strcspn(at, ": ");
	}
	if (!len || at[len] != ':')
		return NULL;
	*ret_len = len;
	*ret_fields = skip_spaces(at + len + 1);
	return at;
}

/* "CPU:0 [LOST 123 EVENTS]", of trace-cmd "[123 EVENTS DROPPED]". */
static bool take_loss(const char *text, struct event *e)
{
	const char *at;

	if (strncmp(text, "CPU:", 4) || !(at = strchr(text, '[')) ||
	    !(strstr(at, "LOST") || strstr(at, "DROPPED")))
		return false;
	while (*at && !is_digit(*at))
		at++;
	if (!take_decimal(at, &e->lost))
		e->lost = 0;
	e->kind = EVENT_LOST;
	return true;
}

static void take_fields(const char *name, size_t len, const char *fields, struct event *e)
{
	e->kind = EVENT_OTHER;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (strncmp(events[i].name, name, len) || events[i].name[len])
			continue;
		e->kind = events[i].take(fields, e) ? events[i].kind : EVENT_BAD;
		return;
	}
}

void event_parse(const char *text, size_t len, struct event *ret_event)
{
	struct event *e = ret_event;
	const char *at, *time, *name, *fields;
	size_t name_len;
	bool is_seconds = true;

	*e = (struct event){.kind = EVENT_NONE};
	if (!len || text[0] == '#' || take_loss(text, e))
		return;
	at = take_cpu(text, &e->cpu);
	if (!at)
		return;
	at = skip_spaces(at);
	time = take_time(at, &e->time_ns, &is_seconds);
	if (!time) { /* flags come first */
		at = skip_spaces(at + strcspn(at, " "));
		time = take_time(at, &e->time_ns, &is_seconds);
	}
	name = time ? take_name(skip_spaces(time), &name_len, &fields) : NULL;
	if (!name)
		return;
	take_fields(name, name_len, fields, e);
	if (!is_seconds && e->kind > EVENT_BAD) {
		e->kind = EVENT_BAD;
		e->no_time = true;
	}
}
