/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/epoch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vi_epoch_init(struct vi_epoch *e, unsigned count)
{
	e->slots = aligned_alloc(_Alignof(struct vi_epoch_slot), count * sizeof(*e->slots));
	if (!e->slots)
		return -ENOMEM;
	memset(e->slots, 0, count * sizeof(*e->slots));
	e->count = count;
	atomic_init(&e->now, 1);
	atomic_init(&e->high_water, 0);
	return 0;
}

void vi_epoch_finish(struct vi_epoch *e)
{
	free(e->slots);
}

struct vi_epoch_slot *vi_epoch_slot_take(struct vi_epoch *e)
{
	for (unsigned i = 0; i < e->count; i++) {
		if (e->slots[i].taken)
			continue;
		e->slots[i].taken = true;
		if (i >= atomic_load_explicit(&e->high_water, memory_order_relaxed))
			atomic_store_explicit(&e->high_water, i + 1, memory_order_seq_cst);
		return &e->slots[i];
	}
	return NULL;
}

void vi_epoch_slot_release(struct vi_epoch_slot *slot)
{
	slot->taken = false;
}

bool vi_epoch_passed(struct vi_epoch *e, uint64_t target)
{
	unsigned count = atomic_load_explicit(&e->high_water, memory_order_seq_cst);

	for (unsigned i = 0; i < count; i++) {
		uint64_t entered = atomic_load_explicit(&e->slots[i].entered, memory_order_seq_cst);

		if (entered != 0 && entered < target)
			return false;
	}
	return true;
}
