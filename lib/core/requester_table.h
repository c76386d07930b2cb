/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices of a unit, by requester id, and with each its handles with a PASID. Changes under the unit and
 * the context lock, so that either is enough to read.
 */
#ifndef CORE_REQUESTER_TABLE_H
#define CORE_REQUESTER_TABLE_H

#include <stdint.h>

struct viommu_requester;

#define VI_BUSES	      256
#define VI_FUNCTIONS_OF_A_BUS 256

struct vi_requesters {
	struct viommu_requester **buses[VI_BUSES]; /* tables of VI_FUNCTIONS_OF_A_BUS */
};

/* 0, -EEXIST or -ENOMEM. One with a PASID goes to its device, which is there. */
int vi_requesters_put(struct vi_requesters *t, struct viommu_requester *r);
void vi_requesters_take(struct vi_requesters *t, struct viommu_requester *r);
/* The device, without a PASID. NULL: there is none with this id. */
struct viommu_requester *vi_requesters_find(const struct vi_requesters *t, uint16_t rid);
/* The next one of all, a device before its handles with a PASID; of NULL the first. NULL: there is no other.
 */
struct viommu_requester *vi_requesters_next(const struct vi_requesters *t, const struct viommu_requester *r);
/* None is left in it. */
void vi_requesters_finish(struct vi_requesters *t);

#endif
