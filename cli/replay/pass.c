/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/pass.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define NEVER	       UINT64_MAX
#define CPUS_MOST      1024u /* viommu/dma.h allows so many handles */
#define SHADOW_LEAST   (UINT64_C(16) << 20)
#define SHADOW_MOST    (UINT64_C(64) << 30)
#define TELL_EVERY     8192 /* steps */
#define NOT_YET_NS     1000 /* a strategy that has something due and did not do it is asked again after this */
#define CLOCK_READINGS 1001

/* ------------------------------------------------------------------------ clocks */

static uint64_t real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t trace_ns(void *opaque)
{
	const struct replay_pass *p = opaque;

	return p->now_ns;
}

static uint64_t begin_timing(const struct replay_pass *p)
{
	return p->is_timed ? real_ns() : 0;
}

/* `times` calls began at `began`. */
static void end_timing(struct replay_pass *p, enum replay_timed what, uint64_t began, uint64_t times)
{
	uint64_t ns;

	if (!p->is_timed || !times)
		return;
	ns = real_ns() - began;
	ns = ns > p->clock_ns ? ns - p->clock_ns : 0;
	histogram_add(&p->times[what], ns / times, times);
}

static uint64_t measure_clock(void)
{
	struct histogram *h = calloc(1, sizeof(*h));
	uint64_t cost;

	if (!h)
		return 0;
	for (unsigned i = 0; i < CLOCK_READINGS; i++) {
		uint64_t began = real_ns();

		histogram_add(h, real_ns() - began, 1);
	}
	cost = histogram_percentile(h, 50);
	free(h);
	return cost;
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
	if (p->meter)
		meter_advance(p->meter, ns);
}

/* Time goes on, with what strategies want to do meanwhile. */
static int advance(struct replay_pass *p, uint64_t to_ns)
{
	int err = 0;

	while (!err && p->due_ns <= to_ns) {
		set_time(p, p->due_ns);
		for (unsigned i = 0; !err && i < p->steps->facts.devices; i++) {
			struct replay_device *d = &p->devices[i];
			uint64_t began;

			if (d->due_ns > p->now_ns)
				continue;
			began = begin_timing(p);
			err = process(p, d);
			end_timing(p, REPLAY_TIMED_LATER, began, 1);
		}
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

static int note_mapped(struct replay_pass *p, const struct replay_step *step,
		       const struct viommu_dma_mapping *mapping, uint64_t offset)
{
	int err = p->meter ? exposure_add(&p->devices[step->device].exposure, offset, step->len) : 0;

	p->slots[step->slot] = (struct replay_slot){.mapping = *mapping,
						    .offset = offset,
						    .device = step->device,
						    .is_mapped = true,
						    .is_seen = p->meter && !err};
	p->maps++;
	return err;
}

/* Before it is unmapped. */
static void note_unmapped(struct replay_pass *p, struct replay_slot *slot)
{
	if (slot->is_seen)
		exposure_remove(&p->devices[slot->device].exposure, slot->offset, slot->mapping.len);
	slot->is_mapped = slot->is_seen = false;
}

static int map(struct replay_pass *p, const struct replay_step *steps, size_t count)
{
	struct viommu_dma_mapping mappings[REPLAY_LIST_MOST];
	struct iovec buffers[REPLAY_LIST_MOST];
	uint64_t offsets[REPLAY_LIST_MOST], began;
	struct viommu_dma_thread *t;
	int err = thread_of(p, &p->devices[steps->device], steps->cpu, &t);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		offsets[i] = replay_memory_offset(p->memory, steps[i].phys);
		buffers[i] = (struct iovec){p->memory->host + offsets[i], steps[i].len};
		if (p->is_timed)
			replay_memory_touch(p->memory, offsets[i], steps[i].len);
	}
	began = begin_timing(p);
	if (count == 1)
		err = viommu_dma_map(t, buffers->iov_base, buffers->iov_len, direction_of(steps),
				     p->options->width, mappings);
	else
		err = viommu_dma_map_list(t, buffers, count, direction_of(steps), p->options->width,
					  mappings);
	if (is_refusal(err)) {
		p->refused += count;
		return 0;
	}
	end_timing(p, REPLAY_TIMED_MAP, began, count);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		int failed = note_mapped(p, &steps[i], &mappings[i], offsets[i]);

		err = err ? err : failed;
	}
	return err;
}

