/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/thread.h"

#include <errno.h>
#include <stdlib.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "core/drain.h"
#include "core/unit.h"

int viommu_thread_create(struct viommu *v, struct viommu_thread **ret_thread)
{
	struct viommu_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->unit = v;
	vi_lock_take(&v->lock);
	t->slot = vi_epoch_slot_take(&v->epoch);
	if (t->slot) {
		t->index = (unsigned)(t->slot - v->epoch.slots);
		vi_list_append(&v->threads, &t->link);
	}
	vi_lock_give(&v->lock);
	if (!t->slot) {
		free(t);
		return -EAGAIN;
	}
	*ret_thread = t;
	return 0;
}

void viommu_thread_destroy(struct viommu_thread *t)
{
	struct viommu *v;

	if (!t)
		return;
	v = t->unit;
	vi_lock_take(&v->lock);
	vi_list_remove(&t->link);
	vi_epoch_slot_release(t->slot);
	vi_lock_give(&v->lock);
	free(t);
}

void viommu_enter(struct viommu_thread *t)
{
	vi_epoch_enter(&t->unit->epoch, t->slot);
}

void viommu_exit(struct viommu_thread *t)
{
	vi_epoch_exit(t->slot);
}

void vi_threads_wait_for_calls(struct viommu *v, const struct viommu_requester *r)
{
	struct vi_list *node;

	vi_list_for_each (node, &v->threads) {
		struct viommu_thread *t = VI_CONTAINER_OF(node, struct viommu_thread, link);

		for (unsigned looks = 0; atomic_load_explicit(&t->working_for, memory_order_acquire) == r;
		     looks++)
			vi_drain_pause(looks);
	}
}

uint64_t vi_threads_wait_for_sections(struct viommu *v)
{
	uint64_t epoch = vi_epoch_begin(&v->epoch);

	for (unsigned looks = 0; !vi_epoch_passed(&v->epoch, epoch); looks++)
		vi_drain_pause(looks);
	return epoch;
}

void vi_threads_finish(struct viommu *v)
{
	struct vi_list *node, *after;

	vi_list_for_each_safe (node, after, &v->threads)
		free(VI_CONTAINER_OF(node, struct viommu_thread, link));
}
