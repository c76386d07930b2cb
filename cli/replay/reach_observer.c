/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/reach_observer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int open_device(void *observer, unsigned device, struct viommu_backing *ret_backing, void **ret_shadow)
{
	struct reach_observer *o = observer;
	struct reach_device *d = &o->devices[device];
	int err = exposure_init(&d->exposure, o->memory, o->meter);

	if (err)
		return err;
	d->shadow = replay_reserve(o->shadow_size);
	if (!d->shadow)
		return -ENOMEM;
	*ret_backing = d->exposure.backing;
	*ret_shadow = d->shadow;
	return 0;
}

static void advance(void *observer, uint64_t now_ns)
{
	struct reach_observer *o = observer;

	meter_advance(o->meter, now_ns);
}

static int mapped(void *observer, unsigned device, uint64_t offset, uint64_t len)
{
	struct reach_observer *o = observer;

	return exposure_add(&o->devices[device].exposure, offset, len);
}

static void unmaps(void *observer, unsigned device, uint64_t offset, const struct viommu_dma_mapping *mapping)
{
	struct reach_observer *o = observer;

	exposure_remove(&o->devices[device].exposure, offset, mapping->len);
}

struct replay_observer reach_observer_of(struct reach_observer *o)
{
	static const struct replay_observer_ops ops = {
		.open = open_device,
		.advance = advance,
		.mapped = mapped,
		.unmaps = unmaps,
	};

	return (struct replay_observer){&ops, o};
}

int reach_observer_init(struct reach_observer *o, const struct replay_steps *steps,
			const struct replay_memory *memory, uint64_t shadow_size)
{
	*o = (struct reach_observer){.memory = memory,
				     .device_count = steps->facts.devices,
				     .shadow_size = shadow_size};
	o->meter = malloc(sizeof(*o->meter));
	o->devices = calloc(o->device_count, sizeof(*o->devices));
	if (!o->meter || !o->devices)
		return -ENOMEM;
	meter_init(o->meter, steps->facts.last_ns);
	return 0;
}

void reach_observer_finish(struct reach_observer *o)
{
	for (unsigned i = 0; o->devices && i < o->device_count; i++) {
		exposure_finish(&o->devices[i].exposure);
		if (o->devices[i].shadow)
			munmap(o->devices[i].shadow, o->shadow_size);
	}
	free(o->devices);
	free(o->meter);
	*o = (struct reach_observer){0};
}

bool reach_observer_sees_all(const struct reach_observer *o)
{
	uint64_t all = o->device_count * (o->memory->size / REPLAY_PAGE);

	for (unsigned i = 0; i < o->device_count; i++)
		if (!o->devices[i].exposure.through && o->meter->pinned.now < all)
			return false;
	return true;
}

bool reach_observer_settle(struct reach_observer *o)
{
	bool broke_rules = false;

	for (unsigned i = 0; i < o->device_count; i++) {
		exposure_settle(&o->devices[i].exposure);
		broke_rules |= exposure_broke_rules(&o->devices[i].exposure);
	}
	return broke_rules;
}
