/* SPDX-License-Identifier: BSD-3-Clause */
#include "bed.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_BYPASS 36

static void on_guest_error(void *opaque, const struct viommu_guest_event *event)
{
	struct bed *b = opaque;

	b->errors++;
	assert_true(strlen(event->text) > 5);
	if (b->tries) {
		b->tries--;
		assert_int_equal(bed_put(b, 0, 1), -EACCES);
	}
}

static void on_kick(void *opaque)
{
	struct bed *b = opaque;

	b->kicks++;
}

void bed_begin(struct bed *b, const struct viommu_virtio_options *options)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops),
					    .guest_error = on_guest_error,
					    .kick = on_kick};
	const struct viommu_options o = {.sz = sizeof(o),
					 .model = VIOMMU_MODEL_VIRTIO,
					 .segment = SEGMENT,
					 .iotlb_lg2 = 10,
					 .model_options = options};

	*b = (struct bed){.ram = calloc(1, RAM_SIZE)};
	assert_non_null(b->ram);
	assert_int_equal(viommu_create(&ops, b, &o, &b->viommu), 0);
	assert_int_equal(viommu_mem_add(b->viommu, 0, RAM_SIZE, b->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(viommu_requester_add(b->viommu, RID, &b->device), 0);
	assert_int_equal(viommu_requester_add(b->viommu, RID2, &b->device2), 0);
	assert_int_equal(viommu_thread_create(b->viommu, &b->thread), 0);
	assert_int_equal(viommu_features_accept(b->viommu, F_ALL), 0);
}

void bed_end(struct bed *b)
{
	viommu_destroy(b->viommu);
	free(b->ram);
}

/* ------------------------------------------------------------------ the driver */

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, 4);
	return at + 4;
}

static uint8_t *put64(uint8_t *at, uint64_t value)
{
	return put32(put32(at, (uint32_t)value), (uint32_t)(value >> 32));
}

/* The reserved bytes of the head mean nothing. */
static uint8_t *put_head(uint8_t *at, uint8_t type)
{
	return put32(at, type | 0xabcdef00u);
}

size_t bed_write_attach(uint8_t *at, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	put32(put32(put32(put32(put_head(at, ATTACH), domain), endpoint), flags), 0);
	return 20;
}

size_t bed_write_detach(uint8_t *at, uint32_t domain, uint32_t endpoint)
{
	put64(put32(put32(put_head(at, DETACH), domain), endpoint), UINT64_MAX);
	return 20;
}

size_t bed_write_map(uint8_t *at, uint32_t domain, uint64_t first, uint64_t last, uint64_t address,
		     uint32_t flags)
{
	put32(put64(put64(put64(put32(put_head(at, MAP), domain), first), last), address), flags);
	return 36;
}

size_t bed_write_unmap(uint8_t *at, uint32_t domain, uint64_t first, uint64_t last)
{
	put32(put64(put64(put32(put_head(at, UNMAP), domain), first), last), 0);
	return 28;
}

size_t bed_write_probe(uint8_t *at, uint32_t endpoint)
{
	memset(put32(put_head(at, PROBE), endpoint), 0xff, 64);
	return 72;
}

void bed_submit(struct bed *b, const uint8_t *request, size_t length, size_t room)
{
	assert_int_equal(viommu_request_submit(b->viommu, b->token++, request, length, room), 0);
}

unsigned bed_answer(struct bed *b)
{
	uint64_t token = UINT64_MAX;

	memset(b->answer, 0xee, sizeof(b->answer));
	b->used = viommu_request_answer(b->viommu, &token, b->answer, sizeof(b->answer));
	if (b->used == -EAGAIN)
		return WAITING;
	assert_int_equal(token, b->answered++);
	if (b->used == 0)
		return UNWRITTEN;
	assert_true(b->used >= 4 && b->used <= (int64_t)sizeof(b->answer));
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(b->answer[b->used - 4 + i], 0);
	return b->answer[b->used - 4];
}

