/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Remembers each page that was mapped, in two arrays: by device address what
 * is there, by memory address how many device addresses lead to it, by right.
 * `lock` guards both and the counts. The inner backing is called without it, but for
 * invalidate_all: what is taken out while that runs may have missed it, and
 * has to wait to be told apart.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <viommu/backing.h>

#include "base/bits.h"
#include "base/sparse_array.h"

#define PAGE_SHIFT 12

/* A word by device address: the page of memory from bit 4 on; 0 is nothing. */
#define ENTRY_ACCESS UINT64_C(3) /* VIOMMU_BACKING_* */
#define ENTRY_STALE  VI_BIT(2)	 /* taken out, not yet invalidated */
#define ENTRY_SHIFT  4

/* A word by memory address: how many can read it, how many can write it. */
#define READERS VI_BITS(31, 0)
#define WRITERS VI_BITS(63, 32)

struct observer {
	struct viommu_backing inner; /* ops NULL: none */
	pthread_mutex_t lock;
	struct vi_sparse_array by_iova, by_memory;
	struct viommu_backing_work work;
	struct viommu_backing_watch watch; /* its functions NULL: nobody watches */
	uint64_t *stale; /* pages of device addresses that were taken out, for invalidate_all */
	uint64_t stale_count, stale_room;
	bool through;
};

/* ---------------------------------------------------------- who reaches what */

static uint64_t weight_of(unsigned access)
{
	return (access & VIOMMU_BACKING_READ ? vi_to_field(READERS, 1) : 0) |
	       (access & VIOMMU_BACKING_WRITE ? vi_to_field(WRITERS, 1) : 0);
}

static void tell(const struct observer *o, uint64_t page, bool leads, bool alone)
{
	if (o->watch.page)
		o->watch.page(o->watch.opaque, page << PAGE_SHIFT, leads, alone);
}

static void reach(struct observer *o, uint64_t page, unsigned access)
{
	uint64_t *memory = vi_sparse_find(&o->by_memory, page);

	tell(o, page, true, !*memory);
	if (!*memory) {
		o->work.reachable_pages++;
		o->work.peak_reachable_pages = vi_max(o->work.peak_reachable_pages, o->work.reachable_pages);
	}
	*memory += weight_of(access);
}

static void no_longer_reach(struct observer *o, uint64_t entry)
{
	uint64_t *memory = vi_sparse_find(&o->by_memory, entry >> ENTRY_SHIFT);

	*memory -= weight_of(entry & ENTRY_ACCESS);
	if (!*memory)
		o->work.reachable_pages--;
	tell(o, entry >> ENTRY_SHIFT, false, !*memory);
}

/* --------------------------------------------------------------------- pages */

static bool is_free(const struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT)) {
		const uint64_t *entry = vi_sparse_find(&o->by_iova, (r->iova + at) >> PAGE_SHIFT);

		if (entry && *entry)
			return false;
	}
	return true;
}

static bool is_mapped(const struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT)) {
		const uint64_t *entry = vi_sparse_find(&o->by_iova, (r->iova + at) >> PAGE_SHIFT);

		if (!entry || !*entry || *entry & ENTRY_STALE)
			return false;
	}
	return true;
}

/* Places in both arrays, so that nothing can fail later. */
static bool make_places(struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT))
		if (!vi_sparse_make(&o->by_iova, (r->iova + at) >> PAGE_SHIFT) ||
		    !vi_sparse_make(&o->by_memory, (r->address + at) >> PAGE_SHIFT))
			return false;
	return true;
}

static void note_mapped(struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT)) {
		uint64_t page = (r->address + at) >> PAGE_SHIFT;

		*vi_sparse_find(&o->by_iova, (r->iova + at) >> PAGE_SHIFT) = page << ENTRY_SHIFT | r->access;
		reach(o, page, r->access);
	}
	o->work.mapped_pages += r->len >> PAGE_SHIFT;
	o->work.table_writes += r->len >> PAGE_SHIFT;
}

