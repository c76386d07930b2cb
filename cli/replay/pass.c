/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/sentence.h"

#define NEVER	     UINT64_MAX
#define CPUS_MOST    1024u /* viommu/dma.h allows so many handles */
#define SHADOW_LEAST (UINT64_C(16) << 20)
#define SHADOW_MOST  (UINT64_C(64) << 30)
#define TELL_EVERY   8192 /* steps */
#define NOT_YET_NS   1000 /* a strategy that has something due and did not do it is asked again after this */

/* ------------------------------------------------------------------ the observer */

static void tell_time(const struct replay_pass *p)
{
	if (p->observer.ops->advance)
		p->observer.ops->advance(p->observer.opaque, p->now_ns);
}

static void tell_maps(const struct replay_pass *p, uint64_t offset, uint64_t len)
{
	if (p->observer.ops->maps)
		p->observer.ops->maps(p->observer.opaque, offset, len);
}

static int tell_mapped(const struct replay_pass *p, unsigned device, uint64_t offset, uint64_t len)
{
	return p->observer.ops->mapped ? p->observer.ops->mapped(p->observer.opaque, device, offset, len) : 0;
}

static void tell_unmaps(const struct replay_pass *p, const struct replay_slot *slot)
{
	if (p->observer.ops->unmaps)
		p->observer.ops->unmaps(p->observer.opaque, slot->device, slot->offset, &slot->mapping);
}

static void begin_call(const struct replay_pass *p)
{
	if (p->observer.ops->call_begins)
		p->observer.ops->call_begins(p->observer.opaque);
}

/* What the call returned, or else what the observer did. */
static int end_call(const struct replay_pass *p, int err, struct replay_call call)
{
	int failed = p->observer.ops->call_ends ? p->observer.ops->call_ends(p->observer.opaque, &call) : 0;

	return err ? err : failed;
}

/* ------------------------------------------------------------------------- time */

static uint64_t trace_ns(void *opaque)
{
	const struct replay_pass *p = opaque;

	return p->now_ns;
}

static void find_next_due(struct replay_pass *p)
{
	p->due_ns = NEVER;
	for (unsigned i = 0; i < p->steps->facts.devices; i++)
		if (p->devices[i].due_ns < p->due_ns)
			p->due_ns = p->devices[i].due_ns;
}

static int process(struct replay_pass *p, struct replay_device *d)
{
	uint64_t next;
	int err = viommu_dma_process(d->dma, &next);

	d->due_ns = next == NEVER ? NEVER : p->now_ns + (next ? next : NOT_YET_NS);
	find_next_due(p);
	return err;
}

static void set_time(struct replay_pass *p, uint64_t ns)
{
	p->now_ns = ns;
	tell_time(p);
}

static int do_what_is_due(struct replay_pass *p, unsigned device)
{
	if (p->devices[device].due_ns > p->now_ns)
		return 0;
	begin_call(p);
	return end_call(p, process(p, &p->devices[device]),
			(struct replay_call){.kind = REPLAY_LATER, .device = device, .buffers = 1});
}

/* Time goes on, with what strategies want to do meanwhile. */
static int advance(struct replay_pass *p, uint64_t to_ns)
{
	int err = 0;

	while (!err && p->due_ns <= to_ns) {
		set_time(p, p->due_ns);
		for (unsigned i = 0; !err && i < p->steps->facts.devices; i++)
			err = do_what_is_due(p, i);
	}
	set_time(p, to_ns);
	return err;
}

/* ------------------------------------------------------------------------- steps */

static int thread_of(struct replay_pass *p, struct replay_device *d, unsigned cpu,
		     struct viommu_dma_thread **ret_thread)
{
	struct viommu_dma_thread **t = &d->threads[cpu % p->cpus];
	int err = *t ? 0 : viommu_dma_thread_create(d->dma, t);

	*ret_thread = *t;
	return err;
}

static enum viommu_dma_direction direction_of(const struct replay_step *step)
{
	return (enum viommu_dma_direction)step->direction;
}

/* A strategy may refuse a buffer, and the trace goes on without it; all else ends it. */
static bool is_refusal(int err)
{
	return err == -ENOSPC || err == -EDQUOT || err == -EFAULT || err == -ENOMEM || err == -ENOTSUP;
}

/* Buffers of one call, on its way into the mappings or out of them. */
struct batch {
	struct viommu_dma_mapping mappings[REPLAY_LIST_MOST];
	struct iovec buffers[REPLAY_LIST_MOST];
	uint64_t offsets[REPLAY_LIST_MOST], bytes;
	size_t count;
};

static void gather_buffers(struct replay_pass *p, const struct replay_step *steps, size_t count,
			   struct batch *b)
{
	b->count = count;
	b->bytes = 0;
	for (size_t i = 0; i < count; i++) {
		b->offsets[i] = replay_memory_offset(p->memory, steps[i].phys);
		b->buffers[i] = (struct iovec){p->memory->host + b->offsets[i], steps[i].len};
		b->bytes += steps[i].len;
		tell_maps(p, b->offsets[i], steps[i].len);
	}
}

