/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest can make the unit keep, and do in a visit, is bounded. */
#include <errno.h>
#include <string.h>

#include "bed.h"

#define MANY 1000

static void map_many(struct bed *b, uint32_t domain)
{
	for (uint64_t n = 0; n < MANY; n++)
		assert_int_equal(bed_map(b, domain, n * PAGE, (n + 1) * PAGE - 1, n * PAGE, RW), OK);
}

static void test_requests_that_wait(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES], answer[VIOMMU_ANSWER_BYTES];
	size_t length = bed_write_probe(request, EP);
	uint64_t token = 0;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < VIOMMU_REQUESTS_MOST; i++)
			bed_submit(&b, request, length, 516);
		assert_int_equal(viommu_request_submit(b.viommu, 1, request, length, 516), -EAGAIN);
		assert_int_equal(viommu_request_answer(b.viommu, &token, answer, 516), -EAGAIN);
		bed_settle(&b);
		assert_int_equal(viommu_request_submit(b.viommu, 1, request, length, 516), -EAGAIN);
		assert_int_equal(viommu_request_answer(b.viommu, &token, answer, 515), -ENOSPC);
		for (unsigned i = 0; i < VIOMMU_REQUESTS_MOST; i++)
			assert_int_equal(bed_answer(&b), OK);
		assert_int_equal(bed_answer(&b), WAITING);
	}
	bed_end(&b);
}

/* How many visits of this budget the requests in the queue take. None does more than its budget. */
static unsigned visits(struct bed *b, unsigned budget)
{
	unsigned count = 0;
	int done;

	do {
		done = viommu_process(b->viommu, budget);
		assert_true((done & ~VIOMMU_PROCESS_PENDING) <= (int)budget);
		assert_true(++count < 100000);
	} while (done & VIOMMU_PROCESS_PENDING);
	return count;
}

static void test_work_of_a_visit(void **state)
{
	const unsigned budgets[] = {1, 2, 10, 999, 1000, 1001};
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
		map_many(&b, 1);
		bed_lands(&b, b.device, 5 * PAGE, 5 * PAGE);
		bed_submit(&b, request, bed_write_unmap(request, 1, 0, UINT64_MAX), 4);
		viommu_process(b.viommu, 1);
		assert_int_equal(bed_answer(&b), WAITING);
		assert_in_range(visits(&b, budgets[i]), (MANY - 1) / budgets[i], MANY / budgets[i] + 3);
		assert_int_equal(bed_answer(&b), OK);
		bed_refused(&b, b.device, 5 * PAGE, 2);
		/* The mappings of a domain that ends. */
		map_many(&b, 1);
		bed_submit(&b, request, bed_write_detach(request, 1, EP), 4);
		viommu_process(b.viommu, 1);
		assert_in_range(visits(&b, budgets[i]), (MANY - 1) / budgets[i], MANY / budgets[i] + 3);
		assert_int_equal(bed_answer(&b), OK);
		assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	}
	bed_end(&b);
}

/* In the middle of an UNMAP its domain ends with the device. */
static void test_device_that_goes_in_the_middle(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	map_many(&b, 1);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, UINT64_MAX), 4);
	viommu_process(b.viommu, 10);
	viommu_requester_remove(b.device);
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, UINT64_MAX), NOENT);
	bed_end(&b);
}

static void test_mappings(void **state)
{
	const struct viommu_virtio_options options = {.sz = sizeof(options), .mappings_most = 8};
	struct bed b;

	(void)state;
	bed_begin(&b, &options);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 2, EP2, 0), OK);
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t n = 0; n < 8; n++)
			assert_int_equal(bed_map(&b, 1 + (n & 1), n * PAGE, (n + 1) * PAGE - 1, 0, RW), OK);
		assert_int_equal(bed_map(&b, 1, 8 * PAGE, 9 * PAGE - 1, 0, RW), NOMEM);
		assert_int_equal(bed_map(&b, 2, 8 * PAGE, 9 * PAGE - 1, 0, RW), NOMEM);
		bed_refused(&b, b.device, 8 * PAGE, 2);
		/* Those of a domain that ends make room, too. */
		assert_int_equal(bed_detach(&b, 1, EP), OK);
		assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
		assert_int_equal(bed_map(&b, 2, 8 * PAGE, 9 * PAGE - 1, 0, RW), OK);
		assert_int_equal(bed_unmap(&b, 2, 0, UINT64_MAX), OK);
	}
	bed_end(&b);
}

