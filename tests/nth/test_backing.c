/* SPDX-License-Identifier: BSD-3-Clause */
/* Backings of DMA address spaces: no memory, and a peer that refuses. */
#include <errno.h>
#include <string.h>

#include <viommu/access.h>
#include <viommu/backing.h>

#include "virtio/iommu.h"

#include "failing_alloc.h"
#include "sweep.h"
#include "testing.h"

#define PAGE   4096
#define RANGES 70 /* more than a batch holds */
#define RAM    (2 << 20)

static _Alignas(PAGE) uint8_t ram[RAM];

struct world {
	struct viommu *unit;
	struct viommu_requester *device, *own;
	struct viommu_thread *thread;
	struct virtio_iommu *queues;
	struct viommu_backing backing;
	struct viommu_backing_range ranges[RANGES];
	int64_t mapped; /* at the paravirtual peer */
};

static void find_ranges(struct world *w)
{
	for (uint64_t i = 0; i < RANGES; i++)
		w->ranges[i] =
			(struct viommu_backing_range){(i + 1) << 30, i * PAGE, PAGE, VIOMMU_BACKING_READ};
}

/* ---- the steps that all have in common */

static int map(void *world)
{
	struct world *w = world;

	find_ranges(w);
	return w->backing.ops->map(w->backing.opaque, w->ranges, RANGES);
}

static int unmap(void *world)
{
	struct world *w = world;

	return w->backing.ops->unmap(w->backing.opaque, w->ranges, RANGES);
}

static int invalidate(void *world)
{
	struct world *w = world;

	return w->backing.ops->invalidate(w->backing.opaque, w->ranges, RANGES, VIOMMU_BACKING_LEAVES_ONLY);
}

static int invalidate_all(void *world)
{
	struct world *w = world;

	return w->backing.ops->invalidate_all(w->backing.opaque);
}

/* ---- a VT-d unit */

static int make_unit(void *world)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_VTD};
	struct world *w = world;
	int err = viommu_create(&ops, NULL, &options, &w->unit);

	if (!err)
		err = viommu_mem_add(w->unit, 0, RAM, ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
	if (!err)
		err = viommu_requester_add(w->unit, 8, &w->device);
	if (err)
		viommu_destroy(w->unit);
	return err;
}

static void drop_unit(void *world)
{
	viommu_destroy(((struct world *)world)->unit);
}

static uint64_t read_register(void *arg, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	viommu_regs_read(((struct world *)arg)->unit, offset, size, &value);
	return value;
}

static void write_register(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	viommu_regs_write(((struct world *)arg)->unit, offset, size, value);
}

static bool relax(void *arg)
{
	viommu_process(((struct world *)arg)->unit, 64);
	return true;
}

static int make_vtd(void *world)
{
	struct viommu_backing_vtd_options options = {.sz = sizeof(options),
						     .read = read_register,
						     .write = write_register,
						     .relax = relax,
						     .arg = world,
						     .table_memory = ram,
						     .table_size = RAM,
						     .rid = 8};

	return viommu_backing_vtd_create(&options, &((struct world *)world)->backing);
}

static void drop_vtd(void *world)
{
	viommu_backing_vtd_destroy(&((struct world *)world)->backing);
}

static void vtd(void **state)
{
	static const struct nth_step steps[] = {
		{.name = "make a unit", .run = make_unit, .undo = drop_unit},
		{.name = "make the backing", .run = make_vtd, .undo = drop_vtd},
		{.name = "map", .run = map},
		{.name = "unmap", .run = unmap},
		{.name = "invalidate", .run = invalidate},
		{.name = "map again", .run = map},
		{.name = "unmap again", .run = unmap},
		{.name = "invalidate all", .run = invalidate_all},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("vtd", struct world, steps);

	(void)state;
	nth_sweep(&q);
}

/* ---- a virtio-iommu unit, whose queue is looked at while the driver waits */

static int make_virtio_unit(void *world)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_VIRTIO};
	struct world *w = world;
	int err = viommu_create(&ops, NULL, &options, &w->unit);

	if (!err)
		err = viommu_mem_add(w->unit, 0, RAM, ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
	if (!err)
		err = viommu_requester_add(w->unit, 8, &w->device);
	if (!err)
		err = viommu_requester_bypass_add(w->unit, 16, &w->own);
	if (!err)
		err = viommu_thread_create(w->unit, &w->thread);
	if (err)
		viommu_destroy(w->unit);
	return err;
}

static void drop_virtio_unit(void *world)
{
	viommu_thread_destroy(((struct world *)world)->thread);
	drop_unit(world);
}

static void no_msix(void *opaque, unsigned vector)
{
}

static void no_kick(void *opaque)
{
}

static void no_log(void *opaque, const char *line)
{
}

static int make_queues(void *world)
{
	static const struct virtio_iommu_host_ops ops = {no_msix, no_kick, no_log};
	const uint16_t master = 4;
	struct world *w = world;

	w->queues = virtio_iommu_create(w->unit, w->own, w->thread, &ops, w);
	return w->queues ? virtio_config_write(virtio_iommu_transport(w->queues), 4, &master, sizeof(master))
			 : -ENOMEM;
}

static void drop_queues(void *world)
{
	virtio_iommu_destroy(((struct world *)world)->queues);
}

static uint64_t read_bar(void *arg, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	virtio_bar_read(virtio_iommu_transport(((struct world *)arg)->queues), 0, offset, &value, size);
	return value;
}

