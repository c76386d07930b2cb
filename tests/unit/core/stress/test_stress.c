/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything at once (world.h), with registers trapped, polled and by a
 * sidecore. The asids of this program's IOTLB run out after a few dozen
 * invalidations, so wipes are among what happens (meson.build), and by the
 * linker's --wrap a device now and then loses the processor where that hurts
 * most: between a translation and the access, between two words of a table,
 * and between what was read of a context and its publication.
 *
 * STRESS_SEED, STRESS_ACCESSES (of each case), STRESS_BURST (of each device
 * thread to a step of the guest), STRESS_SECONDS (each case ends then, whatever
 * it did), STRESS_RARELY (devices lose the processor so many times more rarely)
 * in the environment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/drain.h"
#include "core/translate.h"
#include "core/unit.h"
#include "world.h"

int __real_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place);
int __wrap_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place);
bool __real_vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value);
bool __wrap_vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value);
vi_reason __real_vi_vtd_resolve(void *state, uint16_t rid, uint32_t pasid,
				struct vi_translation *ret_translation);
vi_reason __wrap_vi_vtd_resolve(void *state, uint16_t rid, uint32_t pasid,
				struct vi_translation *ret_translation);

static uint64_t rarely = 1; /* written before there are threads */

/* Once in so many calls, and for so long that others can do what must not be done meanwhile. */
static void rest_now_and_then(unsigned calls)
{
	static _Thread_local uint64_t seed = 88172645463325252u;

	if (world_is_device && world_random(&seed, calls * rarely) == 0)
		world_rest();
}

int __wrap_vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
			unsigned access, struct vi_place *ret_place)
{
	int ret = __real_vi_translate(t, r, iova, len, access, ret_place);

	rest_now_and_then(64);
	return ret;
}

bool __wrap_vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value)
{
	bool good = __real_vi_guestmem_load64(gm, gpa, ret_value);

	rest_now_and_then(16);
	return good;
}

vi_reason __wrap_vi_vtd_resolve(void *state, uint16_t rid, uint32_t pasid,
				struct vi_translation *ret_translation)
{
	vi_reason reason = __real_vi_vtd_resolve(state, rid, pasid, ret_translation);

	rest_now_and_then(4);
	return reason;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void run(enum machine_registers registers, bool queue, uint8_t iotlb_lg2)
{
	static uint64_t seed;
	struct stress s = {.registers = registers, .queue = queue, .iotlb_lg2 = iotlb_lg2};

	if (!seed)
		seed = setting("STRESS_SEED", (uint64_t)getpid());
	s.seed = seed;
	s.accesses = setting("STRESS_ACCESSES", 50000);
	s.seconds = setting("STRESS_SECONDS", 15);
	s.burst = setting("STRESS_BURST", 100);
	s.steps = 300;
	rarely = setting("STRESS_RARELY", 1);
	print_message("STRESS_SEED=%llu\n", (unsigned long long)seed);
	world_run(&s);
}

static void test_trapped(void **state)
{
	(void)state;
	run(TRAPPED, true, 10);
}

static void test_register_based(void **state)
{
	(void)state;
	run(TRAPPED, false, 10);
}

static void test_polled(void **state)
{
	(void)state;
	run(POLLED, true, 6);
}

static void test_sidecore(void **state)
{
	(void)state;
	run(SIDECORE, true, 10);
}

static void test_sidecore_register_based(void **state)
{
	(void)state;
	run(SIDECORE, false, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trapped),
		cmocka_unit_test(test_register_based),
		cmocka_unit_test(test_polled),
		cmocka_unit_test(test_sidecore),
		cmocka_unit_test(test_sidecore_register_based),
	};

	return cmocka_run_group_tests_name("core stress", tests, NULL, NULL);
}
