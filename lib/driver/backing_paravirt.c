/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests in place of tables. `lock` guards the batch and is held while it is
 * submitted: answers come in order, and a map that comes meanwhile belongs
 * behind them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <viommu/backing.h>

#include "base/bits.h"

#define BATCH_USUAL 64
#define BATCH_MOST  4096

struct paravirt_backing {
	int (*submit)(void *arg, struct viommu_backing_request *requests, size_t count);
	void *arg;
	pthread_mutex_t lock;
	size_t count, room;
	int failed; /* the first unmap that was refused, or batch that did not get through, since it was told
		     */
	struct viommu_backing_request batch[];
};

static bool is_refused_unmap(const struct viommu_backing_request *r)
{
	return r->type == VIOMMU_BACKING_REQUEST_UNMAP && r->status;
}

/* With the lock. What comes of each request is in its status. */
static int submit(struct paravirt_backing *p)
{
	size_t count = p->count;
	int err = count ? p->submit(p->arg, p->batch, count) : 0;

	p->count = 0;
	for (size_t i = 0; i < count && !err; i++)
		if (is_refused_unmap(&p->batch[i]))
			err = p->batch[i].status;
	if (err && !p->failed)
		p->failed = err;
	return err;
}

/* With the lock, and there is room. */
static void append(struct paravirt_backing *p, enum viommu_backing_request_type type,
		   const struct viommu_backing_range *range)
{
	p->batch[p->count++] = (struct viommu_backing_request){.type = type, .range = *range};
}

static int append_unmaps(struct paravirt_backing *p, const struct viommu_backing_range *ranges, size_t count)
{
	int first = 0;

	for (size_t i = 0; i < count; i++) {
		int err = p->count == p->room ? submit(p) : 0;

		first = first ? first : err;
		append(p, VIOMMU_BACKING_REQUEST_UNMAP, &ranges[i]);
	}
	return first;
}

/* With the lock: unmaps at once, in batches. */
static void unmap_now(struct paravirt_backing *p, const struct viommu_backing_range *ranges, size_t count)
{
	append_unmaps(p, ranges, count);
	submit(p);
}

/* Of the maps that stood from batch[first] on: those that were done are taken out again. */
static void undo_batch(struct paravirt_backing *p, size_t first, size_t count)
{
	size_t undone = 0;

	for (size_t i = first; i < first + count; i++)
		if (!p->batch[i].status)
			p->batch[undone++] =
				(struct viommu_backing_request){.type = VIOMMU_BACKING_REQUEST_UNMAP,
								.range = p->batch[i].range};
	p->count = undone;
	submit(p);
}

/* 1..room of them, behind what waits if that leaves room. */
static int map_batch(struct paravirt_backing *p, const struct viommu_backing_range *ranges, size_t count)
{
	size_t first;
	int err = p->count + count > p->room ? submit(p) : 0;

	if (err)
		return err;
	first = p->count;
	for (size_t i = 0; i < count; i++)
		append(p, VIOMMU_BACKING_REQUEST_MAP, &ranges[i]);
	err = submit(p);
	for (size_t i = 0; i < count && !err; i++)
		err = p->batch[first + i].status;
	if (err)
		undo_batch(p, first, count);
	return err;
}

static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct paravirt_backing *p = opaque;
	size_t done = 0;
	int err = 0;

	pthread_mutex_lock(&p->lock);
	while (done < count && !err) {
		size_t some = vi_min(count - done, p->room);

		err = map_batch(p, ranges + done, some);
		done += err ? 0 : some;
	}
	if (err && done)
		unmap_now(p, ranges, done);
	pthread_mutex_unlock(&p->lock);
	return err;
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct paravirt_backing *p = opaque;
	int err;

	pthread_mutex_lock(&p->lock);
	err = append_unmaps(p, ranges, count);
	pthread_mutex_unlock(&p->lock);
	return err;
}

/* The answer of an unmap is the end of it. An earlier batch that failed is told to the first who asks. */
static int invalidate_all(void *opaque)
{
	struct paravirt_backing *p = opaque;
	int err;

	pthread_mutex_lock(&p->lock);
	submit(p);
	err = p->failed;
	p->failed = 0;
	pthread_mutex_unlock(&p->lock);
	return err;
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	(void)ranges;
	(void)count;
	(void)flags;
	return invalidate_all(opaque);
}

static const struct viommu_backing_ops ops = {
	.sz = sizeof(ops),
	.map = map,
	.unmap = unmap,
	.invalidate = invalidate,
	.invalidate_all = invalidate_all,
};

int viommu_backing_paravirt_create(const struct viommu_backing_paravirt_options *options,
				   struct viommu_backing *ret_backing)
{
	uint8_t width = options && options->address_width ? options->address_width : 48;
	size_t room = options && options->batch ? options->batch : BATCH_USUAL;
	struct paravirt_backing *p;

	if (!options || options->sz < sizeof(*options) || !options->submit || width < 32 || width > 57 ||
	    room > BATCH_MOST)
		return -EINVAL;
	p = calloc(1, sizeof(*p) + room * sizeof(p->batch[0]));
	if (!p)
		return -ENOMEM;
	p->submit = options->submit;
	p->arg = options->arg;
	p->room = room;
	pthread_mutex_init(&p->lock, NULL);
	*ret_backing = (struct viommu_backing){.ops = &ops, .opaque = p, .address_width = width};
	return 0;
}

void viommu_backing_paravirt_destroy(struct viommu_backing *backing)
{
	struct paravirt_backing *p = backing->opaque;

	if (!p)
		return;
	submit(p);
	pthread_mutex_destroy(&p->lock);
	free(p);
	*backing = (struct viommu_backing){0};
}
