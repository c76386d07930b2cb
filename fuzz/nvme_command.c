/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile guest of the NVMe controller: the input is a program of register
 * accesses, memory contents, commands and polls against a double of the IOMMU.
 * Bytes alone would hardly ever make a queue pair or a list of pages, so a step
 * does what a driver does, right but for what the input changes.
 *
 * What must hold, beside what the sanitizers see: no poll makes more accesses
 * than its budget explains, interrupts have vectors that exist, and after a
 * reset nothing is left at the disk and no command, no staging memory taken.
 */
#include "fake_access.h"
#include "nvme/controller.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES	 64
#define MEMORY	 (PAGES * 4096u)
#define PAGE(n)	 (FAKE_BASE + (n)*4096ull)
#define ENTRIES	 16
#define QUEUES	 3 /* with the admin queue, which is number 0 */
#define SQ(q)	 PAGE(2 * (q))
#define CQ(q)	 PAGE(2 * (q) + 1)
#define SHADOW	 PAGE(6)
#define EVENTS	 PAGE(7)
#define LISTS	 8 /* the first page of lists */
#define DISK	 (1 << 20)
#define POLL_MAX 64
/* A list may take a hop for each of its pages, each page is copied once; queues, shadow doorbells. */
#define ACCESSES_PER_COMMAND (2 * NVME_MAX_PAGES + 64)

struct fuzz {
	const uint8_t *at;
	size_t left;
	struct nvme *n;
	struct viommu_requester *f;
	uint32_t tails[QUEUES]; /* as the guest believes them to be */
	uint16_t cid;
};

