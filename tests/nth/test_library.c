/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libviommu and its driver half: no memory, no table page, and a host whose
 * callbacks fail, at each call of a life of a unit.
 */
#include <errno.h>
#include <string.h>

#include <viommu/access.h>

#include "core/ranges.h"
#include "driver/vtd.h"
#include "failing_alloc.h"
#include "machine.h"
#include "sweep.h"
#include "testing.h"

#define RAM_SIZE  (UINT64_C(4) << 20)
#define TABLES	  (UINT64_C(1) << 20) /* from where the driver builds them */
#define ROOM	  (UINT64_C(1) << 39) /* iova: tables of its own at each level */
#define PAGES	  5
#define DATA	  UINT64_C(0x40000) /* gpa of what is mapped there */
#define DOMAIN	  9
#define OTHER_BUS 0x4200

static _Alignas(4096) uint8_t ram[RAM_SIZE], page[4096];
static uint8_t state[65536];
static bool pages_fail; /* those of the driver */

struct world {
	bool far; /* all memory is the host's, behind callbacks */
	struct viommu *v;
	struct viommu_requester *device, *other;
	struct viommu_thread *thread;
	struct vi_driver_memory memory;
	struct vi_driver_vtd driver;
	struct vi_driver_page_table table;
	unsigned patience;
	int64_t saved;
	uint64_t reached;
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

/* ---- steps of both sequences */

static int create(void *world)
{
	const struct viommu_options options = {
		.sz = sizeof(options), .model = VIOMMU_MODEL_VTD, .max_threads_lg2 = 1, .iotlb_lg2 = 6};
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

	return viommu_requester_add(w->v, MACHINE_RID, &w->device);
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

/* Once: a driver that starts again has its pages still. */
static int prepare_driver(void *world)
{
	const struct vi_driver_regs regs = {
		.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = world};
	struct world *w = world;

	memset(ram, 0, sizeof(ram));
	vi_driver_memory_init(&w->memory, TABLES, ram + TABLES, RAM_SIZE - TABLES);
	vi_driver_vtd_init(&w->driver, &regs, &w->memory);
	return 0;
}

static int start_driver(void *world)
{
	struct world *w = world;

	w->patience = 1000;
	return vi_driver_vtd_start(&w->driver, true);
}

static int make_table(void *world)
{
	struct world *w = world;

	return vi_driver_vtd_table_init(&w->driver, &w->table, 4);
}

static int attach(void *world)
{
	struct world *w = world;

	w->patience = 1000;
	return vi_driver_vtd_attach(&w->driver, MACHINE_RID, DOMAIN, &w->table);
}

/* Over the end of a table, so that there are two of each of the lower levels; or early, to be found soon. */
static uint64_t iova(const struct world *w)
{
	return w->far ? ROOM : ROOM + (UINT64_C(1) << 30) - 2 * 4096;
}

static uint64_t mapped_bytes(struct world *w)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t entry = vi_driver_entry_gpa(&w->table, iova(w) + i * 4096, 1);

		bytes += entry && vi_driver_load64(&w->memory, entry) ? 4096 : 0;
	}
	return bytes;
}

static int map(void *world)
{
	struct world *w = world;

	assert_int_equal(mapped_bytes(w), 0);
	return vi_driver_map(&w->table, iova(w), DATA, PAGES * UINT64_C(4096),
			     VI_PGTABLE_READ | VI_PGTABLE_WRITE);
}

static int access_memory(void *world)
{
	uint8_t out[3 * 4096], in[sizeof(out)];
	struct world *w = world;
	int err;

	memset(out, 0x6d, sizeof(out));
	err = viommu_write(w->thread, w->device, iova(w) + 100, out, sizeof(out));
	if (err)
		return err;
	assert_memory_equal(ram + DATA + 100, out, sizeof(out));
	err = viommu_read(w->thread, w->device, iova(w) + 100, in, sizeof(in));
	if (!err)
		assert_memory_equal(in, out, sizeof(out));
	return err;
}