static void note_gone(struct observer *o, uint64_t *entry)
{
	no_longer_reach(o, *entry);
	if (*entry & ENTRY_STALE)
		o->work.stale_pages--;
	else
		o->work.mapped_pages--;
	*entry = 0;
}

/* What map refused after it had been noted. */
static void forget(struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT))
		note_gone(o, vi_sparse_find(&o->by_iova, (r->iova + at) >> PAGE_SHIFT));
}

static void note_stale(struct observer *o, const struct viommu_backing_range *r)
{
	for (uint64_t at = 0; at < r->len; at += VI_BIT(PAGE_SHIFT)) {
		*vi_sparse_find(&o->by_iova, (r->iova + at) >> PAGE_SHIFT) |= ENTRY_STALE;
		o->stale[o->stale_count++] = (r->iova + at) >> PAGE_SHIFT;
	}
	o->work.mapped_pages -= r->len >> PAGE_SHIFT;
	o->work.stale_pages += r->len >> PAGE_SHIFT;
	o->work.table_writes += r->len >> PAGE_SHIFT;
}

static void note_invalidated(struct observer *o, uint64_t iova_page)
{
	uint64_t *entry = vi_sparse_find(&o->by_iova, iova_page);

	if (entry && *entry & ENTRY_STALE)
		note_gone(o, entry);
}

/* ----------------------------------------------------------------- callbacks */

static int note_all_mapped(struct observer *o, const struct viommu_backing_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_free(o, &ranges[i])) {
			o->work.broken_rules++;
			while (i-- > 0)
				forget(o, &ranges[i]);
			return -EEXIST;
		}
		if (!make_places(o, &ranges[i])) {
			while (i-- > 0)
				forget(o, &ranges[i]);
			return -ENOMEM;
		}
		note_mapped(o, &ranges[i]);
	}
	return 0;
}

/* Noted before the device can use it. */
static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct observer *o = opaque;
	int err;

	pthread_mutex_lock(&o->lock);
	err = note_all_mapped(o, ranges, count);
	pthread_mutex_unlock(&o->lock);
	if (err || !o->inner.ops)
		return err;
	err = o->inner.ops->map(o->inner.opaque, ranges, count);
	if (err) {
		pthread_mutex_lock(&o->lock);
		for (size_t i = 0; i < count; i++)
			forget(o, &ranges[i]);
		pthread_mutex_unlock(&o->lock);
	}
	return err;
}

static bool stale_room(struct observer *o, uint64_t pages)
{
	uint64_t room = o->stale_room ? o->stale_room : 256, *stale;

	while (room < o->stale_count + pages)
		room *= 2;
	if (room == o->stale_room)
		return true;
	stale = realloc(o->stale, room * sizeof(*stale));
	if (!stale)
		return false;
	o->stale = stale;
	o->stale_room = room;
	return true;
}

static int note_all_stale(struct observer *o, const struct viommu_backing_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		pages += ranges[i].len >> PAGE_SHIFT;
		if (!is_mapped(o, &ranges[i])) {
			o->work.broken_rules++;
			return -ENOENT;
		}
	}
	if (!stale_room(o, pages))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		note_stale(o, &ranges[i]);
	return 0;
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct observer *o = opaque;
	int err;

	pthread_mutex_lock(&o->lock);
	err = note_all_stale(o, ranges, count);
	pthread_mutex_unlock(&o->lock);
	if (err || !o->inner.ops)
		return err;
	return o->inner.ops->unmap(o->inner.opaque, ranges, count);
}

/* With the lock: what is no longer stale leaves the list. */
static void tidy_stale(struct observer *o)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < o->stale_count; i++) {
		const uint64_t *entry = vi_sparse_find(&o->by_iova, o->stale[i]);

		if (*entry & ENTRY_STALE)
			o->stale[kept++] = o->stale[i];
	}
	o->stale_count = kept;
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	struct observer *o = opaque;
	int err = o->inner.ops ? o->inner.ops->invalidate(o->inner.opaque, ranges, count, flags) : 0;

	if (err)
		return err;
	pthread_mutex_lock(&o->lock);
	o->work.page_invalidations += count;
	o->work.invalidation_waits++;
	for (size_t i = 0; i < count; i++)
		for (uint64_t at = 0; at < ranges[i].len; at += VI_BIT(PAGE_SHIFT))
			note_invalidated(o, (ranges[i].iova + at) >> PAGE_SHIFT);
	if (o->stale_count > 2 * o->work.stale_pages + 64)
		tidy_stale(o);
	pthread_mutex_unlock(&o->lock);
	return 0;
}

