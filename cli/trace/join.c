/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/trace/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNLINK_MISSES  512u /* pages at which nothing is mapped any more */
#define PAGE_SIZE      UINT64_C(4096)
#define NO_ADDRESS     UINT64_MAX	    /* DMA_MAPPING_ERROR */
#define STEPS_MOST     (UINT32_C(1) << 16)  /* of one line with syncs: no kernel writes one with more */
#define OFFSET_ALIGNED (UINT64_C(16) << 20) /* of a bus, or the bit of encrypted memory, at least */

void join_init(struct join *j)
{
	*j = (struct join){0};
	live_init(&j->live);
}

void join_finish(struct join *j)
{
	live_finish(&j->live);
	for (unsigned i = 0; i < j->device_count; i++)
		free(j->devices[i]);
	free(j->devices);
	free(j->steps);
}

static void count(struct join *j, enum join_count which)
{
	j->counts[which]++;
}

/* -------------------------------------------------------------------- devices */

/* Of several systems each has devices of its own: "host.dat:0000:00:05.0". */
static bool is_named(const char *name, const struct event *e)
{
	if (e->system_len) {
		if (strncmp(name, e->system, e->system_len) || name[e->system_len] != ':')
			return false;
		name += e->system_len + 1;
	}
	return !strncmp(name, e->device, e->device_len) && !name[e->device_len];
}

static char *name_device(const struct event *e)
{
	size_t before = e->system_len ? e->system_len + 1 : 0;
	char *name = calloc(1, before + e->device_len + 1);

	if (!name)
		return NULL;
	if (before) {
		memcpy(name, e->system, e->system_len);
		name[e->system_len] = ':';
	}
	memcpy(name + before, e->device, e->device_len);
	return name;
}

static int add_device(struct join *j, const struct event *e)
{
	char **devices, *name;

	if (j->device_count == LIVE_DEVICES)
		return -ENFILE;
	devices = realloc(j->devices, (j->device_count + 1) * sizeof(*devices));
	if (!devices)
		return -ENOMEM;
	j->devices = devices;
	name = name_device(e);
	if (!name)
		return -ENOMEM;
	j->devices[j->device_count] = name;
	j->last_device = j->device_count++;
	return 0;
}

int join_device(struct join *j, const struct event *e, uint32_t *ret_device)
{
	int err = 0;

	if (!j->device_count || !is_named(j->devices[j->last_device], e)) {
		for (j->last_device = 0; j->last_device < j->device_count; j->last_device++) {
			if (is_named(j->devices[j->last_device], e))
				break;
		}
		if (j->last_device == j->device_count)
			err = add_device(j, e);
	}
	if (err)
		j->last_device = 0;
	*ret_device = j->last_device;
	return err;
}

/* ---------------------------------------------------------------------- steps */

static int tell(struct join *j, const struct trace_step *step)
{
	if (j->step_count == j->step_room) {
		size_t room = j->step_room ? 2 * j->step_room : 64;
		struct trace_step *steps = realloc(j->steps, room * sizeof(*steps));

		if (!steps)
			return -ENOMEM;
		j->steps = steps;
		j->step_room = room;
	}
	j->steps[j->step_count++] = *step;
	return 0;
}

bool join_next(struct join *j, struct trace_step *ret_step)
{
	if (j->step_next == j->step_count) {
		j->step_next = j->step_count = 0;
		return false;
	}
	*ret_step = j->steps[j->step_next++];
	return true;
}

static struct trace_step step_of(const struct join *j, const struct event *e, const struct live_mapping *m,
				 enum trace_kind kind)
{
	return (struct trace_step){.kind = kind,
				   .direction = (enum trace_direction)m->direction,
				   .time_ns = j->now_ns,
				   .mapping = m->mapping,
				   .device = m->device,
				   .cpu = e->cpu,
				   .phys = m->phys,
				   .iova = m->iova,
				   .len = m->len,
				   .list = m->list,
				   .coherent = m->coherent};
}

static int tell_of(struct join *j, const struct event *e, uint32_t number, enum trace_kind kind)
{
	struct trace_step step = step_of(j, e, &j->live.mappings[number], kind);

	return tell(j, &step);
}

static int end_mapping(struct join *j, const struct event *e, uint32_t number)
{
	int err = tell_of(j, e, number, TRACE_UNMAP);

	if (!err)
		live_remove(&j->live, number);
	return err;
}

/* ----------------------------------------------------------------------- maps */

static int end_list(struct join *j, const struct event *e, uint32_t first)
{
	uint32_t number = first, next;
	int err = 0;

	for (; number != LIVE_NONE && !err; number = next) {
		next = j->live.mappings[number].next_in_list;
		err = end_mapping(j, e, number);
	}
	return err;
}

