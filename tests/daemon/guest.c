/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(20000000000)
#define RW	    (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define PCI_COMMAND 4
#define PCI_ON	    6 /* memory and bus master */

void guest_fail(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static void must(int err, const char *what)
{
	if (err < 0)
		guest_fail(what, err);
}

uint64_t guest_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t deadline(void)
{
	return guest_now_ns() + PATIENCE_NS;
}

static void check_deadline(uint64_t end, const char *what)
{
	if (guest_now_ns() > end)
		guest_fail(what, ETIMEDOUT);
}

/* ---------------------------------------------------------------- the IOMMU */

static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct guest *g = arg;
	uint64_t value = 0;

	if (offset < 4096 && size == 8)
		return __atomic_load_n((uint64_t *)(void *)(g->page + offset), __ATOMIC_ACQUIRE);
	if (offset < 4096)
		return __atomic_load_n((uint32_t *)(void *)(g->page + offset), __ATOMIC_ACQUIRE);
	must(vfu_client_region_read(g->iommu, VFU_REGION_BAR0, offset, &value, size), "reading a register");
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct guest *g = arg;

	if (offset >= 4096)
		must(vfu_client_region_write(g->iommu, VFU_REGION_BAR0, offset, &value, size),
		     "writing a register");
	else if (size == 8)
		__atomic_store_n((uint64_t *)(void *)(g->page + offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)(void *)(g->page + offset), (uint32_t)value, __ATOMIC_RELEASE);
}

static bool regs_relax(void *arg)
{
	(void)arg;
	return true;
}

static void drive_iommu(struct guest *g)
{
	struct vi_driver_regs regs = {.read = regs_read, .write = regs_write, .relax = regs_relax, .arg = g};

	vi_driver_memory_init(&g->memory, GUEST_TABLES, g->ram + GUEST_TABLES, GUEST_RAM_SIZE - GUEST_TABLES);
	vi_driver_vtd_init(&g->driver, &regs, &g->memory);
	must(vi_driver_vtd_start(&g->driver, true), "the unit does not start");
	must(vi_driver_vtd_table_init(&g->driver, &g->table, 4), "no memory for tables");
	must(vi_driver_map(&g->table, 0, 0, GUEST_TABLES, RW), "mapping memory");
	must(vi_driver_vtd_attach(&g->driver, GUEST_RID, GUEST_DOMAIN, &g->table), "attaching the device");
}

static void map_registers(struct guest *g)
{
	struct vfu_client_region region;

	must(vfu_client_region_info(g->iommu, VFU_REGION_BAR0, &region), "the IOMMU has no registers");
	g->register_fd = region.fd;
	g->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, (off_t)region.fd_offset);
	if (g->page == MAP_FAILED)
		guest_fail("the registers cannot be mapped", errno);
}

static void lend_memory(struct guest *g)
{
	g->ram_fd = memfd_create("guest", MFD_CLOEXEC);
	if (g->ram_fd < 0 || ftruncate(g->ram_fd, (off_t)GUEST_RAM_SIZE))
		guest_fail("no memory", errno);
	g->ram = mmap(NULL, GUEST_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->ram_fd, 0);
	if (g->ram == MAP_FAILED)
		guest_fail("no memory", errno);
	must(vfu_client_dma_map(g->iommu, 0, GUEST_RAM_SIZE, g->ram_fd, 0, true, true), "lending memory");
}

/* ------------------------------------------------------------ the controller */

static void nvme_write(struct guest *g, uint64_t offset, uint64_t value, unsigned size)
{
	must(vfu_client_region_write(g->nvme, VFU_REGION_BAR0, offset, &value, size),
	     "writing the controller");
}

static uint32_t nvme_status(struct guest *g)
{
	uint32_t status = 0;

	must(vfu_client_region_read(g->nvme, VFU_REGION_BAR0, NVME_REG_CSTS, &status, 4),
	     "reading the controller");
	return status;
}

static uint32_t word(struct guest *g, uint64_t gpa)
{
	return __atomic_load_n((uint32_t *)(void *)(g->ram + gpa), __ATOMIC_ACQUIRE);
}

/* The completion at `head`, waited for. Its status. */
static unsigned await(struct guest *g, uint64_t cq, uint32_t head)
{
	uint64_t at = cq + head % GUEST_ENTRIES * sizeof(struct nvme_cqe), end = deadline();
	uint32_t phase = !(head / GUEST_ENTRIES & 1), last;

	for (unsigned spins = 1; (((last = word(g, at + 12)) >> 16) & 1) != phase; spins++) {
		if (spins % 4096 == 0)
			check_deadline(end, "no completion");
	}
	return last >> 17;
}

void guest_put(struct guest *g, uint32_t index, const struct nvme_sqe *sqe)
{
	memcpy(g->ram + GUEST_SQ + index % GUEST_ENTRIES * sizeof(*sqe), sqe, sizeof(*sqe));
}

