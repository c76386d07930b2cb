/* SPDX-License-Identifier: BSD-3-Clause */
/* The public functions of viommu/viommu.h that concern the unit as a whole. */
#include "core/unit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define DEFAULT_ADDRESS_WIDTH	46
#define DEFAULT_MAX_THREADS_LG2 6
#define DEFAULT_IOTLB_LG2	17

/*
 * Copy a struct that may have grown on either side: what the caller does not
 * know is zero, what we do not know must be zero.
 */
static int copy_sized(void *to, size_t to_size, const void *from, size_t from_size)
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
	    is_outside(o->iotlb_lg2, 6, 24) || is_outside(o->model, VIOMMU_MODEL_NONE, VIOMMU_MODEL_VTD))
		return -EINVAL;
	return 0;
}

static const struct vi_model_ops *model_ops(enum viommu_model model)
{
	static const struct vi_model_ops *const models[] = {
		[VIOMMU_MODEL_NONE] = NULL,
		[VIOMMU_MODEL_VTD] = &vi_vtd_model,
	};

	return models[model];
}

static void init_plain(struct viommu *v, const struct viommu_options *o, void *opaque)
{
	v->opaque = opaque;
	v->segment = o->segment;
	v->address_width = o->host_address_width;
	v->model = model_ops(o->model);
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->context_lock, NULL);
	vi_pins_init(&v->pins);
	vi_fault_queue_init(&v->faults);
	vi_list_init(&v->threads);
	vi_list_init(&v->retired_contexts);
	vi_list_init(&v->resting);
	for (unsigned i = 0; i < VI_DOMAIN_BUCKETS; i++)
		vi_list_init(&v->domains[i]);
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
	ret = v->model ? v->model->init(v, o, &v->model_state) : 0;
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

int viommu_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		  struct viommu **ret_viommu)
{
	struct viommu_options o;
	struct viommu *v;
	int ret;

	if (!ops || !opts || !ret_viommu)
		return -EINVAL;
	ret = copy_sized(&o, sizeof(o), opts, opts->sz);
	if (ret == 0)
		ret = settle_options(&o);
	if (ret)
		return ret;
	v = aligned_alloc(_Alignof(struct viommu), sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v, 0, sizeof(*v));
	ret = copy_sized(&v->ops, sizeof(v->ops), ops, ops->sz);
	if (ret == 0) {
		init_plain(v, &o, opaque);
		ret = init_allocating(v, &o);
	}
	if (ret) {
		free(v);
		return ret;
	}
	*ret_viommu = v;
	return 0;
}

static void free_requesters(struct viommu *v)
{
	for (unsigned bus = 0; bus < VI_BUSES; bus++) {
		for (unsigned i = 0; v->buses[bus] && i < VI_FUNCTIONS_OF_A_BUS; i++) {
			if (v->buses[bus][i])
				vi_accounts_close(v, v->buses[bus][i]);
			free(v->buses[bus][i]);
		}
		free(v->buses[bus]);
	}
}

void viommu_destroy(struct viommu *v)
{
	struct vi_list *node, *after;
	struct vi_drain d = {.active = false};

	if (!v)
		return;
	vi_context_drop_all(v, &d);
	vi_context_reclaim(v, true);
	if (v->model)
		v->model->finish(v->model_state);
	vi_list_for_each_safe (node, after, &v->threads)
		free(VI_CONTAINER_OF(node, struct viommu_thread, link));
	free_requesters(v);
	vi_domains_finish(v);
	vi_guestmem_finish(&v->mem);
	vi_iotlb_finish(&v->iotlb);
	vi_epoch_finish(&v->epoch);
	vi_pins_finish(&v->pins);
	pthread_mutex_destroy(&v->context_lock);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* With the unit lock: wait until every section that is open now has ended. Returns the epoch that began. */
static uint64_t wait_for_sections(struct viommu *v)
{
	uint64_t epoch = vi_epoch_begin(&v->epoch);

	for (unsigned looks = 0; !vi_epoch_passed(&v->epoch, epoch); looks++)
		vi_drain_pause(looks);
	vi_guestmem_reclaim(&v->mem);
	vi_context_reclaim(v, false);
	return epoch;
}

int viommu_mem_add(struct viommu *v, uint64_t gpa, uint64_t len, void *host, unsigned flags)
{
	struct vi_region region = {.first = gpa, .host = host, .flags = (uint16_t)flags};
	int ret;

	if (!vi_last_of(gpa, len, &region.last) || region.last > VI_BITS(v->address_width - 1, 0) ||
	    (flags & ~(VIOMMU_MEM_READ | VIOMMU_MEM_WRITE)) ||
	    (!host && (!v->ops.mem_read || !v->ops.mem_write)))
		return -EINVAL;
	pthread_mutex_lock(&v->lock);
	ret = vi_guestmem_add(&v->mem, &region);
	if (ret == 0)
		wait_for_sections(v); /* then the old map's parts are free */
	pthread_mutex_unlock(&v->lock);
	return ret;
}

/*
 * Cached translations may name the host memory that goes away: all of them are
 * dropped. With identity contexts only nothing is cached.
 */
int64_t viommu_mem_remove(struct viommu *v, uint64_t gpa, uint64_t len)
{
	struct vi_gpa_range range = {.first = gpa};
	struct vi_pin_filter pins = {.last = UINT64_MAX, .ignore = UINT16_MAX, .memory = &range};
	struct vi_drain unused = {.active = false};
	unsigned revoked = 0;
	int64_t ret;

	if (!vi_last_of(gpa, len, &range.last))
		return -EINVAL;
	pthread_mutex_lock(&v->lock);
	ret = vi_guestmem_remove(&v->mem, range.first, range.last);
	if (ret > 0) {
		vi_iotlb_invalidate_all(v, &unused); /* pins of other memory stay */
		pins.epoch = wait_for_sections(v);
		for (unsigned looks = 0; vi_pins_revoke(&v->pins, &pins, &revoked) > 0; looks++)
			vi_drain_pause(looks);
		vi_count(&v->counters, VI_COUNT_pins_revoked, revoked);
	}
	pthread_mutex_unlock(&v->lock);
	return ret;
}

static struct viommu_requester *make_requester(struct viommu *v, uint16_t rid)
{
	size_t size = sizeof(struct viommu_requester) + v->epoch.count * sizeof(struct vi_device_counters);
	struct viommu_requester *r = aligned_alloc(_Alignof(struct viommu_requester), size);

	if (!r)
		return NULL;
	memset(r, 0, size);
	r->unit = v;
	r->rid = rid;
	vi_list_init(&r->accounts);
	return r;
}

int viommu_requester_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester)
{
	struct viommu_requester **functions, *r = make_requester(v, rid);
	int ret = -ENOMEM;

	if (!r)
		return ret;
	pthread_mutex_lock(&v->lock);
	pthread_mutex_lock(&v->context_lock);
	functions = v->buses[rid >> 8];
	if (!functions)
		functions = v->buses[rid >> 8] = calloc(VI_FUNCTIONS_OF_A_BUS, sizeof(*functions));
	if (functions && functions[rid & 0xff])
		ret = -EEXIST;
	if (functions && !functions[rid & 0xff]) {
		functions[rid & 0xff] = r;
		ret = 0;
	}
	pthread_mutex_unlock(&v->context_lock);
	pthread_mutex_unlock(&v->lock);
	if (ret)
		free(r);
	else
		*ret_requester = r;
	return ret;
}

