/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue.h"

#include <endian.h>
#include <string.h>

/* The device looks at the same words, on another thread in some tests. */
static void store16(struct ring *r, uint64_t at, uint16_t value)
{
	__atomic_store_n((uint16_t *)fake_at(r->memory, at), htole16(value), __ATOMIC_SEQ_CST);
}

static uint16_t load16(struct ring *r, uint64_t at)
{
	return le16toh(__atomic_load_n((uint16_t *)fake_at(r->memory, at), __ATOMIC_SEQ_CST));
}

void ring_init(struct ring *r, struct viommu_requester *memory, uint64_t at, uint16_t size)
{
	*r = (struct ring){.memory = memory,
			   .descriptors = at,
			   .driver = at + 0x1000,
			   .device = at + 0x2000,
			   .size = size};
	memset(fake_at(memory, at), 0, RING_BYTES);
}

void ring_describe(struct ring *r, uint64_t table, unsigned number, struct ring_descriptor d)
{
	d = (struct ring_descriptor){htole64(d.address), htole32(d.length), htole16(d.flags),
				     htole16(d.next)};
	memcpy(fake_at(r->memory, table + number * sizeof(d)), &d, sizeof(d));
}

void ring_offer(struct ring *r, uint16_t head)
{
	store16(r, r->driver + VIRTQ_AVAIL_RING + 2u * (r->offered % r->size), head);
	ring_set_index(r, ++r->offered);
}

void ring_set_index(struct ring *r, uint16_t index)
{
	store16(r, r->driver + VIRTQ_AVAIL_INDEX, index);
}

void ring_set_flags(struct ring *r, uint16_t flags)
{
	store16(r, r->driver + VIRTQ_AVAIL_FLAGS, flags);
}

uint16_t ring_used_index(struct ring *r)
{
	return load16(r, r->device + VIRTQ_USED_INDEX);
}

uint16_t ring_used_flags(struct ring *r)
{
	return load16(r, r->device + VIRTQ_USED_FLAGS);
}

bool ring_take(struct ring *r, uint32_t *ret_head, uint32_t *ret_length)
{
	uint32_t element[2];

	if (ring_used_index(r) == r->seen)
		return false;
	memcpy(element,
	       fake_at(r->memory,
		       r->device + VIRTQ_USED_RING + VIRTQ_USED_ELEMENT_SIZE * (r->seen++ % r->size)),
	       sizeof(element));
	*ret_head = le32toh(element[0]);
	*ret_length = le32toh(element[1]);
	return true;
}

static bool is_in(uint64_t iova, size_t len, uint64_t first, uint64_t size)
{
	return iova >= first && len <= size && iova - first <= size - len;
}

bool ring_has(const struct ring *r, uint64_t iova, size_t len, bool write)
{
	uint64_t used = VIRTQ_USED_RING + (uint64_t)VIRTQ_USED_ELEMENT_SIZE * r->size;

	if (write)
		return is_in(iova, len, r->device, used);
	return is_in(iova, len, r->descriptors, (uint64_t)VIRTQ_DESCRIPTOR_SIZE * r->size) ||
	       is_in(iova, len, r->driver, VIRTQ_AVAIL_RING + 2u * r->size);
}
