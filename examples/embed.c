/* SPDX-License-Identifier: BSD-3-Clause */
/* The shortest device emulator with an IOMMU in front of its memory: what README.md shows, as a program. */
#include <stdio.h>
#include <stdlib.h>

#include <viommu/access.h>

#define RAM_SIZE (UINT64_C(1) << 20)
#define RAM_MODE (VIOMMU_MEM_READ | VIOMMU_MEM_WRITE)
#define NIC_ID	 0x0018 /* 00:03.0 */

int main(void)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options)};
	struct viommu_requester *nic;
	struct viommu_thread *thread;
	struct viommu *iommu;
	uint64_t capabilities;
	char frame[64] = "hello";
	void *ram = calloc(1, RAM_SIZE);
	int err;

	options.model = VIOMMU_MODEL_VTD;
	if (!ram || viommu_create(&ops, NULL, &options, &iommu))
		return 1;
	if (viommu_mem_add(iommu, 0, RAM_SIZE, ram, RAM_MODE))
		return 1;
	if (viommu_requester_add(iommu, NIC_ID, &nic))
		return 1;
	if (viommu_thread_create(iommu, &thread))
		return 1;

	/* The guest's accesses to the registers, 4 or 8 bytes at a time. */
	viommu_regs_read(iommu, 0x08, 8, &capabilities);
	printf("CAP %016llx\n", (unsigned long long)capabilities);

	/* DMA of the device: 0, or -EACCES and the guest has a fault. */
	err = viommu_write(thread, nic, 0x4000, frame, sizeof(frame));
	printf("write: %d\n", err);

	viommu_thread_destroy(thread);
	viommu_destroy(iommu);
	free(ram);
	return err != 0;
}
