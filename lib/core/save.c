/* SPDX-License-Identifier: BSD-3-Clause */
/* viommu_save() and viommu_restore(): a header, the model's numbers, a checksum. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/crc32.h"
#include "base/endian.h"
#include "core/state.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/unit.h"

#define MAGIC	UINT64_C(0x31455441544d4f49) /* "IOMTATE1" */
#define VERSION 2			     /* 1: IVA and IOTLB beside the register page */

struct header {
	uint64_t magic, version, model, length; /* length: of the numbers, in bytes */
};

/* Which model, as a number that never changes. */
static uint64_t model_number(const struct viommu *v)
{
	return v->model ? v->model->state_number : 0;
}

static uint64_t length_of(struct viommu *v)
{
	struct vi_state s = {.bytes = NULL};

	if (v->model)
		v->model->state(v->model_state, &s);
	return s.used;
}

/* Everything that was begun is complete, and faults are in their records. */
static void come_to_rest(struct viommu *v) VI_WITH(v->lock)
{
	for (unsigned looks = 0; v->model && v->model->settle(v->model_state); looks++)
		vi_drain_pause(looks);
}

static void header_of(struct viommu *v, uint64_t length, struct header *h) VI_WITH(v->lock)
{
	h->magic = htole64(MAGIC);
	h->version = htole64(VERSION);
	h->model = htole64(model_number(v));
	h->length = htole64(length);
}

static uint64_t total_of(struct viommu *v) VI_WITH(v->lock)
{
	return sizeof(struct header) + length_of(v) + sizeof(uint32_t);
}

static void write_state(struct viommu *v, uint8_t *bytes, uint64_t total) VI_WITH(v->lock)
{
	uint64_t length = total - sizeof(struct header) - sizeof(uint32_t);
	struct vi_state s = {.bytes = bytes + sizeof(struct header), .size = length};
	struct header h;
	uint32_t crc;

	header_of(v, length, &h);
	memcpy(bytes, &h, sizeof(h));
	if (v->model)
		v->model->state(v->model_state, &s);
	assert(!s.bad && s.used == length);
	crc = htole32(vi_crc32c(0, bytes, sizeof(h) + length));
	memcpy(bytes + sizeof(h) + length, &crc, sizeof(crc));
}

/* What is begun, and then completed, may change the length. */
int64_t viommu_save(struct viommu *v, void *buf, size_t size)
{
	uint64_t total;

	vi_lock_take(&v->lock);
	total = total_of(v);
	if (buf && size >= total) {
		come_to_rest(v);
		total = total_of(v);
	}
	if (buf && size >= total)
		write_state(v, buf, total);
	vi_lock_give(&v->lock);
	return buf && size < total ? -ENOSPC : (int64_t)total;
}

/* 0 when the bytes are a state that this unit could take. */
static int check(struct viommu *v, const uint8_t *bytes, size_t size) VI_WITH(v->lock)
{
	struct header h, own;
	uint32_t crc;

	if (size < sizeof(h) + sizeof(crc))
		return -EBADMSG;
	memcpy(&h, bytes, sizeof(h));
	memcpy(&crc, bytes + size - sizeof(crc), sizeof(crc));
	if (le64toh(h.magic) != MAGIC || le32toh(crc) != vi_crc32c(0, bytes, size - sizeof(crc)))
		return -EBADMSG;
	header_of(v, 0, &own);
	if (h.version != own.version || h.model != own.model)
		return -ENOTSUP;
	/* How long a state can be the model knows, when it takes it over. */
	return le64toh(h.length) == size - sizeof(h) - sizeof(crc) ? 0 : -EBADMSG;
}

static int take_over(struct viommu *v, const uint8_t *numbers, size_t length) VI_WITH(v->lock)
{
	int ret = v->model ? v->model->restore(v->model_state, numbers, length) : length ? -EBADMSG : 0;
	struct vi_drain d = {.active = false};

	if (ret)
		return ret;
	vi_context_drop_all(v, &d);
	vi_iotlb_invalidate_all(v, &d);
	vi_drain_wait(v, &d);
	vi_context_reclaim(v, false);
	return 0;
}

int viommu_restore(struct viommu *v, const void *buf, size_t size)
{
	int ret;

	vi_lock_take(&v->lock);
	come_to_rest(v);
	ret = check(v, buf, size);
	if (ret == 0)
		ret = take_over(v, (const uint8_t *)buf + sizeof(struct header),
				size - sizeof(struct header) - sizeof(uint32_t));
	vi_lock_give(&v->lock);
	return ret;
}
