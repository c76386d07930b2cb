/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/event.h"

#include <string.h>

#define CPUS_MOST      65536u
#define COLUMNS_BEFORE 3 /* between CPU and time, at most */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* ---------------------------------------------------------------- known events */

bool event_is_device_name(const char *name, size_t len)
{
	if (!len || len > EVENT_DEVICE_LONGEST)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return false;
	return true;
}

/* Where the kernel prints attributes they come last, so without them the line was cut short. */
static bool take_common(const struct fields *f, struct event *e)
{
	e->device = f->device;
	e->device_len = f->device_len;
	return event_is_device_name(f->device, f->device_len) && fields_direction(f, &e->direction);
}

static bool take_range(const struct fields *f, struct event *e)
{
	return fields_address(f, FIELD_DMA_ADDR, &e->dma_addr) && fields_size(f, &e->size);
}

static bool take_sync(const struct fields *f, struct event *e)
{
	return take_common(f, e) && take_range(f, e);
}

static bool take_unmap(const struct fields *f, struct event *e)
{
	return take_sync(f, e) && f->values[FIELD_ATTRS];
}

static bool take_map(const struct fields *f, struct event *e)
{
	e->has_phys = fields_address(f, FIELD_PHYS_ADDR, &e->phys_addr);
	return take_unmap(f, e) && e->has_phys;
}

/* Kernels before 6.12.48 do not say the direction. */
static bool take_allocation(const struct fields *f, struct event *e)
{
	if (!take_common(f, e) && (f->values[FIELD_DIR] || !event_is_device_name(f->device, f->device_len)))
		return false;
	if (!f->values[FIELD_DIR])
		e->direction = TRACE_BIDIRECTIONAL;
	fields_array(f, FIELD_PHYS_ADDRS, 8, &e->phys_addrs); /* of dma_alloc_sgt */
	return take_range(f, e) && (f->values[FIELD_ATTRS] || f->is_raw || e->phys_addrs.text);
}

static bool take_sync_list(const struct fields *f, struct event *e)
{
	return take_common(f, e) && fields_array(f, FIELD_DMA_ADDRS, 8, &e->dma_addrs) &&
	       fields_array(f, FIELD_SIZES, 4, &e->sizes) && e->dma_addrs.count == e->sizes.count;
}

static bool take_map_list(const struct fields *f, struct event *e)
{
	const char *truncated = f->values[FIELD_TRUNCATED];

	e->truncated = truncated ? *truncated != '0' : strstr(f->text, " [TRUNCATED]") != NULL;
	return take_sync_list(f, e) && fields_array(f, FIELD_PHYS_ADDRS, 8, &e->phys_addrs) &&
	       f->values[FIELD_ATTRS];
}

static bool take_unmap_list(const struct fields *f, struct event *e)
{
	return take_common(f, e) && fields_array(f, FIELD_PHYS_ADDRS, 8, &e->phys_addrs) &&
	       f->values[FIELD_ATTRS];
}

static bool take_failure(const struct fields *f, struct event *e)
{
	return f->values[FIELD_ATTRS];
}

static bool take_iommu_unmap(const struct fields *f, struct event *e)
{
	return fields_address(f, FIELD_IOVA, &e->dma_addr) && fields_size(f, &e->size);
}

static bool take_iommu_map(const struct fields *f, struct event *e)
{
	e->has_phys = fields_address(f, FIELD_PADDR, &e->phys_addr);
	return take_iommu_unmap(f, e) && e->has_phys;
}

/*
 * 'viommu trace record' has the kernel's functions tell what its events do not:
 * (dma_iova_link+0x0/0x170) device="0000:00:04.0" base=0xfffa0000 phys_addr=0x1000 offset=0x0 size=4096 dir=2
 */
static bool take_iova_unlink(const struct fields *f, struct event *e)
{
	struct fields raw = *f;
	const char *device = f->values[FIELD_DEVICE];
	uint64_t offset = 0;

	if (!device || *device != '"')
		return false;
	raw.is_raw = true;
	e->device = device + 1;
	e->device_len = strcspn(device + 1, "\"");
	return event_is_device_name(e->device, e->device_len) && e->device[e->device_len] == '"' &&
	       fields_direction(&raw, &e->direction) && fields_address(&raw, FIELD_BASE, &e->dma_addr) &&
	       (!f->values[FIELD_OFFSET] || fields_address(&raw, FIELD_OFFSET, &offset)) &&
	       !__builtin_add_overflow(e->dma_addr, offset, &e->dma_addr) && fields_size(&raw, &e->size);
}