static void require(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t take(struct fuzz *z, unsigned bytes)
{
	uint64_t value = 0;
	unsigned n = bytes < z->left ? bytes : (unsigned)z->left;

	memcpy(&value, z->at, n);
	z->at += n;
	z->left -= n;
	return value;
}

static void on_vector(void *opaque, unsigned vector)
{
	require(vector < NVME_MSIX_VECTORS);
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

static int disk_file(void)
{
	char path[] = "/tmp/nvme-fuzz-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, DISK) < 0)
		abort();
	unlink(path);
	return fd;
}

static void reg(struct fuzz *z, uint64_t offset, uint64_t value, unsigned len)
{
	nvme_bar_write(z->n, 0, offset, &value, len);
}

static void poll_controller(struct fuzz *z, unsigned budget)
{
	uint64_t before = z->f->accesses;

	nvme_poll(z->n, budget);
	require(z->f->accesses - before <= (budget + 8) * ACCESSES_PER_COMMAND);
}

/* ------------------------------------------------------- what a driver does */

static void bring_up(struct fuzz *z)
{
	uint16_t command = 6;

	nvme_config_write(z->n, 4, &command, 2);
	reg(z, NVME_REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1), 4);
	reg(z, NVME_REG_ASQ, SQ(0), 8);
	reg(z, NVME_REG_ACQ, CQ(0), 8);
	reg(z, NVME_REG_CC, 4u << 20 | 6u << 16 | 1, 4);
	memset(z->tails, 0, sizeof(z->tails));
	poll_controller(z, 8);
}

static void ring(struct fuzz *z, unsigned queue, bool cq, uint32_t value)
{
	reg(z, NVME_REG_DOORBELLS + 4 * (2 * queue + cq), value, 4);
}

/* Takes all completions that are there. */
static void take_completions(struct fuzz *z, unsigned queue)
{
	ring(z, queue, true, z->n->cq[queue].tail);
}

static void submit(struct fuzz *z, unsigned queue, struct nvme_sqe *sqe, bool quietly)
{
	sqe->cid = z->cid++ & 31;
	memcpy(fake_at(z->f, SQ(queue) + 64 * z->tails[queue]), sqe, sizeof(*sqe));
	z->tails[queue] = (z->tails[queue] + 1) % ENTRIES;
	if (quietly && queue)
		memcpy(fake_at(z->f, SHADOW + 8 * queue), &z->tails[queue], 4);
	else
		ring(z, queue, false, z->tails[queue]);
}

static void make_queues(struct fuzz *z, uint8_t flips)
{
	for (unsigned q = 1; q < QUEUES; q++) {
		uint32_t size = (ENTRIES - 1) << 16 | q;
		struct nvme_sqe cq = {.opcode = NVME_ADMIN_CREATE_CQ, .prp1 = CQ(q), .cdw10 = size};
		struct nvme_sqe sq = {.opcode = NVME_ADMIN_CREATE_SQ, .prp1 = SQ(q), .cdw10 = size};

		cq.cdw11 = q << 16 | NVME_QUEUE_IEN | NVME_QUEUE_PC;
		sq.cdw11 = (flips & 1 ? 1 : q) << 16 | NVME_QUEUE_PC;
		if (flips & 2)
			sq.cdw11 ^= 1u << (flips >> 3);
		if (flips & 4)
			cq.cdw10 ^= 1u << (flips >> 3);
		submit(z, 0, &cq, false);
		submit(z, 0, &sq, false);
		z->tails[q] = 0;
	}
	poll_controller(z, 8);
	take_completions(z, 0);
}

/* ---------------------------------------------------------------- its data */

static uint64_t address(struct fuzz *z)
{
	uint64_t offset = take(z, 3);

	return offset == 0xffffff ? take(z, 8) : FAKE_BASE + offset % (MEMORY + 8192);
}

/* Mostly a page that is there; now and then with an offset, or anything. */
static uint64_t page(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(z, 1);

	if (shape < 192)
		return PAGE(shape % PAGES);
	return shape < 224 ? PAGE(shape % PAGES) + (take(z, 1) << 2) : address(z);
}

/* A list of neighbours up to the end of its page, whose last entry leads on. */
static void step_list(struct fuzz *z)
{
	uint64_t list = LISTS + take(z, 1) % 8, first = take(z, 1), start = take(z, 2) % 512, entry;
	unsigned stride = (unsigned)take(z, 1) % 3;

	for (uint64_t i = start; i < 511; i++) {
		entry = PAGE((first + stride * (i - start)) % PAGES);
		memcpy(fake_at(z->f, PAGE(list) + 8 * i), &entry, 8);
	}
	entry = page(z);
	memcpy(fake_at(z->f, PAGE(list) + 8 * 511), &entry, 8);
}

static void step_entry(struct fuzz *z)
{
	uint64_t offset = take(z, 3) % (MEMORY - 8), value = address(z);

	memcpy(fake_at(z->f, FAKE_BASE + offset), &value, 8);
}

/* ---------------------------------------------------------------- commands */

static void step_transfer(struct fuzz *z)
{
	static const uint8_t opcodes[] = {NVME_IO_READ,	   NVME_IO_WRITE,	 NVME_IO_READ,
					  NVME_IO_WRITE,   NVME_IO_COMPARE,	 NVME_IO_FLUSH,
					  NVME_IO_COMPARE, NVME_IO_WRITE_ZEROES, NVME_IO_DATASET_MANAGEMENT};
	uint8_t shape = (uint8_t)take(z, 1);
	unsigned queue = 1 + (shape & 1);
	struct nvme_sqe sqe = {.opcode = opcodes[take(z, 1) % sizeof(opcodes)], .nsid = 1};

	sqe.prp1 = page(z);
	sqe.prp2 =
		shape & 2 ? PAGE(LISTS + (shape >> 5)) + (shape & 4 ? 8 * (take(z, 2) % 512) : 0) : page(z);
	sqe.cdw10 = (uint32_t)take(z, shape & 8 ? 4 : 1);
	sqe.cdw12 = (uint32_t)take(z, shape & 16 ? 2 : 1);
	if (sqe.opcode == NVME_IO_DATASET_MANAGEMENT)
		sqe.cdw11 = NVME_DSM_AD;
	else if (take(z, 1) & 1)
		sqe.cdw12 |= NVME_RW_FUA | NVME_RW_DEAC;
	submit(z, queue, &sqe, z->n->dbbuf);
}

static void step_admin(struct fuzz *z)
{
	static const uint8_t opcodes[] = {NVME_ADMIN_DELETE_SQ,	   NVME_ADMIN_CREATE_SQ,
					  NVME_ADMIN_GET_LOG_PAGE, NVME_ADMIN_DELETE_CQ,
					  NVME_ADMIN_CREATE_CQ,	   NVME_ADMIN_IDENTIFY,
					  NVME_ADMIN_SET_FEATURES, NVME_ADMIN_GET_FEATURES,
					  NVME_ADMIN_ASYNC_EVENT,  NVME_ADMIN_DOORBELL_BUFFER,
					  NVME_ADMIN_ROGUE};
	uint8_t shape = (uint8_t)take(z, 1);
	struct nvme_sqe sqe = {.opcode = opcodes[take(z, 1) % sizeof(opcodes)], .nsid = shape >> 7};

	sqe.prp1 = page(z);
	sqe.prp2 = page(z);
	sqe.cdw10 = (uint32_t)take(z, 1);
	sqe.cdw11 = (uint32_t)take(z, shape & 1 ? 4 : 1);
	if (shape & 2)
		sqe.cdw10 |= (uint32_t)take(z, 2) << 16;
	if (shape & 4)
		sqe.cdw12 = (uint32_t)take(z, 4);
	if (shape & 8)
		sqe.cdw13 = (uint32_t)take(z, 4);
	submit(z, 0, &sqe, false);
}

/* Of what was submitted last, or nearly: it may be at the disk. */
static void step_abort(struct fuzz *z)
{
	uint64_t which = take(z, 1);
	struct nvme_sqe sqe = {.opcode = NVME_ADMIN_ABORT};

	sqe.cdw10 = (which & 3) | (uint32_t)((z->cid - 1 - (which >> 2)) & 31) << 16;
	submit(z, 0, &sqe, false);
	if (which & 0x80)
		poll_controller(z, 4);
}

static void step_shadow(struct fuzz *z)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADMIN_DOORBELL_BUFFER, .prp1 = SHADOW, .prp2 = EVENTS};
	uint8_t shape = (uint8_t)take(z, 1);
	uint32_t value = (uint32_t)take(z, 1);

	if (shape & 0x80)
		submit(z, 0, &sqe, false);
	else
		memcpy(fake_at(z->f, SHADOW + 4 * (shape % (2 * QUEUES))), &value, 4);
}

