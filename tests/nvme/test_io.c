/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVM command set against a naive copy of the disk. */
#include "driver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u

static void fill(uint8_t *at, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 7);
}

static void read_file(struct drv *d, uint64_t offset, void *buf, size_t len)
{
	int fd = open(d->path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
	close(fd);
}

/*
 * PRPs for `len` bytes beginning at `offset` in a page, the naive way: pages
 * from `pool` in reverse order (so that none are contiguous), lists that begin
 * at `list_offset` in their page and chain. `where[i]` is the address of byte
 * i * 4.
 */
struct shape {
	unsigned offset, blocks, list_offset;
	bool contiguous;
};

static void build_list(struct drv *d, const uint64_t *pages, unsigned count, unsigned list_offset,
		       uint64_t *ret_prp2)
{
	uint64_t list = drv_alloc(d, PAGE);
	uint64_t *entry = drv_at(d, list + list_offset);
	unsigned room = (PAGE - list_offset) / 8;

	*ret_prp2 = list + list_offset;
	for (unsigned i = 0; i < count; i++) {
		if (room == 1 && i + 1 < count) {
			list = drv_alloc(d, PAGE);
			*entry = list;
			entry = drv_at(d, list);
			room = PAGE / 8;
		}
		*entry++ = pages[i];
		room--;
	}
}

static void build(struct drv *d, const struct shape *s, uint64_t pages[130], uint64_t *ret_prp1,
		  uint64_t *ret_prp2)
{
	unsigned len = s->blocks * 512, count = (s->offset + len + PAGE - 1) / PAGE;
	uint64_t pool = drv_alloc(d, 131 * PAGE);

	for (unsigned i = 0; i < count; i++)
		pages[i] = pool + PAGE * (s->contiguous ? i : count - 1 - i);
	*ret_prp1 = pages[0] + s->offset;
	*ret_prp2 = count == 2 ? pages[1] : 0;
	if (count > 2)
		build_list(d, pages + 1, count - 1, s->list_offset, ret_prp2);
}

static void copy_shape(struct drv *d, const struct shape *s, const uint64_t *pages, uint8_t *bytes,
		       bool to_guest)
{
	for (unsigned i = 0; i < s->blocks * 512; i++) {
		uint8_t *guest = drv_at(d, pages[(s->offset + i) / PAGE] + (s->offset + i) % PAGE);

		if (to_guest)
			*guest = bytes[i];
		else
			bytes[i] = *guest;
	}
}

static void try_shape(const struct shape *s, unsigned seed)
{
	static uint8_t bytes[NVME_MAX_TRANSFER], back[NVME_MAX_TRANSFER];
	struct drv *d = drv_ready();
	uint64_t pages[130], prp1, prp2, lba = seed % 512;
	size_t len = s->blocks * 512;

	fill(bytes, len, seed);
	build(d, s, pages, &prp1, &prp2);
	copy_shape(d, s, pages, bytes, true);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, lba, s->blocks, prp1, prp2, 0), 0);
	read_file(d, lba * 512, back, len);
	assert_memory_equal(bytes, back, len);
	build(d, s, pages, &prp1, &prp2);
	assert_int_equal(drv_rw(d, NVME_IO_READ, lba, s->blocks, prp1, prp2, 0), 0);
	copy_shape(d, s, pages, back, false);
	assert_memory_equal(bytes, back, len);
	assert_int_equal(d->memory.strays, 0);
	drv_free(d);
}

static void prp_shapes(void **state)
{
	static const unsigned offsets[] = {0, 4, 512, 2048, 3584, 4092};
	static const unsigned blocks[] = {1, 7, 8, 9, 15, 16, 17, 24, 256, 1023, 1024};
	static const unsigned lists[] = {0, 8, 2048, PAGE - 64, PAGE - 16, PAGE - 8};

	for (unsigned o = 0; o < 6; o++) {
		for (unsigned b = 0; b < 11; b++) {
			for (unsigned l = 0; l < 6; l++)
				try_shape(&(struct shape){offsets[o], blocks[b], lists[l],
							  (o + b + l) % 3 == 0},
					  o * 100 + b * 10 + l);
		}
	}
}