static int unmap(void *world)
{
	struct vi_driver_vtd_fault fault;
	struct world *w = world;
	uint8_t byte;
	int64_t bytes = vi_driver_unmap(&w->table, iova(w), PAGES * UINT64_C(4096));
	int err;

	assert_true(bytes == 0 || bytes == PAGES * 4096);
	w->patience = 1000;
	err = vi_driver_vtd_flush_range(&w->driver, DOMAIN, iova(w), iova(w) + PAGES * UINT64_C(4096) - 1);
	if (err)
		return err;
	assert_int_equal(viommu_read(w->thread, w->device, iova(w), &byte, 1), -EACCES);
	viommu_process(w->v, 16);
	assert_true(vi_driver_vtd_next_fault(&w->driver, &fault));
	return 0;
}

static int detach(void *world)
{
	struct world *w = world;

	w->patience = 1000;
	return vi_driver_vtd_detach(&w->driver, MACHINE_RID, DOMAIN);
}

static int map_and_access(void *world)
{
	int err = map(world);

	return err ? err : access_memory(world);
}

/* ---- without memory: every function of the library */

static uint64_t hits(struct world *w)
{
	uint64_t value = 0;
	size_t count;

	assert_string_equal(viommu_counters_describe(&count)[0].name, "iotlb_hits");
	assert_int_equal(viommu_requester_counters_read(w->device, &value, 1), 1);
	return value;
}

/* Whatever became of the first access: afterwards translations are cached. */
static int second_access(void *world)
{
	struct world *w = world;
	uint64_t before = hits(w);

	assert_int_equal(access_memory(w), 0);
	assert_true(hits(w) > before);
	return 0;
}

static int add_other(void *world)
{
	struct world *w = world;

	return viommu_requester_add(w->v, OTHER_BUS, &w->other);
}

static int add_pasid(void *world)
{
	struct world *w = world;
	struct viommu_requester *with_pasid;

	return viommu_requester_pasid_add(w->other, 7, &with_pasid);
}

static int remove_other(void *world)
{
	struct world *w = world;

	viommu_requester_remove(w->other);
	return 0;
}

static int share_registers(void *world)
{
	struct viommu_regs_pages pages = {.sz = sizeof(pages)};
	struct world *w = world;

	memset(page, 0, sizeof(page));
	assert_int_equal(viommu_regs_size(w->v) % 4096, 0);
	assert_int_equal(viommu_regs_pollable(w->v, 0, &pages), 0);
	assert_int_equal(pages.length, sizeof(page));
	return viommu_regs_share(w->v, pages.offset, page);
}

static int translate_and_pin(void *world)
{
	struct viommu_pin pin = {.revoke = NULL};
	struct viommu_span span = {0};
	struct world *w = world;
	int err;

	viommu_enter(w->thread);
	err = viommu_translate(w->thread, w->device, iova(w), 4096, VIOMMU_READ, &span);
	viommu_exit(w->thread);
	if (!err)
		err = viommu_pin(w->thread, w->device, iova(w), 4096, VIOMMU_WRITE, &pin);
	if (err)
		return err;
	assert_ptr_equal(span.host, ram + DATA);
	assert_ptr_equal(pin.span.host, ram + DATA);
	viommu_unpin(&pin);
	return 0;
}

static int count_reach(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	struct world *w = arg;

	w->reached += last - first + 1;
	return 0;
}

/* Found whatever failed before: the access that was charged to it has succeeded. */
static void look_at_domains(struct world *w)
{
	uint64_t values[64], refusals[VIOMMU_REASONS];
	struct viommu_fault fault = {.sz = sizeof(fault)};
	uint16_t id = 0;

	assert_int_equal(viommu_domains_list(w->v, &id, 1), 1);
	assert_int_equal(id, DOMAIN);
	assert_true(viommu_domain_counters_read(w->v, DOMAIN, values, 64) > 0);
	assert_int_equal(viommu_refusals_read(w->v, refusals, VIOMMU_REASONS), VIOMMU_REASONS);
	assert_int_equal(viommu_fault_find(w->v, 0, &fault), -ENOENT);
	assert_non_null(viommu_reason_text(w->v, VTD_FR_READ));
}

static int look(void *world)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	uint64_t counts[VIOMMU_DRAIN_BUCKETS], values[64];
	struct world *w = world;
	uint64_t iova = 0;
	int err = viommu_requester_describe(w->device, &info);

	assert_int_equal(info.translation, VIOMMU_TRANSLATION_PAGED);
	assert_true(viommu_counters_read(w->v, values, 64) > 0);
	assert_int_equal(viommu_drain_times_read(w->v, counts, VIOMMU_DRAIN_BUCKETS), VIOMMU_DRAIN_BUCKETS);
	look_at_domains(w);
	w->reached = 0;
	if (!err)
		err = viommu_reach(w->device, 10000, count_reach, w);
	assert_int_equal(w->reached, PAGES * 4096);
	w->reached = 0;
	while (!err && (err = viommu_reach_some(w->device, &iova, 100, count_reach, w)) == 1)
		err = 0;
	assert_int_equal(w->reached, PAGES * 4096);
	return err;
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

