/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "testing.h"

uint64_t read_register(void *arg, uint64_t offset, unsigned size)
{
	struct machine *m = arg;
	uint64_t value = 0;

	if (m->page && offset < PAGE)
		return size == 8 ? __atomic_load_n((uint64_t *)(void *)((uint8_t *)m->page + offset),
						   __ATOMIC_ACQUIRE)
				 : __atomic_load_n((uint32_t *)(void *)((uint8_t *)m->page + offset),
						   __ATOMIC_ACQUIRE);
	assert_int_equal(viommu_regs_read(m->unit, offset, size, &value), 0);
	return value;
}

void write_register(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct machine *m = arg;

	if (!m->page || offset >= PAGE)
		assert_int_equal(viommu_regs_write(m->unit, offset, size, value), 0);
	else if (size == 8)
		__atomic_store_n((uint64_t *)(void *)((uint8_t *)m->page + offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)(void *)((uint8_t *)m->page + offset), (uint32_t)value,
				 __ATOMIC_RELEASE);
}

static bool relax(void *arg)
{
	struct machine *m = arg;

	if (!m->page)
		viommu_process(m->unit, 64);
	else
		sched_yield(); /* there may be more threads than cores */
	return !m->deaf;
}

static void *poll_registers(void *arg)
{
	struct machine *m = arg;

	while (!m->stop)
		viommu_process(m->unit, 64);
	return NULL;
}

int create_backing(struct machine *m, enum how how)
{
	struct viommu_backing_vtd_options o = {.sz = sizeof(o),
					       .read = read_register,
					       .write = write_register,
					       .relax = relax,
					       .arg = m,
					       .table_memory = m->ram + TABLES,
					       .table_gpa = TABLES,
					       .table_size = RAM - TABLES,
					       .rid = RID,
					       .no_queue = how == REGISTERS};

	return viommu_backing_vtd_create(&o, &m->backing);
}

void power_on(struct machine *m, enum how how, bool caching_mode)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	const struct viommu_vtd_options vtd = {.sz = sizeof(vtd), .caching_mode = caching_mode};
	const struct viommu_options options = {.sz = sizeof(options),
					       .model = VIOMMU_MODEL_VTD,
					       .model_options = &vtd};

	memset(m, 0, sizeof(*m));
	m->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(viommu_create(&ops, NULL, &options, &m->unit), 0);
	assert_int_equal(viommu_mem_add(m->unit, 0, RAM, m->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	assert_int_equal(viommu_requester_add(m->unit, RID, &m->device), 0);
	assert_int_equal(viommu_thread_create(m->unit, &m->thread), 0);
	if (how == POLLED) {
		m->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_int_equal(viommu_regs_share(m->unit, 0, m->page), 0);
		assert_int_equal(pthread_create(&m->sidecore, NULL, poll_registers, m), 0);
	}
	assert_int_equal(create_backing(m, how), 0);
}

void power_off(struct machine *m)
{
	viommu_backing_vtd_destroy(&m->backing);
	m->stop = true;
	if (m->page)
		pthread_join(m->sidecore, NULL);
	viommu_thread_destroy(m->thread);
	viommu_destroy(m->unit);
	munmap(m->ram, RAM);
	if (m->page)
		munmap(m->page, PAGE);
}