/* With the unit lock: no call that was running works for `r` any more; none may begin. */
static void wait_for_calls(struct viommu *v, const struct viommu_requester *r)
{
	struct vi_list *node;

	vi_list_for_each (node, &v->threads) {
		struct viommu_thread *t = VI_CONTAINER_OF(node, struct viommu_thread, link);

		for (unsigned looks = 0; atomic_load_explicit(&t->working_for, memory_order_acquire) == r;
		     looks++)
			vi_drain_pause(looks);
	}
}

void viommu_requester_remove(struct viommu_requester *r)
{
	struct vi_drain d = {.active = false};
	struct viommu *v;

	if (!r)
		return;
	v = r->unit;
	pthread_mutex_lock(&v->lock);
	wait_for_calls(v, r); /* first: a call that goes on would cache its context again */
	vi_context_drop_devices(v, &d, r->rid, 0);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	pthread_mutex_lock(&v->context_lock);
	vi_accounts_close(v, r);
	pthread_mutex_unlock(&v->context_lock);
	v->buses[r->rid >> 8][r->rid & 0xff] = NULL;
	pthread_mutex_unlock(&v->lock);
	free(r);
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
	pthread_mutex_lock(&v->lock);
	v->model->regs_read(v->model_state, offset, size, ret_value);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

int viommu_regs_write(struct viommu *v, uint64_t offset, unsigned size, uint64_t value)
{
	if (!is_register(v, offset, size))
		return -EINVAL;
	pthread_mutex_lock(&v->lock);
	v->model->regs_write(v->model_state, offset, size, value);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

int viommu_regs_share(struct viommu *v, void *page)
{
	if (!v->model)
		return -ENOTSUP;
	if (!vi_is_aligned((uintptr_t)page, VI_PAGE_SIZE))
		return -EINVAL;
	pthread_mutex_lock(&v->lock);
	v->model->regs_share(v->model_state, page);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

int viommu_process(struct viommu *v, unsigned budget)
{
	int ret;

	if (!v->model)
		return 0;
	/* Whoever is inside may be past what the caller came for, or only read a register. */
	if (pthread_mutex_trylock(&v->lock) != 0)
		return VIOMMU_PROCESS_PENDING;
	ret = v->model->process(v->model_state, budget);
	if (vi_iotlb_maintain(v))
		ret |= VIOMMU_PROCESS_PENDING;
	pthread_mutex_unlock(&v->lock);
	return ret;
}

void viommu_reset(struct viommu *v)
{
	struct vi_drain d = {.active = false};
	struct vi_fault before;

	pthread_mutex_lock(&v->lock);
	if (v->model)
		v->model->reset(v->model_state);
	vi_context_drop_all(v, &d);
	vi_iotlb_invalidate_all(v, &d);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	while (vi_fault_queue_pop(&v->faults, &before)) /* of accesses that began before */
		;
	pthread_mutex_unlock(&v->lock);
}

void vi_msi_send(struct viommu *v, uint64_t address, uint32_t data)
{
	vi_count(&v->counters, VI_COUNT_interrupts, 1);
	if (v->ops.msi)
		v->ops.msi(v->opaque, 0, address, data);
}

void vi_guest_error(struct viommu *v, enum viommu_guest_error error, const struct vi_fault *fault,
		    const char *text)
{
	struct viommu_guest_event event = {
		.sz = sizeof(event),
		.error = error,
		.segment = v->segment,
		.rid = fault->rid,
		.reason = fault->reason,
		.write = fault->write,
		.address = fault->iova,
		.text = text,
	};

	if (v->ops.guest_error)
		v->ops.guest_error(v->opaque, &event);
}

uint64_t vi_now_ns(struct viommu *v)
{
	return v->ops.now_ns ? v->ops.now_ns(v->opaque) : 0;
}

void vi_kick(struct viommu *v)
{
	if (v->ops.kick)
		v->ops.kick(v->opaque);
}
