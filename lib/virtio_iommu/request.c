/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests as bytes: read, carried out in order, answered. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/domain.h"
#include "core/requester.h"
#include "core/requester_table.h"
#include "guestmem/guestmem.h"
#include "spec/virtio_iommu.h"
#include "virtio_iommu/virtio_iommu.h"

_Static_assert(VIOMMU_ANSWER_BYTES == VI_VIRTIO_PROBE_BYTES + VIRTIO_IOMMU_TAIL_SIZE,
	       "PROBE's is the longest");
_Static_assert(VIOMMU_REQUEST_BYTES == VIRTIO_IOMMU_PROBE_SIZE, "PROBE is the longest");

bool vi_virtio_endpoint_find(const struct vi_virtio *m, uint32_t endpoint, uint16_t *ret_rid)
{
	const struct viommu_requester *r = vi_requesters_find(&m->unit->requesters, (uint16_t)endpoint);

	if (endpoint >> 16 != m->unit->segment || !r || r->bypass)
		return false;
	*ret_rid = r->rid;
	return true;
}

/* ------------------------------------------------------------------------- kinds */

static uint32_t le32_at(const uint8_t *request, unsigned offset)
{
	uint32_t word;

	memcpy(&word, request + offset, sizeof(word));
	return le32toh(word);
}

static uint64_t le64_at(const uint8_t *request, unsigned offset)
{
	uint64_t word;

	memcpy(&word, request + offset, sizeof(word));
	return le64toh(word);
}

static void read_attach(struct vi_virtio_request *r, const uint8_t *request)
{
	r->domain = le32_at(request, VIRTIO_IOMMU_ATTACH_DOMAIN);
	r->endpoint = le32_at(request, VIRTIO_IOMMU_ATTACH_ENDPOINT);
	r->flags = le32_at(request, VIRTIO_IOMMU_ATTACH_FLAGS);
	r->reserved = le32_at(request, VIRTIO_IOMMU_ATTACH_RESERVED);
}

static void read_detach(struct vi_virtio_request *r, const uint8_t *request)
{
	r->domain = le32_at(request, VIRTIO_IOMMU_DETACH_DOMAIN);
	r->endpoint = le32_at(request, VIRTIO_IOMMU_DETACH_ENDPOINT);
}

static void read_map(struct vi_virtio_request *r, const uint8_t *request)
{
	r->domain = le32_at(request, VIRTIO_IOMMU_MAP_DOMAIN);
	r->first = le64_at(request, VIRTIO_IOMMU_MAP_VIRT_START);
	r->last = le64_at(request, VIRTIO_IOMMU_MAP_VIRT_END);
	r->address = le64_at(request, VIRTIO_IOMMU_MAP_PHYS_START);
	r->flags = le32_at(request, VIRTIO_IOMMU_MAP_FLAGS);
}

static void read_unmap(struct vi_virtio_request *r, const uint8_t *request)
{
	r->domain = le32_at(request, VIRTIO_IOMMU_UNMAP_DOMAIN);
	r->first = le64_at(request, VIRTIO_IOMMU_UNMAP_VIRT_START);
	r->last = le64_at(request, VIRTIO_IOMMU_UNMAP_VIRT_END);
	r->reserved = le32_at(request, VIRTIO_IOMMU_UNMAP_RESERVED);
}

static void read_probe(struct vi_virtio_request *r, const uint8_t *request)
{
	r->endpoint = le32_at(request, VIRTIO_IOMMU_PROBE_ENDPOINT);
}

/* 5.13.6.7.2. The answer itself is made when it is taken. */
static bool probe(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget)
	VI_WITH(m->unit->lock)
{
	uint16_t rid;

	(void)io_budget;
	r->status = r->room < VIOMMU_ANSWER_BYTES		     ? VIRTIO_IOMMU_S_INVAL
		    : !vi_virtio_endpoint_find(m, r->endpoint, &rid) ? VIRTIO_IOMMU_S_NOENT
								     : VIRTIO_IOMMU_S_OK;
	return true;
}

/* `run` sets the status, and the barrier where something was dropped. False: it goes on at the next visit. */
struct kind {
	unsigned size;
	void (*read)(struct vi_virtio_request *r, const uint8_t *request);
	bool (*run)(struct vi_virtio *m, struct vi_virtio_request *r, unsigned *io_budget);
};