static void prp_errors(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 64 * PAGE), list = drv_alloc(d, 2 * PAGE),
		 outside = FAKE_BASE + DRV_MEMORY;
	uint64_t *entries = drv_at(d, list);
	const struct {
		uint64_t prp1, prp2, first_entry;
		unsigned blocks, status;
	} cases[] = {
		{data + 1, 0, 0, 1, NVME_PRP_OFFSET_INVALID},
		{data + 2, 0, 0, 1, NVME_PRP_OFFSET_INVALID},
		{data, data + 512, 0, 16, NVME_PRP_OFFSET_INVALID},
		{data, list + 4, 0, 24, NVME_PRP_OFFSET_INVALID},
		{data, list, data + 8, 24, NVME_PRP_OFFSET_INVALID},
		{outside, 0, 0, 1, NVME_DATA_TRANSFER_ERROR},
		{data, outside, 0, 16, NVME_DATA_TRANSFER_ERROR},
		{data, outside, 0, 24, NVME_DATA_TRANSFER_ERROR},
		{data, list, outside, 24, NVME_DATA_TRANSFER_ERROR},
		{UINT64_MAX - 4095, UINT64_MAX - 4095, 0, 16, NVME_DATA_TRANSFER_ERROR},
		/* a list of one entry that leads to itself */
		{data, list + PAGE - 8, 0, 24, NVME_PRP_OFFSET_INVALID},
	};

	entries[PAGE / 8 - 1] = list + PAGE - 8;
	entries[1] = data;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned op = NVME_IO_WRITE; op <= NVME_IO_READ; op++) {
			entries[0] = cases[i].first_entry;
			assert_int_equal(drv_rw(d, (uint8_t)op, 0, cases[i].blocks, cases[i].prp1,
						cases[i].prp2, 0),
					 cases[i].status);
		}
	}
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 1, data, 0, 0), 0);
	drv_free(d);
}

static void field_errors(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 4 * PAGE);
	const struct nvme_sqe good = {.opcode = NVME_IO_READ, .nsid = 1, .prp1 = data};
	const struct {
		uint8_t opcode, flags;
		uint32_t nsid, low, high, cdw12;
		unsigned status;
	} cases[] = {
		{NVME_IO_READ, 0, 0, 0, 0, 0, NVME_INVALID_NAMESPACE},
		{NVME_IO_READ, 0, 2, 0, 0, 0, NVME_INVALID_NAMESPACE},
		{NVME_IO_READ, 0, NVME_NSID_ALL, 0, 0, 0, NVME_INVALID_NAMESPACE},
		{NVME_IO_FLUSH, 0, 2, 0, 0, 0, NVME_INVALID_NAMESPACE},
		{NVME_IO_FLUSH, 0, NVME_NSID_ALL, 0, 0, 0, 0},
		{NVME_IO_READ, 0x40, 1, 0, 0, 0, NVME_INVALID_FIELD},
		{NVME_IO_READ, 0x01, 1, 0, 0, 0, NVME_INVALID_FIELD},
		{NVME_IO_READ, 0, 1, DRV_BLOCKS, 0, 0, NVME_LBA_OUT_OF_RANGE},
		{NVME_IO_READ, 0, 1, DRV_BLOCKS - 1, 0, 1, NVME_LBA_OUT_OF_RANGE},
		{NVME_IO_READ, 0, 1, DRV_BLOCKS - 1, 0, 0, 0},
		{NVME_IO_WRITE, 0, 1, 0xffffffff, 0xffffffff, 7, NVME_LBA_OUT_OF_RANGE},
		{NVME_IO_READ, 0, 1, 0, 0x00800000, 0, NVME_LBA_OUT_OF_RANGE},
		{NVME_IO_READ, 0, 1, 0, 0, 1024, NVME_INVALID_FIELD},
		{NVME_IO_WRITE_ZEROES, 0, 1, DRV_BLOCKS, 0, 0, NVME_LBA_OUT_OF_RANGE},
		{0x04, 0, 1, 0, 0, 0, NVME_INVALID_OPCODE},
		{0xff, 0, 1, 0, 0, 0, NVME_INVALID_OPCODE},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nvme_sqe sqe = good;

		sqe.opcode = cases[i].opcode;
		sqe.flags = cases[i].flags;
		sqe.nsid = cases[i].nsid;
		sqe.cdw10 = cases[i].low;
		sqe.cdw11 = cases[i].high;
		sqe.cdw12 = cases[i].cdw12;
		assert_int_equal(drv_command(d, 1, sqe, NULL), cases[i].status);
	}
	drv_free(d);
}

