/* SPDX-License-Identifier: BSD-3-Clause */
/* Pins: an invalidation of what is pinned asks it back and completes after it came back, and nothing else
 * waits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

static void on_revoke(struct viommu_pin *pin)
{
	__atomic_fetch_add((unsigned *)pin->opaque, 1, __ATOMIC_SEQ_CST);
}

static void pin_at(struct machine *m, struct viommu_pin *pin, uint64_t iova, size_t len, unsigned *revoked)
{
	memset(pin, 0, sizeof(*pin));
	pin->revoke = revoked ? on_revoke : NULL;
	pin->opaque = revoked;
	assert_int_equal(viommu_pin(m->thread, m->device, iova, len, VIOMMU_WRITE, pin), 0);
}

static bool is_complete(struct machine *m)
{
	return vi_driver_load32(&m->memory, m->driver.status) == m->driver.sequence;
}

static int flush_page(struct machine *m, uint64_t iova)
{
	m->patience = 200;
	return vi_driver_vtd_flush_range(&m->driver, MACHINE_DOMAIN, iova, iova + 4095);
}

static void test_pin_lends_memory(void **state)
{
	struct viommu_pin pin;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_map(&m, IOVA + 4096, GPA + 8192, 4096, RW);
	pin_at(&m, &pin, IOVA + 100, 8000, NULL);
	assert_ptr_equal(pin.span.host, m.ram + GPA + 100);
	assert_int_equal(pin.span.len, 4096 - 100);
	assert_int_equal(pin.iova, IOVA + 100);
	viommu_unpin(&pin);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA + 8192, 1, VIOMMU_READ, &pin), -EACCES);
	machine_expect_fault(&m, VTD_FR_READ, IOVA + 8192, false);
	machine_map(&m, IOVA + 8192, MACHINE_FAR, 4096, RW);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA + 8192, 1, VIOMMU_READ, &pin), -ENOTSUP);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA, 0, VIOMMU_READ, &pin), -EINVAL);
	machine_finish(&m);
}

static void test_invalidation_waits_for_the_pin(void **state)
{
	unsigned revoked = 0;
	struct viommu_pin pin;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 8192, RW);
	pin_at(&m, &pin, IOVA, 4096, &revoked);
	assert_int_equal(flush_page(&m, IOVA + 4096), 0);
	assert_int_equal(revoked, 0);
	assert_int_equal(flush_page(&m, IOVA), -ETIMEDOUT);
	assert_int_equal(revoked, 1); /* asked once, however often it was looked at */
	assert_false(is_complete(&m));
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_true(is_complete(&m));
	assert_int_equal(machine_counter(&m, "pins_revoked"), 1);
	machine_finish(&m);
}

static void test_all_granularities_find_the_pin(void **state)
{
	static const unsigned granularities[] = {VTD_GRANULARITY_GLOBAL, VTD_GRANULARITY_DOMAIN,
						 VTD_GRANULARITY_SELECTIVE};
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 8192, RW);
	for (unsigned i = 0; i < VI_ARRAY_SIZE(granularities); i++) {
		unsigned revoked = 0;
		struct viommu_pin pin;

		pin_at(&m, &pin, IOVA + 4096, 10, &revoked);
		m.patience = 200;
		assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, granularities[i], MACHINE_DOMAIN, IOVA,
							   1),
				 -ETIMEDOUT);
		assert_int_equal(revoked, 1);
		viommu_unpin(&pin);
		machine_settle(&m);
		assert_true(is_complete(&m));
	}
	machine_finish(&m);
}

/* A device that pins again and again what the guest has just mapped anew does not starve the invalidation. */
static void test_later_pins_are_left_alone(void **state)
{
	unsigned revoked = 0, later_revoked = 0;
	struct viommu_pin pin, later;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	pin_at(&m, &pin, IOVA, 4096, &revoked);
	assert_int_equal(flush_page(&m, IOVA), -ETIMEDOUT);
	pin_at(&m, &later, IOVA, 4096, &later_revoked);
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_true(is_complete(&m));
	assert_int_equal(later_revoked, 0);
	viommu_unpin(&later);
	machine_finish(&m);
}

static void test_pass_through_and_untranslated_pins(void **state)
{
	unsigned revoked = 0;
	struct viommu_pin pin;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, NULL), 0);
	pin_at(&m, &pin, GPA, 4096, &revoked);
	m.patience = 200;
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m.driver, VTD_GRANULARITY_DOMAIN, MACHINE_DOMAIN, 0, 0),
			 -ETIMEDOUT);
	assert_int_equal(revoked, 1);
	viommu_unpin(&pin);
	machine_settle(&m);
	m.patience = 0;
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, false), 0);
	pin_at(&m, &pin, GPA, 4096, &revoked);
	m.patience = 200;
	assert_int_equal(vi_driver_vtd_enable_translation(&m.driver, true), -ETIMEDOUT);
	assert_int_equal(revoked, 2);
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_true(machine_get32(&m, VTD_GSTS) & VTD_GSTS_TES);
	machine_finish(&m);
}

