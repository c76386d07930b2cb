/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What reaches the disk, and what happens when it is slow, short or broken:
 * the system calls of the engines are wrapped (see meson.build).
 */
#include "driver.h"

#include <errno.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

static struct {
	atomic_uint writes, durable_writes, syncs, punches, zero_ranges, submits;
	atomic_int write_error, read_error, sync_error, fallocate_error;
	atomic_bool short_transfers, held, ring_refuses;
} host;

ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
int __real_fdatasync(int fd);
int __real_fallocate64(int fd, int mode, off_t offset, off_t len);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
int __wrap_fdatasync(int fd);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);

static int answer(atomic_int *error)
{
	while (atomic_load(&host.held))
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	errno = atomic_load(error);
	return errno ? -1 : 0;
}

static struct iovec shortened(const struct iovec *iov)
{
	struct iovec s = *iov;

	if (atomic_load(&host.short_transfers) && s.iov_len > 700)
		s.iov_len = 700;
	return s;
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec s = shortened(iov);

	return answer(&host.read_error) ? -1 : __real_preadv64v2(fd, &s, count, offset, flags);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct iovec s = shortened(iov);

	host.writes++;
	host.durable_writes += (flags & RWF_DSYNC) != 0;
	return answer(&host.write_error) ? -1 : __real_pwritev64v2(fd, &s, count, offset, flags);
}

int __wrap_fdatasync(int fd)
{
	host.syncs++;
	return answer(&host.sync_error) ? -1 : __real_fdatasync(fd);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	host.punches += (mode & FALLOC_FL_PUNCH_HOLE) != 0;
	host.zero_ranges += (mode & FALLOC_FL_ZERO_RANGE) != 0;
	return answer(&host.fallocate_error) ? -1 : __real_fallocate64(fd, mode, offset, len);
}

static struct drv *fresh(void)
{
	struct drv *d = drv_ready();

	memset(&host, 0, sizeof(host));
	return d;
}

static unsigned set_cache(struct drv *d, uint32_t on)
{
	return drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES, .cdw10 = 6, .cdw11 = on});
}

static void nothing_lost_at_flush(void **state)
{
	struct drv *d = fresh();
	uint64_t data = drv_alloc(d, 4096);

	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	assert_int_equal(host.writes, 1);
	assert_int_equal(host.durable_writes, 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, NVME_RW_FUA), 0);
	assert_int_equal(host.durable_writes, 1);
	assert_int_equal(host.syncs, 0);
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.nsid = 1}, NULL), 0);
	assert_int_equal(host.syncs, 1);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, 8, 0, 0, NVME_RW_FUA), 0);
	assert_int_equal(host.syncs + host.durable_writes, 3);
	drv_free(d);
}

