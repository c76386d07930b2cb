/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/rig.h"
#include "devices/virtio/virtio.h"
#include "spec/virtio_iommu.h"

#define PCI_COMMAND 4
#define RID	    0x0088 /* 00:11.0, where viommud puts its first controller */
#define TABLES_SIZE (UINT64_C(16) << 20)
#define DISK_SIZE   (1 << 20)
#define PATIENCE    500 /* times 10 ms until its socket must be there */

static void path_in(const struct bench_daemon *d, const char *name, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s/%s", d->dir, name);
}

static void make_folder(struct bench_daemon *d, char *ret_disk, size_t size)
{
	FILE *f;

	snprintf(d->dir, sizeof(d->dir), "/tmp/viommu-bench-XXXXXX");
	if (!mkdtemp(d->dir))
		bench_fail("cannot make a folder in /tmp", errno);
	path_in(d, "disk", ret_disk, size);
	f = fopen(ret_disk, "w");
	if (!f || ftruncate(fileno(f), DISK_SIZE) != 0)
		bench_fail(ret_disk, errno);
	fclose(f);
}

static void start(struct bench_daemon *d, const char *viommud, const char *model, bool trap, const char *disk)
{
	d->pid = fork();
	if (d->pid < 0)
		bench_fail("cannot start a process", errno);
	if (d->pid > 0)
		return;
	if (!freopen("/dev/null", "w", stdout))
		_exit(1);
	execl(viommud, viommud, "--dir", d->dir, "--iommu", model, "--nvme", disk, "--registers",
	      trap ? "trap" : "sidecore", NULL);
	fprintf(stderr, "viommu-bench: %s: %s; name it with --viommud\n", viommud, strerror(errno));
	_exit(1);
}

static void connect_to(struct bench_daemon *d)
{
	char path[128];
	int err = -ENOENT;

	path_in(d, "iommu.sock", path, sizeof(path));
	for (unsigned i = 0; i < PATIENCE && err; i++) {
		err = vfu_client_connect(path, NULL, NULL, &d->client);
		if (err)
			usleep(10000);
		if (waitpid(d->pid, NULL, WNOHANG) == d->pid)
			bench_fail("viommud has ended", ECHILD);
	}
	if (err)
		bench_fail(path, err);
}

static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct bench_daemon *d = arg;
	uint64_t value = 0;
	int err;

	if (d->page && offset < 4096)
		return size == 8 ? __atomic_load_n((uint64_t *)(void *)((uint8_t *)d->page + offset),
						   __ATOMIC_ACQUIRE)
				 : __atomic_load_n((uint32_t *)(void *)((uint8_t *)d->page + offset),
						   __ATOMIC_ACQUIRE);
	err = vfu_client_region_read(d->client, VFU_REGION_BAR0, offset, &value, size);
	if (err)
		bench_fail("cannot read a register", err);
	return value;
}

/* Posted where QEMU would post it, which is where no part of the BAR can be mapped. */
static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct bench_daemon *d = arg;
	int err = 0;

	if (!d->page)
		err = vfu_client_region_post(d->client, VFU_REGION_BAR0, offset, &value, size);
	else if (offset >= 4096)
		err = vfu_client_region_write(d->client, VFU_REGION_BAR0, offset, &value, size);
	else if (size == 8)
		__atomic_store_n((uint64_t *)(void *)((uint8_t *)d->page + offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)(void *)((uint8_t *)d->page + offset), (uint32_t)value,
				 __ATOMIC_RELEASE);
	if (err)
		bench_fail("cannot write a register", err);
}

static bool regs_relax(void *arg)
{
	(void)arg;
	return true;
}

static void map_registers(struct bench_daemon *d)
{
	struct vfu_client_region region;
	int err = vfu_client_region_info(d->client, VFU_REGION_BAR0, &region);

	if (err)
		bench_fail("the IOMMU function has no BAR 0", err);
	if (region.fd < 0)
		return;
	d->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, (off_t)region.fd_offset);
	if (d->page == MAP_FAILED)
		bench_fail("cannot map the registers", errno);
	close(region.fd);
}

void bench_daemon_start(struct bench_daemon *d, const char *viommud, const char *model, bool trap)
{
	char disk[128];
	int fd, err;

	memset(d, 0, sizeof(*d));
	make_folder(d, disk, sizeof(disk));
	start(d, viommud, model, trap, disk);
	connect_to(d);
	d->ram_size = RIG_DATA + TABLES_SIZE;
	d->ram = rig_shared_memory(d->ram_size, &fd);
	err = vfu_client_dma_map(d->client, 0, d->ram_size, fd, 0, true, true);
	close(fd);
	if (err)
		bench_fail("viommud refuses the memory", err);
	vi_driver_memory_init(&d->memory, RIG_DATA, d->ram + RIG_DATA, TABLES_SIZE);
}

void bench_daemon_drive(struct bench_daemon *d, uint32_t pages)
{
	const struct vi_driver_regs regs = {
		.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = d};

	map_registers(d);
	rig_drive(&d->driver, &d->table, &regs, &d->memory, RID, pages);
}

void bench_daemon_drive_virtio(struct bench_daemon *d)
{
	const struct vi_driver_regs regs = {
		.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = d};
	const struct vi_driver_virtio_places places = {0, VIRTIO_BAR0_NOTIFY, VIRTIO_NOTIFY_MULTIPLIER};
	const uint16_t master = 1u << 2;
	struct vi_driver_virtio_request r;
	int err = vfu_client_region_write(d->client, VFU_REGION_CONFIG, PCI_COMMAND, &master, sizeof(master));

	if (!err)
		err = vi_driver_virtio_start(&d->virtio, &regs, &places, &d->memory,
					     VIRTIO_IOMMU_F_MAP_UNMAP);
	if (err)
		bench_fail("the unit does not start", err);
	vi_driver_virtio_attach(&r, RIG_DOMAIN, RID, false);
	if (vi_driver_virtio_submit(&d->virtio, &r, 1) || r.status)
		bench_fail("cannot attach the device", EIO);
}

void bench_daemon_stop(struct bench_daemon *d)
{
	char disk[128];

	vfu_client_close(d->client);
	kill(d->pid, SIGTERM);
	waitpid(d->pid, NULL, 0);
	munmap(d->ram, d->ram_size);
	if (d->page)
		munmap(d->page, 4096);
	path_in(d, "disk", disk, sizeof(disk));
	unlink(disk);
	rmdir(d->dir);
}
