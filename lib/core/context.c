/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The context cache.
 *
 * Publication of a context that a device thread resolved races with the
 * invalidation of context entries as IOTLB entries do (iotlb.h): the thread
 * loads context_changes before it reads the guest's tables, and publishes under
 * the context lock only if nothing was invalidated since.
 */
#include "core/context.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/account.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/requester.h"
#include "core/thread.h"
#include "core/unit.h"

/* Is a cached page all that an access up to `last` needs? So no page may reach beyond `last`. */
static bool may_hit(const struct vi_translation *t, uint64_t last)
{
	return t->rights == (VIOMMU_READ | VIOMMU_WRITE) && t->first == 0 &&
	       vi_is_aligned(last + 1, UINT64_C(1) << vi_iotlb_shift(VI_IOTLB_CLASSES - 1));
}

/* False: no memory for the account. */
static bool charge(struct viommu *v, struct viommu_requester *r, struct vi_context *c)
	VI_WITH(v->context_lock)
{
	if (!c->t.has_domain)
		return true;
	c->account = vi_account_hold(v, r, c->t.domain_id);
	if (!c->account)
		return false;
	c->counters = c->account->counters;
	if (c->t.kind == VI_TRANSLATION_BY_TRANSLATOR) {
		c->domain = c->account->domain;
		vi_domain_hold(v, c->domain);
		c->fast_last = vi_min(c->t.last, VI_IOVA_CACHED_LAST);
		c->fast = may_hit(&c->t, c->fast_last) ? c->domain : NULL;
	}
	return true;
}

static void release(struct viommu *v, struct vi_context *c) VI_WITH(v->context_lock)
{
	if (c->domain)
		vi_domain_release(v, c->domain);
	vi_account_release(v, c->account);
	free(c);
}

static void retire(struct viommu *v, struct vi_context *c) VI_WITH(v->context_lock)
{
	c->retired_epoch = vi_epoch_begin(&v->epoch);
	vi_list_append(&v->retired_contexts, &c->retired);
}

void vi_context_reclaim(struct viommu *v, bool all)
{
	struct vi_list *node, *after;

	vi_lock_take(&v->context_lock);
	vi_list_for_each_safe (node, after, &v->retired_contexts) {
		struct vi_context *c = VI_CONTAINER_OF(node, struct vi_context, retired);

		if (!all && !vi_epoch_passed(&v->epoch, c->retired_epoch))
			break; /* the list is in order of epochs */
		vi_list_remove(&c->retired);
		release(v, c);
	}
	vi_lock_give(&v->context_lock);
}

/*
 * Publish what was resolved, unless the guest invalidated contexts meanwhile,
 * or there is no memory for it and its account: then this access does without,
 * and the next one tries again. A context without an account would stay, and
 * keep the device from the IOTLB until the guest invalidates it.
 */
static const struct vi_context *publish(struct viommu *v, struct viommu_requester *r,
					struct vi_context *resolved, uint64_t changes)
{
	struct vi_context *c = aligned_alloc(_Alignof(struct vi_context), sizeof(*c)), *found;
	bool published;

	if (!c)
		return resolved;
	*c = *resolved;
	vi_lock_take(&v->context_lock);
	found = atomic_load_explicit(&r->context, memory_order_acquire);
	published = !found && atomic_load_explicit(&v->context_changes, memory_order_relaxed) == changes &&
		    charge(v, r, c);
	if (published)
		atomic_store_explicit(&r->context, c, memory_order_release);
	vi_lock_give(&v->context_lock);
	if (published)
		return c;
	free(c);
	return resolved; /* as good as a cached one for this section */
}

vi_reason vi_context_get(struct viommu_thread *t, struct viommu_requester *r, struct vi_context *scratch,
			 const struct vi_context **ret_context)
{
	const struct vi_model_ops *model = vi_requester_model(r);
	struct viommu *v = t->unit;
	uint64_t changes;
	vi_reason reason;

	*ret_context = atomic_load_explicit(&r->context, memory_order_acquire);
	if (*ret_context)
		return 0;
	changes = atomic_load_explicit(&v->context_changes, memory_order_acquire);
	*scratch = (struct vi_context){.t = vi_translation_none(), .counters = r->counters};
	*ret_context = scratch;
	if (model) {
		vi_count_access(t, r->counters, VI_COUNT_context_misses, 1);
		reason = model->resolve(v->model_state, r->rid, r->pasid, &scratch->t);
		if (reason)
			return reason;
	}
	assert(scratch->t.has_domain || scratch->t.kind == VI_TRANSLATION_IDENTITY);
	*ret_context = publish(v, r, scratch, changes);
	return 0;
}

