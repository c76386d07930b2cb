/* SPDX-License-Identifier: BSD-3-Clause */
/* Domains, and which endpoint is in which. */
#include <stdlib.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/domain.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

/* ---------------------------------------------------------------------- domains */

/* The guest's own number where it is free, as people are told core's. False: none is. */
static bool take_id(struct vi_virtio *m, uint32_t number, uint16_t *ret_id)
{
	unsigned id = number < VI_VIRTIO_IDS ? number : m->next_id;

	for (unsigned looks = 0; looks < VI_VIRTIO_IDS; looks++, id = (id + 1) % VI_VIRTIO_IDS) {
		if (m->ids[id / 64] & VI_BIT(id % 64))
			continue;
		m->ids[id / 64] |= VI_BIT(id % 64);
		m->next_id = (id + 1) % VI_VIRTIO_IDS;
		*ret_id = (uint16_t)id;
		return true;
	}
	return false;
}

struct vi_virtio_domain *vi_virtio_domain_find(const struct vi_virtio *m, uint32_t number)
{
	struct vi_hash_link *link = vi_hash_find(&m->numbers, number);

	return link ? VI_CONTAINER_OF(link, struct vi_virtio_domain, by_number) : NULL;
}

struct vi_virtio_domain *vi_virtio_domain_make(struct vi_virtio *m, uint32_t number, bool bypass)
{
	struct vi_virtio_domain *d = calloc(1, sizeof(*d));

	if (!d || !take_id(m, number, &d->id)) {
		free(d);
		return NULL;
	}
	d->number = number;
	d->bypass = bypass;
	vi_ranges_init(&d->ranges, m->mappings_most);
	vi_ranges_init(&d->buried, m->mappings_most);
	return d;
}

void vi_virtio_domain_enter(struct vi_virtio *m, struct vi_virtio_domain *d)
{
	if (!d->kept)
		vi_hash_insert(&m->numbers, &d->by_number, d->number);
	vi_list_append(&m->live, &d->link);
}

void vi_virtio_domain_free(struct vi_virtio *m, struct vi_virtio_domain *d)
{
	m->ids[d->id / 64] &= ~VI_BIT(d->id % 64);
	vi_ranges_finish(&d->ranges);
	vi_ranges_finish(&d->buried);
	free(d);
}

/*
 * The mappings go before the invalidation: who looks one up in a section that began
 * before may load `changes` of the IOTLB after it, and would cache it for the next domain
 * with this id.
 */
static void die(struct vi_virtio *m, struct vi_virtio_domain *d) VI_WITH(m->unit->lock)
{
	vi_ranges_exchange(&d->ranges, &d->buried);
	vi_iotlb_invalidate_domain(m->unit, &m->collecting, d->id);
	d->barrier = vi_virtio_barrier(m);
	if (!d->kept)
		vi_hash_remove(&m->numbers, &d->by_number);
	vi_list_remove(&d->link);
	vi_list_append(&m->dead, &d->link);
}

void vi_virtio_domains_keep(struct vi_virtio *m)
{
	struct vi_list *node;

	vi_list_for_each (node, &m->live) {
		struct vi_virtio_domain *d = VI_CONTAINER_OF(node, struct vi_virtio_domain, link);

		if (!d->kept)
			vi_hash_remove(&m->numbers, &d->by_number);
		d->kept = true;
	}
}

bool vi_virtio_bury(struct vi_virtio *m, unsigned *io_budget)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, &m->dead) {
		struct vi_virtio_domain *d = VI_CONTAINER_OF(node, struct vi_virtio_domain, link);
		unsigned gone = (unsigned)vi_ranges_remove(&d->buried, 0, UINT64_MAX, *io_budget);

		m->mappings -= gone;
		*io_budget -= gone;
		if (d->buried.count > 0)
			return false;
		if (d->barrier > m->passed)
			continue;
		vi_list_remove(&d->link);
		vi_virtio_domain_free(m, d);
	}
	return true;
}

static void free_list(struct vi_virtio *m, struct vi_list *list)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, list) {
		vi_list_remove(node);
		vi_virtio_domain_free(m, VI_CONTAINER_OF(node, struct vi_virtio_domain, link));
	}
}

void vi_virtio_domains_finish(struct vi_virtio *m)
{
	free_list(m, &m->live);
	free_list(m, &m->dead);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(m->endpoints); i++)
		free(atomic_load(&m->endpoints[i]));
}

/* -------------------------------------------------------------------- endpoints */

static struct vi_virtio_endpoints *chunk_of(const struct vi_virtio *m, uint16_t rid)
{
	return atomic_load_explicit(&m->endpoints[rid / VI_VIRTIO_CHUNK], memory_order_acquire);
}

struct vi_virtio_domain *vi_virtio_domain_of(const struct vi_virtio *m, uint16_t rid)
{
	struct vi_virtio_endpoints *chunk = chunk_of(m, rid);