/* A hole, so that a region has to be split; and what a failure has left there is all of it or nothing. */
static int cut_memory(void *world)
{
	struct world *w = world;
	int64_t taken = viommu_mem_remove(w->v, 0x3000, 4096);
	uint8_t byte = 0;

	assert_int_equal(viommu_read(w->thread, w->device, iova(w), &byte, 1), 0);
	if (taken < 0)
		return (int)taken;
	assert_int_equal(taken, 4096);
	return 0;
}

/* The whole of it, for which no memory is needed: who unmaps it next can rely on that. */
static int take_all_memory(void *world)
{
	struct world *w = world;

	assert_int_equal(viommu_mem_remove(w->v, 0, UINT64_MAX), RAM_SIZE - 4096);
	return 0;
}

static int reset(void *world)
{
	struct world *w = world;

	viommu_reset(w->v);
	return 0;
}

/* The state of a model that has no tables: what could not be added is not in the set. */
static int add_ranges(void *world)
{
	struct vi_range range = {.last = 4095, .address = DATA, .rights = VI_PGTABLE_READ};
	struct vi_ranges ranges;
	unsigned added = 0;
	int err = 0;

	(void)world;
	vi_ranges_init(&ranges, 3);
	for (; added < 3 && !(err = vi_ranges_add(&ranges, &range)); added++) {
		range.first += 4096;
		range.last += 4096;
	}
	assert_int_equal(ranges.count, added);
	assert_int_equal(vi_ranges_remove(&ranges, 4096, UINT64_MAX, 3), added > 1 ? added - 1 : 0);
	vi_ranges_finish(&ranges);
	return err;
}

static void the_library_without_memory(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "create", .run = create, .undo = destroy},
		{.name = "add memory", .run = add_memory},
		{.name = "add a device", .run = add_device},
		{.name = "add a device of another bus", .run = add_other},
		{.name = "add a handle with a PASID", .run = add_pasid},
		{.name = "make a thread", .run = make_thread, .undo = end_thread},
		{.name = "share the registers", .run = share_registers},
		{.name = "prepare the driver", .run = prepare_driver},
		{.name = "start the driver", .run = start_driver},
		{.name = "make a table", .run = make_table},
		{.name = "attach", .run = attach},
		{.name = "map", .run = map},
		{.name = "access", .run = access_memory},
		{.name = "access again", .run = second_access},
		{.name = "translate and pin", .run = translate_and_pin},
		{.name = "look", .run = look},
		{.name = "save", .run = save},
		{.name = "restore", .run = restore},
		{.name = "access after restoring", .run = access_memory},
		{.name = "cut memory", .run = cut_memory},
		{.name = "access after cutting", .run = access_memory},
		{.name = "unmap", .run = unmap},
		{.name = "map again", .run = map_and_access},
		{.name = "unmap again", .run = unmap},
		{.name = "detach", .run = detach},
		{.name = "remove a device", .run = remove_other},
		{.name = "reset", .run = reset},
		{.name = "take all memory", .run = take_all_memory},
		{.name = "add ranges", .run = add_ranges},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("libviommu", struct world, steps);

	pages_fail = true;
	nth_sweep(&q);
}

/* ---- a host whose callbacks fail: the guest has the fault of the specification */

static int live_in_host_memory(void *world)
{
	struct world *w = world;

	w->far = true;
	return 0;
}

/* The device's own data: its error is the host's, and the guest's tables are not to blame. */
static bool is_the_hosts(struct world *w, int err)
{
	struct vi_driver_vtd_fault fault;

	return err == -EIO && !vi_driver_vtd_next_fault(&w->driver, &fault);
}

