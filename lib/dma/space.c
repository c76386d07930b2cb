/* SPDX-License-Identifier: BSD-3-Clause */
/* Address spaces: begin and end, threads, time. Memory is in memory.c, maps in map.c. */
#include "dma/space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dma/strategy.h"

#define THREADS_USUAL 64
#define THREADS_MOST  1024

/* ----------------------------------------------------------------- threads */

static int thread_begin(struct viommu_dma *d, struct viommu_dma_thread *t)
{
	int err = vi_iova_cache_create(d->iova, &t->iova);

	if (!err && d->strategy->thread_begin) {
		err = d->strategy->thread_begin(t);
		if (err)
			vi_iova_cache_destroy(t->iova);
	}
	return err;
}

static void thread_end(struct viommu_dma_thread *t)
{
	if (t->dma->strategy->thread_end)
		t->dma->strategy->thread_end(t);
	vi_iova_cache_destroy(t->iova);
}

static void thread_free(struct viommu_dma_thread *t)
{
	free(t->live);
	free(t);
}

/* Not yet in the list. */
static int thread_make(struct viommu_dma *d, struct viommu_dma_thread **ret_thread)
{
	struct viommu_dma_thread *t = aligned_alloc(_Alignof(struct viommu_dma_thread), sizeof(*t));
	int err = -ENOMEM;

	if (!t)
		return err;
	memset(t, 0, sizeof(*t));
	t->dma = d;
	vi_list_init(&t->link);
	t->live = calloc(d->region_room ? d->region_room : 1, sizeof(*t->live));
	if (t->live)
		err = thread_begin(d, t);
	if (err) {
		thread_free(t);
		return err;
	}
	*ret_thread = t;
	return 0;
}