unsigned bed_ask(struct bed *b, const uint8_t *request, size_t length, size_t room)
{
	unsigned status;

	bed_submit(b, request, length, room);
	for (;;) {
		viommu_process(b->viommu, 64);
		status = bed_answer(b);
		if (status != WAITING)
			return status;
		sched_yield();
	}
}

unsigned bed_attach(struct bed *b, uint32_t domain, uint32_t endpoint, uint32_t flags)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];

	return bed_ask(b, request, bed_write_attach(request, domain, endpoint, flags), 4);
}

unsigned bed_detach(struct bed *b, uint32_t domain, uint32_t endpoint)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];

	return bed_ask(b, request, bed_write_detach(request, domain, endpoint), 4);
}

unsigned bed_map(struct bed *b, uint32_t domain, uint64_t first, uint64_t last, uint64_t address,
		 uint32_t flags)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];

	return bed_ask(b, request, bed_write_map(request, domain, first, last, address, flags), 4);
}

unsigned bed_unmap(struct bed *b, uint32_t domain, uint64_t first, uint64_t last)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];

	return bed_ask(b, request, bed_write_unmap(request, domain, first, last), 4);
}

void bed_settle(struct bed *b)
{
	while (viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING)
		sched_yield();
}

/* ------------------------------------------------------------------- the device */

int bed_put(struct bed *b, uint64_t iova, uint8_t value)
{
	return viommu_write(b->thread, b->device, iova, &value, 1);
}

int bed_get(struct bed *b, uint64_t iova, uint8_t *ret_value)
{
	return viommu_read(b->thread, b->device, iova, ret_value, 1);
}

void bed_lands(struct bed *b, struct viommu_requester *device, uint64_t iova, uint64_t gpa)
{
	uint8_t value = 0x5a;

	b->ram[gpa] = 0;
	assert_int_equal(viommu_write(b->thread, device, iova, &value, 1), 0);
	assert_int_equal(b->ram[gpa], value);
}

bool bed_event(struct bed *b, uint8_t event[24])
{
	int64_t ret = viommu_event_take(b->viommu, event, 24);

	if (ret == -EAGAIN)
		return false;
	assert_int_equal(ret, 24);
	return true;
}

void bed_refused(struct bed *b, struct viommu_requester *device, uint64_t iova, uint8_t reason)
{
	uint8_t expected[24] = {reason}, event[24], value = 1;
	unsigned before = b->errors;

	assert_int_equal(viommu_write(b->thread, device, iova, &value, 1), -EACCES);
	bed_settle(b);
	assert_int_equal(b->errors, before + 1);
	put32(expected + 4, 1u << 8 | 1u << 1);
	put32(expected + 8, device == b->device ? EP : EP2);
	put64(expected + 16, iova);
	assert_true(bed_event(b, event));
	assert_memory_equal(event, expected, sizeof(event));
	assert_false(bed_event(b, event));
}

/* ------------------------------------------------------------- what can be read */

uint64_t bed_counter(struct bed *b, const char *name)
{
	const struct viommu_counter_info *info;
	uint64_t values[64];
	size_t count;

	info = viommu_counters_describe(&count);
	assert_int_equal(viommu_counters_read(b->viommu, values, count), count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(info[i].name, name))
			return values[i];
	fail_msg("no counter %s", name);
	return 0;
}

uint8_t bed_config8(struct bed *b, size_t offset)
{
	uint8_t value = 0xee;

	assert_int_equal(viommu_config_read(b->viommu, offset, &value, 1), 0);
	return value;
}

uint64_t bed_config64(struct bed *b, size_t offset)
{
	uint64_t value = 0;

	assert_int_equal(viommu_config_read(b->viommu, offset, &value, 8), 0);
	return le64toh(value);
}

void bed_set_bypass(struct bed *b, uint8_t value)
{
	assert_int_equal(viommu_config_write(b->viommu, CONFIG_BYPASS, &value, 1), 0);
}
