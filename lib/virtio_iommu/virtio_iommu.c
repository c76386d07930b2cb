/* SPDX-License-Identifier: BSD-3-Clause */
/* The model: what core asks of it, and what is done in which order. */
#include "virtio_iommu/virtio_iommu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/host.h"
#include "spec/virtio_iommu.h"

#define DEFAULT_INPUT_WIDTH   48
#define DEFAULT_DOMAIN_LAST   0xffffu
#define DEFAULT_MAPPINGS_MOST (1u << 20)

/* ------------------------------------------------------------------- lifetime */

static void forget(struct vi_virtio *m) VI_WITH(m->unit->lock)
{
	vi_virtio_requests_forget(m);
	m->event_count = 0;
	m->features = 0;
}

/* The field comes first, as endpoints in no domain go by it. */
static void reset(void *state)
{
	struct vi_virtio *m = state;

	vi_lock_assert(&m->unit->lock);
	atomic_store(&m->bypass, !m->blocked);
	vi_virtio_endpoints_leave(m, false);
	forget(m);
	m->restart = 0;
	if (!vi_list_is_empty(&m->dead))
		vi_kick(m->unit);
}

static int take_options(struct vi_virtio *m, const struct viommu_virtio_options *options)
{
	struct viommu_virtio_options o = {.sz = sizeof(o)};
	int err = options ? vi_options_copy(&o, sizeof(o), options, options->sz) : 0;

	if (err)
		return err;
	m->blocked = o.blocked;
	m->input_width = o.input_width ? o.input_width : DEFAULT_INPUT_WIDTH;
	m->domain_last = o.domain_last ? o.domain_last : DEFAULT_DOMAIN_LAST;
	m->mappings_most = o.mappings_most ? o.mappings_most : DEFAULT_MAPPINGS_MOST;
	return m->input_width < 32 || m->input_width > VI_IOVA_BITS ? -EINVAL : 0;
}

static int init(struct viommu *v, const void *options, void **ret_state)
{
	struct vi_virtio *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->unit = v;
	vi_list_init(&m->live);
	vi_list_init(&m->dead);
	err = take_options(m, options);
	if (!err && !vi_hash_init(&m->numbers))
		err = -ENOMEM;
	if (err) {
		free(m);
		return err;
	}
	atomic_store(&m->bypass, !m->blocked);
	*ret_state = m;
	return 0;
}

static void finish(void *state)
{
	struct vi_virtio *m = state;

	vi_virtio_domains_finish(m);
	vi_hash_finish(&m->numbers);
	free(m);
}

static void accept_features(void *state, uint64_t features)
{
	struct vi_virtio *m = state;

	m->features = features;
}

static void begin_restart(struct vi_virtio *m, bool keep) VI_WITH(m->unit->lock)
{
	m->restart_keeps = keep && atomic_load(&m->bypass);
	if (m->restart_keeps)
		vi_virtio_domains_keep(m);
	else
		vi_virtio_endpoints_leave(m, false);
	m->restart = vi_virtio_barrier(m);
}

static bool restart(void *state, bool keep)
{
	struct vi_virtio *m = state;
	unsigned budget = 0;

	vi_lock_assert(&m->unit->lock);
	forget(m);
	if (!m->restart || (m->restart_keeps && !keep))
		begin_restart(m, keep);
	vi_virtio_work(m, &budget);
	if (m->restart > m->passed)
		return true;
	m->restart = 0;
	return false;
}

static void requester_gone(void *state, uint16_t rid)
{
	struct vi_virtio *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_virtio_endpoint_move(m, rid, NULL);
	if (m->collecting.needed)
		vi_kick(m->unit);
}

/* ----------------------------------------------------------------- translation */

static vi_reason resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	const struct vi_virtio *m = state;
	struct vi_virtio_domain *d = vi_virtio_domain_of(m, rid);

	if (pasid != VIOMMU_NO_PASID)
		return VI_VIRTIO_PASID;
	if (!d)
		return atomic_load_explicit(&m->bypass, memory_order_acquire) ? 0 : VI_VIRTIO_NO_DOMAIN;
	ret_translation->has_domain = true;
	ret_translation->domain_id = d->id;
	if (d->bypass)
		return 0;
	ret_translation->kind = VI_TRANSLATION_BY_TRANSLATOR;
	ret_translation->last = VI_BITS(m->input_width - 1, 0);
	ret_translation->translator = vi_translator_of_ranges(&d->ranges);
	return 0;
}

