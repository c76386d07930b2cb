/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of virtio 1.3, 5.13.6, one after the other: what each does, and every status that it has. */
#include <errno.h>
#include <string.h>

#include "bed.h"

#define TOP	 (UINT64_C(1) << 48)
#define MSI	 UINT64_C(0xfee00000)
#define MSI_LAST UINT64_C(0xfeefffff)

/* ---------------------------------------------------------------- configuration */

static void test_configuration(void **state)
{
	const struct viommu_virtio_options options = {
		.sz = sizeof(options), .blocked = true, .input_width = 40, .domain_last = 0xabcdef01};
	uint8_t all[64], other = 7;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(viommu_features_offered(b.viommu), F_ALL);
	assert_int_equal(bed_config64(&b, 0), ~UINT64_C(0xfff));
	assert_int_equal(bed_config64(&b, 8), 0);
	assert_int_equal(bed_config64(&b, 16), TOP - 1);
	assert_int_equal(bed_config64(&b, 24), UINT64_C(0xffff) << 32);
	assert_int_equal(bed_config64(&b, 32), 512 | UINT64_C(1) << 32);
	assert_int_equal(bed_config64(&b, 40), 0);
	/* By bytes, and in pieces that cross words. */
	assert_int_equal(viommu_config_read(b.viommu, 3, all, 61), 0);
	for (size_t i = 0; i < 61; i++)
		assert_int_equal(all[i], bed_config8(&b, 3 + i));
	/* Of all that is written one byte is taken. */
	memset(all, 0, sizeof(all));
	assert_int_equal(viommu_config_write(b.viommu, 0, all, sizeof(all)), 0);
	assert_int_equal(bed_config64(&b, 16), TOP - 1);
	assert_int_equal(bed_config64(&b, 32), 512);
	bed_set_bypass(&b, other);
	assert_int_equal(bed_config8(&b, 36), 0);
	bed_set_bypass(&b, 1);
	assert_int_equal(bed_config8(&b, 36), 1);
	/* Not without the feature. */
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL & ~F_BYPASS_CONFIG), 0);
	bed_set_bypass(&b, 0);
	assert_int_equal(bed_config8(&b, 36), 1);
	assert_int_equal(viommu_features_accept(b.viommu, 1u << 3), -EINVAL);
	bed_end(&b);
	bed_begin(&b, &options);
	assert_int_equal(bed_config64(&b, 16), (UINT64_C(1) << 40) - 1);
	assert_int_equal(bed_config64(&b, 24), UINT64_C(0xabcdef01) << 32);
	assert_int_equal(bed_config64(&b, 32), 512);
	bed_end(&b);
}

/* Of a model that takes requests no other call makes sense, and the other way round. */
static void test_other_models_take_none(void **state)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options o = {.sz = sizeof(o), .model = VIOMMU_MODEL_VTD};
	uint8_t bytes[VIOMMU_ANSWER_BYTES] = {0};
	uint64_t token;

	(void)state;
	for (unsigned model = VIOMMU_MODEL_NONE; model <= VIOMMU_MODEL_VTD; model++) {
		struct viommu *v;

		o.model = (enum viommu_model)model;
		assert_int_equal(viommu_create(&ops, NULL, &o, &v), 0);
		assert_int_equal(viommu_features_offered(v), 0);
		assert_int_equal(viommu_features_accept(v, 0), -ENOTSUP);
		assert_int_equal(viommu_config_read(v, 0, bytes, 8), -ENOTSUP);
		assert_int_equal(viommu_config_write(v, 0, bytes, 8), -ENOTSUP);
		assert_int_equal(viommu_request_submit(v, 0, bytes, 20, 4), -ENOTSUP);
		assert_int_equal(viommu_request_answer(v, &token, bytes, sizeof(bytes)), -ENOTSUP);
		assert_int_equal(viommu_event_take(v, bytes, 24), -ENOTSUP);
		assert_int_equal(viommu_driver_reset(v, false), -ENOTSUP);
		viommu_destroy(v);
	}
}

static int create(const struct viommu_virtio_options *options)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops)};
	const struct viommu_options o = {.sz = sizeof(o),
					 .model = VIOMMU_MODEL_VIRTIO,
					 .model_options = options};
	struct viommu *v = NULL;
	int err = viommu_create(&ops, NULL, &o, &v);
	uint64_t value;

	if (err)
		return err;
	assert_int_equal(viommu_regs_size(v), 0);
	assert_int_equal(viommu_regs_read(v, 0, 4, &value), -EINVAL);
	viommu_destroy(v);
	return 0;
}