/* NULL: the type is not known. */
static const struct kind *kind_of(uint8_t type)
{
	static const struct kind kinds[] = {
		[VIRTIO_IOMMU_T_ATTACH] = {VIRTIO_IOMMU_ATTACH_SIZE, read_attach, vi_virtio_attach},
		[VIRTIO_IOMMU_T_DETACH] = {VIRTIO_IOMMU_DETACH_SIZE, read_detach, vi_virtio_detach},
		[VIRTIO_IOMMU_T_MAP] = {VIRTIO_IOMMU_MAP_SIZE, read_map, vi_virtio_map},
		[VIRTIO_IOMMU_T_UNMAP] = {VIRTIO_IOMMU_UNMAP_SIZE, read_unmap, vi_virtio_unmap},
		[VIRTIO_IOMMU_T_PROBE] = {VIRTIO_IOMMU_PROBE_SIZE, read_probe, probe},
	};

	return type < VI_ARRAY_SIZE(kinds) && kinds[type].run ? &kinds[type] : NULL;
}

/* --------------------------------------------------------------------- the queue */

static struct vi_virtio_request *request_at(struct vi_virtio *m, uint64_t number)
{
	return &m->requests[number % VIOMMU_REQUESTS_MOST];
}

int vi_virtio_submit(void *state, uint64_t token, const uint8_t *request, size_t length, size_t room)
{
	struct vi_virtio *m = state;
	struct vi_virtio_request *r = request_at(m, m->submitted);
	const struct kind *kind = length >= VIRTIO_IOMMU_HEAD_SIZE ? kind_of(request[0]) : NULL;

	if (m->restart || m->submitted - m->answered == VIOMMU_REQUESTS_MOST)
		return -EAGAIN;
	*r = (struct vi_virtio_request){.token = token, .features = m->features, .room = room};
	if (kind && length >= kind->size && room >= VIRTIO_IOMMU_TAIL_SIZE) {
		r->type = request[0];
		kind->read(r, request);
	}
	m->submitted++;
	return 0;
}

void vi_virtio_requests_forget(struct vi_virtio *m)
{
	if (m->carried_out != m->submitted && request_at(m, m->carried_out)->begun)
		vi_iotlb_invalidate_all(m->unit, &m->collecting);
	m->answered = m->carried_out = m->submitted;
}

void vi_virtio_requests_run(struct vi_virtio *m, unsigned *io_budget)
{
	while (*io_budget > 0 && m->carried_out != m->submitted) {
		struct vi_virtio_request *r = request_at(m, m->carried_out);
		const struct kind *kind = kind_of(r->type);

		if (kind && !kind->run(m, r, io_budget))
			return;
		*io_budget -= *io_budget > 0;
		vi_count(&m->unit->counters, VI_COUNT_queue_descriptors, 1);
		m->carried_out++;
	}
}

/* --------------------------------------------------------------------- the answer */

static void put_le64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

/* 5.13.6.8: where interrupt messages go, which is no memory. */
static void put_properties(uint8_t *at)
{
	at[0] = VIRTIO_IOMMU_PROBE_T_RESV_MEM;
	at[VIRTIO_IOMMU_PROBE_HEADER_LENGTH] = VIRTIO_IOMMU_RESV_MEM_SIZE - VIRTIO_IOMMU_PROBE_HEADER_SIZE;
	at[VIRTIO_IOMMU_RESV_MEM_SUBTYPE] = VIRTIO_IOMMU_RESV_MEM_T_MSI;
	put_le64(at + VIRTIO_IOMMU_RESV_MEM_START, VI_MESSAGE_FIRST);
	put_le64(at + VIRTIO_IOMMU_RESV_MEM_END, VI_MESSAGE_LAST);
}

static size_t answer_size(const struct vi_virtio_request *r)
{
	if (!r->type)
		return 0;
	return r->type == VIRTIO_IOMMU_T_PROBE ? vi_min(r->room, VIOMMU_ANSWER_BYTES)
					       : VIRTIO_IOMMU_TAIL_SIZE;
}

int64_t vi_virtio_answer(void *state, uint64_t *ret_token, uint8_t *buf, size_t size)
{
	struct vi_virtio *m = state;
	const struct vi_virtio_request *r = request_at(m, m->answered);
	size_t length;

	if (m->answered == m->carried_out || r->barrier > m->passed)
		return -EAGAIN;
	length = answer_size(r);
	if (size < length)
		return -ENOSPC;
	if (length > 0) {
		memset(buf, 0, length);
		buf[length - VIRTIO_IOMMU_TAIL_SIZE] = r->status;
	}
	if (r->type == VIRTIO_IOMMU_T_PROBE && r->status == VIRTIO_IOMMU_S_OK)
		put_properties(buf);
	*ret_token = r->token;
	m->answered++;
	return (int64_t)length;
}