static void step_raw_command(struct fuzz *z)
{
	unsigned queue = (unsigned)take(z, 1) % QUEUES;
	uint8_t *sqe = fake_at(z->f, SQ(queue) + 64 * (z->tails[queue] % ENTRIES));

	for (unsigned i = 0; i < 8; i++) {
		uint64_t value = take(z, 8);

		memcpy(sqe + 8 * i, &value, 8);
	}
	z->tails[queue] = (z->tails[queue] + 1) % ENTRIES;
	ring(z, queue, false, z->tails[queue]);
}

/* --------------------------------------------------------------- registers */

static void step_register(struct fuzz *z)
{
	uint64_t offset = take(z, 2), value = take(z, 8);
	unsigned len = 1 + (unsigned)take(z, 1) % 8;
	uint8_t buf[8];

	if (offset & 0x8000)
		nvme_bar_write(z->n, 4, offset % NVME_BAR4_SIZE, &value, len);
	else if (offset & 0x4000)
		nvme_bar_read(z->n, offset & 1 ? 4 : 0, offset & 0x3fff, buf, len);
	else
		nvme_bar_write(z->n, 0, offset, &value, len);
}

static void step_config(struct fuzz *z)
{
	uint64_t value = take(z, 4), offset = take(z, 1);
	unsigned len = 1 + (unsigned)take(z, 1) % 4;

	nvme_config_write(z->n, offset, &value, len);
	nvme_config_read(z->n, offset, &value, len);
}