static void write_cache_off(void **state)
{
	struct drv *d = fresh();
	uint64_t data = drv_alloc(d, 4096);

	assert_int_equal(set_cache(d, 0), 0);
	assert_int_equal(host.syncs, 1);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	assert_int_equal(host.durable_writes, 1);
	assert_int_equal(set_cache(d, 1), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	assert_int_equal(host.durable_writes, 1);
	drv_free(d);
}

static void shutdown_flushes(void **state)
{
	struct drv *d = fresh();

	atomic_store(&host.held, true);
	drv_write32(d, NVME_REG_CC, drv_read32(d, NVME_REG_CC) | 1u << 14);
	drv_settle(d);
	assert_int_equal(drv_read32(d, NVME_REG_CSTS) & NVME_CSTS_SHST, NVME_CSTS_SHST_ING);
	atomic_store(&host.held, false);
	assert_true(drv_poll_until(d, NVME_CSTS_SHST, NVME_CSTS_SHST_END));
	assert_int_equal(host.syncs, 1);
	drv_free(d);
}

static void zeroes_without_help_of_the_filesystem(void **state)
{
	static const int errors[] = {EOPNOTSUPP, EINVAL, ENODEV};

	for (unsigned i = 0; i < 3; i++) {
		struct drv *d = fresh();
		uint64_t data = drv_alloc(d, 4096);
		uint8_t *bytes = drv_at(d, data);

		memset(bytes, 0xff, 4096);
		assert_int_equal(drv_rw(d, NVME_IO_WRITE, 1000, 8, data, 0, 0), 0);
		assert_int_equal(drv_rw(d, NVME_IO_WRITE, 3, 8, data, 0, 0), 0);
		atomic_store(&host.fallocate_error, errors[i]);
		atomic_store(&host.short_transfers, true);
		assert_int_equal(
			drv_rw(d, NVME_IO_WRITE_ZEROES, 4, 999, 0, 0, i ? NVME_RW_DEAC : NVME_RW_FUA), 0);
		assert_true(host.punches == 1 && host.zero_ranges == 1);
		assert_int_equal(drv_rw(d, NVME_IO_READ, 3, 8, data, 0, 0), 0);
		for (unsigned k = 0; k < 4096; k++)
			assert_int_equal(bytes[k], k < 512 ? 0xff : 0);
		assert_int_equal(drv_rw(d, NVME_IO_READ, 1000, 8, data, 0, 0), 0);
		for (unsigned k = 0; k < 4096; k++)
			assert_int_equal(bytes[k], k < 3 * 512 ? 0 : 0xff);
		drv_free(d);
	}
}

static void short_transfers(void **state)
{
	struct drv *d = fresh();
	uint64_t data = drv_alloc(d, 8192);
	uint8_t *bytes = drv_at(d, data), copy[8192];

	for (unsigned i = 0; i < 8192; i++)
		copy[i] = bytes[i] = (uint8_t)(i * 7 + i / 256);
	atomic_store(&host.short_transfers, true);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 9, 16, data, data + 4096, NVME_RW_FUA), 0);
	assert_true(host.durable_writes > 8);
	memset(bytes, 0, 8192);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 9, 16, data, data + 4096, 0), 0);
	assert_memory_equal(bytes, copy, 8192);
	drv_free(d);
}

static void errors_of_the_disk(void **state)
{
	struct drv *d = fresh();
	uint64_t data = drv_alloc(d, 4096);

	atomic_store(&host.read_error, EIO);
	atomic_store(&host.write_error, EIO);
	atomic_store(&host.sync_error, EIO);
	atomic_store(&host.fallocate_error, EIO);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), NVME_UNRECOVERED_READ);
	assert_int_equal(drv_rw(d, NVME_IO_COMPARE, 0, 8, data, 0, 0), NVME_UNRECOVERED_READ);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), NVME_WRITE_FAULT);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, 8, data, 0, 0), NVME_WRITE_FAULT);
	assert_int_equal(d->logs, 0);
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.nsid = 1}, NULL), NVME_WRITE_FAULT);
	memset(&host, 0, sizeof(host));
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), 0);
	drv_free(d);
}

/* The host's file system is full: a status of its own for the guest (81h), one line for the operator. */
static void full_file_system(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT};
	const struct nvme_sqe flush = {.nsid = 1};
	struct drv *d = fresh();
	uint64_t data = drv_alloc(d, 4096);
	struct nvme_dsm_range *range = drv_at(d, data);
	const struct nvme_sqe discard = {
		.opcode = NVME_IO_DATASET_MANAGEMENT, .nsid = 1, .prp1 = data, .cdw11 = NVME_DSM_AD};

	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&host.write_error, errors[i]);
		atomic_store(&host.sync_error, errors[i]);
		atomic_store(&host.fallocate_error, errors[i]);
		for (unsigned again = 0; again < 20; again++) {
			assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), NVME_CAPACITY_EXCEEDED);
			assert_int_equal(drv_rw(d, NVME_IO_WRITE_ZEROES, 0, 8, data, 0, 0),
					 NVME_CAPACITY_EXCEEDED);
		}
		assert_int_equal(drv_command(d, 1, flush, NULL), NVME_CAPACITY_EXCEEDED);
		*range = (struct nvme_dsm_range){.blocks = 8};
		assert_int_equal(drv_command(d, 1, discard, NULL), NVME_CAPACITY_EXCEEDED);
		assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), 0);
		assert_int_equal(d->logs, 1);
	}
	assert_int_equal(NVME_CAPACITY_EXCEEDED & 0x7ff, 0x81);
	memset(&host, 0, sizeof(host));
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	drv_free(d);
}

/* The disk stands still: polls return, a reset is not ready before the disk is, nothing old lands in memory.
 */
