/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Domains: the address spaces that the guest's tables give numbers to, and what
 * is cached of each. A domain that its last device has left comes to rest: it
 * keeps its counts until VI_DOMAINS_AT_REST others have come to rest after it,
 * then they join those of `unit.rest`. So what a guest can make us keep is bounded.
 */
#ifndef CORE_DOMAIN_H
#define CORE_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/counters.h"
#include "core/iotlb.h"
#include "core/unit.h"

struct vi_drain;

#define VI_DOMAINS_AT_REST 64

struct vi_domain {
	struct vi_list link; /* in viommu.domains, under the context lock, as all without _Atomic */
	uint16_t id;
	unsigned references; /* contexts that translate by it; 0: nothing is cached, its asid means nothing */
	struct vi_list accounts; /* of devices that are charged to it (account.h); empty: it is at rest */
	struct vi_list resting;	 /* then: in viommu.resting */
	uint64_t values[VI_DOMAIN_COUNTER_END]; /* without those accounts */
	struct vi_iotlb_space space;
};

struct vi_domain *vi_domain_find(struct viommu *v, uint16_t id) VI_WITH(v->context_lock);
/* NULL: no memory. */
struct vi_domain *vi_domain_find_or_make(struct viommu *v, uint16_t id) VI_WITH(v->context_lock);
/* No account of it is left, or one is opened. */
void vi_domain_lay_to_rest(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock);
void vi_domain_wake_up(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock);
/* A context that is about to be published will cache translations of it, or is no more. */
void vi_domain_hold(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock);
void vi_domain_release(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock);
/* What is cached of `d`, found by a context of it, is not found any more. The caller notes it for a drain. */
void vi_domain_drop_cached(struct viommu *v, struct vi_domain *d) VI_WITH(v->context_lock);
/* The unit goes. */
void vi_domains_finish(struct viommu *v) VI_WITH(v->context_lock);

/* The guest invalidated something of `d`, or of a domain that is not known (NULL). */
void vi_count_domain(struct viommu *v, struct vi_domain *d, enum vi_counter which)
	VI_WITH(v->lock, v->context_lock);

/* By models: make translations unreachable, and note them. Any range: nothing is cached of addresses with
 * more than VI_IOVA_BITS bits. */
void vi_iotlb_invalidate_all(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
void vi_iotlb_invalidate_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id) VI_WITH(v->lock);
void vi_iotlb_invalidate_range(struct viommu *v, struct vi_drain *d, uint16_t domain_id, uint64_t first,
			       uint64_t last) VI_WITH(v->lock);
/* Now and then: finish a wipe of the IOTLB when it can be. True: one is still to come. */
bool vi_iotlb_maintain(struct viommu *v) VI_WITH(v->lock);

#endif