	return chunk ? atomic_load_explicit(&chunk->in[rid % VI_VIRTIO_CHUNK], memory_order_acquire) : NULL;
}

bool vi_virtio_endpoint_prepare(struct vi_virtio *m, uint16_t rid)
{
	struct vi_virtio_endpoints *chunk = chunk_of(m, rid);

	if (!chunk)
		chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		return false;
	atomic_store_explicit(&m->endpoints[rid / VI_VIRTIO_CHUNK], chunk, memory_order_release);
	return true;
}

/* One store, as an endpoint that was in no domain for a moment might reach all memory then. */
void vi_virtio_endpoint_move(struct vi_virtio *m, uint16_t rid, struct vi_virtio_domain *to)
{
	struct vi_virtio_domain *from = vi_virtio_domain_of(m, rid);

	if (from == to)
		return;
	atomic_store_explicit(&chunk_of(m, rid)->in[rid % VI_VIRTIO_CHUNK], to, memory_order_release);
	vi_context_drop_devices(m->unit, &m->collecting, rid, 0);
	if (to)
		to->endpoints++;
	if (from && --from->endpoints == 0)
		die(m, from);
}

void vi_virtio_endpoints_leave(struct vi_virtio *m, bool kept_alone)
{
	for (unsigned rid = 0; rid < VI_VIRTIO_IDS; rid++) {
		const struct vi_virtio_domain *d = vi_virtio_domain_of(m, (uint16_t)rid);

		if (d && (d->kept || !kept_alone))
			vi_virtio_endpoint_move(m, (uint16_t)rid, NULL);
		else if (!chunk_of(m, (uint16_t)rid))
			rid += VI_VIRTIO_CHUNK - 1;
	}
}

/* --------------------------------------------------------------------- requests */

static uint8_t enter(struct vi_virtio *m, struct vi_virtio_request *r, uint16_t rid,
		     struct vi_virtio_domain *d, bool bypass) VI_WITH(m->unit->lock)
{
	if (!vi_virtio_endpoint_prepare(m, rid))
		return VIRTIO_IOMMU_S_NOMEM;
	if (!d) {
		d = vi_virtio_domain_make(m, r->domain, bypass);
		if (!d)
			return VIRTIO_IOMMU_S_NOMEM;
		vi_virtio_domain_enter(m, d);
	}
	vi_count(&m->unit->counters, VI_COUNT_translation_enables, !bypass && !vi_virtio_domain_of(m, rid));
	vi_virtio_endpoint_move(m, rid, d);
	r->barrier = vi_virtio_barrier(m);
	vi_count(&m->unit->counters, VI_COUNT_context_invalidations, 1);
	return VIRTIO_IOMMU_S_OK;
}

/* 5.13.6.3.2 */
static uint8_t attach(struct vi_virtio *m, struct vi_virtio_request *r) VI_WITH(m->unit->lock)
{
	uint32_t known = r->features & VIRTIO_IOMMU_F_BYPASS_CONFIG ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0;
	bool bypass = r->flags & VIRTIO_IOMMU_ATTACH_F_BYPASS;
	struct vi_virtio_domain *d;
	uint16_t rid;

	if (r->reserved || r->flags & ~known)
		return VIRTIO_IOMMU_S_INVAL;
	if (!vi_virtio_endpoint_find(m, r->endpoint, &rid))
		return VIRTIO_IOMMU_S_NOENT;
	if (r->domain > m->domain_last)
		return VIRTIO_IOMMU_S_RANGE;
	d = vi_virtio_domain_find(m, r->domain);
	if (d && d->bypass != bypass)
		return VIRTIO_IOMMU_S_INVAL;
	if (d && d == vi_virtio_domain_of(m, rid))
		return VIRTIO_IOMMU_S_OK;
	return enter(m, r, rid, d, bypass);
}

bool vi_virtio_attach(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
{
	(void)io_budget;
	r->status = attach(m, r);
	return true;
}

/* 5.13.6.4.2 */
static uint8_t detach(struct vi_virtio *m, struct vi_virtio_request *r) VI_WITH(m->unit->lock)
{
	struct vi_virtio_domain *d;
	uint16_t rid;

	if (!vi_virtio_endpoint_find(m, r->endpoint, &rid))
		return VIRTIO_IOMMU_S_NOENT;
	d = vi_virtio_domain_of(m, rid);
	if (!d || d != vi_virtio_domain_find(m, r->domain))
		return VIRTIO_IOMMU_S_INVAL;
	vi_virtio_endpoint_move(m, rid, NULL);
	r->barrier = vi_virtio_barrier(m);
	vi_count(&m->unit->counters, VI_COUNT_context_invalidations, 1);
	return VIRTIO_IOMMU_S_OK;
}

bool vi_virtio_detach(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
{
	(void)io_budget;
	r->status = detach(m, r);
	return true;
}
