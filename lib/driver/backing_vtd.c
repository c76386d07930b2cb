/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d unit as backing: second-stage tables in memory, invalidations through
 * the queue (6.5.2) or the registers (6.5.1).
 *
 * `tables` guards the page table and its memory. `queue` guards the queue and
 * the registers. Whoever waits for a wait descriptor waits without it: wait
 * descriptors complete in order, so the status word, which counts them, tells for
 * each waiter whether its own is done (the sequence is compared as a difference,
 * for it wraps). The queue is never overrun: `done_tail[n]` is where the tail
 * was after wait descriptor n, and nothing is put where less than that is done.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/backing.h>

#include "base/bits.h"
#include "driver/vtd.h"
#include "spec/vtd_queue.h"
#include "spec/vtd_registers.h"

#define QUEUE_PAGES_LG2 0
#define QUEUE_SLOTS	(4096u / VTD_QI_SIZE)
#define BATCH		64 /* range descriptors before a wait descriptor */
#define LOOK_AT_FSTS	64 /* turns of waiting; FSTS may be a trapped register */

struct vtd_backing {
	struct vi_driver_vtd driver;
	struct vi_driver_memory memory;
	struct vi_driver_page_table table;
	bool (*relax)(void *arg);
	void *arg;
	uint16_t rid, domain_id;
	bool caching_mode, broken;
	pthread_mutex_t tables, queue;
	uint32_t done_tail[QUEUE_SLOTS]; /* by sequence, modulo */
	uint32_t free_from;		 /* offset of the oldest descriptor that may not be done */
	uint32_t freed_up_to;		 /* the sequence that free_from is of */
};

static bool always(void *arg)
{
	(void)arg;
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
	return true;
}

/* ------------------------------------------------------------------ waiting */

static uint32_t completed(const struct vtd_backing *b)
{
	return vi_driver_load32(&b->memory, b->driver.status);
}

static bool is_done(const struct vtd_backing *b, uint32_t sequence)
{
	return (int32_t)(completed(b) - sequence) >= 0;
}

/* 0 when the wait descriptor `sequence` is done; -EIO: the queue stopped, or the caller's patience ended. */
static int await(struct vtd_backing *b, uint32_t sequence)
{
	for (unsigned turn = 1; !is_done(b, sequence); turn++) {
		if (turn % LOOK_AT_FSTS == 0 && vi_driver_vtd_read32(&b->driver, VTD_FSTS) & VTD_FSTS_IQE)
			return -EIO;
		if (!b->relax(b->arg))
			return -EIO;
	}
	return 0;
}

/* With the queue: nothing is under way, whoever waited for it. */
static void queue_is_empty(struct vtd_backing *b)
{
	b->freed_up_to = b->driver.sequence;
	b->free_from = b->driver.tail;
}

/* With the queue: what is done makes room. */
static void make_room(struct vtd_backing *b)
{
	uint32_t now = completed(b);

	if (now != b->freed_up_to) {
		b->free_from = b->done_tail[now % QUEUE_SLOTS];
		b->freed_up_to = now;
	}
}

static unsigned free_slots(const struct vtd_backing *b)
{
	uint32_t used = (b->driver.tail + b->driver.queue_size - b->free_from) % b->driver.queue_size;

	return QUEUE_SLOTS - 1 - used / VTD_QI_SIZE;
}

/* With the queue: room for `slots` descriptors, which what is under way makes when it is done. */
static int reserve(struct vtd_backing *b, unsigned slots)
{
	make_room(b);
	while (free_slots(b) < slots) {
		if (!b->relax(b->arg) || vi_driver_vtd_read32(&b->driver, VTD_FSTS) & VTD_FSTS_IQE)
			return -EIO;
		make_room(b);
	}
	return 0;
}

/* With the queue: a wait descriptor behind what was put, and the doorbell. */
static uint32_t put_wait(struct vtd_backing *b)
{
	struct vi_driver_vtd *d = &b->driver;
	uint32_t sequence = ++d->sequence;

	vi_driver_vtd_put(d, VTD_QI_WAIT | VTD_QI_WAIT_SW | vi_to_field(VTD_QI_WAIT_DATA, sequence),
			  d->status);
	b->done_tail[sequence % QUEUE_SLOTS] = d->tail;
	vi_driver_vtd_ring(d);
	return sequence;
}

