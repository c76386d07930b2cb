/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/virtio_iommu.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "pgtable/pgtable.h"
#include "spec/virtio.h"
#include "spec/virtio_iommu.h"

#define BUFFER_BYTES   64    /* of a request and its answer */
#define ANSWER	       48    /* where that begins */
#define LOOK_AT_STATUS 65536 /* turns of waiting, as the status is a trapped register */
#define REQUEST_QUEUE  0

/* ------------------------------------------------------------------------ registers */

static uint32_t read_common(const struct vi_driver_virtio *d, uint64_t offset, unsigned size)
{
	return (uint32_t)d->regs.read(d->regs.arg, d->places.common + offset, size);
}

static void write_common(const struct vi_driver_virtio *d, uint64_t offset, unsigned size, uint64_t value)
{
	d->regs.write(d->regs.arg, d->places.common + offset, size, value);
}

/* A 64-bit register is written in halves. */
static void write_address(const struct vi_driver_virtio *d, uint64_t offset, uint64_t address)
{
	write_common(d, offset, 4, address & UINT32_MAX);
	write_common(d, offset + 4, 4, address >> 32);
}

static uint8_t status(const struct vi_driver_virtio *d)
{
	return (uint8_t)read_common(d, VIRTIO_COMMON_STATUS, 1);
}

int vi_driver_virtio_stop(struct vi_driver_virtio *d)
{
	write_common(d, VIRTIO_COMMON_STATUS, 1, 0);
	while (status(d))
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	return 0;
}

static int negotiate(const struct vi_driver_virtio *d, uint64_t features)
{
	uint8_t bits = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;

	write_common(d, VIRTIO_COMMON_STATUS, 1, bits);
	features |= VIRTIO_F_VERSION_1;
	for (unsigned half = 0; half < 2; half++) {
		write_common(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, half);
		write_common(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, features >> 32 * half & UINT32_MAX);
	}
	write_common(d, VIRTIO_COMMON_STATUS, 1, bits | VIRTIO_STATUS_FEATURES_OK);
	return status(d) & VIRTIO_STATUS_FEATURES_OK ? 0 : -ENOTSUP;
}

/* The two descriptors of each buffer lead to it for good; a request has its length filled in. */
static void lay_descriptors(const struct vi_driver_virtio *d)
{
	for (unsigned i = 0; i < d->size / 2u; i++) {
		uint64_t at = d->descriptors + 2ull * i * VIRTQ_DESCRIPTOR_SIZE;
		uint64_t buffer = d->buffers + (uint64_t)i * BUFFER_BYTES;

		vi_driver_store64(d->memory, at, buffer);
		vi_driver_store64(d->memory, at + VIRTQ_DESCRIPTOR_SIZE, buffer + ANSWER);
		vi_driver_store64(d->memory, at + VIRTQ_DESCRIPTOR_SIZE + 8,
				  vi_to_field(VIRTQ_DESCRIPTOR_LEN, VIRTIO_IOMMU_TAIL_SIZE) |
					  vi_to_field(VIRTQ_DESCRIPTOR_FLAGS, VIRTQ_DESC_F_WRITE));
	}
}

