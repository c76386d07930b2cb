/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"

static void on_msi(void *opaque, uint16_t rid, uint64_t address, uint32_t data)
{
	struct machine *m = opaque;
	unsigned i = atomic_fetch_add(&m->msi_count, 1);

	if (i >= MACHINE_MSI_LOG)
		return;
	m->msi[i].rid = rid;
	m->msi[i].address = address;
	m->msi[i].data = data;
}

static void on_kick(void *opaque)
{
	struct machine *m = opaque;

	atomic_fetch_add(&m->kicks, 1);
}

static void on_guest_error(void *opaque, const struct viommu_guest_event *event)
{
	struct machine *m = opaque;

	assert_non_null(event->text);
	m->guest_errors++;
}

static int on_mem_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct machine *m = opaque;

	atomic_fetch_add(&m->callback_reads, 1);
	if (gpa < MACHINE_FAR) /* a test's own, of which nothing is kept */
		memset(buf, 0, len);
	else
		memcpy(buf, m->far + (gpa - MACHINE_FAR), len);
	if (m->during_callback)
		m->during_callback(m);
	return 0;
}

static int on_mem_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	struct machine *m = opaque;

	atomic_fetch_add(&m->callback_writes, 1);
	if (m->slow_callbacks)
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	if (gpa < MACHINE_FAR)
		m->window_writes += vi_is_message(gpa) || vi_is_message(gpa + len - 1);
	else
		memcpy(m->far + (gpa - MACHINE_FAR), buf, len);
	if (m->during_callback)
		m->during_callback(m);
	return 0;
}

static int on_table_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct machine *m = opaque;

	if (!m->during_table_read)
		return -1;
	memcpy(buf, m->far + (gpa - MACHINE_FAR), len);
	m->during_table_read(m, gpa);
	return 0;
}

static uint64_t on_now_ns(void *opaque)
{
	struct timespec ts;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static const struct viommu_host_ops host_ops = {
	.sz = sizeof(struct viommu_host_ops),
	.mem_read = on_mem_read,
	.mem_write = on_mem_write,
	.msi = on_msi,
	.kick = on_kick,
	.guest_error = on_guest_error,
	.now_ns = on_now_ns,
	.table_read = on_table_read,
};

/* The driver's own loads and stores of the shared page, as a CPU would make them. */
static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct machine *m = arg;
	uint64_t value = 0;

	if (m->registers != TRAPPED && offset < 4096) {
		uint8_t *p = (uint8_t *)m->page + offset;

		return size == 8 ? __atomic_load_n((uint64_t *)(void *)p, __ATOMIC_SEQ_CST)
				 : __atomic_load_n((uint32_t *)(void *)p, __ATOMIC_SEQ_CST);
	}
	assert_int_equal(viommu_regs_read(m->viommu, offset, size, &value), 0);
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct machine *m = arg;

	if (m->registers != TRAPPED && offset < 4096) {
		uint8_t *p = (uint8_t *)m->page + offset;

		if (size == 8)
			__atomic_store_n((uint64_t *)(void *)p, value, __ATOMIC_SEQ_CST);
		else
			__atomic_store_n((uint32_t *)(void *)p, (uint32_t)value, __ATOMIC_SEQ_CST);
		return;
	}
	assert_int_equal(viommu_regs_write(m->viommu, offset, size, value), 0);
}

static bool regs_relax(void *arg)
{
	struct machine *m = arg;

	if (m->registers == SIDECORE)
		sched_yield();
	else
		viommu_process(m->viommu, 16);
	return m->patience == 0 || m->patience-- > 1;
}

static void *sidecore(void *arg)
{
	struct machine *m = arg;

	while (!atomic_load(&m->stop))
		if (viommu_process(m->viommu, 64) == 0)
			sched_yield();
	return NULL;
}