static void test_options(void **state)
{
	struct {
		struct viommu_virtio_options o;
		uint64_t of_a_later_version;
	} larger = {.o = {.sz = sizeof(larger)}};
	struct viommu_virtio_options o = {.sz = sizeof(o), .input_width = 31};

	(void)state;
	assert_int_equal(create(NULL), 0);
	assert_int_equal(create(&o), -EINVAL);
	o.input_width = 53;
	assert_int_equal(create(&o), -EINVAL);
	o.input_width = 52;
	assert_int_equal(create(&o), 0);
	o.sz = 1;
	assert_int_equal(create(&o), -EINVAL);
	assert_int_equal(create(&larger.o), 0);
	larger.of_a_later_version = 1;
	assert_int_equal(create(&larger.o), -E2BIG);
}

/* -------------------------------------------------------------------- the life of it */

static void test_attach_map_access_unmap_detach(void **state)
{
	struct bed b;
	uint8_t byte;

	(void)state;
	bed_begin(&b, NULL);
	bed_lands(&b, b.device, 5 * PAGE, 5 * PAGE); /* in no domain: bypass is 1 */
	assert_int_equal(bed_attach(&b, 3, EP, 0), OK);
	bed_refused(&b, b.device, 5 * PAGE, 2);
	assert_int_equal(bed_map(&b, 3, 16 * PAGE, 18 * PAGE - 1, 40 * PAGE, RW), OK);
	assert_int_equal(bed_map(&b, 3, 18 * PAGE, 19 * PAGE - 1, 7 * PAGE, READ), OK);
	assert_int_equal(bed_map(&b, 3, 20 * PAGE, 21 * PAGE - 1, 8 * PAGE, WRITE | MMIO), OK);
	assert_int_equal(bed_map(&b, 3, 22 * PAGE, 23 * PAGE - 1, 9 * PAGE, 0), OK);
	bed_lands(&b, b.device, 16 * PAGE + 3, 40 * PAGE + 3);
	bed_lands(&b, b.device, 17 * PAGE, 41 * PAGE);
	b.ram[7 * PAGE] = 0x77;
	assert_int_equal(bed_get(&b, 18 * PAGE, &byte), 0);
	assert_int_equal(byte, 0x77);
	bed_refused(&b, b.device, 18 * PAGE, 2);
	bed_lands(&b, b.device, 20 * PAGE, 8 * PAGE);
	assert_int_equal(bed_get(&b, 20 * PAGE, &byte), -EACCES);
	assert_int_equal(bed_get(&b, 22 * PAGE, &byte), -EACCES);
	bed_settle(&b);
	bed_lands(&b, b.device2, 5 * PAGE, 5 * PAGE); /* the other one is not concerned */
	assert_int_equal(bed_unmap(&b, 3, 16 * PAGE, 18 * PAGE - 1), OK);
	assert_int_equal(bed_put(&b, 17 * PAGE, 1), -EACCES);
	assert_int_equal(bed_detach(&b, 3, EP), OK);
	bed_lands(&b, b.device, 5 * PAGE, 5 * PAGE);
	bed_set_bypass(&b, 0);
	bed_settle(&b);
	while (bed_event(&b, (uint8_t[24]){0}))
		;
	bed_refused(&b, b.device, 5 * PAGE, 1);
	bed_end(&b);
}

/* The rules that the specification has as examples, by pages. */
static void test_unmap_by_the_letter(void **state)
{
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 5 * PAGE - 1), OK); /* 1 */
	assert_int_equal(bed_map(&b, 1, 0, 10 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 10 * PAGE - 1), OK); /* 2 */
	assert_int_equal(bed_map(&b, 1, 0, 5 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, 5 * PAGE, 10 * PAGE - 1, 5 * PAGE, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 10 * PAGE - 1), OK); /* 3 */
	assert_int_equal(bed_map(&b, 1, 0, 10 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 5 * PAGE - 1), RANGE); /* 4 */
	assert_int_equal(bed_unmap(&b, 1, 5 * PAGE, 10 * PAGE - 1), RANGE);
	bed_lands(&b, b.device, 9 * PAGE, 9 * PAGE);
	bed_lands(&b, b.device, 0, 0);
	assert_int_equal(bed_unmap(&b, 1, 0, 10 * PAGE - 1), OK);
	assert_int_equal(bed_map(&b, 1, 0, 5 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, 5 * PAGE, 10 * PAGE - 1, 5 * PAGE, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 5 * PAGE - 1), OK); /* 5 */
	bed_lands(&b, b.device, 5 * PAGE, 5 * PAGE);
	bed_refused(&b, b.device, 5 * PAGE - 1, 2);
	/* One that is whole and one that would be split: neither goes. */
	assert_int_equal(bed_map(&b, 1, 0, 2 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 6 * PAGE - 1), RANGE);
	bed_lands(&b, b.device, 0, 0);
	assert_int_equal(bed_unmap(&b, 1, 0, UINT64_MAX), OK);
	assert_int_equal(bed_map(&b, 1, 0, 5 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 10 * PAGE - 1), OK); /* 6 */
	assert_int_equal(bed_map(&b, 1, 0, 5 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, 10 * PAGE, 15 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, 0, 15 * PAGE - 1), OK); /* 7 */
	bed_refused(&b, b.device, 0, 2);
	bed_refused(&b, b.device, 10 * PAGE, 2);
	bed_end(&b);
}

