/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drains: how an invalidation becomes a barrier.
 *
 * The model first makes the old translations unreachable (iotlb, contexts) and
 * notes what it dropped. vi_drain_begin() then starts an epoch; when
 * vi_drain_poll() says true
 *  - every short access that could have used an old translation has ended (the
 *    proof is in epoch.h), and
 *  - every pin of a noted range that was taken under an old translation has
 *    been given back. Such a pin was put into the tree inside a section that
 *    began before the drain, and that section has ended, so the search under
 *    the pin lock finds it. Pins of later sections are left alone: they were
 *    taken under what the guest's tables say now.
 * Only after that the model lets the guest see completion. Nothing here waits.
 *
 * A drain belongs to the unit lock.
 */
#ifndef CORE_DRAIN_H
#define CORE_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/unit.h"

#define VI_DRAIN_RANGES 16

struct vi_drain {
	bool active;	 /* begun and not complete */
	bool needed;	 /* something was dropped since the last completion */
	bool everything; /* noted: all pins */
	unsigned count;	 /* of ranges */
	bool looked;	 /* polled at least once */
	bool sections_over;
	unsigned device_count;
	const struct viommu_requester *requester; /* noted: this one alone; NULL: none is */
	uint64_t epoch;
	uint64_t started_ns;
	struct {
		uint64_t first, last; /* keys of pin.h */
	} ranges[VI_DRAIN_RANGES];
	struct {
		uint16_t rid, ignore; /* bits of the rid that do not matter */
	} devices[VI_DRAIN_RANGES];
};

/* Note what was dropped. `domain_id` as in pin.h. Adding to an active drain is not allowed. */
void vi_drain_note_devices(struct vi_drain *d, uint16_t rid, uint16_t ignore);
/* One at most. */
void vi_drain_note_requester(struct vi_drain *d, const struct viommu_requester *r);
/* Nothing that a pin could hold: sections alone. */
void vi_drain_note_sections(struct vi_drain *d);
void vi_drain_note_everything(struct vi_drain *d);
void vi_drain_note_domain(struct vi_drain *d, uint32_t domain_id);
void vi_drain_note_range(struct vi_drain *d, uint32_t domain_id, uint64_t first, uint64_t last);
void vi_drain_begin(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
/* True: complete, and the drain is empty again. */
bool vi_drain_poll(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
/* The same after a few looks, as most drains end within a microsecond; false: leave it for the next round. */
bool vi_drain_soon(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
/* Begin and stay until complete: for calls of the embedder that promise to wait. */
void vi_drain_wait(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
/*
 * Between two looks of such a call: lets others run. Who is waited for is soon
 * out of its section, unless the machine does not run it; then it is slept, as
 * who only yields would be charged with processor time.
 */
void vi_drain_pause(unsigned looks);

#endif
