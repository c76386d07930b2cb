/* SPDX-License-Identifier: BSD-3-Clause */
/* No memory, at each call of a life of a virtio-iommu: a request is refused for it, and changed nothing. */
#include <errno.h>
#include <string.h>

#include <viommu/access.h>
#include <viommu/request.h>

#include "sweep.h"
#include "testing.h"

#define PAGE	 4096u
#define RAM_SIZE (16 * PAGE)
#define RID	 0x0088
#define FEATURES 0x77
#define NOMEM	 8

static _Alignas(4096) uint8_t ram[RAM_SIZE];
static uint8_t state[4096];

struct world {
	struct viommu *v;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	int64_t saved;
};

static int create(void *world)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops)};
	const struct viommu_options options = {
		.sz = sizeof(options), .model = VIOMMU_MODEL_VIRTIO, .max_threads_lg2 = 1, .iotlb_lg2 = 6};
	struct world *w = world;

	return viommu_create(&ops, w, &options, &w->v);
}

static void destroy(void *world)
{
	struct world *w = world;

	viommu_destroy(w->v);
}

static int add_memory(void *world)
{
	struct world *w = world;

	return viommu_mem_add(w->v, 0, RAM_SIZE, ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
}

static int add_device(void *world)
{
	struct world *w = world;

	return viommu_requester_add(w->v, RID, &w->device);
}

static int make_thread(void *world)
{
	struct world *w = world;

	return viommu_thread_create(w->v, &w->thread);
}

static void end_thread(void *world)
{
	struct world *w = world;

	viommu_thread_destroy(w->thread);
}

static int accept_features(void *world)
{
	struct world *w = world;
	uint64_t mask = 0;

	assert_int_equal(viommu_features_offered(w->v), FEATURES);
	assert_int_equal(viommu_config_read(w->v, 0, &mask, sizeof(mask)), 0);
	assert_int_equal(mask & PAGE, PAGE);
	return viommu_features_accept(w->v, FEATURES);
}

/* 32-bit words, the first of which has the type. */
static int ask(struct world *w, const uint32_t *request, size_t length)
{
	uint8_t tail[4];
	uint64_t token;

	assert_int_equal(viommu_request_submit(w->v, 5, request, length, sizeof(tail)), 0);
	while (viommu_process(w->v, 16) & VIOMMU_PROCESS_PENDING)
		;
	assert_int_equal(viommu_request_answer(w->v, &token, tail, sizeof(tail)), sizeof(tail));
	assert_int_equal(token, 5);
	assert_true(tail[0] == 0 || tail[0] == NOMEM);
	return tail[0] ? -ENOMEM : 0;
}

static int attach(void *world)
{
	const uint32_t request[] = {1, 7, RID, 0, 0};

	return ask(world, request, sizeof(request));
}

static int map(void *world)
{
	const uint32_t request[] = {3, 7, 4 * PAGE, 0, 5 * PAGE - 1, 0, PAGE, 0, 3};

	return ask(world, request, sizeof(request));
}

static int access_memory(void *world)
{
	struct world *w = world;
	uint8_t byte = 0x6d;
	int err;

	ram[PAGE] = 0;
	err = viommu_write(w->thread, w->device, 4 * PAGE, &byte, 1);
	if (!err)
		assert_int_equal(ram[PAGE], byte);
	return err;
}

/* It is refused, and told. */
static int fault(void *world)
{
	struct world *w = world;
	uint8_t event[VIOMMU_EVENT_BYTES];

	assert_int_equal(viommu_read(w->thread, w->device, 8 * PAGE, event, 1), -EACCES);
	viommu_process(w->v, 16);
	assert_int_equal(viommu_event_take(w->v, event, sizeof(event)), sizeof(event));
	return 0;
}

static int save(void *world)
{
	struct world *w = world;

	w->saved = viommu_save(w->v, state, sizeof(state));
	return w->saved < 0 ? (int)w->saved : 0;
}

static int restore(void *world)
{
	struct world *w = world;

	return viommu_restore(w->v, state, (size_t)w->saved);
}

/* What the domains had that were there before. */
static int clear_away(void *world)
{
	struct world *w = world;

	while (viommu_process(w->v, 16) & VIOMMU_PROCESS_PENDING)
		;
	return 0;
}

static int unmap(void *world)
{
	const uint32_t request[] = {4, 7, 0, 0, UINT32_MAX, 0, 0};

	return ask(world, request, sizeof(request));
}

static int detach(void *world)
{
	const uint32_t request[] = {2, 7, RID, 0, 0};

	return ask(world, request, sizeof(request));
}

static int reset(void *world)
{
	struct world *w = world;
	uint8_t bypass = 0;

	assert_int_equal(viommu_config_write(w->v, 36, &bypass, 1), 0);
	return viommu_driver_reset(w->v, false) ? -EBUSY : 0;
}

static void test_virtio_iommu_without_memory(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "create", .run = create, .undo = destroy},
		{.name = "add memory", .run = add_memory},
		{.name = "add a device", .run = add_device},
		{.name = "make a thread", .run = make_thread, .undo = end_thread},
		{.name = "accept features", .run = accept_features},
		{.name = "attach", .run = attach, .keeps = true},
		{.name = "map", .run = map},
		{.name = "access", .run = access_memory, .keeps = true},
		{.name = "fault", .run = fault},
		{.name = "save", .run = save},
		{.name = "restore", .run = restore, .keeps = true},
		{.name = "clear away", .run = clear_away, .keeps = true},
		{.name = "access after restoring", .run = access_memory, .keeps = true},
		{.name = "unmap", .run = unmap, .keeps = true},
		{.name = "detach", .run = detach, .keeps = true},
		{.name = "reset the driver", .run = reset, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("virtio-iommu", struct world, steps);

	nth_sweep(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_virtio_iommu_without_memory),
	};

	return cmocka_run_group_tests_name("nth virtio-iommu", tests, NULL, NULL);
}