static int map_batch(const struct replay_pass *p, struct viommu_dma_thread *t, struct batch *b,
		     enum viommu_dma_direction direction)
{
	if (b->count == 1)
		return viommu_dma_map(t, b->buffers->iov_base, b->buffers->iov_len, direction,
				      p->options->width, b->mappings);
	return viommu_dma_map_list(t, b->buffers, b->count, direction, p->options->width, b->mappings);
}

static int keep(struct replay_pass *p, const struct replay_step *steps, const struct batch *b)
{
	int err = 0;

	for (size_t i = 0; i < b->count; i++) {
		p->slots[steps[i].slot] = (struct replay_slot){.mapping = b->mappings[i],
							       .offset = b->offsets[i],
							       .device = steps->device,
							       .is_mapped = true};
		p->maps++;
		if (!err)
			err = tell_mapped(p, steps->device, b->offsets[i], steps[i].len);
	}
	return err;
}

static int map(struct replay_pass *p, const struct replay_step *steps, size_t count)
{
	struct viommu_dma_thread *t;
	struct batch b;
	int err = thread_of(p, &p->devices[steps->device], steps->cpu, &t), observed, kept;

	if (err)
		return err;
	gather_buffers(p, steps, count, &b);
	begin_call(p);
	err = map_batch(p, t, &b, direction_of(steps));
	if (is_refusal(err)) {
		p->refused += count;
		return 0;
	}
	observed = end_call(p, err,
			    (struct replay_call){.kind = REPLAY_MAP,
						 .device = steps->device,
						 .buffers = count,
						 .bytes = b.bytes});
	if (err)
		return err;
	kept = keep(p, steps, &b);
	return observed ? observed : kept;
}

/* Those of the steps that live; what was refused does not. */
static void gather_mappings(struct replay_pass *p, const struct replay_step *steps, size_t count,
			    struct batch *b)
{
	b->count = b->bytes = 0;
	for (size_t i = 0; i < count; i++) {
		struct replay_slot *slot = &p->slots[steps[i].slot];

		if (!slot->is_mapped)
			continue;
		tell_unmaps(p, slot);
		slot->is_mapped = false;
		b->mappings[b->count++] = slot->mapping;
		b->bytes += slot->mapping.len;
	}
}

static int unmap(struct replay_pass *p, const struct replay_step *steps, size_t count)
{
	struct viommu_dma_thread *t;
	struct batch b;
	int err = thread_of(p, &p->devices[steps->device], steps->cpu, &t);

	if (err)
		return err;
	gather_mappings(p, steps, count, &b);
	if (!b.count)
		return 0;
	p->unmaps += b.count;
	begin_call(p);
	err = b.count == 1 ? viommu_dma_unmap(t, b.mappings) : viommu_dma_unmap_list(t, b.mappings, b.count);
	return end_call(p, err,
			(struct replay_call){.kind = REPLAY_UNMAP,
					     .device = steps->device,
					     .buffers = b.count,
					     .bytes = b.bytes});
}

/* Bytes beyond the mapping are the trace's mistake: what is inside is synced. */
static int sync(struct replay_pass *p, const struct replay_step *step)
{
	struct replay_slot *slot = &p->slots[step->slot];
	struct viommu_dma_thread *t;
	uint64_t len = step->len;
	int err;

	if (!slot->is_mapped || step->offset >= slot->mapping.len)
		return 0;
	if (len > slot->mapping.len - step->offset)
		len = slot->mapping.len - step->offset;
	err = thread_of(p, &p->devices[slot->device], step->cpu, &t);
	if (err)
		return err;
	begin_call(p);
	if (step->kind == TRACE_SYNC_FOR_CPU)
		err = viommu_dma_sync_for_cpu(t, &slot->mapping, step->offset, len);
	else
		err = viommu_dma_sync_for_device(t, &slot->mapping, step->offset, len);
	return end_call(p, err,
			(struct replay_call){
				.kind = REPLAY_SYNC, .device = slot->device, .buffers = 1, .bytes = len});
}

static int execute(struct replay_pass *p, const struct replay_step *steps, size_t count)
{
	struct replay_device *d = &p->devices[steps->device];
	int err = advance(p, steps->time_ns);

	if (err)
		return err;
	if (steps->kind == TRACE_MAP)
		err = map(p, steps, count);
	else if (steps->kind == TRACE_UNMAP)
		err = unmap(p, steps, count);
	else
		for (size_t i = 0; !err && i < count; i++)
			err = sync(p, &steps[i]);
	/* What died first is due first, so what is known to be due stays so. */
	return err || d->due_ns != NEVER ? err : process(p, d);
}

static void tell(struct replay_pass *p, size_t count)
{
	uint64_t before = p->steps_done;

	p->steps_done += count;
	if (p->options->progress && p->progress_of && p->steps_done / TELL_EVERY != before / TELL_EVERY)
		p->options->progress(p->options->arg, p->progress_base + p->steps_done, p->progress_of);
}