static int set_up_queue(struct vi_driver_virtio *d)
{
	write_common(d, VIRTIO_COMMON_QUEUE_SELECT, 2, REQUEST_QUEUE);
	d->size = (uint16_t)vi_min(read_common(d, VIRTIO_COMMON_QUEUE_SIZE, 2), 2 * VI_DRIVER_VIRTIO_BATCH);
	write_common(d, VIRTIO_COMMON_QUEUE_SIZE, 2, d->size);
	d->descriptors = vi_driver_page_alloc(d->memory);
	d->driver = vi_driver_page_alloc(d->memory);
	d->device = vi_driver_page_alloc(d->memory);
	d->buffers = vi_driver_pages_alloc(d->memory, VI_DRIVER_VIRTIO_BATCH * BUFFER_BYTES / VI_PAGE_SIZE);
	if (!d->descriptors || !d->driver || !d->device || !d->buffers)
		return -ENOMEM;
	lay_descriptors(d);
	write_address(d, VIRTIO_COMMON_QUEUE_DESCRIPTORS, d->descriptors);
	write_address(d, VIRTIO_COMMON_QUEUE_DRIVER, d->driver);
	write_address(d, VIRTIO_COMMON_QUEUE_DEVICE, d->device);
	write_common(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
	d->bell = d->places.notify +
		  (uint64_t)read_common(d, VIRTIO_COMMON_QUEUE_NOTIFY, 2) * d->places.notify_multiplier;
	return 0;
}

int vi_driver_virtio_start(struct vi_driver_virtio *d, const struct vi_driver_regs *regs,
			   const struct vi_driver_virtio_places *places, struct vi_driver_memory *memory,
			   uint64_t features)
{
	int err;

	*d = (struct vi_driver_virtio){.regs = *regs, .places = *places, .memory = memory};
	err = vi_driver_virtio_stop(d);
	if (!err)
		err = negotiate(d, features);
	if (!err)
		err = set_up_queue(d);
	if (err)
		return err;
	write_common(d, VIRTIO_COMMON_STATUS, 1,
		     VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			     VIRTIO_STATUS_DRIVER_OK);
	return 0;
}

/* ------------------------------------------------------------------------- requests */

static void put32(struct vi_driver_virtio_request *r, unsigned offset, uint32_t value)
{
	value = htole32(value);
	memcpy(r->bytes + offset, &value, sizeof(value));
}

static void put64(struct vi_driver_virtio_request *r, unsigned offset, uint64_t value)
{
	value = htole64(value);
	memcpy(r->bytes + offset, &value, sizeof(value));
}

static void begin(struct vi_driver_virtio_request *r, uint8_t type, uint8_t length)
{
	*r = (struct vi_driver_virtio_request){.bytes = {type}, .length = length};
}

void vi_driver_virtio_attach(struct vi_driver_virtio_request *r, uint32_t domain, uint32_t endpoint,
			     bool bypass)
{
	begin(r, VIRTIO_IOMMU_T_ATTACH, VIRTIO_IOMMU_ATTACH_SIZE);
	put32(r, VIRTIO_IOMMU_ATTACH_DOMAIN, domain);
	put32(r, VIRTIO_IOMMU_ATTACH_ENDPOINT, endpoint);
	put32(r, VIRTIO_IOMMU_ATTACH_FLAGS, bypass ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0);
}

void vi_driver_virtio_detach(struct vi_driver_virtio_request *r, uint32_t domain, uint32_t endpoint)
{
	begin(r, VIRTIO_IOMMU_T_DETACH, VIRTIO_IOMMU_DETACH_SIZE);
	put32(r, VIRTIO_IOMMU_DETACH_DOMAIN, domain);
	put32(r, VIRTIO_IOMMU_DETACH_ENDPOINT, endpoint);
}

void vi_driver_virtio_map(struct vi_driver_virtio_request *r, uint32_t domain, uint64_t first, uint64_t last,
			  uint64_t address, uint32_t flags)
{
	begin(r, VIRTIO_IOMMU_T_MAP, VIRTIO_IOMMU_MAP_SIZE);
	put32(r, VIRTIO_IOMMU_MAP_DOMAIN, domain);
	put64(r, VIRTIO_IOMMU_MAP_VIRT_START, first);
	put64(r, VIRTIO_IOMMU_MAP_VIRT_END, last);
	put64(r, VIRTIO_IOMMU_MAP_PHYS_START, address);
	put32(r, VIRTIO_IOMMU_MAP_FLAGS, flags);
}

void vi_driver_virtio_unmap(struct vi_driver_virtio_request *r, uint32_t domain, uint64_t first,
			    uint64_t last)
{
	begin(r, VIRTIO_IOMMU_T_UNMAP, VIRTIO_IOMMU_UNMAP_SIZE);
	put32(r, VIRTIO_IOMMU_UNMAP_DOMAIN, domain);
	put64(r, VIRTIO_IOMMU_UNMAP_VIRT_START, first);
	put64(r, VIRTIO_IOMMU_UNMAP_VIRT_END, last);
}

/* --------------------------------------------------------------------------- queue */

/* Word by word, as the device sees them. The answer begins as one that no device gives. */
static void lay_request(const struct vi_driver_virtio *d, unsigned slot,
			const struct vi_driver_virtio_request *r)
{
	uint64_t at = d->buffers + (uint64_t)slot * BUFFER_BYTES, word;

	for (unsigned i = 0; i < sizeof(r->bytes); i += sizeof(word)) {
		memcpy(&word, r->bytes + i, sizeof(word));
		vi_driver_store64(d->memory, at + i, le64toh(word));
	}
	vi_driver_store32(d->memory, at + ANSWER, UINT32_MAX);
	vi_driver_store64(d->memory, d->descriptors + 2ull * slot * VIRTQ_DESCRIPTOR_SIZE + 8,
			  vi_to_field(VIRTQ_DESCRIPTOR_LEN, r->length) |
				  vi_to_field(VIRTQ_DESCRIPTOR_FLAGS, VIRTQ_DESC_F_NEXT) |
				  vi_to_field(VIRTQ_DESCRIPTOR_NEXT, 2ull * slot + 1));
}

static void offer(struct vi_driver_virtio *d, unsigned slot)
{
	vi_driver_store16(d->memory, d->driver + VIRTQ_RING + d->made % d->size * 2u, (uint16_t)(2 * slot));
	d->made++;
}

/* Only who wrote the index may ask whether to notify (2.7.10). */
static void publish(const struct vi_driver_virtio *d)
{
	vi_driver_store16(d->memory, d->driver + VIRTQ_INDEX, d->made);
	atomic_thread_fence(memory_order_seq_cst);
	if (!(vi_driver_load16(d->memory, d->device) & VIRTQ_USED_F_NO_NOTIFY))
		d->regs.write(d->regs.arg, d->bell, 2, REQUEST_QUEUE);
}

static int await(const struct vi_driver_virtio *d)
{
	for (unsigned turn = 1; vi_driver_load16(d->memory, d->device + VIRTQ_INDEX) != d->made; turn++) {
		if (turn % LOOK_AT_STATUS == 0 && status(d) & VIRTIO_STATUS_NEEDS_RESET)
			return -EIO;
		if (!d->regs.relax(d->regs.arg))
			return -ETIMEDOUT;
	}
	return 0;
}

int vi_driver_virtio_submit(struct vi_driver_virtio *d, struct vi_driver_virtio_request *requests,
			    size_t count)
{
	int err;

	for (size_t i = 0; i < count; i++) {
		lay_request(d, (unsigned)i, &requests[i]);
		offer(d, (unsigned)i);
	}
	publish(d);
	err = await(d);
	for (size_t i = 0; i < count && !err; i++) {
		uint32_t tail = vi_driver_load32(d->memory, d->buffers + i * BUFFER_BYTES + ANSWER);

		requests[i].status = tail == UINT32_MAX ? -1 : (int)(tail & 0xff);
	}
	return err;
}
