/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is saved: what the guest asked for, and events that wait. It is loaded into a spare,
 * a model that no device knows, whose domains are handed over when all of it is good. Requests
 * are not in it, as they are carried out before; their answers are the program's to take.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/host.h"
#include "core/requester.h"
#include "core/requester_table.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

/* Saved and loaded by the same function, true: the numbers are those of `m`. */
static bool go_through_options(const struct vi_virtio *m, struct vi_state *s)
{
	const uint64_t own[] = {m->input_width, m->domain_last, m->mappings_most, m->unit->address_width};
	bool same = true;

	for (unsigned i = 0; i < VI_ARRAY_SIZE(own); i++) {
		uint64_t number = own[i];

		vi_state_number(s, &number, UINT64_MAX);
		same &= number == own[i];
	}
	return same;
}

static void go_through_event(struct vi_fault *f, struct vi_state *s)
{
	vi_state_number(s, &f->iova, UINT64_MAX);
	VI_STATE_MEMBER(s, f->rid, UINT16_MAX);
	VI_STATE_MEMBER(s, f->reason, VI_VIRTIO_PASID);
	VI_STATE_MEMBER(s, f->write, 1);
	s->bad |= f->reason == 0;
}

static void go_through_plain(struct vi_virtio *m, struct vi_state *s)
{
	bool bypass = atomic_load(&m->bypass);

	VI_STATE_MEMBER(s, bypass, 1);
	atomic_store(&m->bypass, bypass);
	VI_STATE_MEMBER(s, m->features, VI_VIRTIO_FEATURES);
	s->bad |= (m->features & ~VI_VIRTIO_FEATURES) != 0;
	VI_STATE_MEMBER(s, m->event_count, VIOMMU_EVENTS_MOST);
	for (unsigned i = 0; i < m->event_count && !s->bad; i++)
		go_through_event(&m->events[(m->event_first + i) % VIOMMU_EVENTS_MOST], s);
}

static void go_through_head(struct vi_virtio_domain *d, uint64_t *io_endpoints, struct vi_state *s)
{
	VI_STATE_MEMBER(s, d->number, UINT32_MAX);
	VI_STATE_MEMBER(s, d->bypass, 1);
	VI_STATE_MEMBER(s, d->kept, 1);
	vi_state_number(s, io_endpoints, VI_VIRTIO_IDS);
}

/* ----------------------------------------------------------------------- saving */

static void save_domain(const struct vi_virtio *m, struct vi_virtio_domain *d, struct vi_state *s)
{
	uint64_t endpoints = d->endpoints;

	go_through_head(d, &endpoints, s);
	for (uint64_t rid = 0; rid < VI_VIRTIO_IDS; rid++)
		if (vi_virtio_domain_of(m, (uint16_t)rid) == d)
			vi_state_number(s, &rid, UINT16_MAX);
	vi_ranges_state(&d->ranges, s);
}

void vi_virtio_state(void *state, struct vi_state *s)
{
	struct vi_virtio *m = state;
	struct vi_list *node;
	uint64_t count = 0;

	go_through_options(m, s);
	go_through_plain(m, s);
	vi_list_for_each (node, &m->live)
		count++;
	vi_state_number(s, &count, VI_VIRTIO_IDS);
	vi_list_for_each (node, &m->live)
		save_domain(m, VI_CONTAINER_OF(node, struct vi_virtio_domain, link), s);
}

/* ---------------------------------------------------------------------- loading */

/* The unit's own, which no request can put into a domain. */
static bool is_bypass(const struct vi_virtio *m, uint16_t rid) VI_WITH(m->unit->lock)
{
	const struct viommu_requester *r = vi_requesters_find(&m->unit->requesters, rid);

	return r && r->bypass;
}

static int load_endpoints(struct vi_virtio *m, struct vi_virtio *spare, struct vi_virtio_domain *d,
			  uint64_t count, struct vi_state *s) VI_WITH(m->unit->lock)
{
	for (; count > 0; count--) {
		uint64_t number = 0;
		uint16_t rid;

		vi_state_number(s, &number, UINT16_MAX);
		rid = (uint16_t)number;
		if (s->bad || vi_virtio_domain_of(spare, rid) || is_bypass(m, rid))
			return -EBADMSG;
		if (!vi_virtio_endpoint_prepare(m, rid) || !vi_virtio_endpoint_prepare(spare, rid))
			return -ENOMEM;
		atomic_store(
			&atomic_load(&spare->endpoints[rid / VI_VIRTIO_CHUNK])->in[rid % VI_VIRTIO_CHUNK], d);
	}
	return 0;
}