static void step_doorbell(struct fuzz *z)
{
	uint64_t which = take(z, 1);

	if (which & 0x80)
		take_completions(z, which % QUEUES);
	else
		reg(z, NVME_REG_DOORBELLS + 4 * (which % 8), take(z, 1), 4);
}

static void step_start(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(z, 1);

	if (shape % 4 == 0)
		nvme_reset(z->n);
	else if (shape % 4 == 1)
		reg(z, NVME_REG_CC, 1u << 14 | 4u << 20 | 6u << 16 | 1, 4); /* shutdown */
	bring_up(z);
	if (shape & 4)
		make_queues(z, shape & 8 ? (uint8_t)take(z, 1) : 0);
}

/* Saved, changed by who keeps it, restored: refused, or what follows holds as for any guest. */
static void move(struct fuzz *z)
{
	static uint64_t state[(64 << 10) / 8];
	unsigned edits = (unsigned)take(z, 1) % 8;
	int64_t length;

	nvme_hold(z->n, true);
	length = nvme_save(z->n, state, sizeof(state));
	nvme_hold(z->n, false);
	if (length < 0)
		return;
	for (unsigned i = 0; i < edits; i++)
		((uint8_t *)state)[take(z, 2) % (uint64_t)length] = (uint8_t)take(z, 1);
	require(nvme_restore(z->n, state, (size_t)length) == 0 || edits);
}

static void step_others(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(z, 1);

	if (shape % 16 == 15)
		move(z);
	else if (shape & 1)
		nvme_arm(z->n);
	else
		z->f->fail_at = z->f->accesses + (shape >> 1);
}

static void step_poll(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(z, 1);

	poll_controller(z, 1 + shape % POLL_MAX);
	for (unsigned q = 0; shape & 0x80 && q < QUEUES; q++)
		take_completions(z, q);
}

static void step(struct fuzz *z)
{
	static void (*const steps[])(struct fuzz * z) = {
		step_register, step_config, step_transfer, step_transfer, step_transfer,    step_admin,
		step_admin,    step_abort,  step_list,	   step_entry,	  step_shadow,	    step_doorbell,
		step_start,    step_poll,   step_poll,	   step_others,	  step_raw_command, step_transfer};

	steps[take(z, 1) % (sizeof(steps) / sizeof(steps[0]))](z);
}

/* -------------------------------------------------------------- the machine */

/* One for all inputs: making one takes longer than running most inputs. A reset has to bring it back each
 * time. */
static struct nvme *controller(struct viommu_requester *f)
{
	static const struct nvme_host_ops ops = {on_vector, on_level, on_kick, on_log};
	static struct nvme *n;
	char why[256];

	if (!n) {
		struct nvme_options opts = {.fd = disk_file(), .io_queues = QUEUES - 1, .rogue = true};

		fake_init(f, MEMORY);
		if (nvme_controller_create(&opts, DISK_ENGINE_ANY, &ops, NULL, &n, why, sizeof(why)) < 0)
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
	require(n->free_count == NVME_COMMANDS && !n->disk_in_flight);
	for (unsigned i = 0; i < NVME_STAGING_PAGES / 64; i++)
		require(!n->staging_used[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct viommu_requester f;
	struct fuzz z = {.at = data, .left = size, .n = controller(&f), .f = &f};

	memset(f.memory, 0, f.size);
	bring_up(&z);
	make_queues(&z, 0);
	while (z.left)
		step(&z);
	f.fail_at = 0;
	reset(z.n);
	bring_up(&z);
	require(z.n->csts == NVME_CSTS_RDY);
	reset(z.n);
	return 0;
}