/* ----------------------------------------------------------------------- statuses */

static void test_statuses_of_attach_and_detach(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP + 1, 0), NOENT);
	assert_int_equal(bed_attach(&b, 1, RID, 0), NOENT); /* of another segment */
	assert_int_equal(bed_attach(&b, 1, EP, 2), INVAL);
	assert_int_equal(bed_attach(&b, 0x10000, EP, 0), RANGE);
	bed_write_attach(request, 1, EP, 0);
	request[18] = 1;
	assert_int_equal(bed_ask(&b, request, 20, 4), INVAL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 1, EP2, 1), INVAL); /* no bypass domain */
	assert_int_equal(bed_attach(&b, 2, EP2, 1), OK);
	assert_int_equal(bed_attach(&b, 2, EP, 0), INVAL); /* a bypass domain */
	assert_int_equal(bed_detach(&b, 1, EP + 1), NOENT);
	assert_int_equal(bed_detach(&b, 2, EP), INVAL);
	assert_int_equal(bed_detach(&b, 9, EP), INVAL);
	assert_int_equal(bed_detach(&b, 1, EP), OK);
	assert_int_equal(bed_detach(&b, 1, EP), INVAL);
	assert_int_equal(viommu_features_accept(b.viommu, F_MAP_UNMAP), 0);
	assert_int_equal(bed_attach(&b, 3, EP, 1), INVAL);
	bed_end(&b);
}

static void test_statuses_of_map(void **state)
{
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 0, RW), NOENT);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 2, EP2, 1), OK);
	assert_int_equal(bed_map(&b, 2, 0, PAGE - 1, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 0, 8), INVAL);
	assert_int_equal(bed_map(&b, 1, 1, PAGE - 1, 0, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, 0, PAGE, 0, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 512, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, PAGE, PAGE - 1, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, 4 * PAGE, PAGE - 1, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, TOP, TOP + PAGE - 1, 0, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, TOP - PAGE, TOP + PAGE - 1, 0, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, 0, UINT64_MAX, 0, RW), RANGE);
	assert_int_equal(bed_map(&b, 1, TOP - PAGE, TOP - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, MSI_LAST + 1 - PAGE, MSI_LAST, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, MSI - PAGE, MSI + PAGE - 1, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, 0, TOP / 2 - 1, 0, RW), INVAL);
	assert_int_equal(bed_map(&b, 1, MSI - PAGE, MSI - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, MSI_LAST + 1, MSI_LAST + PAGE, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, UINT64_C(1) << 46, RW), FAULT);
	assert_int_equal(bed_map(&b, 1, 0, 2 * PAGE - 1, -PAGE, RW), FAULT);
	assert_int_equal(bed_map(&b, 1, 0, 2 * PAGE - 1, (UINT64_C(1) << 46) - PAGE, RW), FAULT);
	assert_int_equal(bed_map(&b, 1, 0, 2 * PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_map(&b, 1, PAGE, 3 * PAGE - 1, 0, RW), INVAL);
	/* A mapping that leads to interrupt messages is one, and no access goes by it. */
	assert_int_equal(bed_map(&b, 1, 8 * PAGE, 9 * PAGE - 1, MSI, RW), OK);
	bed_refused(&b, b.device, 8 * PAGE, 0);
	assert_int_equal(viommu_features_accept(b.viommu, F_MAP_UNMAP), 0);
	assert_int_equal(bed_map(&b, 1, 4 * PAGE, 5 * PAGE - 1, 0, RW | MMIO), INVAL);
	assert_int_equal(viommu_features_accept(b.viommu, F_BYPASS_CONFIG), 0);
	assert_int_equal(bed_map(&b, 1, 4 * PAGE, 5 * PAGE - 1, 0, RW), UNSUPP);
	bed_end(&b);
}

