/* SPDX-License-Identifier: BSD-3-Clause */
/* Public accesses of devices: viommu/access.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "core/message.h"
#include "core/pin.h"
#include "core/requester.h"
#include "core/thread.h"
#include "core/translate.h"
#include "core/unit.h"

/* A short guard covers one copy of at most this many bytes: some microseconds. */
#define COPY_AT_ONCE 65536u

int viommu_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
		     unsigned access, struct viommu_span *ret_span)
{
	struct vi_place place;
	uint64_t last;
	int ret;

	if (!vi_last_of(iova, len, &last) || !(access & (VIOMMU_READ | VIOMMU_WRITE)))
		return -EINVAL;
	ret = vi_translate(t, r, iova, len, access, &place);
	if (ret == 0)
		*ret_span = (struct viommu_span){.gpa = place.gpa, .host = place.host, .len = place.room};
	return ret;
}

static bool is_single(uint64_t iova, uint64_t len)
{
	return (len == 1 || len == 2 || len == 4 || len == 8) && vi_is_aligned(iova, len);
}

/* Aligned words move in one access; gcc's builtins want the size spelled out. */
static void load_single(void *buf, const uint8_t *host, uint64_t len)
{
	if (len == 8)
		*(uint64_t *)buf = __atomic_load_n((const uint64_t *)(const void *)host, __ATOMIC_ACQUIRE);
	else if (len == 4)
		*(uint32_t *)buf = __atomic_load_n((const uint32_t *)(const void *)host, __ATOMIC_ACQUIRE);
	else if (len == 2)
		*(uint16_t *)buf = __atomic_load_n((const uint16_t *)(const void *)host, __ATOMIC_ACQUIRE);
	else if (len == 1)
		*(uint8_t *)buf = __atomic_load_n(host, __ATOMIC_ACQUIRE);
}

static void store_single(uint8_t *host, const void *buf, uint64_t len)
{
	if (len == 8)
		__atomic_store_n((uint64_t *)(void *)host, *(const uint64_t *)buf, __ATOMIC_RELEASE);
	else if (len == 4)
		__atomic_store_n((uint32_t *)(void *)host, *(const uint32_t *)buf, __ATOMIC_RELEASE);
	else if (len == 2)
		__atomic_store_n((uint16_t *)(void *)host, *(const uint16_t *)buf, __ATOMIC_RELEASE);
	else if (len == 1)
		__atomic_store_n(host, *(const uint8_t *)buf, __ATOMIC_RELEASE);
}

/* Through an aligned word of ours, as `buf` may be aligned to nothing. */
static void copy(uint8_t *host, uint8_t *buf, uint64_t len, bool single, bool write)
{
	uint64_t word = 0;

	if (!single || !vi_is_aligned((uintptr_t)host, len)) {
		memcpy(write ? host : buf, write ? buf : host, len);
		return;
	}
	if (write) {
		memcpy(&word, buf, len);
		store_single(host, &word, len);
	} else {
		load_single(&word, host, len);
		memcpy(buf, &word, len);
	}
}

static void count_bytes(struct viommu_thread *t, struct vi_device_counters *counters, bool write,
			uint64_t count)
{
	vi_count_access(t, counters, write ? VI_COUNT_bytes_written : VI_COUNT_bytes_read, count);
}

/* The section is over, and the device may have changed its domain since: then no domain is charged. */
static void count_later(struct viommu_thread *t, struct viommu_requester *r, uint32_t pin_space, bool write,
			uint64_t count)
{
	const struct vi_context *c;

	viommu_enter(t);
	c = atomic_load_explicit(&r->context, memory_order_acquire);
	count_bytes(t, c && vi_pin_space(&c->t) == pin_space ? c->counters : r->counters, write, count);
	viommu_exit(t);
}

/*
 * Memory without a host pointer: the host's callback may block, so a pin
 * stands in for the section while it works.
 */
