/* SPDX-License-Identifier: BSD-3-Clause */
#include "bed.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

static void on_msi(void *opaque, uint16_t rid, uint64_t address, uint32_t data)
{
	struct bed *b = opaque;
	unsigned i = atomic_fetch_add(&b->msi_count, 1);

	if (i >= BED_MSI_LOG)
		return;
	b->msi[i].rid = rid;
	b->msi[i].address = address;
	b->msi[i].data = data;
}

static void on_guest_error(void *opaque, const struct viommu_guest_event *event)
{
	struct bed *b = opaque;

	assert_non_null(event->text);
	b->guest_errors++;
}

static int on_mem_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct bed *b = opaque;

	memcpy(buf, b->far + (gpa - BED_FAR), len);
	return 0;
}

static int on_mem_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	struct bed *b = opaque;

	memcpy(b->far + (gpa - BED_FAR), buf, len);
	return 0;
}

static int on_table_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct bed *b = opaque;

	if (!b->during_table_read)
		return -1;
	memcpy(buf, b->far + (gpa - BED_FAR), len);
	b->during_table_read(b, gpa);
	return 0;
}

static const struct viommu_host_ops host_ops = {
	.sz = sizeof(struct viommu_host_ops),
	.mem_read = on_mem_read,
	.mem_write = on_mem_write,
	.msi = on_msi,
	.guest_error = on_guest_error,
	.table_read = on_table_read,
};

static bool is_shared(const struct bed *b, uint64_t offset)
{
	return b->registers != BED_TRAPPED && offset >= AMDVI_POINTERS && offset < AMDVI_POINTERS + 4096;
}

/* The driver's own loads and stores of the shared page, as a CPU would make them. */
static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct bed *b = arg;
	uint64_t value = 0;

	if (is_shared(b, offset)) {
		uint8_t *p = (uint8_t *)b->page + (offset - AMDVI_POINTERS);

		return size == 8 ? __atomic_load_n((uint64_t *)(void *)p, __ATOMIC_SEQ_CST)
				 : __atomic_load_n((uint32_t *)(void *)p, __ATOMIC_SEQ_CST);
	}
	assert_int_equal(viommu_regs_read(b->viommu, offset, size, &value), 0);
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct bed *b = arg;

	if (is_shared(b, offset)) {
		uint8_t *p = (uint8_t *)b->page + (offset - AMDVI_POINTERS);

		if (size == 8)
			__atomic_store_n((uint64_t *)(void *)p, value, __ATOMIC_SEQ_CST);
		else
			__atomic_store_n((uint32_t *)(void *)p, (uint32_t)value, __ATOMIC_SEQ_CST);
		return;
	}
	assert_int_equal(viommu_regs_write(b->viommu, offset, size, value), 0);
}

static bool regs_relax(void *arg)
{
	struct bed *b = arg;

	if (b->registers == BED_SIDECORE)
		sched_yield();
	else
		viommu_process(b->viommu, 16);
	return b->patience == 0 || b->patience-- > 1;
}

