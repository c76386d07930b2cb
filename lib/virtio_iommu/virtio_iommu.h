/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-iommu (spec/virtio_iommu.h): the guest asks for domains, endpoints in them, and
 * mappings, by requests; what it asked for is kept here, as ranges (core/ranges.h).
 *
 * Requests are carried out in order, and answered in order. What one takes away is
 * collected for the next drain, whose number is the request's barrier: the answer waits
 * until that drain is over. While one drain is under way what comes next is collected for the
 * one after it, so many requests of a batch wait for the same drain.
 *
 * A device thread reads which domain its endpoint is in, without a lock, and uses the
 * domain until its section ends. So a domain that its last endpoint has left is dead: its
 * mappings are taken out at once, and it is freed when its barrier has passed.
 */
#ifndef VIRTIO_IOMMU_VIRTIO_IOMMU_H
#define VIRTIO_IOMMU_VIRTIO_IOMMU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/request.h>

#include "base/hash.h"
#include "base/list.h"
#include "core/drain.h"
#include "core/ranges.h"
#include "core/state.h"
#include "core/unit.h"

#define VI_VIRTIO_PROBE_BYTES 512
#define VI_VIRTIO_IDS	      0x10000u /* core's numbers of domains, as many as endpoints */
#define VI_VIRTIO_CHUNK	      256u

/* The specification's where it has one, else ours, which are told to the guest as
 * VIRTIO_IOMMU_FAULT_R_UNKNOWN. */
enum vi_virtio_reason {
	VI_VIRTIO_NO_DOMAIN = 1,
	VI_VIRTIO_NOT_MAPPED = 2,
	VI_VIRTIO_MESSAGE = 3,
	VI_VIRTIO_PASID = 4,
};

/* All under the unit lock, but for what device threads read of a domain they are in: id, bypass, ranges. */
struct vi_virtio_domain {
	struct vi_hash_link by_number; /* while it lives and is not kept */
	struct vi_list link;	       /* of model.live or model.dead */
	uint32_t number;	       /* the guest's */
	uint16_t id;		       /* core's */
	bool bypass;
	bool kept; /* its driver was reset: no number finds it, and its endpoints are still in it */
	unsigned endpoints;
	uint64_t barrier;	 /* dead: who may still use it is gone once this has passed */
	struct vi_ranges ranges; /* dead: empty */
	struct vi_ranges buried; /* dead: what is to be freed */
};

struct vi_virtio_request {
	uint64_t token, first, last, address;
	uint64_t features; /* accepted when it was submitted: what it may ask does not change in its midst */
	uint64_t barrier;  /* to pass before the answer; 0: none */
	size_t room;	   /* device-writable bytes */
	uint32_t domain, endpoint, flags, reserved;
	uint8_t type;	/* 0: not understood */
	bool begun;	/* an UNMAP: mappings were taken out */
	uint8_t status; /* once it is carried out */
};

struct vi_virtio_endpoints {
	_Atomic(struct vi_virtio_domain *) in[VI_VIRTIO_CHUNK]; /* NULL: in none */
};

/* Under the unit lock, but for what says otherwise. */
struct vi_virtio {
	struct viommu *unit;
	bool blocked; /* options */
	uint8_t input_width;
	uint32_t domain_last, mappings_most;

	uint64_t features;   /* accepted */
	_Atomic bool bypass; /* the field; device threads read it */
	uint64_t restart;    /* the driver was reset: to pass before the reset is over; 0: it is */
	bool restart_keeps;  /* that one */

	/* By the upper byte of the requester id. Written under the unit lock, read by device threads; what is
	 * there once stays until the end. */
	_Atomic(struct vi_virtio_endpoints *) endpoints[VI_VIRTIO_IDS / VI_VIRTIO_CHUNK];
	struct vi_hash numbers; /* of the domains that live and are not kept */
	struct vi_list live, dead;
	uint64_t mappings; /* of both */
	uint64_t ids[VI_VIRTIO_IDS / 64];
	unsigned next_id;

	struct vi_virtio_request requests[VIOMMU_REQUESTS_MOST];
	uint64_t submitted, carried_out, answered; /* how many so far: answered <= carried_out <= submitted */

	struct vi_drain collecting, draining;
	uint64_t begun, passed; /* numbers of drains */
	bool odd;		/* the odd step of this visit is that of faults */

	struct vi_fault events[VIOMMU_EVENTS_MOST];
	unsigned event_first, event_count;
};

/* -------------------------------------------------------------- virtio_iommu.c */

/* The number of the drain that waits for all that was dropped so far. */
static inline uint64_t vi_virtio_barrier(const struct vi_virtio *m)
{
	return m->begun + m->collecting.needed;
}

