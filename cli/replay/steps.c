/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step in the file is a byte of flags and numbers of 7 bits a byte, the lowest
 * first, the highest bit says that more follow: about 12 bytes in all.
 */
#include "cli/replay/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER	     65536u
#define STEP_MOST    72u /* bytes of one */
#define PAGE_LG2     12
#define LONGEST	     (UINT64_C(1) << 30)
#define HIGHEST_LG2  52
#define FLAG_JOINS   0x10u
#define NUMBERS_MOST 7u

/* ------------------------------------------------------------ a temporary file */

static int open_unnamed(const char *folder)
{
	char path[4096];
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	snprintf(path, sizeof(path), "%s/viommu-replay-XXXXXX", folder);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

int replay_steps_init(struct replay_steps *s)
{
	const char *folder = getenv("TMPDIR");

	*s = (struct replay_steps){.fd = -1};
	s->fd = open_unnamed(folder && *folder ? folder : "/tmp");
	if (s->fd < 0)
		return -errno;
	s->buffer = malloc(BUFFER);
	return s->buffer ? 0 : -ENOMEM;
}

void replay_steps_finish(struct replay_steps *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->buffer);
	number_map_finish(&s->blocks);
	number_map_finish(&s->slots);
	number_map_finish(&s->devices);
	free(s->free_slots);
	free(s->owners);
	*s = (struct replay_steps){.fd = -1};
}