static void *sidecore(void *arg)
{
	struct bed *b = arg;

	while (!atomic_load(&b->stop))
		if (viommu_process(b->viommu, 64) == 0)
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

static void make_unit(struct bed *b)
{
	unsigned both = VIOMMU_MEM_READ | VIOMMU_MEM_WRITE;

	b->options.model_options = &b->amdvi_options;
	assert_int_equal(viommu_create(&host_ops, b, &b->options, &b->viommu), 0);
	assert_int_equal(viommu_mem_add(b->viommu, 0, BED_RAM_SIZE, b->ram, both), 0);
	assert_int_equal(viommu_mem_add(b->viommu, BED_FAR, sizeof(b->far), NULL, both), 0);
	assert_int_equal(viommu_requester_add(b->viommu, BED_RID, &b->device), 0);
	assert_int_equal(viommu_thread_create(b->viommu, &b->thread), 0);
	if (b->registers != BED_TRAPPED)
		assert_int_equal(viommu_regs_share(b->viommu, AMDVI_POINTERS, b->page), 0);
}

void bed_init(struct bed *b, enum bed_registers registers, const struct viommu_amdvi_options *options)
{
	struct vi_driver_regs regs = {.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = b};

	memset(b, 0, sizeof(*b));
	if (options)
		b->amdvi_options = *options;
	b->amdvi_options.sz = sizeof(b->amdvi_options);
	b->options = (struct viommu_options){.sz = sizeof(b->options), .model = VIOMMU_MODEL_AMDVI};
	b->options.iotlb_lg2 = 8;
	b->registers = registers;
	b->ram = map_memory(BED_RAM_SIZE);
	if (registers != BED_TRAPPED)
		b->page = map_memory(4096);
	make_unit(b);
	if (registers == BED_SIDECORE)
		assert_int_equal(pthread_create(&b->sidecore, NULL, sidecore, b), 0);
	vi_driver_memory_init(&b->memory, BED_TABLES, b->ram + BED_TABLES, BED_RAM_SIZE - BED_TABLES);
	vi_driver_amdvi_init(&b->driver, &regs, &b->memory);
}

void bed_start(struct bed *b, enum bed_registers registers, unsigned levels)
{
	bed_init(b, registers, NULL);
	assert_int_equal(vi_driver_amdvi_start(&b->driver), 0);
	if (levels)
		assert_int_equal(vi_driver_amdvi_table_init(&b->driver, &b->table, levels), 0);
	assert_int_equal(vi_driver_amdvi_attach(&b->driver, BED_RID, BED_DOMAIN, levels ? &b->table : NULL),
			 0);
}

static void end_unit(struct bed *b)
{
	viommu_thread_destroy(b->thread);
	viommu_destroy(b->viommu);
}

void bed_replace_unit(struct bed *b)
{
	end_unit(b);
	if (b->page)
		memset(b->page, 0, 4096);
	make_unit(b);
}

void bed_finish(struct bed *b)
{
	if (b->registers == BED_SIDECORE) {
		atomic_store(&b->stop, true);
		pthread_join(b->sidecore, NULL);
	}
	end_unit(b);
	munmap(b->ram, BED_RAM_SIZE);
	if (b->page)
		munmap(b->page, 4096);
}

void bed_settle(struct bed *b)
{
	for (unsigned i = 0; b->registers != BED_SIDECORE && i < 1000; i++)
		if (viommu_process(b->viommu, 64) == 0)
			return;
}

void bed_map(struct bed *b, uint64_t iova, uint64_t gpa, uint64_t size, unsigned access)
{
	assert_int_equal(vi_driver_map(&b->table, iova, gpa, size, access), 0);
}

void bed_unmap(struct bed *b, uint64_t iova, uint64_t size)
{
	assert_int_equal(vi_driver_unmap(&b->table, iova, size), size);
	assert_int_equal(vi_driver_amdvi_flush_range(&b->driver, BED_DOMAIN, iova, iova + size - 1), 0);
}

void bed_expect_read(struct bed *b, uint64_t iova, int result)
{
	uint8_t byte;

	assert_int_equal(viommu_read(b->thread, b->device, iova, &byte, 1), result);
}

void bed_expect_write(struct bed *b, uint64_t iova, int result)
{
	uint8_t byte = 0x5a;

	assert_int_equal(viommu_write(b->thread, b->device, iova, &byte, 1), result);
}

void bed_expect_at(struct bed *b, uint64_t iova, uint64_t gpa)
{
	uint8_t byte = 0;

	b->ram[gpa] ^= 0xff;
	assert_int_equal(viommu_read(b->thread, b->device, iova, &byte, 1), 0);
	assert_int_equal(byte, b->ram[gpa]);
	b->ram[gpa] ^= 0xff;
	assert_int_equal(viommu_read(b->thread, b->device, iova, &byte, 1), 0);
	assert_int_equal(byte, b->ram[gpa]);
}

void bed_expect_event(struct bed *b, uint64_t lo, uint64_t hi)
{
	struct vi_driver_amdvi_event event = {0, 0};

	bed_settle(b);
	assert_true(vi_driver_amdvi_next_event(&b->driver, &event));
	assert_int_equal(event.lo, lo);
	assert_int_equal(event.hi, hi);
	bed_expect_no_event(b);
}

void bed_expect_no_event(struct bed *b)
{
	struct vi_driver_amdvi_event event;

	bed_settle(b);
	assert_false(vi_driver_amdvi_next_event(&b->driver, &event));
}

uint64_t bed_event(unsigned code, uint64_t flags)
{
	return vi_to_field(AMDVI_EVENT_CODE, code) | flags;
}

uint64_t bed_counter(struct bed *b, const char *name)
{
	size_t count;
	const struct viommu_counter_info *info = viommu_counters_describe(&count);
	uint64_t *values = calloc(count, sizeof(*values)), value;
	size_t i = 0;

	assert_non_null(values);
	viommu_counters_read(b->viommu, values, count);
	while (i < count && strcmp(info[i].name, name) != 0)
		i++;
	assert_true(i < count);
	value = values[i];
	free(values);
	return value;
}

uint64_t bed_get(struct bed *b, uint64_t offset, unsigned size)
{
	if (b->registers == BED_POLLED)
		bed_settle(b);
	return vi_driver_amdvi_read(&b->driver, offset, size);
}

void bed_set(struct bed *b, uint64_t offset, unsigned size, uint64_t value)
{
	vi_driver_amdvi_write(&b->driver, offset, size, value);
	if (b->registers == BED_POLLED)
		bed_settle(b);
}

uint32_t bed_status(struct bed *b)
{
	return (uint32_t)bed_get(b, BED_POINTER(STATUS), 4) & ~AMDVI_STATUS_RSVD;
}