static unsigned discard(struct drv *d, const struct nvme_dsm_range *ranges, unsigned count,
			uint32_t attributes)
{
	uint64_t data = drv_alloc(d, PAGE);

	memcpy(drv_at(d, data), ranges, count * sizeof(*ranges));
	return drv_command(d, 1,
			   (struct nvme_sqe){.opcode = NVME_IO_DATASET_MANAGEMENT,
					     .nsid = 1,
					     .prp1 = data,
					     .cdw10 = count - 1,
					     .cdw11 = attributes},
			   NULL);
}

static void zeroes_and_discard(void **state)
{
	struct drv *d = drv_ready();
	static uint8_t all[256 * 512], back[256 * 512];
	uint64_t data = drv_alloc(d, sizeof(all)), prp2;
	uint64_t pages[32];
	struct nvme_dsm_range ranges[4] = {{0, 8, 64}, {0, 0, 9}, {0, 1, 81}, {0, 16, 96}};

	for (unsigned i = 1; i < 32; i++)
		pages[i] = data + i * PAGE;
	build_list(d, pages + 1, 31, 0, &prp2);
	fill(drv_at(d, data), sizeof(all), 5);
	memcpy(all, drv_at(d, data), sizeof(all));
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 256, data, prp2, NVME_RW_FUA), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 3, 5, 0, 0, 0), 0);
	memset(all + 3 * 512, 0, 5 * 512);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 16, 16, 0, 0, NVME_RW_DEAC), 0);
	memset(all + 16 * 512, 0, 16 * 512);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 41, 7, 0, 0, NVME_RW_DEAC | NVME_RW_FUA), 0);
	memset(all + 41 * 512, 0, 7 * 512);
	assert_int_equal(discard(d, ranges, 4, 0), 0); /* hints only */
	read_file(d, 0, back, sizeof(back));
	assert_memory_equal(all, back, sizeof(all));
	assert_int_equal(discard(d, ranges, 4, NVME_DSM_AD), 0);
	memset(all + 64 * 512, 0, 8 * 512);
	memset(all + 81 * 512, 0, 1 * 512);
	memset(all + 96 * 512, 0, 16 * 512);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 256, data, prp2, 0), 0);
	assert_memory_equal(all, drv_at(d, data), sizeof(all));
	/* one bad range: none is discarded */
	ranges[0] = (struct nvme_dsm_range){0, 8, 200};
	ranges[3] = (struct nvme_dsm_range){0, 1, DRV_BLOCKS};
	assert_int_equal(discard(d, ranges, 4, NVME_DSM_AD), NVME_LBA_OUT_OF_RANGE);
	read_file(d, 0, back, sizeof(back));
	assert_memory_equal(all, back, sizeof(all));
	/* the most blocks that a command can name, on a disk that is smaller */
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, 65536, 0, 0, 0), NVME_LBA_OUT_OF_RANGE);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, DRV_BLOCKS, 0, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), 0);
	memset(back, 0, PAGE);
	assert_memory_equal(back, drv_at(d, data), PAGE);
	drv_free(d);
}

