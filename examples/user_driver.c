/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver in user space: buffers are mapped for its device under a strategy of
 * choice, and what the device can reach afterwards shows what that promises.
 * usage: user_driver [STRATEGY]. Unit and device are emulated here; a program with real ones has another
 * backing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <viommu/access.h>
#include <viommu/dma.h>

#define RAM    (UINT64_C(8) << 20)
#define TABLES (UINT64_C(4) << 20) /* from here on the driver builds tables */
#define DEVICE 0x0018

static struct viommu *unit;

static uint64_t reg_read(void *arg, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	viommu_regs_read(unit, offset, size, &value);
	return value;
}

static void reg_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	viommu_regs_write(unit, offset, size, value);
}

static uint64_t now_ns(void *opaque)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	struct viommu_host_ops host = {.sz = sizeof(host)};
	struct viommu_options vtd = {.sz = sizeof(vtd), .model = VIOMMU_MODEL_VTD};
	struct viommu_backing_vtd_options regs = {
		.sz = sizeof(regs), .read = reg_read, .write = reg_write, .rid = DEVICE};
	struct viommu_dma_options how = {.sz = sizeof(how), .now_ns = now_ns};
	char *ram = aligned_alloc(4096, RAM), why[128] = "", data[54] = "a packet";
	struct viommu_dma_mapping buffer;
	struct viommu_dma_thread *thread;
	struct viommu_requester *device;
	struct viommu_thread *its_dma;
	struct viommu_backing backing;
	struct viommu_dma *dma;

	how.strategy = argc > 1 ? argv[1] : "single-use";
	how.shadow_host = ram + TABLES / 2; /* for strategies that copy */
	how.shadow_address = how.shadow_len = TABLES / 2;
	regs.table_memory = ram + TABLES;
	regs.table_gpa = regs.table_size = TABLES;
	if (!ram || viommu_create(&host, NULL, &vtd, &unit) ||
	    viommu_mem_add(unit, 0, RAM, ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE) ||
	    viommu_requester_add(unit, DEVICE, &device) || viommu_thread_create(unit, &its_dma) ||
	    viommu_backing_vtd_create(&regs, &backing) ||
	    viommu_dma_open(&backing, &how, why, sizeof(why), &dma) ||
	    viommu_dma_memory_add(dma, ram, TABLES / 2, 0) || viommu_dma_thread_create(dma, &thread)) {
		fprintf(stderr, "it does not start: %s\n", why);
		return 1;
	}
	if (viommu_dma_map(thread, ram + 4096, sizeof(data), VIOMMU_DMA_FROM_DEVICE, 32, &buffer))
		return 1;
	printf("mapped at 0x%llx; the device writes: %d\n", (unsigned long long)buffer.iova,
	       viommu_write(its_dma, device, buffer.iova, data, sizeof(data)));
	viommu_dma_unmap(thread, &buffer);
	printf("unmapped, '%s' is there; ", ram + 4096);
	printf("the device writes once more: %d\n",
	       viommu_write(its_dma, device, buffer.iova, "too late", 9));
	printf("and what the driver reads now is '%s'\n", ram + 4096);
	viommu_dma_close(dma);
	viommu_backing_vtd_destroy(&backing);
	viommu_thread_destroy(its_dma);
	viommu_destroy(unit);
	free(ram);
	return 0;
}
