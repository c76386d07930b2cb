/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The AMD-Vi model and its driver half: no memory, no table page, and a host whose
 * callbacks fail, at each call of a life of a unit.
 */
#include <errno.h>
#include <string.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "driver/amdvi.h"
#include "failing_alloc.h"
#include "spec/amdvi_queues.h"
#include "spec/amdvi_registers.h"
#include "sweep.h"
#include "testing.h"

#define RAM_SIZE (UINT64_C(4) << 20)
#define TABLES	 (UINT64_C(1) << 20) /* from where the driver builds them */
#define IOVA	 UINT64_C(0x40000000)
#define DATA	 UINT64_C(0x40000) /* gpa of what is mapped there */
#define SIZE	 UINT64_C(0x2000)
#define DOMAIN	 9
#define RID	 0x88

static _Alignas(4096) uint8_t ram[RAM_SIZE], page[4096];
static uint8_t state[65536];
static bool pages_fail; /* those of the driver */

struct world {
	bool far; /* all memory is the host's, behind callbacks */
	struct viommu *v;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	struct vi_driver_memory memory;
	struct vi_driver_amdvi driver;
	struct vi_driver_page_table table;
	unsigned patience;
	int64_t saved;
};

/* ---- the host */

static int mem_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	if (alloc_call_fails("mem_read", EIO))
		return -EIO;
	memcpy(buf, ram + gpa, len);
	return 0;
}

static int mem_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	if (alloc_call_fails("mem_write", EIO))
		return -EIO;
	memcpy(ram + gpa, buf, len);
	return 0;
}

static int table_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	if (alloc_call_fails("table_read", EIO))
		return -EIO;
	memcpy(buf, ram + gpa, len);
	return 0;
}

static int table_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	if (alloc_call_fails("table_write", EIO))
		return -EIO;
	memcpy(ram + gpa, buf, len);
	return 0;
}

static const struct viommu_host_ops host_ops = {
	.sz = sizeof(host_ops),
	.mem_read = mem_read,
	.mem_write = mem_write,
	.table_read = table_read,
	.table_write = table_write,
};

/* ---- the guest */

uint64_t __real_vi_driver_pages_alloc(struct vi_driver_memory *m, unsigned count);
uint64_t __wrap_vi_driver_pages_alloc(struct vi_driver_memory *m, unsigned count);
uint64_t __real_vi_driver_page_alloc(struct vi_driver_memory *m);
uint64_t __wrap_vi_driver_page_alloc(struct vi_driver_memory *m);

uint64_t __wrap_vi_driver_pages_alloc(struct vi_driver_memory *m, unsigned count)
{
	return pages_fail && alloc_call_fails("pages_alloc", ENOMEM) ? 0
								     : __real_vi_driver_pages_alloc(m, count);
}

uint64_t __wrap_vi_driver_page_alloc(struct vi_driver_memory *m)
{
	return pages_fail && alloc_call_fails("page_alloc", ENOMEM) ? 0 : __real_vi_driver_page_alloc(m);
}

static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct world *w = arg;
	uint64_t value = 0;

	assert_int_equal(viommu_regs_read(w->v, offset, size, &value), 0);
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct world *w = arg;

	assert_int_equal(viommu_regs_write(w->v, offset, size, value), 0);
}

static bool regs_relax(void *arg)
{
	struct world *w = arg;

	viommu_process(w->v, 16);
	return w->patience-- > 1;
}

/* ---- steps */

static int live_in_host_memory(void *world)
{
	struct world *w = world;

	w->far = true;
	return 0;
}

static int create(void *world)
{
	const struct viommu_options options = {
		.sz = sizeof(options), .model = VIOMMU_MODEL_AMDVI, .max_threads_lg2 = 1, .iotlb_lg2 = 6};
	struct world *w = world;

	return viommu_create(&host_ops, w, &options, &w->v);
}

static void destroy(void *world)
{
	struct world *w = world;

	viommu_destroy(w->v);
}