/* The caller notes whose pins are meant. */
static void drop_device(struct viommu *v, struct viommu_requester *r) VI_WITH(v->context_lock)
{
	struct vi_context *c = atomic_exchange_explicit(&r->context, NULL, memory_order_acq_rel);

	if (c)
		retire(v, c);
}

static void drop_with_pasids(struct viommu *v, struct viommu_requester *r) VI_WITH(v->context_lock)
{
	struct vi_list *node;

	drop_device(v, r);
	vi_list_for_each (node, &r->pasids)
		drop_device(v, VI_CONTAINER_OF(node, struct viommu_requester, sibling));
}

static void begin_changes(struct viommu *v) VI_TAKES(v->context_lock)
{
	vi_lock_take(&v->context_lock);
	atomic_fetch_add_explicit(&v->context_changes, 1, memory_order_seq_cst);
}

static void end_changes(struct viommu *v) VI_WITH(v->lock) VI_GIVES(v->context_lock)
{
	vi_lock_give(&v->context_lock);
	vi_context_reclaim(v, false);
}

void vi_context_drop_requester(struct viommu *v, struct vi_drain *d, struct viommu_requester *r)
{
	begin_changes(v);
	drop_with_pasids(v, r);
	if (r->device == r)
		vi_drain_note_devices(d, r->rid, 0);
	else
		vi_drain_note_requester(d, r);
	end_changes(v);
}

void vi_context_drop_devices(struct viommu *v, struct vi_drain *d, uint16_t rid, uint16_t ignore)
{
	begin_changes(v);
	/* `ignore` has at most the three function bits. */
	for (unsigned i = 0; i < 8; i++) {
		uint16_t each = (uint16_t)((rid & ~7u) | i);
		struct viommu_requester *r =
			((each ^ rid) & ~ignore) == 0 ? vi_requesters_find(&v->requesters, each) : NULL;

		if (r)
			drop_with_pasids(v, r);
	}
	/* Cached or not: an access may have resolved without publishing, and hold a pin. */
	vi_drain_note_devices(d, rid, ignore);
	end_changes(v);
}

/* The context goes before what is cached of its domain (iotlb.h). */
static void drop_with_domain(struct viommu *v, struct vi_drain *d, struct viommu_requester *r)
	VI_WITH(v->context_lock)
{
	const struct vi_context *c = atomic_load_explicit(&r->context, memory_order_acquire);
	struct vi_domain *domain = c ? c->domain : NULL;

	if (c && c->t.has_domain)
		vi_drain_note_domain(d, c->t.domain_id);
	drop_device(v, r);
	if (domain)
		vi_domain_drop_cached(v, domain);
}

void vi_context_drop_with_domains(struct viommu *v, struct vi_drain *d, uint16_t rid)
{
	struct viommu_requester *r = vi_requesters_find(&v->requesters, rid);
	struct vi_list *node;

	begin_changes(v);
	if (r) {
		drop_with_domain(v, d, r);
		vi_list_for_each (node, &r->pasids)
			drop_with_domain(v, d, VI_CONTAINER_OF(node, struct viommu_requester, sibling));
	}
	vi_drain_note_devices(d, rid, 0);
	end_changes(v);
}

/* NULL: of any domain, or none. */
static void drop_where(struct viommu *v, const uint16_t *domain_id) VI_WITH(v->lock)
{
	struct viommu_requester *r = NULL;

	begin_changes(v);
	while ((r = vi_requesters_next(&v->requesters, r))) {
		struct vi_context *c = atomic_load_explicit(&r->context, memory_order_acquire);

		if (c && (!domain_id || (c->t.has_domain && c->t.domain_id == *domain_id)))
			drop_device(v, r);
	}
	end_changes(v);
}

void vi_context_drop_all(struct viommu *v, struct vi_drain *d)
{
	drop_where(v, NULL);
	vi_drain_note_everything(d);
}

void vi_context_drop_domain(struct viommu *v, struct vi_drain *d, uint16_t domain_id)
{
	drop_where(v, &domain_id);
	vi_drain_note_domain(d, domain_id);
}