static bool take_iova_link(const struct fields *f, struct event *e)
{
	e->has_phys = fields_address(f, FIELD_PHYS_ADDR, &e->phys_addr);
	return take_iova_unlink(f, e) && e->has_phys;
}

struct known {
	const char *name;
	enum event_kind kind;
	bool (*take)(const struct fields *f, struct event *e);
};

static const struct known known_events[] = {
	{"dma_map_page", EVENT_MAP, take_map},
	{"dma_unmap_page", EVENT_UNMAP, take_unmap},
	{"dma_map_phys", EVENT_MAP, take_map},
	{"dma_unmap_phys", EVENT_UNMAP, take_unmap},
	{"dma_map_resource", EVENT_MAP, take_map},
	{"dma_unmap_resource", EVENT_UNMAP, take_unmap},
	{"dma_map_sg", EVENT_MAP_SG, take_map_list},
	{"dma_map_sg_err", EVENT_MAP_SG_FAILED, take_failure},
	{"dma_unmap_sg", EVENT_UNMAP_SG, take_unmap_list},
	{"dma_alloc", EVENT_ALLOC, take_allocation},
	{"dma_alloc_pages", EVENT_ALLOC, take_allocation},
	{"dma_alloc_sgt", EVENT_ALLOC, take_allocation},
	{"dma_free", EVENT_FREE, take_allocation},
	{"dma_free_pages", EVENT_FREE, take_allocation},
	{"dma_free_sgt", EVENT_FREE, take_allocation},
	{"dma_sync_single_for_cpu", EVENT_SYNC_FOR_CPU, take_sync},
	{"dma_sync_single_for_device", EVENT_SYNC_FOR_DEVICE, take_sync},
	{"dma_sync_sg_for_cpu", EVENT_SYNC_SG_FOR_CPU, take_sync_list},
	{"dma_sync_sg_for_device", EVENT_SYNC_SG_FOR_DEVICE, take_sync_list},
	{"dma_iova_link", EVENT_IOVA_LINK, take_iova_link},
	{"dma_iova_unlink", EVENT_IOVA_UNLINK, take_iova_unlink},
	{"dma_iova_destroy", EVENT_IOVA_UNLINK, take_iova_unlink},
	{"map", EVENT_IOMMU_MAP, take_iommu_map},
	{"unmap", EVENT_IOMMU_UNMAP, take_iommu_unmap},
};

/* `name` as an event of the kernel's `system` ("dma", "iommu"); system_len 0: the line does not say. */
static const struct known *look_up(const char *name, size_t len, const char *system, size_t system_len)
{
	bool is_dma = len > 4 && !memcmp(name, "dma_", 4);

	if (!is_dma && *name != 'm' && *name != 'u')
		return NULL;
	if (system_len && (is_dma ? system_len != 3 || memcmp(system, "dma", 3)
				  : system_len != 5 || memcmp(system, "iommu", 5)))
		return NULL;
	for (size_t i = 0; i < sizeof(known_events) / sizeof(known_events[0]); i++)
		if (!strncmp(known_events[i].name, name, len) && !known_events[i].name[len])
			return &known_events[i];
	return NULL;
}

/* ---------------------------------------------------------------- time and CPU */

/* "33.996382" with 6 digits or 9, from..end. False: no time. */
static bool take_time(const char *from, const char *end, uint64_t *ret_ns, bool *ret_is_seconds)
{
	uint64_t seconds, ns = 0, unit = 1000000000;
	const char *at = fields_take_decimal(from, &seconds);

	if (!at || (*at != '.' && at != end))
		return false;
	*ret_is_seconds = *at == '.';
	for (at += *at == '.'; at < end && is_digit(*at); at++) {
		unit /= 10;
		ns += (uint64_t)(*at - '0') * unit;
	}
	*ret_ns = seconds < UINT64_MAX / 1000000000 - 1 ? seconds * 1000000000 + ns : UINT64_MAX;
	return at == end;
}

