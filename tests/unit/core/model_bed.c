/* SPDX-License-Identifier: BSD-3-Clause */
#include "model_bed.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/domain.h"
#include "core/host.h"
#include "core/state.h"

#define RID    0x0110
#define DOMAIN 7

/* -------------------------------------------------------------------- the model */

static vi_reason resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	const struct bed *b = state;

	(void)rid;
	(void)pasid;
	*ret_translation = b->t;
	return 0;
}

static struct bed *making; /* init() gets no state of the program */

static int init(struct viommu *v, const void *options, void **ret_state)
{
	(void)v;
	(void)options;
	*ret_state = making;
	return 0;
}

static void finish(void *state)
{
	(void)state;
}

static void reset(void *state)
{
	struct bed *b = state;

	b->drain = (struct vi_drain){.active = false};
}

static void go_through(void *state, struct vi_state *s)
{
	struct bed *b = state;

	if (b->ranges)
		assert_int_equal(vi_ranges_state(b->ranges, s), 0);
}

/* By way of a spare set, as half of a state must not be taken over. */
static int restore(void *state, const uint8_t *numbers, size_t length)
{
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	struct bed *b = state;
	struct vi_ranges spare;
	int err;

	vi_ranges_init(&spare, b->ranges->most);
	err = vi_ranges_state(&spare, &s);
	if (!err && s.used != length)
		err = -EBADMSG;
	if (!err)
		vi_ranges_exchange(b->ranges, &spare);
	vi_ranges_finish(&spare);
	return err;
}

static size_t no_registers(const void *state)
{
	(void)state;
	return 0;
}

static int process(void *state, unsigned budget)
{
	struct bed *b = state;
	struct vi_fault f;
	int done = 0;

	vi_lock_assert(&b->viommu->lock);
	for (; budget > 0 && vi_fault_take(b->viommu, &f); budget--, done++) {
		b->faults++;
		b->last_fault = f;
	}
	if (b->drain.active && !vi_drain_poll(b->viommu, &b->drain))
		return done | VIOMMU_PROCESS_PENDING;
	return done;
}

static bool settle(void *state)
{
	(void)state;
	return false;
}

static vi_reason walk_reason(const struct vi_walk *w, bool write)
{
	(void)write;
	return (vi_reason)BED_REASON_OF(w->result, w->stage, w->purpose);
}

static const char *reason_text(vi_reason reason)
{
	(void)reason;
	return "a reason";
}

const struct vi_model_ops bed_model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 98,
	.state = go_through,
	.restore = restore,
	.regs_size = no_registers,
	.process = process,
	.settle = settle,
	.resolve = resolve,
	.walk_reason = walk_reason,
	.out_of_bounds = BED_REASON_OUTSIDE,
	.leads_to_message = BED_REASON_MESSAGE,
	.reason_text = reason_text,
};

/* ------------------------------------------------------------------ the program */

void bed_begin(struct bed *b, unsigned iotlb_lg2)
{
	bed_begin_with(b, &bed_model, iotlb_lg2);
}

void bed_begin_with(struct bed *b, const struct vi_model_ops *model, unsigned iotlb_lg2)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops)};
	const struct viommu_options options = {.sz = sizeof(options),
					       .host_address_width = 52,
					       .iotlb_lg2 = (uint8_t)iotlb_lg2};

	*b = (struct bed){.ram = calloc(1, RAM_SIZE)};
	b->t = (struct vi_translation){.kind = VI_TRANSLATION_BY_TRANSLATOR,
				       .has_domain = true,
				       .domain_id = DOMAIN,
				       .rights = RW,
				       .last = VI_BITS(47, 0)};
	making = b;
	assert_int_equal(vi_unit_create(&ops, b, &options, model, &b->viommu), 0);
	assert_int_equal(viommu_mem_add(b->viommu, 0, RAM_SIZE, b->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(viommu_requester_add(b->viommu, RID, &b->device), 0);
	assert_int_equal(viommu_thread_create(b->viommu, &b->thread), 0);
}

void bed_end(struct bed *b)
{
	viommu_destroy(b->viommu);
	free(b->ram);
}

static void wait_for_drain(struct bed *b)
{
	while (viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING)
		sched_yield(); /* to the device that was interrupted inside */
}

void bed_invalidate(struct bed *b, uint64_t first, uint64_t last)
{
	vi_lock_take(&b->viommu->lock);
	vi_iotlb_invalidate_range(b->viommu, &b->drain, DOMAIN, first, last);
	vi_drain_begin(b->viommu, &b->drain);
	vi_lock_give(&b->viommu->lock);
	wait_for_drain(b);
}

void bed_invalidate_all(struct bed *b)
{
	vi_lock_take(&b->viommu->lock);
	vi_iotlb_invalidate_all(b->viommu, &b->drain);
	vi_drain_begin(b->viommu, &b->drain);
	vi_lock_give(&b->viommu->lock);
	wait_for_drain(b);
}

int bed_put(struct bed *b, uint64_t iova, uint8_t value)
{
	return viommu_write(b->thread, b->device, iova, &value, 1);
}

int bed_get(struct bed *b, uint64_t iova, uint8_t *ret_value)
{
	return viommu_read(b->thread, b->device, iova, ret_value, 1);
}

void bed_expect_fault(struct bed *b, uint64_t iova, vi_reason reason)
{
	unsigned before = b->faults;

	assert_int_equal(bed_put(b, iova, 1), -EACCES);
	viommu_process(b->viommu, 64);
	assert_int_equal(b->faults, before + 1);
	assert_int_equal(b->last_fault.iova, iova);
	assert_int_equal(b->last_fault.reason, reason);
}

size_t bed_room(struct bed *b, uint64_t iova)
{
	struct viommu_span span = {.len = 0};

	viommu_enter(b->thread);
	if (viommu_translate(b->thread, b->device, iova, RAM_SIZE, VIOMMU_WRITE, &span))
		span.len = 0;
	viommu_exit(b->thread);
	return span.len;
}

uint64_t bed_counter(struct bed *b, enum vi_counter which)
{
	uint64_t values[64];

	assert_true(viommu_counters_read(b->viommu, values, VI_ARRAY_SIZE(values)) > (size_t)which);
	return values[which];
}

struct text {
	char *at;
	size_t room;
};

static int note(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct text *t = arg;
	int length = snprintf(t->at, t->room, "%llx-%llx:%llx,%u;", (unsigned long long)first,
			      (unsigned long long)last, (unsigned long long)gpa, access);

	assert_true(length > 0 && (size_t)length < t->room);
	t->at += length;
	t->room -= (size_t)length;
	return 0;
}

const char *bed_reach(struct bed *b, uint64_t budget, char *text, size_t size)
{
	struct text t = {.at = text, .room = size};
	uint64_t iova = 0, before;
	int ret = 1;

	text[0] = '\0';
	if (!budget) {
		assert_int_equal(viommu_reach(b->device, 100000, note, &t), 0);
		return text;
	}
	for (unsigned stuck = 0; ret == 1; stuck = iova > before ? 0 : stuck + 1) {
		before = iova;
		assert_true(stuck < 64);
		ret = viommu_reach_some(b->device, &iova, budget, note, &t);
	}
	assert_int_equal(ret, 0);
	return text;
}