unsigned guest_admin(struct guest *g, const struct nvme_sqe *sqe)
{
	unsigned status;

	memcpy(g->ram + GUEST_ADMIN_SQ + g->admin_tail % GUEST_ENTRIES * sizeof(*sqe), sqe, sizeof(*sqe));
	nvme_write(g, NVME_REG_DOORBELLS, ++g->admin_tail % GUEST_ENTRIES, 4);
	status = await(g, GUEST_ADMIN_CQ, g->admin_head);
	nvme_write(g, NVME_REG_DOORBELLS + 4, ++g->admin_head % GUEST_ENTRIES, 4);
	return status;
}

static void set_shadow(struct guest *g, unsigned which, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)(g->ram + GUEST_SHADOW) + which, value, __ATOMIC_SEQ_CST);
}

void guest_show_tail(struct guest *g, uint32_t tail)
{
	uint16_t old = (uint16_t)word(g, GUEST_SHADOW + 4 * GUEST_SHADOW_TAIL),
		 now = (uint16_t)(tail % GUEST_ENTRIES), event;

	set_shadow(g, GUEST_SHADOW_TAIL, now);
	event = (uint16_t)word(g, GUEST_EVENT + 4 * GUEST_SHADOW_TAIL);
	if ((uint16_t)(now - event - 1) < (uint16_t)(now - old))
		must(vfu_client_region_post(g->nvme, VFU_REGION_BAR0,
					    NVME_REG_DOORBELLS + 4 * GUEST_SHADOW_TAIL, &(uint32_t){now}, 4),
		     "ringing");
}

unsigned guest_io(struct guest *g, const struct nvme_sqe *sqe)
{
	unsigned status;

	guest_put(g, g->tail, sqe);
	guest_show_tail(g, ++g->tail);
	status = await(g, GUEST_CQ, g->head);
	set_shadow(g, GUEST_SHADOW_HEAD, ++g->head % GUEST_ENTRIES);
	return status;
}

static void must_admin(struct guest *g, uint8_t opcode, uint64_t prp1, uint64_t prp2, uint32_t cdw10,
		       uint32_t cdw11)
{
	struct nvme_sqe sqe = {.opcode = opcode, .prp1 = prp1, .prp2 = prp2, .cdw10 = cdw10, .cdw11 = cdw11};

	if (guest_admin(g, &sqe))
		guest_fail("an admin command fails", EIO);
}

static void drive_nvme(struct guest *g)
{
	uint32_t command = PCI_ON, last = GUEST_ENTRIES - 1;
	uint64_t end = deadline();

	memset(g->ram + GUEST_ADMIN_SQ, 0, GUEST_DATA - GUEST_ADMIN_SQ);
	g->admin_tail = g->admin_head = g->tail = g->head = 0;
	must(vfu_client_region_write(g->nvme, VFU_REGION_CONFIG, PCI_COMMAND, &command, 2), "PCI command");
	nvme_write(g, NVME_REG_AQA, last << 16 | last, 4);
	nvme_write(g, NVME_REG_ASQ, GUEST_ADMIN_SQ, 8);
	nvme_write(g, NVME_REG_ACQ, GUEST_ADMIN_CQ, 8);
	nvme_write(g, NVME_REG_CC, NVME_CC_EN | 6 << 16 | 4 << 20, 4);
	while (!(nvme_status(g) & NVME_CSTS_RDY))
		check_deadline(end, "the controller does not get ready");
	must_admin(g, NVME_ADMIN_CREATE_CQ, GUEST_CQ, 0, last << 16 | 1, 1);
	must_admin(g, NVME_ADMIN_CREATE_SQ, GUEST_SQ, 0, last << 16 | 1, 1 | 1 << 16);
	must_admin(g, NVME_ADMIN_DOORBELL_BUFFER, GUEST_SHADOW, GUEST_EVENT, 0, 0);
}

/* ------------------------------------------------------------- begin and end */

static void connect_to(const char *dir, const char *name, struct vfu_client **ret_client)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	must(vfu_client_connect(path, NULL, NULL, ret_client), path);
}

void guest_start(struct guest *g, const char *dir)
{
	*g = (struct guest){.dir = dir};
	connect_to(dir, "iommu.sock", &g->iommu);
	connect_to(dir, "nvme0.sock", &g->nvme);
	map_registers(g);
	lend_memory(g);
	drive_iommu(g);
	drive_nvme(g);
}

void guest_restart(struct guest *g)
{
	must(vfu_client_reset(g->nvme), "resetting the controller");
	must(vfu_client_reset(g->iommu), "resetting the IOMMU");
	memset(g->ram, 0, GUEST_RAM_SIZE);
	drive_iommu(g);
	drive_nvme(g);
}

void guest_stop(struct guest *g)
{
	vfu_client_close(g->nvme);
	vfu_client_close(g->iommu);
	munmap(g->page, 4096);
	munmap(g->ram, GUEST_RAM_SIZE);
	close(g->register_fd);
	close(g->ram_fd);
}