/* ------------------------------------------------------------- invalidation */

static int queue_ranges(struct vtd_backing *b, const struct viommu_backing_range *ranges, size_t count,
			unsigned flags)
{
	uint64_t hint = flags & VIOMMU_BACKING_LEAVES_ONLY ? VTD_QI_IOTLB_IH : 0;
	uint32_t sequence = 0;
	int err;

	pthread_mutex_lock(&b->queue);
	err = b->broken ? -EIO : reserve(b, (unsigned)count + 1);
	if (!err) {
		for (size_t i = 0; i < count; i++)
			vi_driver_vtd_put_range(&b->driver, b->domain_id, ranges[i].iova,
						ranges[i].iova + ranges[i].len - 1, hint);
		sequence = put_wait(b);
	}
	pthread_mutex_unlock(&b->queue);
	return err ? err : await(b, sequence);
}

static int queue_domain(struct vtd_backing *b)
{
	uint32_t sequence = 0;
	int err;

	pthread_mutex_lock(&b->queue);
	err = b->broken ? -EIO : reserve(b, 2);
	if (!err) {
		vi_driver_vtd_put_domain(&b->driver, b->domain_id);
		sequence = put_wait(b);
	}
	pthread_mutex_unlock(&b->queue);
	return err ? err : await(b, sequence);
}

/* Registers hold one command at a time, so they are held while it is carried out. */
static int register_ranges(struct vtd_backing *b, const struct viommu_backing_range *ranges, size_t count)
{
	int err;

	pthread_mutex_lock(&b->queue);
	err = b->broken ? -EIO : 0;
	for (size_t i = 0; i < count && !err; i++)
		err = vi_driver_vtd_flush_range(&b->driver, b->domain_id, ranges[i].iova,
						ranges[i].iova + ranges[i].len - 1);
	pthread_mutex_unlock(&b->queue);
	return err ? -EIO : 0;
}

/* A unit that does not answer once is not trusted to later: nothing that it may still use is given back. */
static int verdict(struct vtd_backing *b, int err)
{
	if (err) {
		pthread_mutex_lock(&b->queue);
		b->broken = true;
		pthread_mutex_unlock(&b->queue);
	}
	return err;
}

static int invalidate(void *opaque, const struct viommu_backing_range *ranges, size_t count, unsigned flags)
{
	struct vtd_backing *b = opaque;
	int err = 0;

	if (!b->driver.queue)
		return verdict(b, register_ranges(b, ranges, count));
	for (size_t i = 0; i < count && !err; i += BATCH)
		err = queue_ranges(b, ranges + i, vi_min(count - i, BATCH), flags);
	return verdict(b, err);
}

static int invalidate_all(void *opaque)
{
	struct vtd_backing *b = opaque;
	int err;

	if (b->driver.queue)
		return verdict(b, queue_domain(b));
	pthread_mutex_lock(&b->queue);
	err = vi_driver_vtd_flush_iotlb(&b->driver, VTD_GRANULARITY_DOMAIN, b->domain_id, 0, 0) ? -EIO : 0;
	pthread_mutex_unlock(&b->queue);
	return verdict(b, err);
}

/* ------------------------------------------------------------------- tables */

static unsigned rights(unsigned access)
{
	_Static_assert((int)VIOMMU_BACKING_READ == (int)VI_PGTABLE_READ &&
			       (int)VIOMMU_BACKING_WRITE == (int)VI_PGTABLE_WRITE,
		       "rights are the same bits");
	return access & (VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE);
}

static int map_all(struct vtd_backing *b, const struct viommu_backing_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct viommu_backing_range *r = &ranges[i];
		int err = vi_driver_map(&b->table, r->iova, r->address, r->len, rights(r->access));

		if (!err)
			continue;
		while (i-- > 0)
			vi_driver_unmap(&b->table, ranges[i].iova, ranges[i].len);
		return err;
	}
	return 0;
}

/* What was there for a moment a device may have cached; in caching mode what is new is announced too (6.1).
 */
