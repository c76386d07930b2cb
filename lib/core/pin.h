/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pins that are held, by domain and iova, under a lock of their own. The lock
 * nests inside the unit lock and is held for short searches and for revoke
 * callbacks.
 */
#ifndef CORE_PIN_H
#define CORE_PIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "base/interval_tree.h"
#include "base/lock.h"
#include "core/translation.h"

/* Pins are filed by domain; those of no domain behind the last. */
#define VI_PIN_NO_DOMAIN 0x10000u

struct vi_pins {
	struct vi_lock lock;
	struct vi_interval_tree tree;
	_Atomic uint64_t count; /* written under the lock; 0 lets a drain skip the search */
};

/* The library's part of struct viommu_pin. */
struct vi_pin_state {
	struct vi_interval interval; /* of keys */
	uint64_t entered;	     /* epoch of the section that translated */
	bool revoked;
};

static inline struct vi_pin_state *vi_pin_state(struct viommu_pin *pin)
{
	return (struct vi_pin_state *)(void *)pin->reserved;
}

static inline uint32_t vi_pin_space(const struct vi_translation *t)
{
	return t->has_domain ? t->domain_id : VI_PIN_NO_DOMAIN;
}

/* Space and page number in one ascending key. Pages from the last one on that it has bits for share that
 * one's. */
static inline uint64_t vi_pin_key(uint32_t space, uint64_t iova)
{
	return (uint64_t)space << 40 | vi_min(iova >> 12, VI_BITS(39, 0));
}

void vi_pins_init(struct vi_pins *p);
void vi_pins_finish(struct vi_pins *p);

/* Inside the section that translated: file `pin` for first..last. */
void vi_pin_hold(struct vi_pins *p, struct viommu_pin *pin, uint32_t space, uint64_t first, uint64_t last,
		 uint64_t entered);

struct vi_gpa_range {
	uint64_t first, last;
};

/* Which pins: all that is said must hold. */
struct vi_pin_filter {
	uint64_t first, last;			  /* keys */
	uint64_t epoch;				  /* their section began before */
	uint16_t rid, ignore;			  /* of their device, but for the bits in `ignore` */
	const struct viommu_requester *requester; /* of this one; NULL: any */
	const struct vi_gpa_range *memory;	  /* they lend out this memory of the host; NULL: any */
};

/* Ask them back, each once. Returns how many are still held. */
unsigned vi_pins_revoke(struct vi_pins *p, const struct vi_pin_filter *f, unsigned *io_revoked);

#endif