static void reset_waits_for_a_slow_disk(void **state)
{
	for (unsigned flr = 0; flr < 2; flr++) {
		struct drv *d = fresh();
		uint64_t data = drv_alloc(d, 4096);
		uint8_t *bytes = drv_at(d, data);

		memset(bytes, 0xa5, 4096);
		atomic_store(&host.held, true);
		for (unsigned i = 0; i < 12; i++)
			drv_submit(d, 1,
				   (struct nvme_sqe){
					   .opcode = NVME_IO_READ, .nsid = 1, .prp1 = data, .cdw12 = 7});
		drv_settle(d);
		if (flr)
			nvme_reset(d->nvme);
		else
			drv_write32(d, NVME_REG_CC, 0);
		drv_settle(d);
		assert_int_equal(drv_read32(d, NVME_REG_CSTS), flr ? 0 : NVME_CSTS_RDY);
		drv_config_write16(d, 4, 6);
		drv_write32(d, NVME_REG_AQA, 15 << 16 | 15);
		drv_write32(d, NVME_REG_CC, 4u << 20 | 6u << 16 | NVME_CC_EN);
		drv_settle(d);
		if (flr)
			assert_int_equal(drv_read32(d, NVME_REG_CSTS), 0);
		atomic_store(&host.held, false);
		drv_settle(d);
		for (unsigned i = 0; i < 4096; i++)
			assert_int_equal(bytes[i], 0xa5);
		drv_write32(d, NVME_REG_CC, 0);
		assert_true(drv_poll_until(d, NVME_CSTS_RDY, 0));
		assert_true(drv_enable(d, 16, 16));
		drv_free(d);
	}
}

static unsigned aborted_status(struct drv *d, unsigned count, unsigned victim)
{
	uint16_t first = d->cid + 1, cid = (uint16_t)(first + victim);
	struct nvme_cqe cqe;
	unsigned status = 0xffff;

	atomic_store(&host.held, true);
	for (unsigned i = 0; i < count; i++)
		drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	drv_settle(d);
	drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT, .cdw10 = (uint32_t)cid << 16 | 1});
	drv_settle(d);
	atomic_store(&host.held, false);
	for (unsigned i = 0; i < count; i++) {
		assert_true(drv_wait(d, 1, &cqe));
		if (cqe.cid == cid)
			status = cqe.status >> 1;
	}
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.result, status == NVME_ABORT_REQUESTED ? 0 : 1);
	return status;
}

static void abort_behind_a_slow_disk(void **state)
{
	struct drv *d = fresh();

	assert_int_equal(aborted_status(d, 10, 9), NVME_ABORT_REQUESTED); /* waits for a worker */
	assert_int_equal(aborted_status(d, 10, 0), 0);			  /* a worker has it */
	drv_free(d);
}

static void abort_limit(void **state)
{
	struct drv *d = fresh();
	struct nvme_cqe cqe;
	uint16_t first = d->cid + 1;
	unsigned refused = 0;

	atomic_store(&host.held, true);
	for (unsigned i = 0; i < 6; i++)
		drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	drv_settle(d);
	/* workers hold the first four; those cannot be called back and keep their Aborts */
	for (unsigned i = 0; i < 4; i++)
		drv_submit(d, 0,
			   (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT,
					     .cdw10 = (uint32_t)(first + i) << 16 | 1});
	drv_submit(d, 0,
		   (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT, .cdw10 = (uint32_t)(first + 5) << 16 | 1});
	drv_settle(d);
	atomic_store(&host.held, false);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(drv_wait(d, 0, &cqe));
		refused += cqe.status >> 1 == NVME_ABORT_LIMIT_EXCEEDED;
	}
	assert_int_equal(refused, 1);
	drv_free(d);
}

static void take_bus_master(void *arg)
{
	drv_config_write16(arg, 4, 2);
}

/* A Flush at the disk, and an admin command that waits for it, when its completion cannot be written. */
static void completes_behind_a_held_completion(uint8_t admin_opcode)
{
	struct drv *d = fresh();
	struct nvme_cqe cqe;
	uint16_t cid;

	atomic_store(&host.held, true);
	cid = drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	drv_settle(d);
	drv_submit(d, 0,
		   (struct nvme_sqe){.opcode = admin_opcode,
				     .cdw10 =
					     admin_opcode == NVME_ADMIN_ABORT ? (uint32_t)cid << 16 | 1 : 1});
	drv_settle(d);
	d->memory.hook = take_bus_master;
	d->memory.hook_arg = d;
	d->memory.hook_at = d->memory.accesses + 1;
	atomic_store(&host.held, false);
	drv_settle(d);
	assert_false(drv_take(d, 1, &cqe));
	drv_config_write16(d, 4, 6);
	assert_true(drv_wait(d, 1, &cqe));
	assert_int_equal(cqe.cid, cid);
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.cid, d->cid);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_GET_FEATURES, .cdw10 = 7}), 0);
	drv_free(d);
}

