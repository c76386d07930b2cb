/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rogue_dma CONTROLLER [ADDRESS]
 *
 * Tells an NVMe controller that was started with rogue=on to access a page of
 * this process at its guest-physical address, which the driver never mapped
 * for it. Behind an IOMMU both accesses fail and the page stays as it is. Or to
 * access another address, for where a process cannot know that of its page.
 *
 * The vendor's admin command: opcode 0xc0, cdw10 and cdw11 the low and high
 * half of the IOVA, cdw12 the length in bytes, cdw13 0 to read or 1 to write
 * guest memory, cdw14 the byte to write. Result 0 when the access went
 * through, 13 when it was blocked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	OPCODE = 0xc0,
	PATTERN = 0x5a,
	ROGUE_BYTE = 0xee,
	INVALID_OPCODE = 0x001,
	STATUS_MASK = 0x7ff,
};

/* The page frame number of bits 0 to 54 of the page's pagemap entry. */
static uint64_t physical_address(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)page / PAGE * 8) != 8)
		perror("rogue_dma: pagemap");
	if (fd >= 0)
		close(fd);
	return (entry & ((1ull << 55) - 1)) * PAGE;
}

/* The command's result, or -1 when the controller refused it. */
static long access_page(int fd, uint64_t iova, int write)
{
	struct nvme_admin_cmd command = {
		.opcode = OPCODE,
		.cdw10 = (uint32_t)iova,
		.cdw11 = (uint32_t)(iova >> 32),
		.cdw12 = PAGE,
		.cdw13 = write,
		.cdw14 = ROGUE_BYTE,
		.timeout_ms = 5000,
	};
	int status = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command);

	if (status == 0)
		return command.result;
	if (status < 0)
		printf("VIOMMU: error=the rogue command failed: %s\n", strerror(errno));
	else if ((status & STATUS_MASK) == INVALID_OPCODE)
		printf("VIOMMU: error=the controller has no rogue command; start it with rogue=on\n");
	else
		printf("VIOMMU: error=the rogue command ended with NVMe status %#x\n", status);
	return -1;
}

static int is_filled(const volatile uint8_t *page, uint8_t byte)
{
	for (int i = 0; i < PAGE; i++)
		if (page[i] != byte)
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	uint8_t *page;
	uint64_t address;
	long written, read;
	int fd;

	if (argc != 2 && argc != 3) {
		fputs("usage: rogue_dma CONTROLLER [ADDRESS]\n", stderr);
		return 2;
	}
	fd = open(argv[1], O_RDWR);
	if (fd < 0) {
		printf("VIOMMU: error=%s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	if (page == MAP_FAILED) {
		perror("rogue_dma: mmap");
		return 1;
	}
	memset(page, PATTERN, PAGE);
	address = argc == 3 ? strtoull(argv[2], NULL, 0) : physical_address(page);
	if (!address) {
		fputs("rogue_dma: the kernel hides physical addresses; run as root\n", stderr);
		return 1;
	}
	printf("VIOMMU: rogue.address=%#llx\n", (unsigned long long)address);
	fflush(stdout);
	written = access_page(fd, address, 1);
	if (written < 0)
		return 1;
	read = access_page(fd, address, 0);
	if (read < 0)
		return 1;
	printf("VIOMMU: rogue.write_result=%ld\n", written);
	printf("VIOMMU: rogue.read_result=%ld\n", read);
	printf("VIOMMU: rogue.page=%s\n", is_filled(page, PATTERN)	? "unchanged"
					  : is_filled(page, ROGUE_BYTE) ? "overwritten"
									: "damaged");
	return 0;
}