static void expect_fault(void *world, int err)
{
	static const uint8_t reasons[] = {VTD_FR_CONTEXT_INVALID, VTD_FR_TABLE_ACCESS,
					  VTD_FR_ROOT_TABLE_ACCESS, VTD_FR_CONTEXT_TABLE_ACCESS};
	struct vi_driver_vtd_fault fault = {0};
	struct world *w = world;

	while (viommu_process(w->v, 16) != 0)
		;
	if (is_the_hosts(w, err))
		return;
	assert_int_equal(err, -EACCES);
	assert_true(vi_driver_vtd_next_fault(&w->driver, &fault));
	assert_non_null(memchr(reasons, fault.reason, sizeof(reasons)));
	assert_int_equal(fault.rid, MACHINE_RID);
	assert_false(vi_driver_vtd_next_fault(&w->driver, &fault));
}

/*
 * A descriptor that cannot be fetched stops the queue, which says so; a status
 * that cannot be written is one that does not come (6.5.2.8 has no error for it).
 */
static void expect_stopped_queue(void *world, int err)
{
	struct world *w = world;

	if (err == -ETIMEDOUT) {
		assert_false(vi_driver_vtd_read32(&w->driver, VTD_FSTS) & VTD_FSTS_IQE);
		return;
	}
	assert_int_equal(err, -EIO);
	assert_true(vi_driver_vtd_read32(&w->driver, VTD_FSTS) & VTD_FSTS_IQE);
	assert_int_equal(vi_driver_vtd_read64(&w->driver, VTD_IQERCD) & VTD_IQERCD_IQEI, VTD_IQEI_FETCH);
	vi_driver_vtd_write32(&w->driver, VTD_FSTS, VTD_FSTS_IQE);
}

/* A driver that starts anew, with the unit as it finds it. */
static void start_over(void *world, int err)
{
	struct world *w = world;

	expect_stopped_queue(w, err);
	w->patience = 1000;
	assert_int_equal(vi_driver_vtd_disable_queue(&w->driver), 0);
}

static int reach(void *world)
{
	struct world *w = world;
	struct viommu_requester_info info = {.sz = sizeof(info)};

	w->reached = 0;
	assert_int_equal(viommu_requester_describe(w->device, &info), 0);
	viommu_reach(w->device, 64, count_reach, w); /* not to the end of the tables: each entry is a point */
	return w->reached == PAGES * UINT64_C(4096) && info.translation == VIOMMU_TRANSLATION_PAGED ? 0
												    : -ENOENT;
}

/* Only a part is told, or that the device is blocked; and no guest hears of a question. */
static void expect_part(void *world, int err)
{
	struct vi_driver_vtd_fault fault;
	struct world *w = world;

	assert_true(w->reached <= PAGES * 4096);
	assert_false(vi_driver_vtd_next_fault(&w->driver, &fault));
}

static void the_library_and_a_host_that_fails(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "create", .run = create, .undo = destroy},
		{.name = "live in host memory", .run = live_in_host_memory},
		{.name = "add memory", .run = add_memory},
		{.name = "add a device", .run = add_device},
		{.name = "make a thread", .run = make_thread, .undo = end_thread},
		{.name = "prepare the driver", .run = prepare_driver},
		{.name = "start the driver", .run = start_driver, .examine = start_over},
		{.name = "make a table", .run = make_table},
		{.name = "attach", .run = attach, .examine = expect_stopped_queue},
		{.name = "map", .run = map},
		{.name = "access", .run = access_memory, .examine = expect_fault, .keeps = true},
		{.name = "access again", .run = access_memory, .examine = expect_fault, .keeps = true},
		{.name = "reach", .run = reach, .examine = expect_part},
		{.name = "save", .run = save},
		{.name = "restore", .run = restore},
		{.name = "access after restoring",
		 .run = access_memory,
		 .examine = expect_fault,
		 .keeps = true},
		{.name = "unmap", .run = unmap, .examine = expect_stopped_queue, .keeps = true},
		{.name = "map again", .run = map},
		{.name = "access what was mapped again",
		 .run = access_memory,
		 .examine = expect_fault,
		 .keeps = true},
		{.name = "detach", .run = detach, .examine = expect_stopped_queue, .keeps = true},
		{.name = "reset", .run = reset},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("libviommu's host", struct world, steps);

	pages_fail = false;
	nth_sweep(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_library_without_memory),
		cmocka_unit_test(the_library_and_a_host_that_fails),
	};

	return cmocka_run_group_tests_name("nth library", tests, NULL, NULL);
}
