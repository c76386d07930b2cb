/* SPDX-License-Identifier: BSD-3-Clause */
/* The public functions of viommu/viommu.h that concern the unit as a whole. */
#include "core/unit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/account.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/requester.h"
#include "core/thread.h"

#define DEFAULT_ADDRESS_WIDTH	46
#define DEFAULT_MAX_THREADS_LG2 6
#define DEFAULT_IOTLB_LG2	17

int vi_options_copy(void *to, size_t to_size, const void *from, size_t from_size)
{
	const uint8_t *bytes = from;

	if (from_size < sizeof(size_t))
		return -EINVAL;
	for (size_t i = to_size; i < from_size; i++)
		if (bytes[i])
			return -E2BIG;
	memset(to, 0, to_size);
	memcpy(to, from, vi_min(to_size, from_size));
	return 0;
}

static bool is_outside(unsigned value, unsigned first, unsigned last)
{
	return value < first || value > last;
}

static int settle_options(struct viommu_options *o)
{
	o->host_address_width = o->host_address_width ? o->host_address_width : DEFAULT_ADDRESS_WIDTH;
	o->max_threads_lg2 = o->max_threads_lg2 ? o->max_threads_lg2 : DEFAULT_MAX_THREADS_LG2;
	o->iotlb_lg2 = o->iotlb_lg2 ? o->iotlb_lg2 : DEFAULT_IOTLB_LG2;
	if (is_outside(o->host_address_width, 32, 52) || is_outside(o->max_threads_lg2, 1, 10) ||
	    is_outside(o->iotlb_lg2, 6, 24) || is_outside(o->model, VIOMMU_MODEL_NONE, VIOMMU_MODEL_AMDVI))
		return -EINVAL;
	return 0;
}

static const struct vi_model_ops *model_ops(enum viommu_model model)
{
	static const struct vi_model_ops *const models[] = {
		[VIOMMU_MODEL_NONE] = NULL,
		[VIOMMU_MODEL_VTD] = &vi_vtd_model,
		[VIOMMU_MODEL_GART] = &vi_gart_model,
		[VIOMMU_MODEL_VIRTIO] = &vi_virtio_model,
		[VIOMMU_MODEL_AMDVI] = &vi_amdvi_model,
	};

	return models[model];
}

static void init_plain(struct viommu *v, const struct viommu_options *o, const struct vi_model_ops *model,
		       void *opaque)
{
	v->opaque = opaque;
	v->segment = o->segment;
	v->address_width = o->host_address_width;
	v->model = model;
	vi_lock_init(&v->lock);
	vi_lock_init(&v->context_lock);
	vi_pins_init(&v->pins);
	vi_fault_queue_init(&v->faults);
	vi_list_init(&v->threads);
	vi_list_init(&v->retired_contexts);
	vi_list_init(&v->resting);
	for (unsigned i = 0; i < VI_DOMAIN_BUCKETS; i++)
		vi_list_init(&v->domains[i]);
}

static int init_model(struct viommu *v, const struct viommu_options *o)
{
	return v->model		  ? v->model->init(v, o->model_options, &v->model_state)
	       : o->model_options ? -EINVAL
				  : 0;
}

static int init_allocating(struct viommu *v, const struct viommu_options *o)
{
	int ret = vi_epoch_init(&v->epoch, 1u << o->max_threads_lg2);

	if (ret)
		return ret;
	ret = vi_iotlb_init(&v->iotlb, o->iotlb_lg2);
	if (ret)
		goto no_iotlb;
	ret = vi_guestmem_init(&v->mem, &v->ops, v->opaque);
	if (ret)
		goto no_mem;
	ret = init_model(v, o);
	if (ret)
		goto no_model;
	return 0;

no_model:
	vi_guestmem_finish(&v->mem);
no_mem:
	vi_iotlb_finish(&v->iotlb);
no_iotlb:
	vi_epoch_finish(&v->epoch);
	return ret;
}

int vi_unit_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		   const struct vi_model_ops *model, struct viommu **ret_viommu)
{
	struct viommu_options o;
	struct viommu *v;
	int ret;

	if (!ops || !opts || !ret_viommu)
		return -EINVAL;
	ret = vi_options_copy(&o, sizeof(o), opts, opts->sz);
	if (ret == 0)
		ret = settle_options(&o);
	if (ret)
		return ret;
	v = aligned_alloc(_Alignof(struct viommu), sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v, 0, sizeof(*v));
	ret = vi_options_copy(&v->ops, sizeof(v->ops), ops, ops->sz);
	if (ret == 0) {
		init_plain(v, &o, model ? model : model_ops(o.model), opaque);
		ret = init_allocating(v, &o);
	}
	if (ret) {
		free(v);
		return ret;
	}
	*ret_viommu = v;
	return 0;
}