static int copy_by_callback(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova,
			    const struct vi_place *place, uint8_t *buf, bool write)
{
	struct viommu *v = t->unit;
	struct viommu_pin pin = {.requester = r, .iova = iova};
	int ret;

	pin.span = (struct viommu_span){.gpa = place->gpa, .len = place->room};
	vi_pin_hold(&v->pins, &pin, place->pin_space, iova, iova + place->room - 1,
		    vi_epoch_entered(t->slot));
	viommu_exit(t);
	ret = write ? v->ops.mem_write(v->opaque, place->gpa, buf, place->room)
		    : v->ops.mem_read(v->opaque, place->gpa, buf, place->room);
	if (ret == 0)
		count_later(t, r, place->pin_space, write, place->room);
	viommu_unpin(&pin);
	return ret;
}

/* One guarded piece of an access; *ret_done bytes of it are done on success. */
static int copy_piece(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint8_t *buf,
		      uint64_t len, bool single, bool write, uint64_t *ret_done)
{
	struct vi_place place;
	int ret;

	viommu_enter(t);
	ret = vi_translate(t, r, iova, vi_min(len, COPY_AT_ONCE), write ? VIOMMU_WRITE : VIOMMU_READ, &place);
	if (ret == 0 && !place.host) {
		*ret_done = place.room;
		return copy_by_callback(t, r, iova, &place, buf, write);
	}
	if (ret == 0) {
		copy(place.host, buf, place.room, single && place.room == len, write);
		count_bytes(t, place.counters, write, place.room);
		*ret_done = place.room;
	}
	viommu_exit(t);
	return ret;
}

static int access_memory(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint8_t *buf,
			 uint64_t len, bool write)
{
	bool single = is_single(iova, len);
	uint64_t last, done;
	int ret = 0;

	if (!vi_last_of(iova, len, &last))
		return -EINVAL;
	atomic_store_explicit(&t->working_for, r, memory_order_relaxed);
	for (; len > 0 && ret == 0; iova += done, buf += done, len -= done) {
		done = 0;
		ret = copy_piece(t, r, iova, buf, len, single, write, &done);
		single = false; /* in pieces it is no single access */
	}
	/* Pairs with vi_threads_wait_for_calls(): all use of the requester is before. */
	atomic_store_explicit(&t->working_for, NULL, memory_order_release);
	return ret;
}

static int read_nothing(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova)
{
	struct vi_place place;
	int ret;

	viommu_enter(t);
	ret = vi_translate(t, r, iova, 0, VIOMMU_READ, &place);
	viommu_exit(t);
	return ret;
}

int viommu_read(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, void *buf, size_t len)
{
	return len == 0 ? read_nothing(t, r, iova) : access_memory(t, r, iova, buf, len, false);
}

int viommu_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, const void *buf,
		 size_t len)
{
	uint32_t data;

	if (vi_message_is_one(iova, len)) {
		memcpy(&data, buf, 4);
		return vi_message_write(t, r, iova, le32toh(data));
	}
	return len == 0 ? 0 : access_memory(t, r, iova, (uint8_t *)(uintptr_t)buf, len, true);
}

int viommu_pin(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, size_t len,
	       unsigned access, struct viommu_pin *pin)
{
	struct vi_place place;
	uint64_t last;
	int ret;

	if (!vi_last_of(iova, len, &last) || !(access & (VIOMMU_READ | VIOMMU_WRITE)))
		return -EINVAL;
	viommu_enter(t);
	ret = vi_translate(t, r, iova, len, access, &place);
	if (ret == 0 && !place.host)
		ret = -ENOTSUP;
	if (ret == 0) {
		pin->requester = r;
		pin->iova = iova;
		pin->span = (struct viommu_span){.gpa = place.gpa, .host = place.host, .len = place.room};
		vi_pin_hold(&t->unit->pins, pin, place.pin_space, iova, iova + place.room - 1,
			    vi_epoch_entered(t->slot));
		vi_count_access(t, place.counters, VI_COUNT_pins, 1);
	}
	viommu_exit(t);
	return ret;
}