static int invalidate_all(void *opaque)
{
	struct observer *o = opaque;
	int err;

	pthread_mutex_lock(&o->lock);
	err = o->inner.ops ? o->inner.ops->invalidate_all(o->inner.opaque) : 0;
	if (!err) {
		o->work.full_invalidations++;
		o->work.invalidation_waits++;
		while (o->stale_count)
			note_invalidated(o, o->stale[--o->stale_count]);
	}
	pthread_mutex_unlock(&o->lock);
	return err;
}

static int pass_through(void *opaque, bool on)
{
	struct observer *o = opaque;
	int err = 0;

	if (o->inner.ops)
		err = o->inner.ops->pass_through ? o->inner.ops->pass_through(o->inner.opaque, on) : -ENOTSUP;
	if (!err) {
		pthread_mutex_lock(&o->lock);
		if (o->watch.pass_through && o->through != on)
			o->watch.pass_through(o->watch.opaque, on);
		o->through = on;
		pthread_mutex_unlock(&o->lock);
	}
	return err;
}

/* ------------------------------------------------------------ begin and end */

static const struct viommu_backing_ops ops = {
	.sz = sizeof(ops),
	.map = map,
	.unmap = unmap,
	.invalidate = invalidate,
	.invalidate_all = invalidate_all,
	.pass_through = pass_through,
};

int viommu_backing_observer_create(const struct viommu_backing *inner, unsigned address_width,
				   struct viommu_backing *ret_backing)
{
	struct observer *o;

	if (inner)
		address_width = inner->address_width;
	if (address_width < 32 || address_width > 57)
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	if (inner)
		o->inner = *inner;
	pthread_mutex_init(&o->lock, NULL);
	vi_sparse_init(&o->by_iova);
	vi_sparse_init(&o->by_memory);
	*ret_backing = (struct viommu_backing){&ops, o, (uint8_t)address_width};
	return 0;
}

int viommu_backing_observer_watch(const struct viommu_backing *backing,
				  const struct viommu_backing_watch *watch)
{
	struct observer *o = backing->opaque;

	if (watch->sz < sizeof(*watch) || !watch->page || !watch->pass_through)
		return -EINVAL;
	o->watch = *watch;
	return 0;
}

void viommu_backing_observer_destroy(struct viommu_backing *backing)
{
	struct observer *o = backing->opaque;

	if (!o)
		return;
	vi_sparse_finish(&o->by_iova);
	vi_sparse_finish(&o->by_memory);
	pthread_mutex_destroy(&o->lock);
	free(o->stale);
	free(o);
	*backing = (struct viommu_backing){0};
}

void viommu_backing_observer_work(const struct viommu_backing *backing, struct viommu_backing_work *ret_work)
{
	struct observer *o = backing->opaque;

	pthread_mutex_lock(&o->lock);
	*ret_work = o->work;
	pthread_mutex_unlock(&o->lock);
}

unsigned viommu_backing_observer_reach(const struct viommu_backing *backing, uint64_t address)
{
	struct observer *o = backing->opaque;
	const uint64_t *memory;
	unsigned access;

	pthread_mutex_lock(&o->lock);
	memory = vi_sparse_find(&o->by_memory, address >> PAGE_SHIFT);
	access = memory && *memory & READERS ? VIOMMU_BACKING_READ : 0;
	access |= memory && *memory & WRITERS ? VIOMMU_BACKING_WRITE : 0;
	if (o->through)
		access = VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE;
	pthread_mutex_unlock(&o->lock);
	return access;
}