int viommu_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		  struct viommu **ret_viommu)
{
	return vi_unit_create(ops, opaque, opts, NULL, ret_viommu);
}

/* Handles with a PASID before their device. */
static void free_requesters(struct viommu *v) VI_WITH(v->lock, v->context_lock)
{
	struct viommu_requester *r = vi_requesters_next(&v->requesters, NULL), *after;

	for (; r; r = after) {
		after = vi_requesters_next(&v->requesters, r);
		if (after && after->device == r) {
			vi_requester_dispose(v, after);
			after = r;
			continue;
		}
		vi_requester_dispose(v, r);
	}
	vi_requesters_finish(&v->requesters);
}

void viommu_destroy(struct viommu *v)
{
	struct vi_drain d = {.active = false};

	if (!v)
		return;
	vi_lock_take(&v->lock);
	vi_context_drop_all(v, &d);
	vi_context_reclaim(v, true);
	if (v->model)
		v->model->finish(v->model_state);
	vi_threads_finish(v);
	vi_lock_take(&v->context_lock);
	free_requesters(v);
	vi_domains_finish(v);
	vi_lock_give(&v->context_lock);
	vi_lock_give(&v->lock);
	vi_guestmem_finish(&v->mem);
	vi_iotlb_finish(&v->iotlb);
	vi_epoch_finish(&v->epoch);
	vi_pins_finish(&v->pins);
	vi_lock_finish(&v->context_lock);
	vi_lock_finish(&v->lock);
	free(v);
}

size_t viommu_regs_size(const struct viommu *v)
{
	return v->model ? v->model->regs_size(v->model_state) : 0;
}

static bool is_register(const struct viommu *v, uint64_t offset, unsigned size)
{
	return (size == 4 || size == 8) && vi_is_aligned(offset, size) && offset < viommu_regs_size(v);
}

int viommu_regs_read(struct viommu *v, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	if (!is_register(v, offset, size))
		return -EINVAL;
	vi_lock_take(&v->lock);
	v->model->regs_read(v->model_state, offset, size, ret_value);
	vi_lock_give(&v->lock);
	return 0;
}

int viommu_regs_write(struct viommu *v, uint64_t offset, unsigned size, uint64_t value)
{
	if (!is_register(v, offset, size))
		return -EINVAL;
	vi_lock_take(&v->lock);
	v->model->regs_write(v->model_state, offset, size, value);
	vi_lock_give(&v->lock);
	return 0;
}

static unsigned pollable_count(const struct viommu *v)
{
	return v->model ? v->model->regs_pollable_count : 0;
}

int viommu_regs_pollable(const struct viommu *v, unsigned index, struct viommu_regs_pages *ret_pages)
{
	struct viommu_regs_pages pages = {.sz = ret_pages->sz};

	if (pages.sz < sizeof(pages.sz))
		return -EINVAL;
	if (index >= pollable_count(v))
		return -ENOENT;
	pages.offset = v->model->regs_pollable[index].offset;
	pages.length = v->model->regs_pollable[index].length;
	pages.writable = v->model->regs_pollable[index].writable;
	memcpy(ret_pages, &pages, vi_min(pages.sz, sizeof(pages)));
	return 0;
}

int viommu_regs_share(struct viommu *v, uint64_t offset, void *pages)
{
	unsigned which = 0, count = pollable_count(v);

	if (count == 0)
		return -ENOTSUP;
	while (which < count && v->model->regs_pollable[which].offset != offset)
		which++;
	if (which == count || !vi_is_aligned((uintptr_t)pages, VI_PAGE_SIZE))
		return -EINVAL;
	vi_lock_take(&v->lock);
	v->model->regs_share(v->model_state, which, pages);
	vi_lock_give(&v->lock);
	return 0;
}

int viommu_process(struct viommu *v, unsigned budget)
{
	int ret;

	if (!v->model)
		return 0;
	/* Whoever is inside may be past what the caller came for, or only read a register. */
	if (!vi_lock_try(&v->lock))
		return VIOMMU_PROCESS_PENDING;
	ret = v->model->process(v->model_state, budget);
	if (vi_iotlb_maintain(v))
		ret |= VIOMMU_PROCESS_PENDING;
	vi_lock_give(&v->lock);
	return ret;
}

void viommu_reset(struct viommu *v)
{
	struct vi_drain d = {.active = false};
	struct vi_fault before;

	vi_lock_take(&v->lock);
	if (v->model)
		v->model->reset(v->model_state);
	vi_context_drop_all(v, &d);
	vi_iotlb_invalidate_all(v, &d);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	while (vi_fault_queue_pop(&v->faults, &before)) /* of accesses that began before */
		;
	vi_lock_give(&v->lock);
}