static void test_statuses_of_unmap(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_unmap(&b, 1, 0, PAGE - 1), NOENT);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 2, EP2, 1), OK);
	assert_int_equal(bed_unmap(&b, 2, 0, PAGE - 1), INVAL);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 0, RW), OK);
	assert_int_equal(bed_unmap(&b, 1, PAGE - 1, 0), INVAL);
	assert_int_equal(bed_unmap(&b, 1, 1, PAGE - 1), RANGE);
	assert_int_equal(bed_unmap(&b, 1, 0, PAGE - 2), RANGE);
	bed_write_unmap(request, 1, 0, PAGE - 1);
	request[24] = 1;
	assert_int_equal(bed_ask(&b, request, 28, 4), INVAL);
	bed_lands(&b, b.device, 0, 0);
	assert_int_equal(viommu_features_accept(b.viommu, F_BYPASS_CONFIG), 0);
	assert_int_equal(bed_unmap(&b, 1, 0, PAGE - 1), UNSUPP);
	assert_int_equal(viommu_features_accept(b.viommu, F_MAP_UNMAP), 0);
	assert_int_equal(bed_unmap(&b, 1, 0, PAGE + 5), OK);
	bed_refused(&b, b.device, 0, 2);
	bed_end(&b);
}

static void test_probe(void **state)
{
	const uint8_t property[24] = {1, 0, 20, 0, 1,	 0,    0,    0,	   0, 0, 0xe0, 0xfe,
				      0, 0, 0,	0, 0xff, 0xff, 0xef, 0xfe, 0, 0, 0,    0};
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	bed_write_probe(request, EP);
	assert_int_equal(bed_ask(&b, request, 72, 516), OK);
	assert_int_equal(b.used, 516);
	assert_memory_equal(b.answer, property, sizeof(property));
	for (unsigned i = sizeof(property); i < 516; i++)
		assert_int_equal(b.answer[i], 0);
	/* More room than is needed: the tail is where the properties end. */
	assert_int_equal(bed_ask(&b, request, 72, 4096), OK);
	assert_int_equal(b.used, 516);
	assert_int_equal(bed_ask(&b, request, 72, 515), INVAL);
	assert_int_equal(b.used, 515);
	for (unsigned i = 0; i < 511; i++)
		assert_int_equal(b.answer[i], 0);
	assert_int_equal(bed_ask(&b, request, 72, 4), INVAL);
	bed_write_probe(request, EP + 1);
	assert_int_equal(bed_ask(&b, request, 72, 516), NOENT);
	assert_int_equal(b.used, 516);
	assert_int_equal(b.answer[0], 0);
	bed_end(&b);
}

/* Buffers that come back as they were, with a used length of 0. */
static void test_requests_that_are_not_understood(void **state)
{
	static const uint8_t sizes[] = {0, 20, 20, 36, 28, 72};
	uint8_t request[VIOMMU_REQUEST_BYTES] = {0};
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	for (unsigned type = 0; type < 256; type++) {
		unsigned size = type >= ATTACH && type <= PROBE ? sizes[type] : 0;

		request[0] = (uint8_t)type;
		if (!size)
			assert_int_equal(bed_ask(&b, request, sizeof(request), 516), UNWRITTEN);
		for (unsigned length = 0; size && length < size; length++)
			assert_int_equal(bed_ask(&b, request, length, 516), UNWRITTEN);
		for (unsigned room = 0; size && room < 4; room++)
			assert_int_equal(bed_ask(&b, request, size, room), UNWRITTEN);
		if (size)
			assert_true(bed_ask(&b, request, size, 4) <= NOMEM);
	}
	bed_end(&b);
}

/* -------------------------------------------------------------------- domains */