static void write_bar(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	virtio_bar_write(virtio_iommu_transport(((struct world *)arg)->queues), 0, offset, &value, size);
}

static bool look_at_queues(void *arg)
{
	struct virtio_iommu_look seen = {0};
	struct world *w = arg;

	virtio_iommu_take(w->queues, 64, &seen);
	virtio_iommu_give(w->queues, viommu_process(w->unit, 64) > 0, &seen);
	return true;
}

static int make_virtio(void *world)
{
	struct viommu_backing_virtio_options options = {.sz = sizeof(options),
							.read = read_bar,
							.write = write_bar,
							.relax = look_at_queues,
							.arg = world,
							.notify = VIRTIO_BAR0_NOTIFY,
							.notify_multiplier = VIRTIO_NOTIFY_MULTIPLIER,
							.queue_memory = ram,
							.queue_size = RAM,
							.endpoint = 8};

	return viommu_backing_virtio_create(&options, &((struct world *)world)->backing);
}

static void drop_virtio(void *world)
{
	viommu_backing_virtio_destroy(&((struct world *)world)->backing);
}

/* A domain that was ended is freed by the unit when it comes to it. */
static void virtio(void **state)
{
	static const struct nth_step steps[] = {
		{.name = "make a unit", .run = make_virtio_unit, .undo = drop_virtio_unit},
		{.name = "make the queues", .run = make_queues, .undo = drop_queues},
		{.name = "make the backing", .run = make_virtio, .undo = drop_virtio, .keeps = true},
		{.name = "map", .run = map, .keeps = true},
		{.name = "unmap", .run = unmap, .keeps = true},
		{.name = "invalidate", .run = invalidate, .keeps = true},
		{.name = "map again", .run = map, .keeps = true},
		{.name = "unmap again", .run = unmap, .keeps = true},
		{.name = "invalidate all", .run = invalidate_all, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("virtio", struct world, steps);

	(void)state;
	nth_sweep(&q);
}

/* ---- the observer */

static int make_observer(void *world)
{
	return viommu_backing_observer_create(NULL, 48, &((struct world *)world)->backing);
}

static void drop_observer(void *world)
{
	viommu_backing_observer_destroy(&((struct world *)world)->backing);
}

static void ignore_page(void *opaque, uint64_t address, bool leads, bool alone)
{
}

static void ignore_pass_through(void *opaque, bool on)
{
}

static int watch_pages(void *world)
{
	const struct viommu_backing_watch watch = {.sz = sizeof(watch),
						   .page = ignore_page,
						   .pass_through = ignore_pass_through};

	return viommu_backing_observer_watch(&((struct world *)world)->backing, &watch);
}

static int look(void *world)
{
	const struct viommu_backing *b = &((struct world *)world)->backing;
	struct viommu_backing_work work;

	viommu_backing_observer_work(b, &work);
	assert_int_equal(work.reachable_pages, RANGES);
	assert_int_equal(work.mapped_pages, RANGES);
	assert_int_equal(work.broken_rules, 0);
	assert_int_equal(viommu_backing_observer_reach(b, 0), VIOMMU_BACKING_READ);
	return 0;
}

static void observer(void **state)
{
	static const struct nth_step steps[] = {
		{.name = "make the backing", .run = make_observer, .undo = drop_observer},
		{.name = "watch", .run = watch_pages},
		{.name = "map", .run = map, .keeps = true}, /* tables that were made stay */
		{.name = "look", .run = look},
		{.name = "unmap", .run = unmap, .keeps = true},
		{.name = "invalidate", .run = invalidate},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("observer", struct world, steps);

	(void)state;
	nth_sweep(&q);
}

/* ---- a paravirtual peer */

static int submit(void *arg, struct viommu_backing_request *requests, size_t count)
{
	struct world *w = arg;

	for (size_t i = 0; i < count; i++) {
		bool is_map = requests[i].type == VIOMMU_BACKING_REQUEST_MAP;

		requests[i].status = is_map && alloc_call_fails("a map of the peer", ENOMEM) ? -ENOMEM : 0;
		if (!requests[i].status)
			w->mapped += is_map ? 1 : -1;
	}
	return 0;
}

static int make_paravirt(void *world)
{
	struct viommu_backing_paravirt_options options = {
		.sz = sizeof(options), .submit = submit, .arg = world, .batch = 16};

	return viommu_backing_paravirt_create(&options, &((struct world *)world)->backing);
}

static void drop_paravirt(void *world)
{
	viommu_backing_paravirt_destroy(&((struct world *)world)->backing);
}

static int map_at_peer(void *world)
{
	int err = map(world);

	assert_int_equal(((struct world *)world)->mapped, err ? 0 : RANGES);
	return err;
}

static int gone_at_peer(void *world)
{
	int err = invalidate(world);

	assert_int_equal(((struct world *)world)->mapped, 0);
	return err;
}

static void paravirt(void **state)
{
	static const struct nth_step steps[] = {
		{.name = "make the backing", .run = make_paravirt, .undo = drop_paravirt},
		{.name = "map", .run = map_at_peer},
		{.name = "unmap", .run = unmap},
		{.name = "invalidate", .run = gone_at_peer},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("paravirt", struct world, steps);

	(void)state;
	nth_sweep(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(vtd), cmocka_unit_test(virtio),
					   cmocka_unit_test(observer), cmocka_unit_test(paravirt)};

	return cmocka_run_group_tests_name("nth backing", tests, NULL, NULL);
}