static void compare(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 2 * PAGE);
	uint8_t *bytes = drv_at(d, data);

	fill(bytes, 2 * PAGE, 9);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 5, 16, data, data + PAGE, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_COMPARE, 5, 16, data, data + PAGE, 0), 0);
	bytes[2 * PAGE - 1] ^= 1;
	assert_int_equal(drv_rw(d, NVME_IO_COMPARE, 5, 16, data, data + PAGE, 0), NVME_COMPARE_FAILURE);
	drv_free(d);
}

static void random_mix(void **state)
{
	struct drv *d = drv_ready();
	static uint8_t disk[DRV_BLOCKS * 512];
	uint64_t data = drv_alloc(d, 2 * PAGE);
	uint8_t *bytes = drv_at(d, data);

	memset(disk, 0, sizeof(disk));
	srand(1);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned blocks = 1 + (unsigned)rand() % 16, lba = (unsigned)rand() % (DRV_BLOCKS - 16);
		unsigned len = blocks * 512;

		switch (rand() % 4) {
		case 0:
			fill(bytes, len, i);
			memcpy(disk + lba * 512, bytes, len);
			assert_int_equal(drv_rw(d, NVME_IO_WRITE, lba, blocks, data, data + PAGE,
						rand() % 8 ? 0 : NVME_RW_FUA),
					 0);
			break;
		case 1:
			memset(disk + lba * 512, 0, len);
			assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, lba, blocks, 0, 0,
						rand() % 2 ? NVME_RW_DEAC : 0),
					 0);
			break;
		case 2:
			assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.nsid = 1}, NULL), 0);
			break;
		default:
			memset(bytes, 0xcc, 2 * PAGE);
			assert_int_equal(drv_rw(d, NVME_IO_READ, lba, blocks, data, data + PAGE, 0), 0);
			assert_memory_equal(bytes, disk + lba * 512, len);
			break;
		}
	}
	assert_int_equal(d->memory.strays, 0);
	drv_free(d);
}

static void truncated_file(void **state)
{
	struct drv *d = drv_ready();
	struct stat st;
	uint64_t data = drv_alloc(d, 2 * PAGE);

	assert_return_code(truncate(d->path, 4096 + 100), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 8, 8, data, 0, 0), NVME_UNRECOVERED_READ);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 1000, 8, data, 0, 0), NVME_UNRECOVERED_READ);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 7, 2, data, 0, 0), NVME_WRITE_FAULT);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 1000, 8, data, 0, 0), NVME_WRITE_FAULT);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 7, 100, 0, 0, NVME_RW_FUA), NVME_WRITE_FAULT);
	assert_return_code(stat(d->path, &st), 0);
	assert_int_equal(st.st_size, 4096 + 100);
	assert_return_code(truncate(d->path, 4096 * 1024), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 1000, 8, data, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 1000, 8, data, 0, 0), 0);
	drv_free(d);
}

static void read_only(void **state)
{
	struct drv *d = drv_new(&(struct nvme_options){.read_only = true});
	uint64_t data = drv_alloc(d, PAGE);

	assert_true(drv_enable(d, 16, 16));
	assert_int_equal(drv_create_cq(d, 1, 16, 0), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 16), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 1, data, 0, 0), NVME_WRITE_PROTECTED);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, 1, data, 0, 0), NVME_WRITE_PROTECTED);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 1, data, 0, 0), 0);
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.nsid = 1}, NULL), 0);
	drv_free(d);
}

/* More data in flight than staging memory holds: commands wait, none is lost. */
static void staging_runs_out(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, NVME_MAX_TRANSFER), prp2, pages[128];
	uint64_t seen[2] = {0};

	for (unsigned i = 1; i < 128; i++)
		pages[i] = data + i * PAGE;
	build_list(d, pages + 1, 127, 0, &prp2);
	for (unsigned i = 0; i < 60; i++)
		drv_submit(d, 1,
			   (struct nvme_sqe){.opcode = i % 5 ? NVME_IO_READ : NVME_IO_WRITE,
					     .nsid = 1,
					     .prp1 = data,
					     .prp2 = i % 3 ? prp2 : data + PAGE,
					     .cdw12 = i % 3 ? 1023 : 7});
	for (unsigned i = 0; i < 60; i++) {
		struct nvme_cqe cqe;

		assert_true(drv_wait(d, 1, &cqe));
		assert_int_equal(cqe.status >> 1, 0);
		assert_false(seen[cqe.cid / 64] >> cqe.cid % 64 & 1);
		seen[cqe.cid / 64] |= 1ull << cqe.cid % 64;
	}
	for (unsigned i = 0; i < NVME_STAGING_PAGES / 64; i++)
		assert_int_equal(d->nvme->staging_used[i], 0);
	drv_free(d);
}