/* What the device does with a buffer, as late as it can. */
static void use(struct replay_pass *p, const struct replay_slot *slot)
{
	unsigned direction = (unsigned)slot->mapping.direction;

	p->unreachable +=
		!replay_device_uses(p->devices[slot->device].unit, slot->mapping.iova,
				    direction & VIOMMU_DMA_TO_DEVICE, direction & VIOMMU_DMA_FROM_DEVICE);
}

static int unmap(struct replay_pass *p, const struct replay_step *steps, size_t count)
{
	struct viommu_dma_mapping mappings[REPLAY_LIST_MOST];
	struct replay_device *d = &p->devices[steps->device];
	struct viommu_dma_thread *t;
	size_t live = 0;
	uint64_t began;
	int err = thread_of(p, d, steps->cpu, &t);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		struct replay_slot *slot = &p->slots[steps[i].slot];

		if (!slot->is_mapped)
			continue; /* it was refused */
		if (p->is_timed)
			use(p, slot);
		mappings[live++] = slot->mapping;
		note_unmapped(p, slot);
	}
	if (!live)
		return 0;
	p->unmaps += live;
	began = begin_timing(p);
	err = live == 1 ? viommu_dma_unmap(t, mappings) : viommu_dma_unmap_list(t, mappings, live);
	end_timing(p, REPLAY_TIMED_UNMAP, began, live);
	return err;
}

/* Bytes beyond the mapping are the trace's mistake: what is inside is synced. */
static int sync(struct replay_pass *p, const struct replay_step *step)
{
	struct replay_slot *slot = &p->slots[step->slot];
	struct viommu_dma_thread *t;
	uint64_t began, len = step->len;
	int err;

	if (!slot->is_mapped || step->offset >= slot->mapping.len)
		return 0;
	if (len > slot->mapping.len - step->offset)
		len = slot->mapping.len - step->offset;
	err = thread_of(p, &p->devices[slot->device], step->cpu, &t);
	if (err)
		return err;
	began = begin_timing(p);
	if (step->kind == TRACE_SYNC_FOR_CPU)
		err = viommu_dma_sync_for_cpu(t, &slot->mapping, step->offset, len);
	else
		err = viommu_dma_sync_for_device(t, &slot->mapping, step->offset, len);
	end_timing(p, REPLAY_TIMED_SYNC, began, 1);
	return err;
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
	if (p->options->progress && p->steps_done / TELL_EVERY != before / TELL_EVERY)
		p->options->progress(p->options->arg, p->progress_base + p->steps_done,
				     p->steps->facts.steps * 2);
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

static uint64_t shadow_for(const struct replay_steps *steps)
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
		.shadow_len = p->shadow_size,
		.shadow_address = REPLAY_SHADOW,
	};
	struct viommu_backing backing;
	int err = 0;

	d->due_ns = NEVER;
	d->threads = calloc(p->cpus, sizeof(struct viommu_dma_thread *));
	if (p->is_timed)
		d->unit = &p->machine.units[i];
	else
		err = exposure_init(&d->exposure, p->memory, p->meter);
	if (!d->threads || err)
		return -ENOMEM;
	d->shadow = p->is_timed ? d->unit->shadow : replay_reserve(p->shadow_size);
	if (!d->shadow)
		return -ENOMEM;
	options.shadow_host = d->shadow;
	backing = p->is_timed ? d->unit->backing : exposure_backing(&d->exposure);
	err = viommu_dma_open(&backing, &options, why, why_size, &d->dma);
	return err ? err : add_memory(d, p->memory);
}