static void test_domains(void **state)
{
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 4 * PAGE, RW), OK);
	bed_lands(&b, b.device, 0, 4 * PAGE);
	bed_lands(&b, b.device2, 0, 4 * PAGE);
	/* To another one without a DETACH; what it leaves stays for the other endpoint. */
	assert_int_equal(bed_attach(&b, 2, EP, 0), OK);
	bed_refused(&b, b.device, 0, 2);
	bed_lands(&b, b.device2, 0, 4 * PAGE);
	/* With its last endpoint a domain ends, and the next with this number is empty. */
	assert_int_equal(bed_detach(&b, 1, EP2), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 4 * PAGE, RW), NOENT);
	assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
	bed_refused(&b, b.device2, 0, 2);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 5 * PAGE, RW), OK);
	bed_lands(&b, b.device2, 0, 5 * PAGE);
	/* And as a bypass domain. */
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 2, EP, 1), OK);
	bed_lands(&b, b.device, 9 * PAGE, 9 * PAGE);
	bed_set_bypass(&b, 0);
	bed_lands(&b, b.device, 9 * PAGE, 9 * PAGE);
	assert_int_equal(bed_detach(&b, 2, EP), OK);
	bed_refused(&b, b.device, 9 * PAGE, 1);
	bed_end(&b);
}

/* Numbers of 32 bits, which core does not have. */
static void test_large_numbers_of_domains(void **state)
{
	const struct viommu_virtio_options options = {.sz = sizeof(options), .domain_last = UINT32_MAX};
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct bed b;

	(void)state;
	bed_begin(&b, &options);
	assert_int_equal(bed_attach(&b, UINT32_MAX, EP, 0), OK);
	assert_int_equal(bed_attach(&b, 0xffff, EP2, 0), OK);
	assert_int_equal(bed_map(&b, UINT32_MAX, 0, PAGE - 1, 4 * PAGE, RW), OK);
	assert_int_equal(bed_map(&b, 0xffff, 0, PAGE - 1, 5 * PAGE, RW), OK);
	bed_lands(&b, b.device, 0, 4 * PAGE);
	bed_lands(&b, b.device2, 0, 5 * PAGE);
	assert_int_equal(viommu_requester_describe(b.device2, &info), 0);
	assert_int_equal(info.domain_id, 0xffff);
	assert_int_equal(info.translation, VIOMMU_TRANSLATION_MAPPED);
	assert_int_equal(info.address_width, 48);
	bed_end(&b);
}

static void expect(struct viommu_requester *r, enum viommu_translation translation, uint8_t reason)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};

	assert_int_equal(viommu_requester_describe(r, &info), 0);
	assert_int_equal(info.translation, translation);
	assert_int_equal(info.reason, reason);
	assert_int_equal(info.entry_count, 0);
}

static void test_what_is_told(void **state)
{
	struct viommu_requester *pasid;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	expect(b.device, VIOMMU_TRANSLATION_OFF, 0);
	assert_int_equal(bed_attach(&b, 1, EP, 1), OK);
	expect(b.device, VIOMMU_TRANSLATION_PASS_THROUGH, 0);
	assert_int_equal(bed_attach(&b, 2, EP, 0), OK);
	expect(b.device, VIOMMU_TRANSLATION_MAPPED, 0);
	bed_set_bypass(&b, 0);
	expect(b.device2, VIOMMU_TRANSLATION_BLOCKED, 1);
	assert_int_equal(viommu_requester_pasid_add(b.device, 5, &pasid), 0);
	expect(pasid, VIOMMU_TRANSLATION_BLOCKED, 4);
	for (unsigned i = 1; i < 6; i++)
		assert_true(strlen(viommu_reason_text(b.viommu, (uint8_t)i)) > 10);
	bed_end(&b);
}

/* An endpoint that has gone is in no domain, and the next with its id neither. */
static void test_endpoints_come_and_go(void **state)
{
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	bed_set_bypass(&b, 0);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, 4 * PAGE, RW), OK);
	bed_lands(&b, b.device, 0, 4 * PAGE);
	viommu_requester_remove(b.device);
	assert_int_equal(bed_map(&b, 1, PAGE, 2 * PAGE - 1, 4 * PAGE, RW), NOENT);
	assert_int_equal(bed_detach(&b, 1, EP), NOENT);
	assert_int_equal(viommu_requester_add(b.viommu, RID, &b.device), 0);
	bed_refused(&b, b.device, 0, 1);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	bed_refused(&b, b.device, 0, 2);
	viommu_requester_remove(b.device);
	bed_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_other_models_take_none),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_attach_map_access_unmap_detach),
		cmocka_unit_test(test_unmap_by_the_letter),
		cmocka_unit_test(test_statuses_of_attach_and_detach),
		cmocka_unit_test(test_statuses_of_map),
		cmocka_unit_test(test_statuses_of_unmap),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_requests_that_are_not_understood),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_large_numbers_of_domains),
		cmocka_unit_test(test_what_is_told),
		cmocka_unit_test(test_endpoints_come_and_go),
	};

	return cmocka_run_group_tests_name("virtio-iommu requests", tests, NULL, NULL);
}