/*
 * Without an IOMMU a device address is memory's own, but for a constant: what its
 * bus begins at (Raspberry Pi: 0xc0000000), or the bit that says that memory is encrypted.
 * Addresses that an IOMMU gave out are hardly ever so far apart.
 */
static bool is_memory_address(const struct live_mapping *m, const struct live_mapping *old)
{
	return m->iova == m->phys ||
	       (!m->coherent && m->phys == old->phys && (m->iova - m->phys) % OFFSET_ALIGNED == 0);
}

/*
 * Without an IOMMU an address may be mapped any number of times. With one it cannot:
 * then an unmap was not recorded.
 */
static int make_way(struct join *j, const struct event *e, const struct live_mapping *m)
{
	uint32_t old = live_find(&j->live, m->device, m->iova, m->len);

	if (old == LIVE_NONE || is_memory_address(m, &j->live.mappings[old]))
		return 0;
	if (m->list && j->live.mappings[old].list == m->list)
		return 0;
	count(j, JOIN_unmaps_lost);
	return j->live.mappings[old].list ? end_list(j, e, j->live.mappings[old].first_in_list)
					  : end_mapping(j, e, old);
}

static int64_t begin_mapping(struct join *j, const struct event *e, struct live_mapping *m)
{
	int64_t number;
	int err;

	m->mapping = ++j->last_mapping;
	number = live_add(&j->live, m);
	if (number == -EXFULL)
		count(j, JOIN_crowded);
	if (number < 0)
		return number;
	err = tell_of(j, e, (uint32_t)number, TRACE_MAP);
	return err ? err : number;
}

/* One that found no room at its page was counted, and that is all. */
static int error_of(int64_t number)
{
	return number < 0 && number != -EXFULL ? (int)number : 0;
}

static int map(struct join *j, const struct event *e, uint32_t device)
{
	struct live_mapping m = {.iova = e->dma_addr,
				 .phys = e->phys_addr,
				 .len = e->size,
				 .device = device,
				 .direction = (uint8_t)e->direction};
	int64_t number = 0;

	if (e->dma_addr == NO_ADDRESS || !e->size) {
		count(j, JOIN_failed_maps);
		return 0;
	}
	number = make_way(j, e, &m);
	if (!number)
		number = begin_mapping(j, e, &m);
	return error_of(number);
}

static uint64_t own_memory(uint32_t device, uint64_t iova)
{
	return UINT64_C(1) << 51 | (uint64_t)(device % 128) << 44 | (iova & ((UINT64_C(1) << 44) - 1));
}

static int allocate(struct join *j, const struct event *e, uint32_t device)
{
	struct live_mapping m = {.iova = e->dma_addr,
				 .phys = own_memory(device, e->dma_addr),
				 .len = e->size,
				 .device = device,
				 .direction = TRACE_BIDIRECTIONAL,
				 .coherent = true};
	int64_t number;

	if (!e->dma_addr || e->dma_addr == NO_ADDRESS || !e->size) {
		count(j, JOIN_failed_maps);
		return 0;
	}
	count(j, JOIN_allocations);
	number = make_way(j, e, &m);
	if (!number)
		number = begin_mapping(j, e, &m);
	return error_of(number);
}

/* --------------------------------------------------------------------- unmaps */

static int unmap(struct join *j, const struct event *e, uint32_t device, enum join_count missing)
{
	uint32_t number = live_find(&j->live, device, e->dma_addr, e->size);

	if (number == LIVE_NONE || j->live.mappings[number].list) {
		count(j, missing);
		return 0;
	}
	if (j->live.mappings[number].len != e->size)
		count(j, JOIN_size_differs);
	return end_mapping(j, e, number);
}

/* ---------------------------------------------------------------------- lists */

/* A list on its way: where its pieces are chained. */
struct list {
	uint64_t number;
	uint32_t device, first, last;
	bool is_merged;
};

static int add_piece(struct join *j, const struct event *e, struct list *l, uint64_t iova, uint64_t phys,
		     uint64_t len)
{
	struct live_mapping m = {.iova = iova,
				 .phys = phys,
				 .len = len,
				 .list = l->number,
				 .device = l->device,
				 .direction = (uint8_t)e->direction,
				 .is_first = l->last == LIVE_NONE};
	int64_t number = make_way(j, e, &m);

	if (!number)
		number = begin_mapping(j, e, &m);
	if (number < 0)
		return error_of(number);
	if (l->last == LIVE_NONE)
		l->first = (uint32_t)number;
	else
		j->live.mappings[l->last].next_in_list = (uint32_t)number;
	j->live.mappings[number].first_in_list = l->first;
	l->last = (uint32_t)number;
	return 0;
}