static void full_completion_queue(void **state)
{
	struct drv *d = drv_new(NULL);
	struct nvme_cqe cqe;

	assert_true(drv_enable(d, 16, 16));
	assert_int_equal(drv_create_cq(d, 1, 4, 0), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 64), 0);
	d->hold_head = true;
	for (unsigned i = 0; i < 40; i++)
		drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	drv_settle(d);
	for (unsigned i = 0; i < 3; i++)
		assert_true(drv_take(d, 1, &cqe));
	assert_false(drv_take(d, 1, &cqe));
	d->hold_head = false;
	drv_write32(d, NVME_REG_DOORBELLS + 12, d->queue[1].head);
	for (unsigned i = 3; i < 40; i++)
		assert_true(drv_wait(d, 1, &cqe));
	drv_settle(d);
	assert_false(drv_take(d, 1, &cqe));
	drv_free(d);
}

/* Two queues, one much fuller: the other is not starved. */
static void queues_take_turns(void **state)
{
	struct drv *d = drv_ready();
	struct nvme_cqe cqe;
	bool second = false;

	assert_int_equal(drv_create_cq(d, 2, 64, 2), 0);
	assert_int_equal(drv_create_sq(d, 2, 2, 64), 0);
	for (unsigned i = 0; i < 60; i++)
		drv_put(d, 1, (struct nvme_sqe){.opcode = 0xff});
	drv_put(d, 2, (struct nvme_sqe){.opcode = 0xff});
	drv_ring(d, 1);
	drv_ring(d, 2);
	nvme_poll(d->nvme, 20);
	second = drv_take(d, 2, &cqe);
	assert_true(second);
	drv_free(d);
}

static void sleeping_work_thread_is_woken(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, PAGE);
	struct nvme_cqe cqe;
	fd_set set;

	for (unsigned i = 0; i < 50; i++) {
		drv_submit(d, 1,
			   (struct nvme_sqe){
				   .opcode = NVME_IO_WRITE, .nsid = 1, .prp1 = data, .cdw12 = NVME_RW_FUA});
		nvme_poll(d->nvme, 1);
		while (!drv_take(d, 1, &cqe)) {
			struct timeval limit = {5, 0};

			if (nvme_poll(d->nvme, 16) || !nvme_arm(d->nvme))
				continue;
			FD_ZERO(&set);
			FD_SET(nvme_completion_fd(d->nvme), &set);
			assert_int_equal(select(nvme_completion_fd(d->nvme) + 1, &set, NULL, NULL, &limit),
					 1);
		}
	}
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prp_shapes),	     cmocka_unit_test(prp_errors),
		cmocka_unit_test(field_errors),	     cmocka_unit_test(zeroes_and_discard),
		cmocka_unit_test(compare),	     cmocka_unit_test(random_mix),
		cmocka_unit_test(truncated_file),    cmocka_unit_test(read_only),
		cmocka_unit_test(staging_runs_out),  cmocka_unit_test(full_completion_queue),
		cmocka_unit_test(queues_take_turns), cmocka_unit_test(sleeping_work_thread_is_woken),
	};
	int failed = cmocka_run_group_tests_name("io (io_uring)", tests, NULL, NULL);

	drv_engine = DISK_ENGINE_THREADS;
	return failed + cmocka_run_group_tests_name("io (threads)", tests, NULL, NULL);
}
