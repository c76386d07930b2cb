/* SPDX-License-Identifier: BSD-3-Clause */
/* Saved and restored, between any two steps; and states that are none. */
#include <errno.h>
#include <string.h>

#include "base/crc32.h"
#include "bed.h"

#define ROOM 4096

static size_t save(struct bed *b, uint8_t *bytes)
{
	int64_t length = viommu_save(b->viommu, bytes, ROOM);

	assert_true(length > 0 && length <= ROOM);
	return (size_t)length;
}

/* Into a unit that was made anew, in place of the one that it is of. */
static void move(struct bed *b)
{
	uint8_t bytes[ROOM], again[ROOM];
	size_t length = save(b, bytes);

	bed_end(b);
	bed_begin(b, NULL);
	/* Something that the state does not have. */
	assert_int_equal(bed_attach(b, 77, EP2, 0), OK);
	assert_int_equal(bed_map(b, 77, 0, PAGE - 1, 0, RW), OK);
	assert_int_equal(viommu_restore(b->viommu, bytes, length), 0);
	assert_int_equal(save(b, again), length);
	assert_memory_equal(bytes, again, length);
	b->errors = 0;
}

static void test_between_any_two_steps(void **state)
{
	uint8_t event[24];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	move(&b);
	bed_lands(&b, b.device, 3 * PAGE, 3 * PAGE);
	assert_int_equal(bed_attach(&b, 5, EP, 0), OK);
	move(&b);
	bed_refused(&b, b.device, 3 * PAGE, 2);
	assert_int_equal(bed_attach(&b, 9, EP2, 1), OK);
	assert_int_equal(bed_map(&b, 5, PAGE, 3 * PAGE - 1, 40 * PAGE, RW), OK);
	assert_int_equal(bed_map(&b, 5, 8 * PAGE, 9 * PAGE - 1, 50 * PAGE, WRITE), OK);
	move(&b);
	bed_lands(&b, b.device, 2 * PAGE, 41 * PAGE);
	bed_lands(&b, b.device, 8 * PAGE, 50 * PAGE);
	bed_lands(&b, b.device2, 3 * PAGE, 3 * PAGE);
	assert_int_equal(bed_get(&b, 8 * PAGE, event), -EACCES);
	bed_settle(&b);
	bed_set_bypass(&b, 0);
	move(&b);
	assert_true(bed_event(&b, event));
	assert_false(bed_event(&b, event));
	assert_int_equal(event[0], 2);
	assert_int_equal(event[17], 0x80);
	assert_int_equal(bed_config8(&b, 36), 0);
	assert_int_equal(bed_attach(&b, 5, EP2, 0), OK);
	assert_int_equal(bed_unmap(&b, 5, PAGE, 3 * PAGE - 1), OK);
	move(&b);
	bed_refused(&b, b.device, 2 * PAGE, 2);
	bed_lands(&b, b.device2, 8 * PAGE, 50 * PAGE);
	assert_int_equal(bed_detach(&b, 5, EP2), OK);
	move(&b);
	bed_refused(&b, b.device2, 8 * PAGE, 1);
	bed_set_bypass(&b, 1);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	move(&b);
	bed_lands(&b, b.device, 8 * PAGE, 50 * PAGE);
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	assert_int_equal(bed_map(&b, 5, 0, PAGE - 1, 0, RW), NOENT);
	assert_int_equal(bed_attach(&b, 5, EP2, 0), OK);
	move(&b);
	bed_lands(&b, b.device, 8 * PAGE, 50 * PAGE);
	bed_refused(&b, b.device2, 8 * PAGE, 2);
	assert_int_equal(bed_attach(&b, 5, EP, 0), OK);
	bed_refused(&b, b.device, 8 * PAGE, 2);
	bed_end(&b);
}

/* Requests that were submitted are carried out, and can be answered. */
static void test_requests_under_way(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES], bytes[ROOM];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	bed_submit(&b, request, bed_write_attach(request, 1, EP, 0), 4);
	bed_submit(&b, request, bed_write_map(request, 1, 0, PAGE - 1, PAGE, RW), 4);
	save(&b, bytes);
	assert_int_equal(bed_answer(&b), OK);
	assert_int_equal(bed_answer(&b), OK);
	bed_lands(&b, b.device, 0, PAGE);
	move(&b);
	bed_lands(&b, b.device, 0, PAGE);
	bed_end(&b);
}

static void test_other_address_widths(void **state)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options o = {.sz = sizeof(o), .model = VIOMMU_MODEL_VIRTIO, .host_address_width = 40};
	uint8_t bytes[ROOM];
	struct viommu *v;
	size_t length;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, UINT64_C(1) << 44, RW), OK);
	length = save(&b, bytes);
	bed_end(&b);
	assert_int_equal(viommu_create(&ops, NULL, &o, &v), 0);
	assert_int_equal(viommu_restore(v, bytes, length), -ENOTSUP);
	viommu_destroy(v);
}

static void test_other_units(void **state)
{
	const struct viommu_virtio_options others[] = {{.sz = sizeof(others[0]), .input_width = 40},
						       {.sz = sizeof(others[0]), .domain_last = 5},
						       {.sz = sizeof(others[0]), .mappings_most = 5}};
	uint8_t bytes[ROOM];
	size_t length;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	length = save(&b, bytes);
	bed_end(&b);
	for (unsigned i = 0; i < 3; i++) {
		bed_begin(&b, &others[i]);
		assert_int_equal(viommu_restore(b.viommu, bytes, length), -ENOTSUP);
		bed_end(&b);
	}
}

/* ------------------------------------------------------------------ forged states */