int viommu_dma_thread_create(struct viommu_dma *d, struct viommu_dma_thread **ret_thread)
{
	struct viommu_dma_thread *t;
	int err = -EAGAIN;

	pthread_mutex_lock(&d->lock);
	if (d->thread_count < d->max_threads)
		err = thread_make(d, &t);
	if (!err) {
		vi_list_append(&d->threads, &t->link);
		d->thread_count++;
		*ret_thread = t;
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

/* With the lock: what it has counted goes on counting. */
static void thread_leave(struct viommu_dma_thread *t)
{
	struct viommu_dma *d = t->dma;

	vi_list_remove(&t->link);
	vi_dma_counters_keep(&d->kept, &t->counters);
	for (unsigned i = 0; d->service && i < d->region_next; i++)
		d->service->live[i] += t->live[i];
}

void viommu_dma_thread_destroy(struct viommu_dma_thread *t)
{
	if (!t)
		return;
	thread_end(t);
	pthread_mutex_lock(&t->dma->lock);
	thread_leave(t);
	t->dma->thread_count--;
	pthread_mutex_unlock(&t->dma->lock);
	thread_free(t);
}

/* -------------------------------------------------------------------- time */

/* `now_ns` UINT64_MAX: all that is dead. */
static int process(struct viommu_dma *d, uint64_t now_ns, uint64_t *ret_next_ns)
{
	int err = 0;

	*ret_next_ns = UINT64_MAX;
	if (!d->strategy->process)
		return 0;
	pthread_mutex_lock(&d->lock);
	err = d->strategy->process(d->service, now_ns, ret_next_ns);
	pthread_mutex_unlock(&d->lock);
	return err;
}

int viommu_dma_process(struct viommu_dma *d, uint64_t *ret_next_ns)
{
	uint64_t now = vi_dma_now(d), next;
	int err = process(d, now, &next);

	*ret_next_ns = next == UINT64_MAX || next <= now ? (next <= now ? 0 : UINT64_MAX) : next - now;
	return err;
}

int viommu_dma_flush(struct viommu_dma *d)
{
	uint64_t next;

	return process(d, UINT64_MAX, &next);
}

/* ------------------------------------------------------------- open, close */

static bool has_unknown_tail(const struct viommu_dma_options *o)
{
	const uint8_t *bytes = (const void *)o;

	for (size_t i = sizeof(*o); i < o->sz; i++)
		if (bytes[i])
			return true;
	return false;
}

static const char *what_is_wrong(const struct viommu_dma_options *o, const struct viommu_backing *b)
{
	if (!o->now_ns)
		return "an address space needs a clock, now_ns";
	if (o->max_threads > THREADS_MOST)
		return "max_threads is at most 1024";
	if (o->shadow_len && !vi_dma_is_memory(o->shadow_host, o->shadow_len, o->shadow_address))
		return "the shadow memory is not made of whole pages";
	if (!b->ops || b->ops->sz < sizeof(*b->ops) || !b->ops->map || !b->ops->unmap ||
	    !b->ops->invalidate || !b->ops->invalidate_all)
		return "the backing lacks functions";
	if (b->address_width < 32 || b->address_width > 57)
		return "the backing translates 32 to 57 bits";
	return NULL;
}

/* Page 0 is never given out: a device address of 0 is a mistake somewhere. */
static bool find_pages(struct viommu_dma *d, const struct viommu_dma_options *o)
{
	uint64_t most = (UINT64_C(1) << d->backing.address_width) - 1;
	uint64_t last = o->last_iova ? vi_min(o->last_iova, most) : most;

	d->first_page = vi_max((o->first_iova + VI_DMA_PAGE_SIZE - 1) >> VI_DMA_PAGE_SHIFT, 1);
	if (last < VI_DMA_PAGE_SIZE * 2 - 1)
		return false;
	d->last_page = ((last + 1) >> VI_DMA_PAGE_SHIFT) - 1;
	return o->first_iova <= most && d->first_page <= d->last_page;
}

static int open_parts(struct viommu_dma *d)
{
	int err = vi_iova_space_create(d->first_page, d->last_page, &d->iova);

	if (err)
		return err;
	err = d->strategy->open ? d->strategy->open(d) : 0;
	if (err)
		goto no_strategy;
	err = thread_make(d, &d->service);
	if (err)
		goto no_service;
	vi_list_append(&d->threads, &d->service->link);
	return 0;

no_service:
	if (d->strategy->close)
		d->strategy->close(d);
no_strategy:
	vi_iova_space_destroy(d->iova);
	return err;
}

static struct viommu_dma *make(const struct viommu_backing *backing, const struct viommu_dma_options *o)
{
	struct viommu_dma *d = aligned_alloc(_Alignof(struct viommu_dma), sizeof(*d));

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->backing = *backing;
	d->now_ns = o->now_ns;
	d->opaque = o->opaque;
	d->max_threads = o->max_threads ? o->max_threads : THREADS_USUAL;
	d->shadow = (struct vi_dma_region){.host = o->shadow_host,
					   .len = o->shadow_len,
					   .address = o->shadow_address};
	vi_list_init(&d->threads);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void unmake(struct viommu_dma *d)
{
	for (unsigned i = 0; i < d->region_count; i++)
		free(d->regions[i]);
	free(d->regions);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int prepare(struct viommu_dma *d, const struct viommu_dma_options *o, char *why, size_t why_size)
{
	int err = vi_dma_strategy_parse(o->strategy, &d->strategy, d->option, why, why_size);

	if (!err && !find_pages(d, o)) {
		if (why)
			snprintf(why, why_size, "there is no page from first_iova to last_iova");
		err = -EINVAL;
	}
	if (!err && d->strategy->needs_shadow && !d->shadow.len) {
		if (why)
			snprintf(why, why_size,
				 "%s needs shadow memory: set shadow_host, shadow_len and shadow_address",
				 d->strategy->info.name);
		err = -EINVAL;
	}
	return err ? err : open_parts(d);
}

int viommu_dma_open(const struct viommu_backing *backing, const struct viommu_dma_options *options, char *why,
		    size_t why_size, struct viommu_dma **ret_dma)
{
	struct viommu_dma *d;
	const char *wrong;
	int err;

	if (why && why_size)
		why[0] = '\0';
	if (!backing || !options || options->sz < sizeof(*options))
		return -EINVAL;
	if (has_unknown_tail(options))
		return -E2BIG;
	wrong = what_is_wrong(options, backing);
	if (wrong) {
		if (why)
			snprintf(why, why_size, "%s", wrong);
		return -EINVAL;
	}
	d = make(backing, options);
	if (!d)
		return -ENOMEM;
	err = prepare(d, options, why, why_size);
	if (err) {
		unmake(d);
		return err;
	}
	*ret_dma = d;
	return 0;
}

int viommu_dma_close(struct viommu_dma *d)
{
	int err, first;

	if (!d)
		return 0;
	if (vi_dma_is_mapped(d))
		return -EBUSY;
	while (d->threads.next != d->threads.prev) { /* the service handle is the first */
		struct vi_list *last = d->threads.prev;

		viommu_dma_thread_destroy(VI_CONTAINER_OF(last, struct viommu_dma_thread, link));
	}
	first = viommu_dma_flush(d);
	err = vi_dma_memory_remove_all(d);
	first = first ? first : err;
	thread_end(d->service);
	vi_list_remove(&d->service->link);
	thread_free(d->service);
	if (d->strategy->close)
		d->strategy->close(d);
	vi_iova_space_destroy(d->iova);
	unmake(d);
	return first;
}