static vi_reason describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			  struct viommu_requester_info *ret_info)
{
	vi_reason reason = resolve(state, rid, pasid, ret_translation);

	if (!reason && ret_translation->kind == VI_TRANSLATION_BY_TRANSLATOR)
		ret_info->translation = VIOMMU_TRANSLATION_MAPPED;
	return reason;
}

static vi_reason walk_reason(const struct vi_walk *w, bool write)
{
	(void)w;
	(void)write;
	return VI_VIRTIO_NOT_MAPPED;
}

static const char *reason_text(vi_reason reason)
{
	switch (reason) {
	case VI_VIRTIO_NO_DOMAIN:
		return "the endpoint is in no domain";
	case VI_VIRTIO_NOT_MAPPED:
		return "no mapping of the domain allows the access";
	case VI_VIRTIO_MESSAGE:
		return "the mapping leads to interrupt messages";
	case VI_VIRTIO_PASID:
		return "the access carries a PASID, which virtio-iommu does not know";
	}
	return "no reason of virtio-iommu";
}

/* ------------------------------------------------------------------------ work */

static void look_at_drain(struct vi_virtio *m) VI_WITH(m->unit->lock)
{
	if (m->draining.active && vi_drain_soon(m->unit, &m->draining))
		m->passed = m->begun;
}

static void begin_drain(struct vi_virtio *m) VI_WITH(m->unit->lock)
{
	if (m->draining.active || !m->collecting.needed)
		return;
	m->draining = m->collecting;
	m->collecting = (struct vi_drain){.active = false};
	m->begun++;
	vi_drain_begin(m->unit, &m->draining);
	look_at_drain(m);
}

/*
 * Faults come first, with half of the budget, the odd step of which is theirs at every second visit, so that
 * neither they nor requests keep the other from ever being served. A mapping of a dead domain counts until it
 * is freed, so that comes before requests, which may want its place.
 */
bool vi_virtio_work(struct vi_virtio *m, unsigned *io_budget)
{
	unsigned half = (unsigned)(((uint64_t)*io_budget + m->odd) / 2), left = half;

	m->odd = !m->odd;
	vi_virtio_faults_take(m, &left);
	*io_budget -= half - left;
	look_at_drain(m);
	if (vi_virtio_bury(m, io_budget))
		vi_virtio_requests_run(m, io_budget);
	vi_virtio_faults_take(m, io_budget);
	begin_drain(m);
	return m->draining.active || m->carried_out != m->submitted || !vi_list_is_empty(&m->dead) ||
	       !vi_fault_queue_is_empty(&m->unit->faults);
}

static int process(void *state, unsigned budget)
{
	struct vi_virtio *m = state;
	unsigned left = budget;
	bool pending;

	vi_lock_assert(&m->unit->lock);
	pending = vi_virtio_work(m, &left);
	return (int)((budget - left) & (VIOMMU_PROCESS_PENDING - 1)) | (pending ? VIOMMU_PROCESS_PENDING : 0);
}

/* Requests that were submitted are begun; of faults so many at a time, as devices can make them endless. */
static bool settle(void *state)
{
	struct vi_virtio *m = state;
	unsigned faults = VI_FAULT_QUEUE_SIZE, budget = UINT32_MAX;

	vi_lock_assert(&m->unit->lock);
	vi_virtio_faults_take(m, &faults);
	look_at_drain(m);
	if (vi_virtio_bury(m, &budget))
		vi_virtio_requests_run(m, &budget);
	begin_drain(m);
	return m->draining.active || m->collecting.needed || m->carried_out != m->submitted;
}

static size_t no_registers(const void *state)
{
	(void)state;
	return 0;
}

static const struct vi_request_ops requests = {
	.features = VI_VIRTIO_FEATURES,
	.accept = accept_features,
	.config_read = vi_virtio_config_read,
	.config_write = vi_virtio_config_write,
	.submit = vi_virtio_submit,
	.answer = vi_virtio_answer,
	.event = vi_virtio_event,
	.restart = restart,
};

const struct vi_model_ops vi_virtio_model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 3,
	.state = vi_virtio_state,
	.restore = vi_virtio_restore,
	.regs_size = no_registers,
	.requests = &requests,
	.requester_gone = requester_gone,
	.process = process,
	.settle = settle,
	.resolve = resolve,
	.describe = describe,
	.walk_reason = walk_reason,
	.out_of_bounds = VI_VIRTIO_NOT_MAPPED,
	.leads_to_message = VI_VIRTIO_MESSAGE,
	.reason_text = reason_text,
};