static int load_ranges(const struct vi_virtio *m, struct vi_virtio *spare, struct vi_virtio_domain *d,
		       struct vi_state *s)
{
	struct vi_range range = {0};
	int err = vi_ranges_state(&d->ranges, s);

	if (err)
		return err;
	spare->mappings += d->ranges.count;
	if (spare->mappings > m->mappings_most || (d->bypass && d->ranges.count > 0))
		return -EBADMSG;
	for (uint64_t i = 0; i < d->ranges.count; i++) {
		vi_ranges_find_next(&d->ranges, range.last, &range);
		if (vi_virtio_judge_range(m, range.first, range.last, range.address) != VIRTIO_IOMMU_S_OK)
			return -EBADMSG;
		range.last++;
	}
	return 0;
}

static int load_domain(struct vi_virtio *m, struct vi_virtio *spare, struct vi_state *s)
	VI_WITH(m->unit->lock)
{
	struct vi_virtio_domain head = {.number = 0}, *d;
	uint64_t endpoints = 0;
	int err;

	go_through_head(&head, &endpoints, s);
	if (s->bad || endpoints == 0 || head.number > m->domain_last ||
	    (head.kept ? !atomic_load(&spare->bypass) : vi_virtio_domain_find(spare, head.number) != NULL))
		return -EBADMSG;
	d = vi_virtio_domain_make(m, head.number, head.bypass);
	if (!d)
		return -ENOMEM;
	d->kept = head.kept;
	vi_virtio_domain_enter(spare, d);
	err = load_endpoints(m, spare, d, endpoints, s);
	return err ? err : load_ranges(m, spare, d, s);
}

static int load(struct vi_virtio *m, struct vi_virtio *spare, struct vi_state *s) VI_WITH(m->unit->lock)
{
	uint64_t count = 0;
	int err = 0;

	if (!go_through_options(m, s))
		return s->bad ? -EBADMSG : -ENOTSUP;
	go_through_plain(spare, s);
	vi_state_number(s, &count, VI_VIRTIO_IDS);
	if (s->bad)
		return -EBADMSG;
	for (; !err && count > 0; count--)
		err = load_domain(m, spare, s);
	return !err && s->used != s->size ? -EBADMSG : err;
}

/* While endpoints move those in no domain reach memory only where they do so both before and after. */
static void take_over(struct vi_virtio *m, struct vi_virtio *spare) VI_WITH(m->unit->lock)
{
	bool bypass = atomic_load(&spare->bypass);
	struct vi_list *node, *after;

	atomic_store(&m->bypass, atomic_load(&m->bypass) && bypass);
	vi_list_for_each_safe (node, after, &spare->live) {
		struct vi_virtio_domain *d = VI_CONTAINER_OF(node, struct vi_virtio_domain, link);

		if (!d->kept)
			vi_hash_remove(&spare->numbers, &d->by_number);
		vi_list_remove(&d->link);
		vi_virtio_domain_enter(m, d);
	}
	for (unsigned rid = 0; rid < VI_VIRTIO_IDS; rid++)
		vi_virtio_endpoint_move(m, (uint16_t)rid, vi_virtio_domain_of(spare, (uint16_t)rid));
	m->mappings += spare->mappings;
	atomic_store(&m->bypass, bypass);
	m->restart = 0;
	m->features = spare->features;
	m->event_first = 0;
	m->event_count = spare->event_count;
	for (unsigned i = 0; i < spare->event_count; i++)
		m->events[i] = spare->events[i];
	m->answered = m->carried_out = m->submitted;
	if (!vi_list_is_empty(&m->dead))
		vi_kick(m->unit);
}

/* Domains that were not handed over have ids of `m`. */
static void free_spare(struct vi_virtio *m, struct vi_virtio *spare)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, &spare->live) {
		vi_list_remove(node);
		vi_virtio_domain_free(m, VI_CONTAINER_OF(node, struct vi_virtio_domain, link));
	}
	vi_virtio_domains_finish(spare);
	vi_hash_finish(&spare->numbers);
	free(spare);
}

int vi_virtio_restore(void *state, const uint8_t *numbers, size_t length)
{
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	struct vi_virtio *m = state, *spare = calloc(1, sizeof(*spare));
	int err;

	vi_lock_assert(&m->unit->lock);
	if (!spare)
		return -ENOMEM;
	vi_list_init(&spare->live);
	vi_list_init(&spare->dead);
	err = vi_hash_init(&spare->numbers) ? load(m, spare, &s) : -ENOMEM;
	if (!err)
		take_over(m, spare);
	free_spare(m, spare);
	return err;
}