static int map(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct vtd_backing *b = opaque;
	int err, late = 0;

	pthread_mutex_lock(&b->tables);
	err = map_all(b, ranges, count);
	pthread_mutex_unlock(&b->tables);
	if (err || b->caching_mode)
		late = invalidate(b, ranges, count, 0);
	return err ? err : late;
}

static int unmap(void *opaque, const struct viommu_backing_range *ranges, size_t count)
{
	struct vtd_backing *b = opaque;
	int err = 0;

	pthread_mutex_lock(&b->tables);
	for (size_t i = 0; i < count; i++) {
		int64_t bytes = vi_driver_unmap(&b->table, ranges[i].iova, ranges[i].len);

		if (bytes != (int64_t)ranges[i].len)
			err = bytes < 0 ? (int)bytes : -ENOENT;
	}
	pthread_mutex_unlock(&b->tables);
	return err;
}

static int pass_through(void *opaque, bool on)
{
	struct vtd_backing *b = opaque;
	int err;

	pthread_mutex_lock(&b->queue);
	err = b->driver.queue ? reserve(b, QUEUE_SLOTS - 1) : 0; /* alone with the queue */
	if (!err)
		err = vi_driver_vtd_attach(&b->driver, b->rid, b->domain_id, on ? NULL : &b->table);
	if (!err)
		queue_is_empty(b);
	pthread_mutex_unlock(&b->queue);
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

static bool are_sound(const struct viommu_backing_vtd_options *o)
{
	return o && o->sz >= sizeof(*o) && o->read && o->write && o->table_memory &&
	       vi_is_aligned((uintptr_t)o->table_memory | o->table_gpa | o->table_size, VI_PAGE_SIZE) &&
	       o->table_size >= (64u << 10);
}

static int bring_up(struct vtd_backing *b, const struct viommu_backing_vtd_options *o)
{
	struct vi_driver_regs regs = {.read = o->read, .write = o->write, .relax = b->relax, .arg = o->arg};
	struct vi_driver_vtd *d = &b->driver;
	unsigned levels;
	int err;

	vi_driver_memory_init(&b->memory, o->table_gpa, o->table_memory, o->table_size);
	vi_driver_vtd_init(d, &regs, &b->memory);
	b->caching_mode = d->cap & VTD_CAP_CM;
	levels = vi_field(d->cap, VTD_CAP_SAGAW) & VTD_SAGAW_48BIT ? 4 : 3;
	err = vi_driver_vtd_table_init(d, &b->table, levels);
	if (!err)
		err = vi_driver_vtd_start(d, !o->no_queue);
	if (!err)
		err = vi_driver_vtd_attach(d, b->rid, b->domain_id, &b->table);
	return err == -ETIMEDOUT ? -EIO : err;
}

int viommu_backing_vtd_create(const struct viommu_backing_vtd_options *options,
			      struct viommu_backing *ret_backing)
{
	struct vtd_backing *b;
	int err;

	if (!are_sound(options))
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->relax = options->relax ? options->relax : always;
	b->arg = options->arg;
	b->rid = options->rid;
	b->domain_id = options->domain_id ? options->domain_id : 1;
	err = bring_up(b, options);
	if (err) {
		free(b);
		return err;
	}
	queue_is_empty(b);
	pthread_mutex_init(&b->tables, NULL);
	pthread_mutex_init(&b->queue, NULL);
	*ret_backing = (struct viommu_backing){.ops = &ops,
					       .opaque = b,
					       .address_width = b->table.table.levels == 4 ? 48 : 39};
	return 0;
}

void viommu_backing_vtd_destroy(struct viommu_backing *backing)
{
	struct vtd_backing *b = backing->opaque;

	if (!b)
		return;
	if (!b->broken) {
		vi_driver_vtd_detach(&b->driver, b->rid, b->domain_id);
		vi_driver_vtd_enable_translation(&b->driver, false);
		if (b->driver.queue)
			vi_driver_vtd_disable_queue(&b->driver);
	}
	pthread_mutex_destroy(&b->tables);
	pthread_mutex_destroy(&b->queue);
	free(b);
	*backing = (struct viommu_backing){0};
}
