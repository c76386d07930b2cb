/* SPDX-License-Identifier: BSD-3-Clause */
/* The shortest device emulator with an IOMMU in front of its memory: what README.md shows, as a program. */
#include <stdio.h>
#include <stdlib.h>

#include <viommu/access.h>

#define RAM_SIZE (UINT64_C(1) << 20)

int main(void)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_VTD};
	struct viommu_requester *nic;
	struct viommu_thread *thread;
	struct viommu *iommu;
	uint64_t capabilities;
	char frame[64] = "hello";
	void *ram = calloc(1, RAM_SIZE);

	if (!ram || viommu_create(&ops, NULL, &options, &iommu) != 0)
		return 1;
	if (viommu_mem_add(iommu, 0, RAM_SIZE, ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE) != 0 ||
	    viommu_requester_add(iommu, 0x0018, &nic) != 0 || viommu_thread_create(iommu, &thread) != 0)
		return 1;

	/* The guest's accesses to the register range come here, 4 or 8 bytes at a time. */
	viommu_regs_read(iommu, 0x08, 8, &capabilities);
	printf("CAP %016llx\n", (unsigned long long)capabilities);

	/* The device's DMA: 0, or -EACCES and the guest finds the fault in its registers. */
	printf("write: %d\n", viommu_write(thread, nic, 0x4000, frame, sizeof(frame)));

	viommu_thread_destroy(thread);
	viommu_destroy(iommu);
	free(ram);
	return 0;
}