static void test_events_wait_for_buffers(void **state)
{
	uint8_t event[24], byte = 0;
	uint64_t address;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (uint64_t n = 0; n < VIOMMU_EVENTS_MOST + 36; n++) {
		assert_int_equal(bed_get(&b, n * PAGE, &byte), -EACCES);
		bed_settle(&b);
	}
	assert_int_equal(bed_counter(&b, "faults_recorded"), VIOMMU_EVENTS_MOST);
	assert_int_equal(bed_counter(&b, "faults_lost"), 36);
	assert_int_equal(b.errors, VIOMMU_EVENTS_MOST + 36);
	assert_int_equal(viommu_event_take(b.viommu, event, 23), -ENOSPC);
	for (uint64_t n = 0; n < VIOMMU_EVENTS_MOST; n++) {
		assert_true(bed_event(&b, event));
		memcpy(&address, event + 16, sizeof(address));
		assert_int_equal(address, n * PAGE);
		assert_int_equal(event[0], 2);
		assert_int_equal(event[4], 1); /* a read, */
		assert_int_equal(event[5], 1); /* with its address */
	}
	assert_false(bed_event(&b, event));
	/* There is room again. */
	bed_refused(&b, b.device, 77 * PAGE, 2);
	bed_end(&b);
}

/* Devices that fault for ever do not keep a state from being saved. */
static void test_flood_of_faults_beside_saving(void **state)
{
	uint8_t bytes[4096];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_put(&b, 0, 1), -EACCES);
	b.tries = 2000;
	assert_true(viommu_save(b.viommu, bytes, sizeof(bytes)) > 0);
	assert_in_range(b.tries, 1000, 1999);
	bed_end(&b);
}

/* Devices that fault for ever keep no request from being carried out, whatever the budget. */
static void test_flood_of_faults_beside_requests(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned budget = 1; budget <= 2; budget++) {
		unsigned visits = 0;

		bed_submit(&b, request, bed_write_unmap(request, 1, 0, UINT64_MAX), 4);
		do {
			for (unsigned i = 0; i < 4; i++)
				assert_int_equal(bed_put(&b, 0, 1), -EACCES);
			viommu_process(b.viommu, budget);
			assert_true(++visits < 100);
		} while (bed_answer(&b) == WAITING);
	}
	bed_end(&b);
}

/* Nor does a driver that asks for ever keep faults from being told. */
static void test_flood_of_requests_beside_faults(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES], event[24];
	size_t length = bed_write_probe(request, EP);
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned budget = 1; budget <= 2; budget++) {
		unsigned visits = 0;

		assert_int_equal(bed_put(&b, 0, 1), -EACCES);
		do {
			for (unsigned i = 0; i < 4; i++)
				bed_submit(&b, request, length, 516);
			viommu_process(b.viommu, budget);
			while (bed_answer(&b) != WAITING)
				;
			assert_true(++visits < 10);
		} while (!bed_event(&b, event));
		bed_settle(&b);
		while (bed_answer(&b) != WAITING)
			;
	}
	bed_end(&b);
}

/* After a reset or a restoration somebody is asked to free what was mapped before. */
static void test_mappings_of_before_are_freed(void **state)
{
	uint8_t bytes[4096];
	int64_t length;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	length = viommu_save(b.viommu, bytes, sizeof(bytes));
	for (unsigned way = 0; way < 2; way++) {
		assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
		assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
		map_many(&b, 1);
		b.kicks = 0;
		if (way)
			viommu_reset(b.viommu);
		else
			assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)length), 0);
		assert_true(b.kicks > 0);
		bed_settle(&b);
	}
	bed_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_that_wait),
		cmocka_unit_test(test_work_of_a_visit),
		cmocka_unit_test(test_device_that_goes_in_the_middle),
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_events_wait_for_buffers),
		cmocka_unit_test(test_flood_of_faults_beside_saving),
		cmocka_unit_test(test_flood_of_faults_beside_requests),
		cmocka_unit_test(test_flood_of_requests_beside_faults),
		cmocka_unit_test(test_mappings_of_before_are_freed),
	};

	return cmocka_run_group_tests_name("virtio-iommu bounds", tests, NULL, NULL);
}