static void *map_memory(size_t size)
{
	void *p =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* A unit with memory, a device and its thread, and the registers where they belong. */
static void make_unit(struct machine *m)
{
	assert_int_equal(viommu_create(&host_ops, m, &m->options, &m->viommu), 0);
	assert_int_equal(viommu_mem_add(m->viommu, 0, MACHINE_RAM_SIZE, m->ram,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(viommu_mem_add(m->viommu, MACHINE_FAR, sizeof(m->far), NULL,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(viommu_requester_add(m->viommu, MACHINE_RID, &m->device), 0);
	assert_int_equal(viommu_thread_create(m->viommu, &m->thread), 0);
	if (m->registers != TRAPPED)
		assert_int_equal(viommu_regs_share(m->viommu, 0, m->page), 0);
}

void machine_init(struct machine *m, enum machine_registers registers, const struct viommu_options *options)
{
	struct vi_driver_regs regs = {.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = m};

	memset(m, 0, sizeof(*m));
	if (options)
		m->options = *options;
	if (m->options.model_options) {
		memcpy(&m->vtd_options, m->options.model_options, sizeof(m->vtd_options));
		m->options.model_options = &m->vtd_options;
	}
	m->options.sz = sizeof(m->options);
	m->options.model = VIOMMU_MODEL_VTD;
	m->registers = registers;
	m->ram = map_memory(MACHINE_RAM_SIZE);
	if (registers != TRAPPED)
		m->page = map_memory(4096);
	make_unit(m);
	if (registers == SIDECORE)
		assert_int_equal(pthread_create(&m->sidecore, NULL, sidecore, m), 0);
	vi_driver_memory_init(&m->memory, MACHINE_TABLES, m->ram + MACHINE_TABLES,
			      MACHINE_RAM_SIZE - MACHINE_TABLES);
	vi_driver_vtd_init(&m->driver, &regs, &m->memory);
}

void machine_replace_unit(struct machine *m)
{
	viommu_thread_destroy(m->thread);
	viommu_destroy(m->viommu);
	if (m->page)
		memset(m->page, 0, 4096);
	make_unit(m);
}

void machine_start(struct machine *m, enum machine_registers registers, const struct viommu_options *options,
		   bool use_queue)
{
	unsigned levels;

	machine_init(m, registers, options);
	levels = vi_field(m->driver.cap, VTD_CAP_SAGAW) & VTD_SAGAW_48BIT ? 4 : 3;
	assert_int_equal(vi_driver_vtd_start(&m->driver, use_queue), 0);
	assert_int_equal(vi_driver_vtd_table_init(&m->driver, &m->table, levels), 0);
	assert_int_equal(vi_driver_vtd_attach(&m->driver, MACHINE_RID, MACHINE_DOMAIN, &m->table), 0);
}

void machine_finish(struct machine *m)
{
	if (m->registers == SIDECORE) {
		atomic_store(&m->stop, true);
		pthread_join(m->sidecore, NULL);
	}
	viommu_thread_destroy(m->thread);
	viommu_destroy(m->viommu);
	munmap(m->ram, MACHINE_RAM_SIZE);
	if (m->page)
		munmap(m->page, 4096);
}

void machine_settle(struct machine *m)
{
	if (m->registers == SIDECORE)
		return;
	for (unsigned i = 0; i < 1000 && viommu_process(m->viommu, 64) != 0; i++)
		;
}

int machine_read(struct machine *m, uint64_t iova, void *buf, size_t len)
{
	return viommu_read(m->thread, m->device, iova, buf, len);
}

int machine_write(struct machine *m, uint64_t iova, const void *buf, size_t len)
{
	return viommu_write(m->thread, m->device, iova, buf, len);
}

void machine_expect_read(struct machine *m, uint64_t iova, int result)
{
	uint8_t byte;

	assert_int_equal(machine_read(m, iova, &byte, 1), result);
}

void machine_expect_write(struct machine *m, uint64_t iova, int result)
{
	uint8_t byte = 0x5a;

	assert_int_equal(machine_write(m, iova, &byte, 1), result);
}

void machine_map(struct machine *m, uint64_t iova, uint64_t gpa, uint64_t size, unsigned access)
{
	assert_int_equal(vi_driver_map(&m->table, iova, gpa, size, access), 0);
}

void machine_unmap(struct machine *m, uint64_t iova, uint64_t size)
{
	assert_int_equal(vi_driver_unmap(&m->table, iova, size), size);
	assert_int_equal(vi_driver_vtd_flush_range(&m->driver, MACHINE_DOMAIN, iova, iova + size - 1), 0);
}

void machine_expect_fault(struct machine *m, uint8_t reason, uint64_t address, bool write)
{
	struct vi_driver_vtd_fault fault;

	machine_settle(m);
	if (reason) {
		assert_true(vi_driver_vtd_next_fault(&m->driver, &fault));
		assert_int_equal(fault.reason, reason);
		assert_int_equal(fault.address, address & ~UINT64_C(0xfff));
		assert_int_equal(fault.rid, MACHINE_RID);
		assert_int_equal(fault.write, write);
	}
	assert_false(vi_driver_vtd_next_fault(&m->driver, &fault));
}

uint64_t machine_counter(struct machine *m, const char *name)
{
	size_t count;
	const struct viommu_counter_info *info = viommu_counters_describe(&count);
	uint64_t values[64];

	assert_true(count <= VI_ARRAY_SIZE(values));
	assert_int_equal(viommu_counters_read(m->viommu, values, count), count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(info[i].name, name) == 0)
			return values[i];
	fail_msg("no counter is called %s", name);
	return 0;
}

uint32_t machine_get32(struct machine *m, uint64_t offset)
{
	return vi_driver_vtd_read32(&m->driver, offset);
}

uint64_t machine_get64(struct machine *m, uint64_t offset)
{
	return vi_driver_vtd_read64(&m->driver, offset);
}

void machine_set32(struct machine *m, uint64_t offset, uint32_t value)
{
	vi_driver_vtd_write32(&m->driver, offset, value);
	machine_settle(m);
}

void machine_set64(struct machine *m, uint64_t offset, uint64_t value)
{
	vi_driver_vtd_write64(&m->driver, offset, value);
	machine_settle(m);
}

void machine_await32(struct machine *m, uint64_t offset, uint32_t mask, uint32_t value)
{
	time_t end = time(NULL) + MACHINE_PATIENCE_S;
	unsigned turns = 0;

	while ((machine_get32(m, offset) & mask) != value &&
	       (m->registers == SIDECORE ? time(NULL) <= end : turns++ < 1000))
		m->driver.regs.relax(m);
	assert_int_equal(machine_get32(m, offset) & mask, value);
}

uint64_t machine_fault_record(struct machine *m, unsigned index)
{
	return vi_field(m->driver.cap, VTD_CAP_FRO) * 16 + index * VTD_FRCD_SIZE;
}