static int add_memory(void *world)
{
	struct world *w = world;

	return viommu_mem_add(w->v, 0, RAM_SIZE, w->far ? NULL : ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
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

static int share_registers(void *world)
{
	struct world *w = world;

	memset(page, 0, sizeof(page));
	return viommu_regs_share(w->v, AMDVI_POINTERS, page);
}

/* Once: a driver that starts again has its pages still. */
static int prepare_driver(void *world)
{
	const struct vi_driver_regs regs = {
		.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = world};
	struct world *w = world;

	memset(ram, 0, sizeof(ram));
	vi_driver_memory_init(&w->memory, TABLES, ram + TABLES, RAM_SIZE - TABLES);
	vi_driver_amdvi_init(&w->driver, &regs, &w->memory);
	return 0;
}

static int start_driver(void *world)
{
	struct world *w = world;

	w->patience = 1000;
	return vi_driver_amdvi_start(&w->driver);
}

static int make_table(void *world)
{
	struct world *w = world;

	return vi_driver_amdvi_table_init(&w->driver, &w->table, 3);
}

static int attach(void *world)
{
	struct world *w = world;

	w->patience = 1000;
	return vi_driver_amdvi_attach(&w->driver, RID, DOMAIN, &w->table);
}

static int map(void *world)
{
	struct world *w = world;

	return vi_driver_map(&w->table, IOVA, DATA, SIZE, VI_PGTABLE_READ | VI_PGTABLE_WRITE);
}

static int access_memory(void *world)
{
	struct world *w = world;
	uint64_t out = 0x6d6d, in = 0;
	int err = viommu_write(w->thread, w->device, IOVA + 8, &out, 8);

	if (!err)
		err = viommu_read(w->thread, w->device, IOVA + 8, &in, 8);
	if (!err)
		assert_int_equal(in, out);
	return err;
}

static int unmap(void *world)
{
	struct vi_driver_amdvi_event event;
	struct world *w = world;
	int64_t bytes = vi_driver_unmap(&w->table, IOVA, SIZE);
	uint8_t byte;
	int err;

	assert_true(bytes == 0 || bytes == (int64_t)SIZE);
	w->patience = 1000;
	err = vi_driver_amdvi_flush_range(&w->driver, DOMAIN, IOVA, IOVA + SIZE - 1);
	if (err)
		return err;
	assert_int_equal(viommu_read(w->thread, w->device, IOVA, &byte, 1), -EACCES);
	viommu_process(w->v, 16);
	assert_true(vi_driver_amdvi_next_event(&w->driver, &event));
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

static void the_model_without_memory(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "create", .run = create, .undo = destroy},
		{.name = "add memory", .run = add_memory},
		{.name = "add a device", .run = add_device},
		{.name = "make a thread", .run = make_thread, .undo = end_thread},
		{.name = "share the registers", .run = share_registers},
		{.name = "prepare the driver", .run = prepare_driver},
		{.name = "start the driver", .run = start_driver},
		{.name = "make a table", .run = make_table},
		{.name = "attach", .run = attach},
		{.name = "map", .run = map},
		{.name = "access", .run = access_memory},
		{.name = "save", .run = save},
		{.name = "restore", .run = restore},
		{.name = "access after restoring", .run = access_memory},
		{.name = "unmap", .run = unmap},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("AMD-Vi", struct world, steps);

	pages_fail = true;
	nth_sweep(&q);
}

/* ---- a host whose callbacks fail: the guest has the event of the specification, or the program its errno */

static void expect_event(void *world, int err)
{
	struct vi_driver_amdvi_event event;
	struct world *w = world;
	unsigned code;

	while (viommu_process(w->v, 16) != 0)
		;
	if (err == -EIO) {
		assert_false(vi_driver_amdvi_next_event(&w->driver, &event));
		return;
	}
	assert_int_equal(err, -EACCES);
	/* Or the log could not be written either, where all calls fail. */
	if (!vi_driver_amdvi_next_event(&w->driver, &event))
		return;
	code = (unsigned)vi_field(event.lo, AMDVI_EVENT_CODE);
	assert_true(code == 0 || code == AMDVI_DEV_TAB_HARDWARE_ERROR ||
		    code == AMDVI_PAGE_TAB_HARDWARE_ERROR);
}

/* A command that cannot be fetched, or whose store fails, stops the buffer; the driver starts it again. */
static void expect_stopped_buffer(void *world, int err)
{
	struct vi_driver_amdvi_event event;
	struct world *w = world;

	assert_int_equal(err, -EIO);
	while (vi_driver_amdvi_next_event(&w->driver, &event))
		;
	vi_driver_amdvi_restart_commands(&w->driver);
}

static void the_model_in_a_host_that_fails(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "live in the host's memory", .run = live_in_host_memory},
		{.name = "create", .run = create, .undo = destroy},
		{.name = "add memory", .run = add_memory},
		{.name = "add a device", .run = add_device},
		{.name = "make a thread", .run = make_thread, .undo = end_thread},
		{.name = "prepare the driver", .run = prepare_driver},
		{.name = "start the driver",
		 .run = start_driver,
		 .examine = expect_stopped_buffer,
		 .keeps = true},
		{.name = "make a table", .run = make_table},
		{.name = "attach", .run = attach, .examine = expect_stopped_buffer, .keeps = true},
		{.name = "map", .run = map},
		{.name = "access", .run = access_memory, .examine = expect_event, .keeps = true},
		{.name = "access again", .run = access_memory, .examine = expect_event, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("AMD-Vi in a host that fails", struct world, steps);

	pages_fail = false;
	nth_sweep(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_without_memory),
		cmocka_unit_test(the_model_in_a_host_that_fails),
	};

	return cmocka_run_group_tests_name("nth amdvi", tests, NULL, NULL);
}
