/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio-iommu unit as backing: the paravirtual one (backing_paravirt.c), whose
 * batches go through a virtqueue.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <viommu/backing.h>

#include "base/bits.h"
#include "driver/virtio_iommu.h"
#include "pgtable/pgtable.h"
#include "spec/virtio_iommu.h"

/* `lock` makes callers one at a time; it nests in that of the paravirtual backing. */
struct virtio_backing {
	struct viommu_backing paravirt;
	uint32_t endpoint, domain; /* the domain behind that is the one for pass-through */
	pthread_mutex_t lock;
	struct vi_driver_virtio driver;
	struct vi_driver_memory memory;
	uint64_t mapped; /* pages */
	int broken;	 /* the unit does not answer, and is asked for nothing any more */
	struct vi_driver_virtio_request requests[VI_DRIVER_VIRTIO_BATCH];
};

static bool always(void *arg)
{
	(void)arg;
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
	return true;
}

/* What a status means for who asked (5.13.6.2). */
static int errno_of(int status)
{
	switch (status) {
	case VIRTIO_IOMMU_S_OK:
		return 0;
	case VIRTIO_IOMMU_S_NOENT:
		return -ENOENT;
	case VIRTIO_IOMMU_S_NOMEM:
		return -ENOMEM;
	case VIRTIO_IOMMU_S_INVAL:
		return -EEXIST; /* of a MAP as this page asks for it */
	case VIRTIO_IOMMU_S_RANGE:
		return -ERANGE;
	}
	return -EIO;
}

static void fill_in(const struct virtio_backing *b, struct vi_driver_virtio_request *to,
		    const struct viommu_backing_request *from)
{
	const struct viommu_backing_range *r = &from->range;
	uint64_t last = r->iova + (r->len - 1);

	_Static_assert((int)VIOMMU_BACKING_READ == (int)VIRTIO_IOMMU_MAP_F_READ &&
			       (int)VIOMMU_BACKING_WRITE == (int)VIRTIO_IOMMU_MAP_F_WRITE,
		       "rights are the same bits");
	if (from->type == VIOMMU_BACKING_REQUEST_MAP)
		vi_driver_virtio_map(to, b->domain, r->iova, last, r->address,
				     r->access & (VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE));
	else
		vi_driver_virtio_unmap(to, b->domain, r->iova, last);
}

static int submit_some(struct virtio_backing *b, struct viommu_backing_request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fill_in(b, &b->requests[i], &requests[i]);
	b->broken = vi_driver_virtio_submit(&b->driver, b->requests, count) ? -EIO : 0;
	for (size_t i = 0; i < count && !b->broken; i++) {
		uint64_t pages = requests[i].range.len / VI_PAGE_SIZE;

		requests[i].status = errno_of(b->requests[i].status);
		if (!requests[i].status)
			b->mapped += requests[i].type == VIOMMU_BACKING_REQUEST_MAP ? pages : -pages;
	}
	return b->broken;
}

static int submit(void *arg, struct viommu_backing_request *requests, size_t count)
{
	struct virtio_backing *b = arg;
	int err;

	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < count && !b->broken; i += VI_DRIVER_VIRTIO_BATCH)
		submit_some(b, requests + i, vi_min(count - i, VI_DRIVER_VIRTIO_BATCH));
	err = b->broken;
	pthread_mutex_unlock(&b->lock);
	return err;
}

/* ------------------------------------------------------------------ the backing */

static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct virtio_backing *b = opaque;

	return b->paravirt.ops->map(b->paravirt.opaque, ranges, count);
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct virtio_backing *b = opaque;

	return b->paravirt.ops->unmap(b->paravirt.opaque, ranges, count);
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	struct virtio_backing *b = opaque;

	return b->paravirt.ops->invalidate(b->paravirt.opaque, ranges, count, flags);
}

static int invalidate_all(void *opaque)
{
	struct virtio_backing *b = opaque;

	return b->paravirt.ops->invalidate_all(b->paravirt.opaque);
}

static int ask(struct virtio_backing *b)
{
	int err = vi_driver_virtio_submit(&b->driver, b->requests, 1);

	return err ? -EIO : errno_of(b->requests[0].status);
}

/* The domain that the device leaves ends, with its mappings. */
static int attach(struct virtio_backing *b, bool bypass)
{
	vi_driver_virtio_attach(&b->requests[0], b->domain + bypass, b->endpoint, bypass);
	return ask(b);
}

static int pass_through(void *opaque, bool on)
{
	struct virtio_backing *b = opaque;
	int err;

	pthread_mutex_lock(&b->lock);
	err = b->broken ? b->broken : b->mapped ? -EBUSY : attach(b, on);
	pthread_mutex_unlock(&b->lock);
	return err;
}

static const struct viommu_backing_ops ops = {
	.sz = sizeof(ops),
	.map = map,
	.unmap = unmap,
	.invalidate = invalidate,
	.invalidate_all = invalidate_all,
	.pass_through = pass_through,
};

static int bring_up(struct virtio_backing *b, const struct viommu_backing_virtio_options *o)
{
	const struct vi_driver_regs regs = {
		.read = o->read, .write = o->write, .relax = o->relax ? o->relax : always, .arg = o->arg};
	const struct vi_driver_virtio_places places = {o->common, o->notify, o->notify_multiplier};
	const struct viommu_backing_paravirt_options paravirt = {
		.sz = sizeof(paravirt), .submit = submit, .arg = b, .batch = o->batch};
	int err;

	vi_driver_memory_init(&b->memory, o->queue_gpa, o->queue_memory, o->queue_size);
	err = vi_driver_virtio_start(&b->driver, &regs, &places, &b->memory,
				     VIRTIO_IOMMU_F_INPUT_RANGE | VIRTIO_IOMMU_F_DOMAIN_RANGE |
					     VIRTIO_IOMMU_F_MAP_UNMAP | VIRTIO_IOMMU_F_BYPASS_CONFIG);
	if (err == -ENOMEM)
		return err;
	err = err ? -EIO : attach(b, false);
	return err ? err : viommu_backing_paravirt_create(&paravirt, &b->paravirt);
}

static bool are_sound(const struct viommu_backing_virtio_options *o)
{
	return o && o->sz >= sizeof(*o) && o->read && o->write && o->queue_memory &&
	       vi_is_aligned((uintptr_t)o->queue_memory | o->queue_gpa | o->queue_size, VI_PAGE_SIZE) &&
	       o->queue_size >= (64u << 10) && o->batch <= 4096;
}

int viommu_backing_virtio_create(const struct viommu_backing_virtio_options *options,
				 struct viommu_backing *ret_backing)
{
	struct virtio_backing *b;
	int err;

	if (!are_sound(options))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->endpoint = options->endpoint;
	b->domain = options->domain;
	pthread_mutex_init(&b->lock, NULL);
	err = bring_up(b, options);
	if (err) {
		pthread_mutex_destroy(&b->lock);
		free(b);
		return err;
	}
	*ret_backing = (struct viommu_backing){.ops = &ops, .opaque = b, .address_width = 48};
	return 0;
}

void viommu_backing_virtio_destroy(struct viommu_backing *backing)
{
	struct virtio_backing *b = backing->opaque;

	if (!b)
		return;
	viommu_backing_paravirt_destroy(&b->paravirt);
	if (!b->broken) {
		vi_driver_virtio_detach(&b->requests[0], b->domain, b->endpoint);
		ask(b); /* refused where the device passes through */
		vi_driver_virtio_stop(&b->driver);
	}
	pthread_mutex_destroy(&b->lock);
	free(b);
	*backing = (struct viommu_backing){0};
}
