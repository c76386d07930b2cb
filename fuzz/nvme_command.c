/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile guest of the NVMe controller: the input is a program of register
 * accesses, memory contents and polls against a double of the IOMMU.
 */
#include "fake_access.h"
#include "nvme/controller.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY	(256u << 10)
#define SQ	FAKE_BASE
#define CQ	(FAKE_BASE + 4096)
#define IO_SQ	(FAKE_BASE + 2 * 4096)
#define IO_CQ	(FAKE_BASE + 3 * 4096)
#define BUFFERS (FAKE_BASE + 4 * 4096)

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;
	unsigned n = bytes < in->left ? bytes : (unsigned)in->left;

	memcpy(&value, in->at, n);
	in->at += n;
	in->left -= n;
	return value;
}

static void on_vector(void *opaque, unsigned vector)
{
	if (vector >= NVME_MSIX_VECTORS)
		abort();
}

static void on_level(void *opaque, bool level)
{
}

static void on_kick(void *opaque)
{
}

static void on_log(void *opaque, const char *line)
{
}

static const char *disk_file(void)
{
	static char path[] = "/tmp/nvme-fuzz-XXXXXX";
	static bool made;
	int fd;

	if (!made) {
		fd = mkstemp(path);
		if (fd < 0 || ftruncate(fd, 1 << 20) < 0)
			abort();
		close(fd);
		made = true;
	}
	return path;
}

static void reg(struct nvme *n, uint64_t offset, uint64_t value, unsigned len)
{
	nvme_bar_write(n, 0, offset, &value, len);
}

/* Near to what a driver does, or nothing would ever be reached. */
static void bring_up(struct nvme *n)
{
	uint16_t command = 6;

	nvme_config_write(n, 4, &command, 2);
	reg(n, NVME_REG_AQA, 15 << 16 | 15, 4);
	reg(n, NVME_REG_ASQ, SQ, 8);
	reg(n, NVME_REG_ACQ, CQ, 8);
	reg(n, NVME_REG_CC, 4u << 20 | 6u << 16 | 1, 4);
	nvme_poll(n, 8);
}

static uint64_t address(struct input *in)
{
	uint64_t offset = take(in, 3);

	return offset == 0xffffff ? take(in, 8) : FAKE_BASE + offset % (MEMORY + 8192);
}

static void put_command(struct viommu_requester *f, struct input *in)
{
	struct nvme_sqe sqe = {.opcode = (uint8_t)take(in, 1), .cid = (uint16_t)take(in, 1), .nsid = 1};
	uint8_t where = (uint8_t)take(in, 1), shape = (uint8_t)take(in, 1);

	sqe.prp1 = address(in);
	sqe.prp2 = address(in);
	sqe.cdw10 = (uint32_t)take(in, shape & 1 ? 4 : 2);
	sqe.cdw11 = (uint32_t)take(in, shape & 2 ? 4 : 1);
	sqe.cdw12 = (uint32_t)take(in, shape & 4 ? 4 : 1);
	sqe.cdw13 = (uint32_t)take(in, shape & 8 ? 4 : 0);
	if (shape & 16)
		sqe.nsid = (uint32_t)take(in, 4);
	if (shape & 32)
		sqe.flags = (uint8_t)take(in, 1);
	memcpy(fake_at(f, (where & 0x80 ? IO_SQ : SQ) + 64 * (where & 15)), &sqe, sizeof(sqe));
}

static void step(struct nvme *n, struct viommu_requester *f, struct input *in)
{
	switch (take(in, 1) % 12) {
	case 0:
		reg(n, take(in, 2) % NVME_BAR0_SIZE, take(in, 8), 1 + take(in, 1) % 8);
		break;
	case 1: {
		uint64_t value = take(in, 4);

		nvme_config_write(n, take(in, 1), &value, 1 + take(in, 1) % 4);
		break;
	}
	case 2:
	case 3:
		put_command(f, in);
		break;
	case 4:
	case 5:
		reg(n, NVME_REG_DOORBELLS + 4 * (take(in, 1) % 8), take(in, 1), 4);
		break;
	case 6: {
		uint64_t offset = take(in, 3) % (MEMORY - 8), value = address(in);

		memcpy(fake_at(f, FAKE_BASE + offset), &value, 8);
		break;
	}
	case 7:
		nvme_arm(n);
		break;
	case 8:
		f->fail_at = f->accesses + take(in, 1);
		break;
	case 9:
		if (take(in, 1) % 16 == 0)
			nvme_reset(n);
		bring_up(n);
		break;
	default:
		nvme_poll(n, 1 + (unsigned)take(in, 1) % 64);
		break;
	}
}

/* One for all inputs: making one takes longer than running most inputs. A reset has to bring it back each
 * time. */
static struct nvme *controller(struct viommu_requester *f)
{
	static const struct nvme_host_ops ops = {on_vector, on_level, on_kick, on_log};
	struct nvme_options opts = {.path = disk_file(), .io_queues = 2, .rogue = true};
	static struct nvme *n;
	const char *why;

	if (!n) {
		fake_init(f, MEMORY);
		if (nvme_controller_create(&opts, DISK_ENGINE_ANY, &ops, NULL, &n, &why) < 0)
			abort();
		nvme_attach(n, f, NULL);
	}
	return n;
}

static void reset(struct nvme *n)
{
	nvme_reset(n);
	for (unsigned i = 0; i < 1000000 && (i < 2 || n->disk_in_flight); i++)
		nvme_poll(n, 64);
	if (n->free_count != NVME_COMMANDS || n->disk_in_flight)
		abort();
	for (unsigned i = 0; i < NVME_STAGING_PAGES / 64; i++) {
		if (n->staging_used[i])
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct viommu_requester f;
	struct nvme *n = controller(&f);
	struct input in = {data, size};

	memset(f.memory, 0, f.size);
	bring_up(n);
	while (in.left)
		step(n, &f, &in);
	f.fail_at = 0;
	reset(n);
	bring_up(n);
	if (n->csts != NVME_CSTS_RDY)
		abort();
	reset(n);
	return 0;
}