static bool is_all_reachable(const struct replay_pass *p)
{
	uint64_t all = p->steps->facts.devices * (p->memory->size / REPLAY_PAGE);

	for (unsigned i = 0; i < p->steps->facts.devices; i++)
		if (!p->devices[i].exposure.through && p->meter->pinned.now < all)
			return false;
	return true;
}

static int open_devices(struct replay_pass *p, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned i = 0; !err && i < p->steps->facts.devices; i++) {
		err = open_device(p, i, why, why_size);
		if (err && !*why)
			snprintf(why, why_size, "%s cannot be opened: %s", p->options->strategy,
				 strerror(-err));
	}
	return err;
}

static int allocate(struct replay_pass *p)
{
	const struct replay_facts *f = &p->steps->facts;

	p->devices = calloc(f->devices, sizeof(*p->devices));
	p->slots = calloc(f->slots, sizeof(*p->slots));
	p->times = calloc(REPLAY_TIMED, sizeof(*p->times));
	if (!p->is_timed)
		p->meter = malloc(sizeof(*p->meter));
	if (!p->devices || !p->slots || !p->times || (!p->is_timed && !p->meter))
		return -ENOMEM;
	if (p->meter)
		meter_init(p->meter, f->last_ns);
	return 0;
}

int replay_pass_init(struct replay_pass *p, const struct replay_steps *steps, struct replay_memory *memory,
		     const struct replay_options *options, bool is_timed, char *why, size_t why_size)
{
	int err;

	*p = (struct replay_pass){.steps = steps,
				  .memory = memory,
				  .options = options,
				  .is_timed = is_timed,
				  .due_ns = NEVER,
				  .shadow_size = shadow_for(steps),
				  .progress_base = is_timed ? steps->facts.steps : 0};
	p->cpus = steps->facts.cpus < CPUS_MOST ? steps->facts.cpus : CPUS_MOST;
	why[0] = '\0';
	err = allocate(p);
	if (!err && is_timed) {
		p->clock_ns = measure_clock();
		err = replay_machine_init(&p->machine, steps->facts.devices, options->registers, memory,
					  p->shadow_size);
	}
	if (!err) {
		err = open_devices(p, why, why_size);
		p->reaches_all = !err && p->meter && is_all_reachable(p);
		return err;
	}
	snprintf(why, why_size, "the emulated IOMMU cannot be set up: %s", strerror(-err));
	return err;
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
		note_unmapped(p, slot);
		err = thread_of(p, d, 0, &t);
		if (!err)
			err = viommu_dma_unmap(t, &slot->mapping);
		first = first ? first : err;
	}
	return first;
}

static int close_device(struct replay_pass *p, struct replay_device *d)
{
	int err = viommu_dma_close(d->dma); /* its threads go with it */

	if (!p->is_timed && d->shadow)
		munmap(d->shadow, p->shadow_size);
	if (!p->is_timed)
		exposure_finish(&d->exposure);
	free(d->threads);
	return err;
}

int replay_pass_finish(struct replay_pass *p)
{
	int first = unmap_what_lives(p);

	for (unsigned i = 0; p->devices && i < p->steps->facts.devices; i++) {
		int err = close_device(p, &p->devices[i]);

		first = first ? first : err;
	}
	if (p->is_timed)
		replay_machine_finish(&p->machine);
	free(p->devices);
	free(p->slots);
	free(p->times);
	free(p->meter);
	return first;
}

int replay_pass_counters(struct replay_pass *p, uint64_t *values, size_t count)
{
	uint64_t *own = calloc(count, sizeof(*own));

	if (!own)
		return -ENOMEM;
	memset(values, 0, count * sizeof(*values));
	for (unsigned i = 0; i < p->steps->facts.devices; i++) {
		viommu_dma_counters_read(p->devices[i].dma, own, count);
		for (size_t c = 0; c < count; c++)
			values[c] += own[c];
	}
	free(own);
	return 0;
}