static void deletion_behind_a_held_completion(void **state)
{
	completes_behind_a_held_completion(NVME_ADMIN_DELETE_SQ);
}

static void abort_behind_a_held_completion(void **state)
{
	completes_behind_a_held_completion(NVME_ADMIN_ABORT);
}

static void destroy_with_work_in_flight(void **state)
{
	struct drv *d = fresh();

	for (unsigned i = 0; i < 30; i++)
		drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	nvme_poll(d->nvme, 30);
	drv_free(d);
}

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

/* As on a file system that cannot do it. */
static void spoil_fallocate(struct io_uring *ring)
{
	for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[i & *ring->sq.kring_mask];

		if (sqe->opcode == IORING_OP_FALLOCATE)
			sqe->len = 0x4000; /* a mode that there is not */
	}
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
	host.submits++;
	if (atomic_load(&host.fallocate_error))
		spoil_fallocate(ring);
	return atomic_load(&host.ring_refuses) ? -EAGAIN : __real_io_uring_submit(ring);
}

/* What the kernel has not taken will never make the completion fd readable. */
static void no_sleep_over_a_full_ring(void **state)
{
	struct drv *d;
	struct nvme_cqe cqe;

	drv_engine = DISK_ENGINE_URING;
	d = fresh();
	drv_engine = DISK_ENGINE_THREADS;
	drv_settle(d);
	assert_true(nvme_arm(d->nvme));
	atomic_store(&host.ring_refuses, true);
	drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	nvme_poll(d->nvme, 64);
	assert_false(nvme_arm(d->nvme));
	atomic_store(&host.ring_refuses, false);
	assert_true(drv_wait(d, 1, &cqe));
	drv_free(d);
}

/* However long the range: the work thread has other things to do between two of its pieces. */
static void zeroes_are_written_in_small_steps(void **state)
{
	struct nvme_sqe zeroes = {.opcode = NVME_IO_WRITE_ZEROES, .nsid = 1, .cdw12 = DRV_BLOCKS - 1};
	unsigned steps = 0, most = 0;
	struct nvme_cqe cqe;
	struct drv *d;

	drv_engine = DISK_ENGINE_URING;
	d = fresh();
	drv_engine = DISK_ENGINE_THREADS;
	drv_settle(d);
	atomic_store(&host.fallocate_error, EOPNOTSUPP);
	drv_submit(d, 1, zeroes);
	for (unsigned i = 0; i < 100000 && !drv_take(d, 1, &cqe); i++) {
		unsigned before = host.submits;

		if (!nvme_poll(d->nvme, 64))
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
		steps += host.submits - before;
		most = host.submits - before > most ? host.submits - before : most;
	}
	assert_int_equal(cqe.status >> 1, 0);
	assert_true(steps >= DRV_BLOCKS * 512 / 65536);
	assert_true(most <= 2);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_lost_at_flush),
		cmocka_unit_test(write_cache_off),
		cmocka_unit_test(shutdown_flushes),
		cmocka_unit_test(zeroes_without_help_of_the_filesystem),
		cmocka_unit_test(short_transfers),
		cmocka_unit_test(errors_of_the_disk),
		cmocka_unit_test(full_file_system),
		cmocka_unit_test(reset_waits_for_a_slow_disk),
		cmocka_unit_test(abort_behind_a_slow_disk),
		cmocka_unit_test(abort_limit),
		cmocka_unit_test(deletion_behind_a_held_completion),
		cmocka_unit_test(abort_behind_a_held_completion),
		cmocka_unit_test(no_sleep_over_a_full_ring),
		cmocka_unit_test(zeroes_are_written_in_small_steps),
		cmocka_unit_test(destroy_with_work_in_flight),
	};

	drv_engine = DISK_ENGINE_THREADS;
	return cmocka_run_group_tests_name("durability", tests, NULL, NULL);
}
