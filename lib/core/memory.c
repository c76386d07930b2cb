/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory comes and goes: the public functions. */
#include <errno.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/pin.h"
#include "core/thread.h"
#include "core/unit.h"

/* Returns the epoch that began. */
static uint64_t wait_for_sections(struct viommu *v) VI_WITH(v->lock)
{
	uint64_t epoch = vi_threads_wait_for_sections(v);

	vi_guestmem_reclaim(&v->mem);
	vi_context_reclaim(v, false);
	return epoch;
}

int viommu_mem_add(struct viommu *v, uint64_t gpa, uint64_t len, void *host, unsigned flags)
{
	struct vi_region region = {.first = gpa, .host = host, .flags = (uint16_t)flags};
	int ret;

	if (!vi_last_of(gpa, len, &region.last) || region.last > VI_BITS(v->address_width - 1, 0) ||
	    (flags & ~(VIOMMU_MEM_READ | VIOMMU_MEM_WRITE)) ||
	    (!host && (!v->ops.mem_read || !v->ops.mem_write)))
		return -EINVAL;
	vi_lock_take(&v->lock);
	ret = vi_guestmem_add(&v->mem, &region);
	if (ret == 0)
		wait_for_sections(v); /* then the old map's parts are free */
	vi_lock_give(&v->lock);
	return ret;
}

/*
 * Cached translations may name the host memory that goes away: all of them are
 * dropped. With identity contexts only nothing is cached.
 */
int64_t viommu_mem_remove(struct viommu *v, uint64_t gpa, uint64_t len)
{
	struct vi_gpa_range range = {.first = gpa};
	struct vi_pin_filter pins = {.last = UINT64_MAX, .ignore = UINT16_MAX, .memory = &range};
	struct vi_drain unused = {.active = false};
	unsigned revoked = 0;
	int64_t ret;

	if (!vi_last_of(gpa, len, &range.last))
		return -EINVAL;
	vi_lock_take(&v->lock);
	ret = vi_guestmem_remove(&v->mem, range.first, range.last);
	if (ret > 0) {
		vi_iotlb_invalidate_all(v, &unused); /* pins of other memory stay */
		pins.epoch = wait_for_sections(v);
		for (unsigned looks = 0; vi_pins_revoke(&v->pins, &pins, &revoked) > 0; looks++)
			vi_drain_pause(looks);
		vi_count(&v->counters, VI_COUNT_pins_revoked, revoked);
	}
	vi_lock_give(&v->lock);
	return ret;
}
