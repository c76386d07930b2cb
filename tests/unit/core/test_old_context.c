/* SPDX-License-Identifier: BSD-3-Clause */
/* What an access does that has looked at a device's context just before the guest invalidates it. */
#include "model_bed.h"

#include "core/context.h"
#include "core/domain.h"

#define RID    0x0011
#define OTHER  0x0019
#define DOMAIN 7

static void (*between)(struct bed *b); /* the look at the context and the look at what is cached */

static vi_reason check_request(void *state, const struct vi_translation *t, unsigned access)
{
	(void)t;
	(void)access;
	if (between)
		between(state);
	return 0;
}

/* One page at 0, which leads to this one. */
static void lay(struct vi_ranges *ranges, unsigned page)
{
	vi_ranges_init(ranges, 1);
	assert_int_equal(vi_ranges_add(ranges, &(struct vi_range){0, PAGE - 1, page * PAGE, RW}), 0);
}

static struct vi_ranges old, new;

/* The device goes to another table in the same domain, and both are invalidated. */
static void move(struct bed *b)
{
	b->t.translator = vi_translator_of_ranges(&new);
	vi_lock_take(&b->viommu->lock);
	vi_context_drop_devices(b->viommu, &b->drain, RID, 0);
	vi_iotlb_invalidate_domain(b->viommu, &b->drain, DOMAIN);
	vi_drain_begin(b->viommu, &b->drain);
	vi_lock_give(&b->viommu->lock);
}

/* What an access finds by a context that was dropped before the domain's entries were is not kept. */
static void test_an_old_context_fills_no_cache(void **state)
{
	struct vi_model_ops model = bed_model;
	struct viommu_requester *device, *other;
	struct viommu_span span;
	struct bed b;

	(void)state;
	model.check_request = check_request;
	bed_begin_with(&b, &model, 0);
	lay(&old, 1);
	lay(&new, 2);
	b.t.domain_id = DOMAIN;
	b.t.translator = vi_translator_of_ranges(&old);
	assert_int_equal(viommu_requester_add(b.viommu, RID, &device), 0);
	assert_int_equal(viommu_requester_add(b.viommu, OTHER, &other), 0);
	assert_int_equal(viommu_write(b.thread, other, 0, "a", 1), 0); /* keeps the domain */
	assert_int_equal(viommu_write(b.thread, device, 0, "b", 1), 0);
	assert_int_equal(b.ram[PAGE], 'b');
	between = move;
	viommu_enter(b.thread);
	assert_int_equal(
		viommu_translate(b.thread, device, 0, 8, VIOMMU_READ | VIOMMU_TRANSLATION_REQUEST, &span), 0);
	viommu_exit(b.thread);
	between = NULL;
	assert_int_equal(viommu_process(b.viommu, 64) & VIOMMU_PROCESS_PENDING, 0);
	assert_int_equal(viommu_write(b.thread, device, 0, "c", 1), 0);
	assert_int_equal(b.ram[PAGE], 'b');
	assert_int_equal(b.ram[2 * PAGE], 'c');
	bed_end(&b);
	vi_ranges_finish(&old);
	vi_ranges_finish(&new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_old_context_fills_no_cache),
	};

	return cmocka_run_group_tests_name("core old context", tests, NULL, NULL);
}