enum { HEADER = 4 }; /* numbers before those of the model */

static void put_number(uint8_t *bytes, size_t index, uint64_t value)
{
	memcpy(bytes + 8 * index, &value, sizeof(value));
}

/* With these numbers from `at` on, and a checksum that fits. Nothing of it may be taken over. */
static void refuse(struct bed *b, const uint8_t *good, size_t at, const uint64_t *numbers, size_t count)
{
	uint8_t bytes[ROOM];
	size_t length = 8 * (at + count);
	uint32_t crc;

	memcpy(bytes, good, 8 * at);
	for (size_t i = 0; i < count; i++)
		put_number(bytes, at + i, numbers[i]);
	put_number(bytes, 3, length - 8 * HEADER);
	crc = vi_crc32c(0, bytes, length);
	memcpy(bytes + length, &crc, sizeof(crc));
	assert_int_equal(viommu_restore(b->viommu, bytes, length + sizeof(crc)), -EBADMSG);
	bed_lands(b, b->device, 0, PAGE);
	bed_lands(b, b->device2, 0, 2 * PAGE);
}

#define REFUSE(b, good, at, ...)                                                                             \
	refuse(b, good, at, (const uint64_t[]){__VA_ARGS__},                                                 \
	       sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void test_states_that_are_none(void **state)
{
	const size_t plain = HEADER + 4, domains = HEADER + 7;
	uint8_t good[ROOM];
	struct viommu_requester *unit;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(viommu_requester_bypass_add(b.viommu, 0x18, &unit), 0);
	save(&b, good);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 2, EP2, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(bed_map(&b, 2, 0, PAGE - 1, 2 * PAGE, RW), OK);
	/* Options; bypass, features, events. */
	REFUSE(&b, good, HEADER, 48);
	REFUSE(&b, good, plain, 2, F_ALL, 0, 0);
	REFUSE(&b, good, plain, 1, 8, 0, 0);
	REFUSE(&b, good, plain, 1, F_ALL, VIOMMU_EVENTS_MOST + 1, 0);
	REFUSE(&b, good, plain, 1, F_ALL, 1, 0, 0x10000, 1, 0, 0);
	REFUSE(&b, good, plain, 1, F_ALL, 1, 0, 0, 0, 0, 0);
	REFUSE(&b, good, plain, 1, F_ALL, 0);
	REFUSE(&b, good, plain, 1, F_ALL, 0, 0, 0);
	/* Domains: number, bypass, kept, endpoints, mappings. */
	REFUSE(&b, good, domains, 0x10001);
	REFUSE(&b, good, domains, 1);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 0, 0);
	REFUSE(&b, good, domains, 1, 7, 2, 0, 1, RID, 0);
	REFUSE(&b, good, domains, 1, 0x10000, 0, 0, 1, RID, 0);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, 0x10000, 0);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 2, RID, RID, 0);
	REFUSE(&b, good, domains, 2, 7, 0, 0, 1, RID, 0, 8, 0, 0, 1, RID, 0);
	REFUSE(&b, good, domains, 2, 7, 0, 0, 1, RID, 0, 7, 0, 0, 1, RID2, 0);
	REFUSE(&b, good, domains, 1, 7, 1, 0, 1, RID, 1, 0, PAGE - 1, 0, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 1, 0, PAGE - 1, 0, 4);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 1, 0, PAGE, 0, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 1, 0, PAGE - 1, UINT64_C(1) << 46, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 1, UINT64_C(0xfee00000), UINT64_C(0xfee00fff), 0, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 1, UINT64_C(1) << 48, (UINT64_C(1) << 48) + PAGE - 1, 0,
	       RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, 2, 0, PAGE - 1, 0, RW, 0, PAGE - 1, 0, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, RID, UINT64_C(1) << 20, 0, PAGE - 1, 0, RW);
	REFUSE(&b, good, domains, 1, 7, 0, 2, 1, RID, 0);
	REFUSE(&b, good, domains, 1, 7, 0, 0, 1, 0x18, 0);	     /* the unit itself */
	REFUSE(&b, good, plain, 0, F_ALL, 0, 1, 7, 0, 1, 1, RID, 0); /* kept, though nobody is freed */
	bed_end(&b);
}

/* The reset that was under way is forgotten, and the next one is a whole one. */
static void test_restored_while_the_driver_resets(void **state)
{
	struct viommu_thread *inside;
	struct viommu_span span;
	uint8_t bytes[ROOM];
	struct bed b;
	size_t length;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	length = save(&b, bytes);
	assert_int_equal(viommu_thread_create(b.viommu, &inside), 0);
	viommu_enter(inside);
	assert_int_equal(viommu_translate(inside, b.device, 0, 1, VIOMMU_WRITE, &span), 0);
	assert_int_equal(viommu_driver_reset(b.viommu, false), VIOMMU_PROCESS_PENDING);
	viommu_exit(inside);
	viommu_thread_destroy(inside);
	assert_int_equal(viommu_restore(b.viommu, bytes, length), 0);
	bed_lands(&b, b.device, 0, PAGE);
	assert_int_equal(viommu_driver_reset(b.viommu, false), 0);
	bed_lands(&b, b.device, 4 * PAGE, 4 * PAGE);
	bed_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_between_any_two_steps),
		cmocka_unit_test(test_requests_under_way),
		cmocka_unit_test(test_other_address_widths),
		cmocka_unit_test(test_other_units),
		cmocka_unit_test(test_states_that_are_none),
		cmocka_unit_test(test_restored_while_the_driver_resets),
	};

	return cmocka_run_group_tests_name("virtio-iommu state", tests, NULL, NULL);
}