int replay_pass_execute(struct replay_pass *p)
{
	struct replay_step steps[REPLAY_LIST_MOST];
	struct replay_cursor c;
	int err = replay_cursor_init(&c, p->steps), count = 0;

	while (!err && (count = replay_cursor_next(&c, steps)) > 0) {
		err = execute(p, steps, (size_t)count);
		tell(p, (size_t)count);
	}
	replay_cursor_finish(&c);
	if (!err && count < 0)
		err = count;
	return err ? err : advance(p, p->steps->facts.last_ns);
}

/* ---------------------------------------------------------------- begin and end */

uint64_t replay_pass_shadow_size(const struct replay_steps *steps)
{
	uint64_t size = SHADOW_LEAST;

	while (size < SHADOW_MOST && size / REPLAY_PAGE / 4 < steps->facts.peak_pages)
		size *= 2;
	return size;
}

static int add_memory(struct replay_device *d, const struct replay_memory *m)
{
	int err = 0;

	if (m->low_size)
		err = viommu_dma_memory_add(d->dma, m->host, m->low_size, 0);
	if (!err && m->low_size < m->size)
		err = viommu_dma_memory_add(d->dma, m->host + m->low_size, m->size - m->low_size,
					    REPLAY_HIGH + m->low_size);
	return err;
}

static int open_device(struct replay_pass *p, unsigned i, char *why, size_t why_size)
{
	struct replay_device *d = &p->devices[i];
	struct viommu_dma_options options = {
		.sz = sizeof(options),
		.strategy = p->options->strategy,
		.now_ns = trace_ns,
		.opaque = p,
		.max_threads = CPUS_MOST,
		.shadow_len = replay_pass_shadow_size(p->steps),
		.shadow_address = REPLAY_SHADOW,
	};
	struct viommu_backing backing;
	int err;

	d->due_ns = NEVER;
	d->threads = calloc(p->cpus, sizeof(struct viommu_dma_thread *));
	if (!d->threads)
		return -ENOMEM;
	err = p->observer.ops->open(p->observer.opaque, i, &backing, &options.shadow_host);
	if (!err)
		err = viommu_dma_open(&backing, &options, why, why_size, &d->dma);
	return err ? err : add_memory(d, p->memory);
}

static int open_devices(struct replay_pass *p, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned i = 0; !err && i < p->steps->facts.devices; i++) {
		err = open_device(p, i, why, why_size);
		if (err && !*why)
			os_say(why, why_size, "%s cannot be opened: %s", p->options->strategy,
			       strerror(-err));
	}
	return err;
}

int replay_pass_init(struct replay_pass *p, const struct replay_steps *steps, struct replay_memory *memory,
		     const struct replay_options *options, struct replay_observer observer, char *why,
		     size_t why_size)
{
	*p = (struct replay_pass){
		.steps = steps, .memory = memory, .options = options, .observer = observer, .due_ns = NEVER};
	p->cpus = steps->facts.cpus < CPUS_MOST ? steps->facts.cpus : CPUS_MOST;
	p->devices = calloc(steps->facts.devices, sizeof(*p->devices));
	p->slots = calloc(steps->facts.slots, sizeof(*p->slots));
	why[0] = '\0';
	if (p->devices && p->slots)
		return open_devices(p, why, why_size);
	os_say(why, why_size, "%s cannot be opened: %s", options->strategy, strerror(ENOMEM));
	return -ENOMEM;
}

static int unmap_what_lives(struct replay_pass *p)
{
	int first = 0;

	for (uint32_t i = 0; p->slots && i < p->steps->facts.slots; i++) {
		struct replay_slot *slot = &p->slots[i];
		struct replay_device *d = &p->devices[slot->device];
		struct viommu_dma_thread *t;
		int err;

		if (!slot->is_mapped)
			continue;
		slot->is_mapped = false;
		err = thread_of(p, d, 0, &t);
		if (!err)
			err = viommu_dma_unmap(t, &slot->mapping);
		first = first ? first : err;
	}
	return first;
}

int replay_pass_finish(struct replay_pass *p)
{
	int first = unmap_what_lives(p);

	for (unsigned i = 0; p->devices && i < p->steps->facts.devices; i++) {
		int err = viommu_dma_close(p->devices[i].dma); /* its threads go with it */

		first = first ? first : err;
		free(p->devices[i].threads);
	}
	free(p->devices);
	free(p->slots);
	return first;
}

static void join(uint64_t *values, const uint64_t *own, size_t count)
{
	size_t known;
	const struct viommu_dma_counter_info *infos = viommu_dma_counters_describe(&known);

	for (size_t i = 0; i < count && i < known; i++) {
		if (!(infos[i].flags & VIOMMU_DMA_COUNTER_MAXIMUM))
			values[i] += own[i];
		else if (own[i] > values[i])
			values[i] = own[i];
	}
}

int replay_pass_counters(struct replay_pass *p, uint64_t *values, size_t count)
{
	uint64_t *own = calloc(count, sizeof(*own));

	if (!own)
		return -ENOMEM;
	memset(values, 0, count * sizeof(*values));
	for (unsigned i = 0; i < p->steps->facts.devices; i++) {
		viommu_dma_counters_read(p->devices[i].dma, own, count);
		join(values, own, count);
	}
	free(own);
	return 0;
}
