/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th access of a whole session is refused, for every n: nothing hangs,
 * nothing else is touched, nothing leaks, and the guest can start again.
 */
#include "driver.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUARD 65536u

struct session {
	struct drv *d;
	uint64_t data, list, ranges, guard;
};

static bool wait_or_fatal(struct drv *d, unsigned qid, unsigned *ret_status)
{
	struct nvme_cqe cqe;

	if (!drv_wait(d, qid, &cqe)) {
		/* no answer is fine only when the controller said that it is at its end */
		assert_true(drv_read32(d, NVME_REG_CSTS) & NVME_CSTS_CFS);
		return false;
	}
	*ret_status = cqe.status >> 1;
	return true;
}

static bool step(struct drv *d, unsigned qid, struct nvme_sqe sqe)
{
	unsigned status;

	drv_submit(d, qid, sqe);
	if (!wait_or_fatal(d, qid, &status))
		return false;
	assert_true(status == 0 || status == NVME_DATA_TRANSFER_ERROR);
	return true;
}

/* True: to its end without a fatal status. */
static bool run(struct session *s)
{
	struct drv *d = s->d;
	const struct nvme_sqe sequence[] = {
		{.opcode = NVME_IO_WRITE, .nsid = 1, .prp1 = s->data, .prp2 = s->list, .cdw12 = 39},
		{.opcode = NVME_IO_READ, .nsid = 1, .prp1 = s->data + 512, .prp2 = s->list, .cdw12 = 35},
		{.opcode = NVME_IO_COMPARE, .nsid = 1, .prp1 = s->data, .cdw10 = 4096},
		{.opcode = NVME_IO_WRITE_ZEROES, .nsid = 1, .cdw12 = 9},
		{.opcode = NVME_IO_DATASET_MANAGEMENT, .nsid = 1, .prp1 = s->ranges, .cdw10 = 1, .cdw11 = 4},
		{.opcode = NVME_IO_FLUSH, .nsid = 1},
	};

	if (!step(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_IDENTIFY, .prp1 = s->data, .cdw10 = 1}))
		return false;
	memset(drv_at(d, s->data), 0, 4096);
	for (unsigned i = 0; i < sizeof(sequence) / sizeof(sequence[0]); i++) {
		if (!step(d, 1, sequence[i]))
			return false;
	}
	return true;
}

static struct session prepare(bool dbbuf)
{
	struct session s = {.d = drv_ready()};
	uint64_t *entries;
	struct nvme_dsm_range *ranges;

	s.data = drv_alloc(s.d, 8 * 4096);
	s.list = drv_alloc(s.d, 4096);
	s.ranges = drv_alloc(s.d, 4096);
	s.guard = drv_alloc(s.d, GUARD);
	memset(drv_at(s.d, s.guard), 0x77, GUARD);
	entries = drv_at(s.d, s.list);
	for (unsigned i = 0; i < 6; i++)
		entries[i] = s.data + (6 - i) * 4096;
	ranges = drv_at(s.d, s.ranges);
	ranges[0] = (struct nvme_dsm_range){0, 8, 100};
	ranges[1] = (struct nvme_dsm_range){0, 8, 200};
	if (dbbuf)
		drv_dbbuf_on(s.d);
	return s;
}

static void check_afterwards(struct session *s)
{
	struct drv *d = s->d;
	const uint8_t *guard = drv_at(d, s->guard);

	for (unsigned i = 0; i < GUARD; i++)
		assert_int_equal(guard[i], 0x77);
	assert_int_equal(d->memory.strays, 0);
	d->memory.fail_at = 0;
	d->shadow = 0;
	drv_settle(d);
	assert_int_equal(d->nvme->disk_in_flight, 0);
	assert_true(drv_disable(d));
	assert_int_equal(d->nvme->free_count, NVME_COMMANDS);
	for (unsigned i = 0; i < NVME_STAGING_PAGES / 64; i++)
		assert_int_equal(d->nvme->staging_used[i], 0);
	assert_true(drv_enable(d, 16, 16));
	assert_int_equal(drv_create_cq(d, 1, 16, 1), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 16), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 1, s->data, 0, 0), 0);
}

static void sweep(bool dbbuf, bool from)
{
	uint64_t count = 1;
	unsigned fatal = 0, survived = 0;

	for (uint64_t n = 1; n <= count; n++) {
		struct session s = prepare(dbbuf);
		uint64_t before = s.d->memory.accesses;

		s.d->memory.fail_at = before + n;
		s.d->memory.fail_from = from;
		if (run(&s))
			survived++;
		else
			fatal++;
		if (n == count && s.d->memory.accesses >= before + n)
			count++; /* until the failure lies behind the end */
		check_afterwards(&s);
		drv_free(s.d);
		if (count > 20000)
			break;
	}
	print_message("%llu refusals: %u fatal, %u survived\n", (unsigned long long)count, fatal, survived);
	assert_true(count > 20 && fatal > 0 && survived > 0);
}

static void every_single_access(void **state)
{
	sweep(false, false);
}

static void everything_from_one_access_on(void **state)
{
	sweep(false, true);
}

/* A polled controller reads its shadow doorbells all the time; those count too. */
static void with_shadow_doorbells(void **state)
{
	sweep(true, false);
}

static bool is_ring(int fd)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "[io_uring]");
}

/* A ring with restrictions refuses to be changed; one without would let go of its eventfd. */
static void ring_is_restricted(void **state)
{
	struct drv *d = drv_new(NULL);
	unsigned rings = 0;

	for (int fd = 0; fd < 256; fd++) {
		if (!is_ring(fd))
			continue;
		rings++;
		assert_int_equal(syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_EVENTFD, NULL, 0), -1);
		assert_int_equal(errno, EACCES);
	}
	assert_int_equal(rings, 1);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_single_access),
		cmocka_unit_test(everything_from_one_access_on),
		cmocka_unit_test(with_shadow_doorbells),
	};
	const struct CMUnitTest ring_tests[] = {cmocka_unit_test(ring_is_restricted)};
	int failed = cmocka_run_group_tests_name("the ring", ring_tests, NULL, NULL);

	failed += cmocka_run_group_tests_name("refusals (io_uring)", tests, NULL, NULL);

	drv_engine = DISK_ENGINE_THREADS;
	return failed + cmocka_run_group_tests_name("refusals (threads)", tests, NULL, NULL);
}