struct remover {
	struct machine *m;
	_Atomic bool done;
};

static void *remove_memory(void *arg)
{
	struct remover *r = arg;

	assert_int_equal(viommu_mem_remove(r->m->viommu, GPA, 4096), 4096);
	atomic_store(&r->done, true);
	return NULL;
}

/* Memory goes when its pins have come back; pins of other memory do not matter. */
static void test_memory_removal_waits_for_its_pins(void **state)
{
	unsigned revoked = 0, other_revoked = 0;
	struct viommu_pin pin, other;
	struct remover r = {0};
	pthread_t thread;
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, 8192, RW);
	pin_at(&m, &pin, IOVA, 4096, &revoked);
	pin_at(&m, &other, IOVA + 4096, 4096, &other_revoked);
	r.m = &m;
	assert_int_equal(pthread_create(&thread, NULL, remove_memory, &r), 0);
	while (__atomic_load_n(&revoked, __ATOMIC_SEQ_CST) == 0)
		sched_yield();
	assert_false(atomic_load(&r.done));
	viommu_unpin(&pin);
	pthread_join(thread, NULL);
	assert_int_equal(other_revoked, 0);
	viommu_unpin(&other);
	machine_expect_read(&m, IOVA, -EFAULT);
	machine_expect_read(&m, IOVA + 4096, 0);
	machine_finish(&m);
}

static void *remove_device(void *arg)
{
	struct remover *r = arg;

	viommu_requester_remove(r->m->device);
	atomic_store(&r->done, true);
	return NULL;
}

/* A device goes when its pins came back, though its context is not cached any more; others keep theirs. */
static void test_device_removal_waits_for_its_pins(void **state)
{
	unsigned revoked = 0, other_revoked = 0;
	struct viommu_pin pin, other = {.revoke = on_revoke, .opaque = &other_revoked};
	struct viommu_requester *neighbour;
	struct remover r = {0};
	pthread_t thread;
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	r.m = &m;
	assert_int_equal(viommu_requester_add(m.viommu, MACHINE_RID + 1, &neighbour), 0);
	pin_at(&m, &pin, GPA, 4096, &revoked);
	assert_int_equal(viommu_pin(m.thread, neighbour, GPA, 4096, VIOMMU_READ, &other), 0);
	m.patience = 50;
	assert_int_equal(vi_driver_vtd_flush_contexts(&m.driver, VTD_GRANULARITY_SELECTIVE, 0, MACHINE_RID,
						      0),
			 -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, remove_device, &r), 0);
	usleep(20000);
	assert_false(atomic_load(&r.done));
	viommu_unpin(&pin);
	pthread_join(thread, NULL);
	assert_int_equal(revoked, 1);
	assert_int_equal(other_revoked, 0);
	viommu_unpin(&other);
	machine_finish(&m);
}

static void *read_much(void *arg)
{
	struct remover *r = arg;
	static uint8_t buf[16u << 20];

	atomic_store(&r->done, true); /* begun, or about to */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(machine_read(r->m, 0, buf, sizeof(buf)), 0);
	atomic_store(&r->done, false);
	return NULL;
}

/* A call of many pieces is one use of the device: removal waits for the call, not for a piece. */
static void test_device_removal_waits_for_calls(void **state)
{
	struct remover r = {0};
	pthread_t thread;
	struct machine m;

	(void)state;
	machine_init(&m, TRAPPED, NULL);
	r.m = &m;
	assert_int_equal(pthread_create(&thread, NULL, read_much, &r), 0);
	while (machine_counter(&m, "bytes_read") == 0)
		sched_yield();
	/* No new call may begin once removal has: here the reader's last one is running. */
	while (machine_counter(&m, "bytes_read") < (49u << 20))
		sched_yield();
	viommu_requester_remove(m.device);
	pthread_join(thread, NULL);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pin_lends_memory),
		cmocka_unit_test(test_invalidation_waits_for_the_pin),
		cmocka_unit_test(test_all_granularities_find_the_pin),
		cmocka_unit_test(test_later_pins_are_left_alone),
		cmocka_unit_test(test_pass_through_and_untranslated_pins),
		cmocka_unit_test(test_memory_removal_waits_for_its_pins),
		cmocka_unit_test(test_device_removal_waits_for_its_pins),
		cmocka_unit_test(test_device_removal_waits_for_calls),
	};

	return cmocka_run_group_tests_name("core pin", tests, NULL, NULL);
}