/* One device range, from pieces of memory of which only the beginnings are known. */
static int add_merged(struct join *j, const struct event *e, struct list *l, uint64_t iova, uint64_t len,
		      struct event_array *phys_addrs, unsigned *io_left, unsigned ranges_left)
{
	uint64_t phys;
	int err = 0;

	while (len && !err && event_array_next(phys_addrs, &phys)) {
		uint64_t piece = PAGE_SIZE - phys % PAGE_SIZE;

		(*io_left)--;
		/* The last beginning that this range can have takes all that is left of it. */
		if (piece > len || *io_left <= ranges_left)
			piece = len;
		err = add_piece(j, e, l, iova, phys, piece);
		iova += piece;
		len -= piece;
	}
	return err;
}

static int map_list(struct join *j, const struct event *e, uint32_t device)
{
	struct event_array dma = e->dma_addrs, sizes = e->sizes, phys = e->phys_addrs;
	unsigned ranges = dma.count, pieces = phys.count;
	struct list l = {
		.number = ++j->last_list, .device = device, .last = LIVE_NONE, .is_merged = ranges != pieces};
	uint64_t iova, len, at;
	int err = 0;

	if (e->truncated)
		count(j, JOIN_lists_truncated);
	if (l.is_merged && !e->truncated)
		count(j, JOIN_lists_merged);
	if (!ranges || pieces < ranges) {
		count(j, JOIN_unreadable);
		return 0;
	}
	while (!err && event_array_next(&dma, &iova) && event_array_next(&sizes, &len)) {
		ranges--;
		if (l.is_merged)
			err = add_merged(j, e, &l, iova, len, &phys, &pieces, ranges);
		else if (event_array_next(&phys, &at) && len)
			err = add_piece(j, e, &l, iova, at, len);
	}
	return err;
}

static int unmap_list(struct join *j, const struct event *e, uint32_t device)
{
	struct event_array addrs = e->phys_addrs;
	uint64_t phys;
	uint32_t first = LIVE_NONE;

	if (event_array_next(&addrs, &phys))
		first = live_find_list(&j->live, device, phys, e->direction);
	if (first == LIVE_NONE)
		count(j, JOIN_lists_before);
	return end_list(j, e, first);
}

/* ------------------------------------------------- what is mapped past the events */

/* One piece; pieces that follow one another are a list, as that of a request is. */
static int link_piece(struct join *j, const struct event *e, uint32_t device)
{
	struct live_mapping m = {.iova = e->dma_addr,
				 .phys = e->phys_addr,
				 .len = e->size,
				 .device = device,
				 .direction = (uint8_t)e->direction};
	bool goes_on = j->link_list && device == j->link_device && e->dma_addr == j->link_iova;
	int64_t number;

	if (!e->size || e->dma_addr + e->size < e->dma_addr) {
		count(j, JOIN_failed_maps);
		return 0;
	}
	number = make_way(j, e, &m);
	if (number)
		return (int)number;
	j->unlinked_size = 0;
	j->link_list = m.list = goes_on ? j->link_list : ++j->last_list;
	j->link_device = device;
	j->link_iova = e->dma_addr + e->size;
	number = begin_mapping(j, e, &m);
	if (number < 0)
		return error_of(number);
	j->live.mappings[number].first_in_list = (uint32_t)number; /* each is ended for itself */
	return 0;
}

/* All that lives in the range, of which parts may have been unlinked before. */
static int unlink_range(struct join *j, const struct event *e, uint32_t device)
{
	uint64_t at = e->dma_addr, last = e->dma_addr + e->size - 1;
	unsigned misses = 0;
	int err = 0;

	/* dma_iova_destroy() calls dma_iova_unlink(). */
	if (j->unlinked_size == e->size && j->unlinked == e->dma_addr && j->unlinked_device == device)
		return 0;
	j->link_list = 0;
	j->unlinked = e->dma_addr;
	j->unlinked_size = e->size;
	j->unlinked_device = device;
	while (!err && e->size && last >= e->dma_addr && at <= last && misses < UNLINK_MISSES) {
		uint32_t number = live_find(&j->live, device, at, 0);
		uint64_t len =
			number == LIVE_NONE ? PAGE_SIZE - at % PAGE_SIZE : j->live.mappings[number].len;

		misses += number == LIVE_NONE;
		if (number != LIVE_NONE)
			err = end_mapping(j, e, number);
		if (__builtin_add_overflow(at, len, &at))
			break;
	}
	if (misses && at - e->dma_addr <= misses * PAGE_SIZE)
		count(j, JOIN_unmaps_before);
	return err;
}

/* ---------------------------------------------------------------------- syncs */

