/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/cost_observer.h"

#include <errno.h>
#include <stdlib.h>

#include "os/clock.h"

#define CLOCK_READINGS 1001

/* --------------------------------------------------------------- the work of a call */

static uint64_t pages_in(const struct viommu_backing_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++)
		pages += ranges[i].len / REPLAY_PAGE;
	return pages;
}

static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct cost_device *d = opaque;

	d->work->mapped += pages_in(ranges, count);
	return d->inner.ops->map(d->inner.opaque, ranges, count);
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct cost_device *d = opaque;

	d->work->unmapped += pages_in(ranges, count);
	return d->inner.ops->unmap(d->inner.opaque, ranges, count);
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	struct cost_device *d = opaque;

	d->work->ranges += count;
	return d->inner.ops->invalidate(d->inner.opaque, ranges, count, flags);
}

static int invalidate_all(void *opaque)
{
	struct cost_device *d = opaque;

	d->work->all++;
	return d->inner.ops->invalidate_all(d->inner.opaque);
}

static int pass_through(void *opaque, bool on)
{
	struct cost_device *d = opaque;

	return d->inner.ops->pass_through(d->inner.opaque, on);
}

static int open_device(void *observer, unsigned device, struct viommu_backing *ret_backing, void **ret_shadow)
{
	static const struct viommu_backing_ops ops = {
		.sz = sizeof(ops),
		.map = map,
		.unmap = unmap,
		.invalidate = invalidate,
		.invalidate_all = invalidate_all,
		.pass_through = pass_through,
	};
	struct cost_observer *o = observer;
	struct cost_device *d = &o->devices[device];

	*d = (struct cost_device){.inner = o->machine.units[device].backing, .work = &o->work};
	*ret_backing = (struct viommu_backing){&ops, d, d->inner.address_width};
	*ret_shadow = o->machine.units[device].shadow;
	return 0;
}

/* Four steps for each power of two: what is in one differs by less than a fifth. */
static uint64_t size_class(uint64_t n)
{
	unsigned power;

	if (n < 4)
		return n;
	power = 63 - (unsigned)__builtin_clzll(n);
	return power * 4 + (n >> (power - 2) & 3);
}

/* Eight bits hold any size class. */
static uint64_t class_of(const struct replay_call *call, const struct cost_work *w)
{
	const uint64_t sizes[] = {call->buffers, call->bytes, w->mapped, w->unmapped, w->ranges, w->all};
	uint64_t key = call->kind;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		key = key << 8 | size_class(sizes[i]);
	return key;
}

/* --------------------------------------------------------------------- what is told */

/* A driver has just filled its buffer. */
static void maps(void *observer, uint64_t offset, uint64_t len)
{
	struct cost_observer *o = observer;

	replay_memory_touch(o->memory, offset, len);
}

static void unmaps(void *observer, unsigned device, uint64_t offset, const struct viommu_dma_mapping *mapping)
{
	struct cost_observer *o = observer;
	unsigned direction = (unsigned)mapping->direction;

	(void)offset;
	o->unreachable +=
		!replay_device_uses(&o->machine.units[device], mapping->iova,
				    direction & VIOMMU_DMA_TO_DEVICE, direction & VIOMMU_DMA_FROM_DEVICE);
}

static void call_begins(void *observer)
{
	struct cost_observer *o = observer;

	o->work = (struct cost_work){0};
	o->began_ns = os_now_ns();
}

static int call_ends(void *observer, const struct replay_call *call)
{
	struct cost_observer *o = observer;
	uint64_t ns = os_now_ns() - o->began_ns;

	ns = ns > o->clock_ns ? ns - o->clock_ns : 0;
	histogram_add(&o->times[call->kind], ns / call->buffers, call->buffers);
	return cost_add(o->cost, class_of(call, &o->work), call->kind, ns);
}

struct replay_observer cost_observer_of(struct cost_observer *o)
{
	static const struct replay_observer_ops ops = {
		.open = open_device,
		.maps = maps,
		.unmaps = unmaps,
		.call_begins = call_begins,
		.call_ends = call_ends,
	};

	return (struct replay_observer){&ops, o};
}

/* ---------------------------------------------------------------- begin and end */

static uint64_t measure_clock(void)
{
	struct histogram *h = calloc(1, sizeof(*h));
	uint64_t cost;

	if (!h)
		return 0;
	for (unsigned i = 0; i < CLOCK_READINGS; i++) {
		uint64_t began = os_now_ns();

		histogram_add(h, os_now_ns() - began, 1);
	}
	cost = histogram_percentile(h, 50);
	free(h);
	return cost;
}

int cost_observer_init(struct cost_observer *o, const struct replay_steps *steps,
		       struct replay_memory *memory, enum replay_registers registers, uint64_t shadow_size,
		       struct cost *cost)
{
	*o = (struct cost_observer){.memory = memory, .cost = cost};
	o->devices = calloc(steps->facts.devices, sizeof(*o->devices));
	o->times = calloc(REPLAY_CALL_KINDS, sizeof(*o->times));
	if (!o->devices || !o->times)
		return -ENOMEM;
	o->clock_ns = measure_clock();
	return replay_machine_init(&o->machine, steps->facts.devices, registers, memory, shadow_size);
}

void cost_observer_finish(struct cost_observer *o)
{
	replay_machine_finish(&o->machine);
	free(o->devices);
	free(o->times);
	*o = (struct cost_observer){0};
}