static int flush(struct replay_steps *s)
{
	for (uint64_t done = 0; done < s->used;) {
		ssize_t n = pwrite(s->fd, s->buffer + done, s->used - done, (off_t)s->written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (uint64_t)n;
		s->written += (uint64_t)n;
	}
	s->used = 0;
	return 0;
}

/* --------------------------------------------------------------------- numbers */

static unsigned put_number(uint8_t *to, uint64_t number)
{
	unsigned n = 0;

	for (; number > 0x7f; number >>= 7)
		to[n++] = (uint8_t)(number | 0x80);
	to[n++] = (uint8_t)number;
	return n;
}

static uint64_t get_number(const uint8_t *from, uint64_t *at)
{
	uint64_t number = 0, byte;
	unsigned shift = 0;

	do {
		byte = from[(*at)++];
		number |= (byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80 && shift < 64);
	return number;
}

/* What follows the flags: all of a step that its kind has, and the time since the step before. */
static unsigned list_numbers(const struct replay_step *step, uint64_t since, uint64_t *numbers)
{
	unsigned n = 0;

	numbers[n++] = since;
	numbers[n++] = step->device;
	numbers[n++] = step->cpu;
	numbers[n++] = step->slot;
	if (step->kind == TRACE_MAP)
		numbers[n++] = step->phys;
	else if (step->kind != TRACE_UNMAP)
		numbers[n++] = step->offset;
	if (step->kind != TRACE_UNMAP)
		numbers[n++] = step->len;
	return n;
}

static int put_step(struct replay_steps *s, const struct replay_step *step)
{
	uint64_t numbers[NUMBERS_MOST];
	unsigned count = list_numbers(step, step->time_ns - s->before_ns, numbers);
	int err = s->used + STEP_MOST > BUFFER ? flush(s) : 0;

	if (err)
		return err;
	s->buffer[s->used++] = (uint8_t)((unsigned)step->kind | (unsigned)step->direction << 2 |
					 (step->joins ? FLAG_JOINS : 0));
	for (unsigned i = 0; i < count; i++)
		s->used += put_number(s->buffer + s->used, numbers[i]);
	s->before_ns = step->time_ns;
	s->facts.steps++;
	return 0;
}

/* ----------------------------------------------------------------------- slots */

static int more_slots(struct replay_steps *s)
{
	uint32_t room = s->slot_room ? s->slot_room * 2 : 64;
	uint32_t *slots = realloc(s->free_slots, room * sizeof(*slots));
	struct replay_owner *owners;

	if (!slots)
		return -ENOMEM;
	s->free_slots = slots;
	owners = realloc(s->owners, room * sizeof(*owners));
	if (!owners)
		return -ENOMEM;
	s->owners = owners;
	s->slot_room = room;
	return 0;
}

static int take_slot(struct replay_steps *s, uint64_t mapping, struct replay_owner owner, uint32_t *ret_slot)
{
	uint32_t slot;

	if (!s->free_count && s->facts.slots == s->slot_room && more_slots(s))
		return -ENOMEM;
	slot = s->free_count ? s->free_slots[s->free_count - 1] : s->facts.slots;
	if (number_map_put(&s->slots, mapping, slot))
		return -ENOMEM;
	if (s->free_count)
		s->free_count--;
	else
		s->facts.slots++;
	s->owners[slot] = owner;
	s->pages += owner.pages;
	if (s->pages > s->facts.peak_pages)
		s->facts.peak_pages = s->pages;
	*ret_slot = slot;
	return 0;
}

static bool give_slot_back(struct replay_steps *s, uint64_t mapping, uint32_t *ret_slot)
{
	uint64_t slot;

	if (!number_map_take(&s->slots, mapping, &slot))
		return false;
	s->free_slots[s->free_count++] = (uint32_t)slot;
	s->pages -= s->owners[slot].pages;
	*ret_slot = (uint32_t)slot;
	return true;
}

/* ------------------------------------------------------------------------- add */

static bool is_sound(const struct trace_step *t)
{
	return t->len && t->len <= LONGEST && !(t->phys >> HIGHEST_LG2) &&
	       !((t->phys + t->len - 1) >> HIGHEST_LG2);
}

static int note_blocks(struct replay_steps *s, uint64_t phys, uint64_t len)
{
	for (uint64_t b = phys >> REPLAY_BLOCK_LG2; b <= (phys + len - 1) >> REPLAY_BLOCK_LG2; b++)
		if (number_map_put(&s->blocks, b, 0))
			return -ENOMEM;
	return s->blocks.count > REPLAY_MEMORY_MOST >> REPLAY_BLOCK_LG2 ? -EFBIG : 0;
}

static int device_of(struct replay_steps *s, unsigned device, unsigned *ret_device)
{
	uint64_t number;

	if (!number_map_get(&s->devices, device, &number)) {
		number = s->facts.devices;
		if (number == REPLAY_DEVICES_MOST)
			return -ENFILE;
		if (number_map_put(&s->devices, device, number))
			return -ENOMEM;
		s->facts.devices++;
	}
	*ret_device = (unsigned)number;
	return 0;
}

static uint64_t pages_of(const struct trace_step *t)
{
	return ((t->phys + t->len - 1) >> PAGE_LG2) - (t->phys >> PAGE_LG2) + 1;
}

/* 1: it is a step to be executed; likewise below. */
static int begin_mapping(struct replay_steps *s, const struct trace_step *t, struct replay_step *step)
{
	int err;

	if (!is_sound(t)) {
		s->facts.left_out++;
		return 0;
	}
	err = note_blocks(s, t->phys, t->len);
	if (!err)
		err = device_of(s, t->device, &step->device);
	if (!err)
		err = take_slot(s, t->mapping, (struct replay_owner){pages_of(t), step->device}, &step->slot);
	s->facts.maps += !err;
	s->facts.inferred += !err && t->inferred;
	return err ? err : 1;
}

static int end_mapping(struct replay_steps *s, const struct trace_step *t, struct replay_step *step)
{
	if (!give_slot_back(s, t->mapping, &step->slot))
		return 0;
	step->device = s->owners[step->slot].device;
	s->facts.unmaps++;
	return 1;
}

static int find_mapping(struct replay_steps *s, const struct trace_step *t, struct replay_step *step)
{
	uint64_t slot;

	if (!number_map_get(&s->slots, t->mapping, &slot))
		return 0;
	step->slot = (uint32_t)slot;
	step->device = s->owners[slot].device;
	return 1;
}

static bool continues(struct replay_steps *s, const struct trace_step *t, const struct replay_step *step)
{
	return t->list && t->list == s->before_list && step->kind == s->before.kind &&
	       step->device == s->before.device && step->direction == s->before.direction &&
	       s->list_length < REPLAY_LIST_MOST;
}

/* Since the first step; time does not go back. */
static uint64_t time_of(const struct replay_steps *s, const struct trace_step *t)
{
	uint64_t ns = t->time_ns < s->first_ns ? 0 : t->time_ns - s->first_ns;

	if (ns > REPLAY_TIME_MOST_NS)
		ns = REPLAY_TIME_MOST_NS;
	return ns < s->before_ns ? s->before_ns : ns;
}

int replay_steps_add(struct replay_steps *s, const struct trace_step *t)
{
	struct replay_step step = {.kind = t->kind,
				   .direction = t->direction,
				   .cpu = t->cpu,
				   .phys = t->phys,
				   .offset = t->offset,
				   .len = t->len};
	int got;

	if (t->kind == TRACE_MAP)
		got = begin_mapping(s, t, &step);
	else if (t->kind == TRACE_UNMAP)
		got = end_mapping(s, t, &step);
	else
		got = find_mapping(s, t, &step);
	if (got <= 0)
		return got;
	if (!s->facts.steps)
		s->first_ns = t->time_ns;
	step.time_ns = time_of(s, t);
	step.joins = continues(s, t, &step);
	s->list_length = step.joins ? s->list_length + 1 : 1;
	s->before_list = t->list;
	s->before = step;
	s->facts.last_ns = step.time_ns;
	if (t->cpu >= s->facts.cpus)
		s->facts.cpus = t->cpu + 1;
	return put_step(s, &step);
}

bool replay_steps_have(const struct replay_steps *s, unsigned device)
{
	uint64_t ignored;

	return number_map_get(&s->devices, device, &ignored);
}

int replay_steps_end(struct replay_steps *s)
{
	return flush(s);
}

/* ------------------------------------------------------------------------ read */

int replay_cursor_init(struct replay_cursor *c, const struct replay_steps *s)
{
	*c = (struct replay_cursor){.steps = s, .buffer = malloc(BUFFER)};
	return c->buffer ? 0 : -ENOMEM;
}

void replay_cursor_finish(struct replay_cursor *c)
{
	free(c->buffer);
	*c = (struct replay_cursor){0};
}

/* Enough in the buffer for a step, unless the file ends. */
static int fill(struct replay_cursor *c)
{
	if (c->filled - c->used >= STEP_MOST)
		return 0;
	memmove(c->buffer, c->buffer + c->used, c->filled - c->used);
	c->filled -= c->used;
	c->used = 0;
	while (c->filled < BUFFER && c->at < c->steps->written) {
		ssize_t n = pread(c->steps->fd, c->buffer + c->filled, BUFFER - c->filled, (off_t)c->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		c->filled += (uint64_t)n;
		c->at += (uint64_t)n;
	}
	return 0;
}

/* 1: a step, 0: the end. */
static int get_step(struct replay_cursor *c, struct replay_step *step)
{
	int err = fill(c);
	unsigned flags;

	if (err || c->used == c->filled)
		return err;
	flags = c->buffer[c->used++];
	*step = (struct replay_step){.kind = (enum trace_kind)(flags & 3),
				     .direction = (enum trace_direction)(flags >> 2 & 3),
				     .joins = flags & FLAG_JOINS};
	c->time_ns += get_number(c->buffer, &c->used);
	step->time_ns = c->time_ns;
	step->device = (unsigned)get_number(c->buffer, &c->used);
	step->cpu = (unsigned)get_number(c->buffer, &c->used);
	step->slot = (uint32_t)get_number(c->buffer, &c->used);
	if (step->kind == TRACE_MAP)
		step->phys = get_number(c->buffer, &c->used);
	else if (step->kind != TRACE_UNMAP)
		step->offset = get_number(c->buffer, &c->used);
	if (step->kind != TRACE_UNMAP)
		step->len = get_number(c->buffer, &c->used);
	return 1;
}

int replay_cursor_next(struct replay_cursor *c, struct replay_step *ret_steps)
{
	int count = 0, got = 1;

	while (count < (int)REPLAY_LIST_MOST) {
		if (!c->is_ahead)
			got = get_step(c, &c->ahead);
		c->is_ahead = got > 0;
		if (got <= 0 || (count && !c->ahead.joins))
			break;
		ret_steps[count++] = c->ahead;
		c->is_ahead = false;
	}
	return got < 0 ? got : count;
}