/* The part of it that is in one mapping; `len` is what is left of it afterwards. */
static int sync_part(struct join *j, const struct event *e, uint32_t number, uint64_t iova, uint64_t *io_len,
		     enum trace_kind kind)
{
	struct trace_step step = step_of(j, e, &j->live.mappings[number], kind);

	step.offset = iova - step.iova;
	step.len = *io_len < step.len - step.offset ? *io_len : step.len - step.offset;
	step.list = 0;
	*io_len -= step.len;
	return tell(j, &step);
}

/* A range of a list that was merged holds several of its pieces, one behind the other. */
static int sync_range(struct join *j, const struct event *e, uint32_t device, uint64_t iova, uint64_t len,
		      enum trace_kind kind)
{
	uint32_t number = live_find_around(&j->live, device, iova);
	uint64_t list = number == LIVE_NONE ? 0 : j->live.mappings[number].list, left = len;
	int err = 0;

	while (left && !err && number != LIVE_NONE && j->step_count < STEPS_MOST) {
		err = sync_part(j, e, number, iova + (len - left), &left, kind);
		number = list && left ? live_find_around(&j->live, device, iova + (len - left)) : LIVE_NONE;
		if (number != LIVE_NONE && j->live.mappings[number].list != list)
			number = LIVE_NONE;
	}
	if (left && (list || left == len))
		count(j, JOIN_syncs_unjoined);
	return err;
}

static int sync_list(struct join *j, const struct event *e, uint32_t device, enum trace_kind kind)
{
	struct event_array dma = e->dma_addrs, sizes = e->sizes;
	uint64_t iova, len;
	int err = 0;

	/* Entries whose memory was merged into an entry before them have no length. */
	while (!err && event_array_next(&dma, &iova) && event_array_next(&sizes, &len))
		err = len ? sync_range(j, e, device, iova, len, kind) : 0;
	return err;
}

/* --------------------------------------------------------------------- events */

static int join_dma(struct join *j, const struct event *e)
{
	uint32_t device;
	int err = join_device(j, e, &device);

	if (err)
		return err;
	switch (e->kind) {
	case EVENT_MAP:
		return map(j, e, device);
	case EVENT_UNMAP:
		return unmap(j, e, device, JOIN_unmaps_before);
	case EVENT_IOVA_LINK:
		return link_piece(j, e, device);
	case EVENT_IOVA_UNLINK:
		return unlink_range(j, e, device);
	case EVENT_MAP_SG:
		return map_list(j, e, device);
	case EVENT_UNMAP_SG:
		return unmap_list(j, e, device);
	case EVENT_ALLOC:
		return allocate(j, e, device);
	case EVENT_FREE:
		return unmap(j, e, device, JOIN_frees_before);
	case EVENT_SYNC_FOR_CPU:
		return sync_range(j, e, device, e->dma_addr, e->size, TRACE_SYNC_FOR_CPU);
	case EVENT_SYNC_FOR_DEVICE:
		return sync_range(j, e, device, e->dma_addr, e->size, TRACE_SYNC_FOR_DEVICE);
	case EVENT_SYNC_SG_FOR_CPU:
		return sync_list(j, e, device, TRACE_SYNC_FOR_CPU);
	default:
		return sync_list(j, e, device, TRACE_SYNC_FOR_DEVICE);
	}
}

static int take_event(struct join *j, const struct event *e)
{
	switch (e->kind) {
	case EVENT_NONE:
		return 0;
	case EVENT_OTHER:
		count(j, JOIN_other_events);
		return 0;
	case EVENT_LOST:
		count(j, JOIN_lost_marks);
		if (__builtin_add_overflow(j->counts[JOIN_lost_events], e->lost,
					   &j->counts[JOIN_lost_events]))
			j->counts[JOIN_lost_events] = UINT64_MAX;
		return 0;
	case EVENT_BAD:
		count(j, JOIN_unreadable);
		return 0;
	case EVENT_MAP_SG_FAILED:
		count(j, JOIN_failed_maps);
		return 0;
	case EVENT_IOMMU_MAP:
	case EVENT_IOMMU_UNMAP:
		count(j, JOIN_iommu_events);
		return 0;
	default:
		return join_dma(j, e);
	}
}

int join_event(struct join *j, const struct event *e)
{
	uint64_t unreadable = j->counts[JOIN_unreadable];
	int err;

	if (e->kind > EVENT_BAD && e->time_ns < j->now_ns)
		count(j, JOIN_out_of_order);
	if (e->kind > EVENT_BAD && e->time_ns > j->now_ns)
		j->now_ns = e->time_ns;
	err = take_event(j, e);
	if (e->kind > EVENT_BAD && e->kind < EVENT_IOMMU_MAP && j->counts[JOIN_unreadable] == unreadable)
		count(j, JOIN_dma_events);
	j->counts[JOIN_left_mapped] = j->live.count;
	return err;
}
