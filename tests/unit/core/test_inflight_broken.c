/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Would inflight.h see it if an invalidation did not wait for accesses in
 * flight? By the linker's --wrap the drain finds every section over, and then
 * stale writes must be found; with the wait in place, in the same program, none.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/drain.h"
#include "core/translate.h"
#include "core/unit.h"
#include "inflight.h"

#define PATIENCE_S 60
#define ROUNDS	   100

static _Atomic bool broken;
static _Thread_local bool draining;

bool __real_vi_epoch_passed(struct vi_epoch *e, uint64_t target);
bool __wrap_vi_epoch_passed(struct vi_epoch *e, uint64_t target);
bool __real_vi_drain_poll(struct viommu *v, struct vi_drain *d);
bool __wrap_vi_drain_poll(struct viommu *v, struct vi_drain *d);
int __real_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place);
int __wrap_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place);

/* Only drains: what frees memory goes on waiting. */
bool __wrap_vi_drain_poll(struct viommu *v, struct vi_drain *d)
{
	bool over;

	draining = true;
	over = __real_vi_drain_poll(v, d);
	draining = false;
	return over;
}

bool __wrap_vi_epoch_passed(struct vi_epoch *e, uint64_t target)
{
	return (draining && atomic_load(&broken)) || __real_vi_epoch_passed(e, target);
}

/* Between the translation and the access the device now and then loses the processor. */
int __wrap_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place)
{
	static _Thread_local unsigned turn;
	int ret = __real_vi_translate(t, r, iova, len, access, ret_place);

	if (ret == 0 && turn++ % 16 == 0)
		sched_yield();
	return ret;
}

static unsigned run(enum machine_registers kind, bool queue)
{
	struct inflight i = {.registers = kind, .queue = queue, .devices = 4, .rounds = ROUNDS};
	struct inflight_result r;

	inflight_run(&i, &r);
	return r.stale;
}

static void check(enum machine_registers kind, bool queue)
{
	time_t end = time(NULL) + PATIENCE_S;
	unsigned stale = 0;

	atomic_store(&broken, true);
	while (stale == 0 && time(NULL) < end)
		stale = run(kind, queue);
	atomic_store(&broken, false);
	assert_true(stale > 0);
	assert_int_equal(run(kind, queue), 0);
}

static void test_queue(void **state)
{
	(void)state;
	check(TRAPPED, true);
}

static void test_registers(void **state)
{
	(void)state;
	check(TRAPPED, false);
}

static void test_sidecore(void **state)
{
	(void)state;
	check(SIDECORE, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_sidecore),
	};

	return cmocka_run_group_tests_name("core inflight broken", tests, NULL, NULL);
}
