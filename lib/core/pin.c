/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/pin.h"

#include <assert.h>

#include "base/bits.h"
#include "core/host.h"
#include "core/requester.h"
#include "core/unit.h"

_Static_assert(sizeof(struct vi_pin_state) <= sizeof(((struct viommu_pin *)0)->reserved),
	       "viommu_pin.reserved is too small");

void vi_pins_init(struct vi_pins *p)
{
	vi_lock_init(&p->lock);
	vi_interval_tree_init(&p->tree);
	atomic_init(&p->count, 0);
}

void vi_pins_finish(struct vi_pins *p)
{
	assert(atomic_load(&p->count) == 0 || !"a pin is held while its unit is destroyed");
	vi_lock_finish(&p->lock);
}

void vi_pin_hold(struct vi_pins *p, struct viommu_pin *pin, uint32_t space, uint64_t first, uint64_t last,
		 uint64_t entered)
{
	struct vi_pin_state *s = vi_pin_state(pin);

	*s = (struct vi_pin_state){.entered = entered};
	s->interval.first = vi_pin_key(space, first);
	s->interval.last = vi_pin_key(space, last);
	vi_lock_take(&p->lock);
	vi_interval_tree_insert(&p->tree, &s->interval);
	atomic_fetch_add_explicit(&p->count, 1, memory_order_seq_cst);
	vi_lock_give(&p->lock);
}

void viommu_unpin(struct viommu_pin *pin)
{
	struct vi_pin_state *s = vi_pin_state(pin);
	struct viommu *v = pin->requester->unit;
	bool revoked;

	vi_lock_take(&v->pins.lock);
	vi_interval_tree_remove(&v->pins.tree, &s->interval);
	revoked = s->revoked;
	/* Release, by the lock: what was done under the pin is done. */
	atomic_fetch_sub_explicit(&v->pins.count, 1, memory_order_seq_cst);
	vi_lock_give(&v->pins.lock);
	if (revoked)
		vi_kick(v);
}

struct revocation {
	const struct vi_pin_filter *filter;
	unsigned held, asked;
};

static bool lends(const struct viommu_pin *pin, const struct vi_gpa_range *memory)
{
	return pin->span.host && pin->span.gpa <= memory->last &&
	       pin->span.gpa + (pin->span.len - 1) >= memory->first;
}

static bool is_meant(const struct vi_pin_filter *f, const struct vi_pin_state *s,
		     const struct viommu_pin *pin)
{
	return s->entered < f->epoch && ((pin->requester->rid ^ f->rid) & ~f->ignore & 0xffff) == 0 &&
	       (!f->requester || pin->requester == f->requester) && (!f->memory || lends(pin, f->memory));
}

static void revoke(void *arg, struct vi_interval *node)
{
	struct revocation *rv = arg;
	struct vi_pin_state *s = VI_CONTAINER_OF(node, struct vi_pin_state, interval);
	struct viommu_pin *pin = VI_CONTAINER_OF((uint64_t *)(void *)s, struct viommu_pin, reserved[0]);

	if (!is_meant(rv->filter, s, pin))
		return;
	rv->held++;
	if (s->revoked)
		return;
	s->revoked = true;
	rv->asked++;
	if (pin->revoke)
		pin->revoke(pin);
}

unsigned vi_pins_revoke(struct vi_pins *p, const struct vi_pin_filter *f, unsigned *io_revoked)
{
	struct revocation rv = {.filter = f};

	if (atomic_load_explicit(&p->count, memory_order_seq_cst) == 0)
		return 0;
	vi_lock_take(&p->lock);
	vi_interval_tree_visit(&p->tree, f->first, f->last, revoke, &rv);
	vi_lock_give(&p->lock);
	*io_revoked += rv.asked;
	return rv.held;
}
