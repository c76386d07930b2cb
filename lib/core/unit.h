/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The unit: what all of core shares, and what a model may use of it.
 *
 * Locks, outermost first:
 *   unit      the model's state, registered memory, requesters and threads
 *             coming and going, dropping from the IOTLB, drains. Held while
 *             waiting only by the calls that promise to wait.
 *   context   publication of contexts and the set of domains. Taken inside a
 *             section by device threads, so who holds it never waits.
 *   pins      see pin.h.
 * Device threads take none of them on the way of an IOTLB hit.
 */
#ifndef CORE_UNIT_H
#define CORE_UNIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <viommu/access.h>
#include <viommu/viommu.h>

#include "base/epoch.h"
#include "base/list.h"
#include "core/account.h"
#include "core/counters.h"
#include "core/drain.h"
#include "core/fault_history.h"
#include "core/fault_queue.h"
#include "core/iotlb.h"
#include "core/model.h"
#include "core/pin.h"
#include "guestmem/guestmem.h"

#define VI_BUSES	      256
#define VI_FUNCTIONS_OF_A_BUS 256
#define VI_DOMAIN_BUCKETS     64

struct viommu_requester {
	struct viommu *unit;
	uint16_t rid;
	/* Cached context entry. Written under the context lock, read inside sections; NULL: not cached. */
	_Atomic(struct vi_context *) context;
	/* Under the context lock: */
	struct vi_account *account;		/* the one used last */
	struct vi_list accounts;		/* all of this device */
	uint64_t kept[VI_ACCESS_COUNTER_COUNT]; /* of its accounts that are no more */
	/* Where no domain is charged; by viommu_thread.index, as many as there may be threads. */
	struct vi_device_counters counters[];
};

struct viommu_thread {
	struct viommu *unit;
	struct vi_epoch_slot *slot;
	/* Whom a running viommu_read() or viommu_write() works for, also between its sections. */
	_Atomic(struct viommu_requester *) working_for;
	unsigned index;	     /* of its slot */
	struct vi_list link; /* unit.threads */
};

struct viommu {
	struct viommu_host_ops ops;
	void *opaque;
	uint16_t segment;
	uint8_t address_width;

	const struct vi_model_ops *model; /* NULL: VIOMMU_MODEL_NONE */
	void *model_state;

	struct vi_epoch epoch;
	struct vi_iotlb iotlb;
	struct vi_guestmem mem;
	struct vi_fault_queue faults;
	struct vi_pins pins;

	pthread_mutex_t lock;
	struct vi_list threads;
	struct viommu_requester **buses[VI_BUSES]; /* tables of VI_FUNCTIONS_OF_A_BUS */
	struct vi_counters counters;		   /* the unit's own, and of devices that have gone */
	uint64_t drain_times[VIOMMU_DRAIN_BUCKETS];
	struct vi_fault_history history;

	pthread_mutex_t context_lock;
	_Atomic uint64_t context_changes; /* counts context invalidations; written under the context lock */
	struct vi_list domains[VI_DOMAIN_BUCKETS];
	struct vi_list resting; /* domains, the one that came to rest last at the end */
	unsigned resting_count;
	uint64_t rest[VI_DOMAIN_COUNTER_END];	      /* of domains that are not told apart any more */
	uint64_t undomained[VI_ACCESS_COUNTER_COUNT]; /* charged to no domain by devices that have gone */
	struct vi_list retired_contexts;
};

/* ---- counters (counters.c) ---- */

/* By the device thread, inside a section: into the counters of its context, or the device's own. */
static inline void vi_count_access(struct viommu_thread *t, struct vi_device_counters *counters,
				   enum vi_counter which, uint64_t amount)
{
	vi_add(&counters[t->index].values[which], amount);
}

/* What all threads counted. Any thread, as long as the counters are there. */
uint64_t vi_sum(const struct vi_device_counters *counters, unsigned threads, unsigned which);
/* With the unit lock: a drain took so long. */
void vi_count_drain(struct viommu *v, uint64_t ns);

/* ---- contexts and domains (context.c) ---- */

/* Inside a section: the device's context, from the cache or the model, else the reason. `scratch` may be
 * used. */
vi_reason vi_context_get(struct viommu_thread *t, struct viommu_requester *r, struct vi_context *scratch,
			 const struct vi_context **ret_context);

/* With the unit lock, by models: drop cached contexts, and note for the drain what they led to. */
void vi_context_drop_all(struct viommu *v, struct vi_drain *d);
void vi_context_drop_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id);
/* Devices whose id equals `rid` outside of the bits in `ignore`. */
void vi_context_drop_devices(struct viommu *v, struct vi_drain *d, uint16_t rid, uint16_t ignore);
/* Free what no reader can see any more; `all`: nobody is left. */
void vi_context_reclaim(struct viommu *v, bool all);

/* With the unit lock, by models: make translations unreachable, and note them. */
void vi_iotlb_invalidate_all(struct viommu *v, struct vi_drain *d);
void vi_iotlb_invalidate_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id);
void vi_iotlb_invalidate_range(struct viommu *v, struct vi_drain *d, uint16_t domain_id, uint64_t first,
			       uint64_t last);
/* With the unit lock, now and then: finish a wipe of the IOTLB when it can be. True: one is still to come. */
bool vi_iotlb_maintain(struct viommu *v);

/* ---- translation (translate.c) ---- */

struct vi_place {
	uint64_t gpa;
	uint8_t *host;			     /* NULL: through callbacks */
	uint64_t room;			     /* bytes from here that are contiguous and permitted */
	uint32_t domain_id;		     /* for pins */
	struct vi_device_counters *counters; /* good for the section */
};

/* Inside a section. 0 or the errno of viommu_translate(); faults are reported unless VIOMMU_QUIET. */
int vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
		 unsigned access, struct vi_place *ret_place);

/* ---- for models ---- */

/* Send an interrupt message of the unit itself. */
void vi_msi_send(struct viommu *v, uint64_t address, uint32_t data);
void vi_guest_error(struct viommu *v, enum viommu_guest_error error, const struct vi_fault *fault,
		    const char *text);
uint64_t vi_now_ns(struct viommu *v);
void vi_kick(struct viommu *v);

#endif