/* Do what is to be done, at most *io_budget steps. True: something is under way, or left. */
bool vi_virtio_work(struct vi_virtio *m, unsigned *io_budget) VI_WITH(m->unit->lock);

/* ------------------------------------------------------------------- domain.c */

/* NULL: the endpoint is in none. Any thread, inside a section. */
struct vi_virtio_domain *vi_virtio_domain_of(const struct vi_virtio *m, uint16_t rid);
struct vi_virtio_domain *vi_virtio_domain_find(const struct vi_virtio *m, uint32_t number);
/* One that nobody knows yet. NULL: no memory, or no number of core's is free. */
struct vi_virtio_domain *vi_virtio_domain_make(struct vi_virtio *m, uint32_t number, bool bypass);
/* Now it is found by its number, unless it is kept. */
void vi_virtio_domain_enter(struct vi_virtio *m, struct vi_virtio_domain *d);
/* Its ranges are empty, and nobody knows it, or ever will. */
void vi_virtio_domain_free(struct vi_virtio *m, struct vi_virtio_domain *d);
/* What a move of this endpoint into a domain needs. False: no memory. */
bool vi_virtio_endpoint_prepare(struct vi_virtio *m, uint16_t rid);
/* Into `to`, which was prepared, or out of all (NULL). The domain that it leaves dies with its last one. */
void vi_virtio_endpoint_move(struct vi_virtio *m, uint16_t rid, struct vi_virtio_domain *to)
	VI_WITH(m->unit->lock);
/* All out of all; `kept_alone`: out of those that are kept. */
void vi_virtio_endpoints_leave(struct vi_virtio *m, bool kept_alone) VI_WITH(m->unit->lock);
/* The next driver finds none of them; each endpoint leaves by an ATTACH of its own. */
void vi_virtio_domains_keep(struct vi_virtio *m) VI_WITH(m->unit->lock);
/* Free what dead domains have. False: the budget is at its end, and there are mappings of dead domains. */
bool vi_virtio_bury(struct vi_virtio *m, unsigned *io_budget) VI_WITH(m->unit->lock);
/* Free everything; no device thread is left. */
void vi_virtio_domains_finish(struct vi_virtio *m);

/* ATTACH and DETACH, as below. */
bool vi_virtio_attach(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
	VI_WITH(m->unit->lock);
bool vi_virtio_detach(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
	VI_WITH(m->unit->lock);

/* ------------------------------------------------------------------ mapping.c */

/* May there be such a mapping, as far as addresses go? A status. */
uint8_t vi_virtio_judge_range(const struct vi_virtio *m, uint64_t first, uint64_t last, uint64_t address);
bool vi_virtio_map(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
	VI_WITH(m->unit->lock);
bool vi_virtio_unmap(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
	VI_WITH(m->unit->lock);

/* ------------------------------------------------------------------ request.c */

/* The requester of an endpoint id. False: there is none. */
bool vi_virtio_endpoint_find(const struct vi_virtio *m, uint32_t endpoint, uint16_t *ret_rid)
	VI_WITH(m->unit->lock);
int vi_virtio_submit(void *state, uint64_t token, const uint8_t *request, size_t length, size_t room);
int64_t vi_virtio_answer(void *state, uint64_t *ret_token, uint8_t *buf, size_t size);
/* All of them. An UNMAP in its midst has taken mappings out without the invalidation that comes with its end,
 * so then everything is dropped from the IOTLB. */
void vi_virtio_requests_forget(struct vi_virtio *m) VI_WITH(m->unit->lock);
/* Carry requests out, in order, while the budget lasts. */
void vi_virtio_requests_run(struct vi_virtio *m, unsigned *io_budget) VI_WITH(m->unit->lock);

/* -------------------------------------------------------- configuration, events */

#define VI_VIRTIO_FEATURES                                                                                   \
	(VIRTIO_IOMMU_F_INPUT_RANGE | VIRTIO_IOMMU_F_DOMAIN_RANGE | VIRTIO_IOMMU_F_MAP_UNMAP |               \
	 VIRTIO_IOMMU_F_PROBE | VIRTIO_IOMMU_F_MMIO | VIRTIO_IOMMU_F_BYPASS_CONFIG)

uint8_t vi_virtio_config_read(const void *state, size_t offset);
void vi_virtio_config_write(void *state, size_t offset, uint8_t value);

void vi_virtio_faults_take(struct vi_virtio *m, unsigned *io_budget) VI_WITH(m->unit->lock);
int64_t vi_virtio_event(void *state, uint8_t *buf, size_t size);

/* -------------------------------------------------------------------- state.c */

void vi_virtio_state(void *state, struct vi_state *s);
int vi_virtio_restore(void *state, const uint8_t *numbers, size_t length);

#endif
