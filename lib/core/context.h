/* SPDX-License-Identifier: BSD-3-Clause */
/* The context cache: what the guest's tables say of each device. */
#ifndef CORE_CONTEXT_H
#define CORE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model.h"
#include "core/unit.h"

struct viommu_requester;
struct viommu_thread;
struct vi_drain;

/* Inside a section: the device's context, from the cache or the model, else the reason. `scratch` may be
 * used. */
vi_reason vi_context_get(struct viommu_thread *t, struct viommu_requester *r, struct vi_context *scratch,
			 const struct vi_context **ret_context);

/* By models: drop cached contexts, and note for the drain what they led to. */
void vi_context_drop_all(struct viommu *v, struct vi_drain *d) VI_WITH(v->lock);
void vi_context_drop_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id) VI_WITH(v->lock);
/* This one; of a device all its handles with a PASID, too. */
void vi_context_drop_requester(struct viommu *v, struct vi_drain *d, struct viommu_requester *r)
	VI_WITH(v->lock);
/* Devices, with or without a PASID, whose id equals `rid` outside of the bits in `ignore`. */
void vi_context_drop_devices(struct viommu *v, struct vi_drain *d, uint16_t rid, uint16_t ignore)
	VI_WITH(v->lock);
/*
 * This one and its handles with a PASID, and all that is cached of the domains that they led to. For models
 * whose guests change an entry in two writes: a context of between the two has the domain of the one and the
 * tables of the other, and what was cached by it must not stay.
 */
void vi_context_drop_with_domains(struct viommu *v, struct vi_drain *d, uint16_t rid) VI_WITH(v->lock);
/* Free what no reader can see any more; `all`: nobody is left. */
void vi_context_reclaim(struct viommu *v, bool all) VI_WITH(v->lock);

#endif
