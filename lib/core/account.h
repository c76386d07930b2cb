/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accounts: whom accesses are charged to, so that each domain's counters are as
 * exact as each device's.
 *
 * There is an account for each pair of a device and a domain that it is in,
 * with counters for each place of a thread. A published context leads to the
 * account of its domain, so an access is charged to the domain whose tables it
 * went by, also while the device moves to another one, and at the cost of one
 * more load. Nothing is divided up afterwards.
 *
 * Device threads count inside their section, as long as they hold the context.
 * An account is settled when its last context has been reclaimed, thus when no
 * section can count into it any more: what it holds is added to the device and
 * to the domain. A device keeps the account that it used last, since guests
 * invalidate contexts more often than they change domains.
 *
 * Accesses for which no domain is known are charged to the device alone:
 * translation is off, no context entry was found valid, or the context could
 * not be published (it was invalidated meanwhile, or memory ran out).
 */
#ifndef CORE_ACCOUNT_H
#define CORE_ACCOUNT_H

#include "base/list.h"
#include "core/counters.h"
#include "core/unit.h"

struct viommu_requester;
struct vi_domain;

struct vi_account {
	struct viommu_requester *requester;
	struct vi_domain *domain;
	unsigned references;	  /* contexts, and the requester's `account` */
	struct vi_list of_device; /* requester.accounts */
	struct vi_list of_domain; /* domain.accounts */
	struct vi_device_counters counters[];
};

/* The account of this device in domain `id`, with a reference for the caller. NULL: no memory. */
struct vi_account *vi_account_hold(struct viommu *v, struct viommu_requester *r, uint16_t id)
	VI_WITH(v->context_lock);
/* NULL is fine. */
void vi_account_release(struct viommu *v, struct vi_account *a) VI_WITH(v->context_lock);

/* The device goes, no context of it is left: the unit keeps what it has counted. */
void vi_accounts_close(struct viommu *v, struct viommu_requester *r) VI_WITH(v->lock, v->context_lock);
#endif
