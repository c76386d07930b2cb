/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/drain.h"

#include <assert.h>
#include <sched.h>
#include <time.h>

#include "core/counters.h"
#include "core/host.h"
#include "core/pin.h"
#include "core/unit.h"

void vi_drain_note_devices(struct vi_drain *d, uint16_t rid, uint16_t ignore)
{
	assert(!d->active);
	d->needed = true;
	if (d->device_count == VI_DRAIN_RANGES) {
		d->everything = true;
		return;
	}
	d->devices[d->device_count].rid = rid;
	d->devices[d->device_count++].ignore = ignore;
}

void vi_drain_note_requester(struct vi_drain *d, const struct viommu_requester *r)
{
	assert(!d->active && !d->requester);
	d->requester = r;
	d->needed = true;
}

void vi_drain_note_sections(struct vi_drain *d)
{
	assert(!d->active);
	d->needed = true;
}

void vi_drain_note_everything(struct vi_drain *d)
{
	assert(!d->active);
	d->needed = true;
	d->everything = true;
}

static void note(struct vi_drain *d, uint64_t first, uint64_t last)
{
	assert(!d->active);
	d->needed = true;
	if (d->everything)
		return;
	if (d->count == VI_DRAIN_RANGES) {
		d->everything = true;
		return;
	}
	d->ranges[d->count].first = first;
	d->ranges[d->count++].last = last;
}

void vi_drain_note_domain(struct vi_drain *d, uint32_t domain_id)
{
	note(d, vi_pin_key(domain_id, 0), vi_pin_key(domain_id + 1, 0) - 1);
}

void vi_drain_note_range(struct vi_drain *d, uint32_t domain_id, uint64_t first, uint64_t last)
{
	note(d, vi_pin_key(domain_id, first), vi_pin_key(domain_id, last));
}

void vi_drain_begin(struct viommu *v, struct vi_drain *d)
{
	assert(!d->active);
	d->active = true;
	d->looked = d->sections_over = false;
	d->started_ns = vi_now_ns(v);
	d->epoch = vi_epoch_begin(&v->epoch);
	vi_count(&v->counters, VI_COUNT_drains, 1);
}

static bool pins_are_back(struct viommu *v, struct vi_drain *d)
{
	struct vi_pin_filter all = {.last = UINT64_MAX, .epoch = d->epoch, .ignore = UINT16_MAX}, f = all;
	unsigned held = 0, revoked = 0;

	if (d->everything)
		held = vi_pins_revoke(&v->pins, &all, &revoked);
	for (unsigned i = 0; !d->everything && i < d->count; i++) {
		f.first = d->ranges[i].first;
		f.last = d->ranges[i].last;
		held += vi_pins_revoke(&v->pins, &f, &revoked);
	}
	for (unsigned i = 0; !d->everything && i < d->device_count; i++) {
		all.rid = d->devices[i].rid;
		all.ignore = d->devices[i].ignore;
		held += vi_pins_revoke(&v->pins, &all, &revoked);
	}
	if (!d->everything && d->requester) {
		all.ignore = UINT16_MAX;
		all.requester = d->requester;
		held += vi_pins_revoke(&v->pins, &all, &revoked);
	}
	vi_count(&v->counters, VI_COUNT_pins_revoked, revoked);
	return held == 0;
}

bool vi_drain_poll(struct viommu *v, struct vi_drain *d)
{
	uint64_t ns;

	assert(d->active);
	d->sections_over = d->sections_over || vi_epoch_passed(&v->epoch, d->epoch);
	if (!d->sections_over || !pins_are_back(v, d)) {
		if (!d->looked)
			vi_count(&v->counters, VI_COUNT_drains_deferred, 1);
		d->looked = true;
		return false;
	}
	ns = vi_now_ns(v) - d->started_ns;
	vi_count_drain(v, ns);
	*d = (struct vi_drain){.active = false};
	return true;
}

#define PAUSE_YIELDS   16
#define PAUSE_SLEEP_NS 20000

void vi_drain_pause(unsigned looks)
{
	const struct timespec nap = {.tv_nsec = PAUSE_SLEEP_NS};

	if (looks < PAUSE_YIELDS)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

void vi_drain_wait(struct viommu *v, struct vi_drain *d)
{
	vi_drain_begin(v, d);
	for (unsigned looks = 0; !vi_drain_poll(v, d); looks++)
		vi_drain_pause(looks);
}
