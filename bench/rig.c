/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RID	    0x0088
#define TABLES_SIZE (UINT64_C(16) << 20)

static void must(int ret, const char *what)
{
	if (ret < 0)
		bench_fail(what, ret);
}

void *rig_shared_memory(uint64_t size, int *ret_fd)
{
	int fd = memfd_create("viommu-bench", MFD_CLOEXEC);
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		bench_fail("cannot make shared memory", 12);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bench_fail("cannot map memory", 12);
	*ret_fd = fd;
	return p;
}

static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct rig *r = arg;
	uint64_t value = 0;

	if (r->page && offset < 4096)
		return size == 8 ? __atomic_load_n((uint64_t *)(void *)((uint8_t *)r->page + offset),
						   __ATOMIC_ACQUIRE)
				 : __atomic_load_n((uint32_t *)(void *)((uint8_t *)r->page + offset),
						   __ATOMIC_ACQUIRE);
	viommu_regs_read(r->viommu, offset, size, &value);
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct rig *r = arg;

	if (!r->page || offset >= 4096)
		viommu_regs_write(r->viommu, offset, size, value);
	else if (size == 8)
		__atomic_store_n((uint64_t *)(void *)((uint8_t *)r->page + offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)(void *)((uint8_t *)r->page + offset), (uint32_t)value,
				 __ATOMIC_RELEASE);
}

static bool regs_relax(void *arg)
{
	struct rig *r = arg;

	if (!r->page)
		viommu_process(r->viommu, 64);
	return true;
}

static void *sidecore_run(void *arg)
{
	struct rig *r = arg;

	while (!atomic_load_explicit(&r->stop, memory_order_relaxed))
		viommu_process(r->viommu, 64);
	return NULL;
}

void rig_drive(struct vi_driver_vtd *d, struct vi_driver_page_table *table, const struct vi_driver_regs *regs,
	       struct vi_driver_memory *memory, uint16_t rid, uint32_t pages)
{
	vi_driver_vtd_init(d, regs, memory);
	must(vi_driver_vtd_start(d, true), "the unit does not start");
	must(vi_driver_vtd_table_init(d, table, 4), "no memory for tables");
	for (uint32_t i = 0; i < pages; i++)
		must(vi_driver_map(table, RIG_IOVA + i * UINT64_C(4096), i * UINT64_C(4096), 4096,
				   VI_PGTABLE_READ | VI_PGTABLE_WRITE),
		     "cannot map");
	must(vi_driver_vtd_attach(d, rid, RIG_DOMAIN, table), "cannot attach the device");
}

void rig_init(struct rig *r, unsigned iotlb_lg2, bool sidecore)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options),
					 .model = VIOMMU_MODEL_VTD,
					 .iotlb_lg2 = (uint8_t)iotlb_lg2};
	struct vi_driver_regs regs = {.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = r};
	int fd;

	memset(r, 0, sizeof(*r));
	r->ram_size = RIG_DATA + TABLES_SIZE;
	r->ram = rig_shared_memory(r->ram_size, &fd);
	close(fd);
	must(viommu_create(&ops, NULL, &options, &r->viommu), "cannot create a unit");
	must(viommu_mem_add(r->viommu, 0, r->ram_size, r->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
	     "cannot register memory");
	must(viommu_requester_add(r->viommu, RID, &r->device), "cannot add a device");
	if (sidecore) {
		r->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(viommu_regs_share(r->viommu, 0, r->page), "cannot share the registers");
		if (pthread_create(&r->sidecore, NULL, sidecore_run, r) != 0)
			bench_fail("cannot start a thread", 11);
	}
	vi_driver_memory_init(&r->memory, RIG_DATA, r->ram + RIG_DATA, TABLES_SIZE);
	rig_drive(&r->driver, &r->table, &regs, &r->memory, RID, RIG_PAGES);
}

void rig_finish(struct rig *r)
{
	if (r->page) {
		atomic_store(&r->stop, true);
		pthread_join(r->sidecore, NULL);
	}
	viommu_destroy(r->viommu);
	munmap(r->ram, r->ram_size);
	if (r->page)
		munmap(r->page, 4096);
}