/* "[003]", or "3d.h1." of the latency format. */
static bool take_cpu(const char *from, const char *end, unsigned *ret_cpu)
{
	bool in_brackets = *from == '[';
	uint64_t cpu;
	const char *at = fields_take_decimal(from + in_brackets, &cpu);

	if (!at || at >= end || cpu >= CPUS_MOST)
		return false;
	if (in_brackets ? *at != ']' || at + 1 != end
			: *at != '.' && !((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z'))
		return false;
	*ret_cpu = (unsigned)cpu;
	return true;
}

/* The columns before the time, from right to left; what is left of them is the task, which may have any name.
 */
static unsigned find_cpu(const char *text, const char *time)
{
	unsigned cpu = 0;

	for (int i = 0; i < COLUMNS_BEFORE; i++) {
		const char *end = time, *from;

		while (end > text && is_space(end[-1]))
			end--;
		for (from = end; from > text && !is_space(from[-1]);)
			from--;
		if (from == end || ((*from == '[' || !i) && take_cpu(from, end, &cpu)))
			break;
		time = from;
	}
	return cpu;
}

/* ----------------------------------------------------------------- what is lost */

static uint64_t number_behind(const char *at, const char *word)
{
	uint64_t number;

	at = strstr(at, word);
	return at && fields_take_decimal(at + strlen(word), &number) ? number : 0;
}

/* "CPU:0 [LOST 123 EVENTS]", of trace-cmd "CPU:0 [123 EVENTS DROPPED]". */
static bool take_gap(const char *text, uint64_t *ret_lost)
{
	uint64_t cpu;
	const char *at = strstr(text, "CPU:");

	at = at ? fields_take_decimal(at + 4, &cpu) : NULL;
	if (!at || strncmp(at, " [", 2))
		return false;
	at += 2;
	if (!strncmp(at, "LOST ", 5))
		at += 5;
	else if (!strstr(at, "EVENTS DROPPED]"))
		return false;
	if (!fields_take_decimal(at, ret_lost))
		*ret_lost = 0;
	return true;
}

/* perf: a record of the file, what 'perf trace' makes of it, and the words at the end. */
static bool take_perf_loss(const char *text, uint64_t *ret_lost)
{
	if (strstr(text, "PERF_RECORD_LOST")) {
		*ret_lost = number_behind(text, "lost ");
		return true;
	}
	if (strstr(text, " events!")) {
		*ret_lost = number_behind(text, "LOST ");
		return *ret_lost;
	}
	*ret_lost = 0;
	return !strncmp(text, "Processed ", 10) && strstr(text, " and lost ");
}

/* "# entries-in-buffer/entries-written: 205/434": the first of them were overwritten. */
static bool take_overwritten(const char *text, uint64_t *ret_lost)
{
	static const char heading[] = "entries-in-buffer/entries-written: ";
	const char *at = strstr(text, heading);
	uint64_t kept, written;

	at = at ? fields_take_decimal(at + sizeof(heading) - 1, &kept) : NULL;
	if (!at || *at != '/' || !fields_take_decimal(at + 1, &written) || written <= kept)
		return false;
	*ret_lost = written - kept;
	return true;
}

/* ------------------------------------------------------------------------ lines */

/* What is known of a line while its colons are gone through. */
struct line {
	const char *text;
	const char *time; /* where the last time begins; NULL: none yet */
	uint64_t time_ns;
	bool is_seconds;
	bool any_other, any_bad, any_timeless;
};

/*
 * The fields of a line are split once: a hostile line may have a name at each of its colons. What
 * has a time and cannot be read is left as that, whatever follows.
 */
static bool take_event(struct line *l, const struct known *known, const char *fields, struct event *e)
{
	struct event found = {.kind = known->kind, .time_ns = l->time_ns};
	struct fields f;

	if (!l->time || !l->is_seconds) {
		l->any_timeless = true;
		return false;
	}
	fields_split(fields, &f);
	if (!known->take(&f, &found)) {
		l->any_bad = true;
		return false;
	}
	found.cpu = find_cpu(l->text, l->time);
	*e = found;
	return true;
}

/* "map:" alone may be anybody's. */
static bool is_iommu(const char *fields)
{
	fields = fields_skip_spaces(fields);
	return !strncmp(fields, "IOMMU:", 6) || !strncmp(fields, "iova=", 5) ||
	       !strncmp(fields, "[FAILED TO PARSE] iova=", 23);
}

/* What ends with a colon and a space: a time, an event's name, or something else. NULL: no name of ours. */
static const struct known *take_colon(struct line *l, const char *from, const char *colon)
{
	const char *system = from;
	size_t system_len = 0;
	const struct known *known;

	if (from > l->text && from[-1] == ':') {
		for (system = from - 1; system > l->text && is_word(system[-1]);)
			system--;
		system_len = (size_t)(from - 1 - system);
	}
	if (system > l->text && !is_space(system[-1]))
		return NULL;
	if (is_digit(*from)) {
		if (!system_len && take_time(from, colon, &l->time_ns, &l->is_seconds))
			l->time = from;
		return NULL;
	}
	known = look_up(from, (size_t)(colon - from), system, system_len);
	if (known && known->kind >= EVENT_IOMMU_MAP && !system_len && !is_iommu(colon + 1))
		known = NULL;
	l->any_other = l->any_other || (!known && l->time);
	return known;
}

/* The next name of ours in the line; *io_at is where to look, and then what stands behind the name. */
static const struct known *next_known(struct line *l, const char **io_at)
{
	const char *before = *io_at;

	for (const char *colon = strchr(before, ':'); colon; colon = strchr(before, ':')) {
		const struct known *known = NULL;
		const char *from = colon;

		while (from > before && (is_word(from[-1]) || from[-1] == '.'))
			from--;
		before = colon + 1;
		if (from < colon && (!*before || is_space(*before) || *before == '\r'))
			known = take_colon(l, from, colon);
		*io_at = before;
		if (known)
			return known;
	}
	return NULL;
}

/*
 * Behind the fields another time and another name, or anywhere what was lost: a newline is missing,
 * and one of two would vanish. A time may also be a task's name, but not there.
 */
static bool is_spliced(struct line *l, const char *fields)
{
	const char *time = l->time;
	uint64_t ignored;

	l->any_bad = take_gap(l->text, &ignored);
	while (!l->any_bad && next_known(l, &fields))
		l->any_bad = l->time != time;
	return l->any_bad;
}

static bool find_event(struct line *l, struct event *e)
{
	const char *at = l->text;
	const struct known *known;

	while (!l->any_bad && (known = next_known(l, &at)))
		if (take_event(l, known, at, e))
			return !is_spliced(l, at);
	return false;
}

static enum event_kind judge(const struct line *l, struct event *e)
{
	if (l->any_bad)
		return EVENT_BAD;
	if (l->any_timeless && (!l->time || !l->is_seconds)) {
		e->no_time = true;
		return EVENT_BAD;
	}
	if (take_gap(l->text, &e->lost) || take_perf_loss(l->text, &e->lost) ||
	    take_overwritten(l->text, &e->lost))
		return EVENT_LOST;
	/* 'perf trace' and its like have a form of their own: "dma:dma_map_page(device: ...". */
	if (strstr(l->text, "[LINE TOO BIG]") || (*l->text != '#' && strstr(l->text, "dma:dma_")))
		return EVENT_BAD;
	return l->any_other ? EVENT_OTHER : EVENT_NONE;
}

/* The text without them: what was behind the first would be behind the end. */
static bool fill_holes(char *text, size_t len)
{
	bool any = false;

	for (char *at = text; (at = memchr(at, '\0', (size_t)(text + len - at))); any = true)
		*at = '?';
	return any;
}

void event_parse(char *text, size_t len, struct event *ret_event)
{
	bool has_hole = fill_holes(text, len);
	struct line l = {.text = text};
	struct event *e = ret_event;

	*e = (struct event){.kind = EVENT_NONE};
	if (!find_event(&l, e)) {
		*e = (struct event){.kind = EVENT_NONE};
		e->kind = judge(&l, e);
	} else if (*text == '#') { /* somebody put it there to take the line out; it is told */
		*e = (struct event){.kind = EVENT_BAD};
	}
	e->has_hole = has_hole;
	if (has_hole && e->kind != EVENT_NONE)
		*e = (struct event){.kind = EVENT_BAD, .no_time = e->no_time, .has_hole = true};
}
