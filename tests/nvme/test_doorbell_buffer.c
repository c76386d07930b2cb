/* SPDX-License-Identifier: BSD-3-Clause */
/* Shadow doorbells: no register writes while polled, one after the controller went to sleep. */
#include "driver.h"

#include <pthread.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

static const struct nvme_sqe flush = {.opcode = NVME_IO_FLUSH, .nsid = 1};

static struct drv *shadowed(uint32_t size)
{
	struct drv *d = drv_new(NULL);

	assert_true(drv_enable(d, 32, 32));
	drv_msix_on(d);
	assert_int_equal(drv_create_cq(d, 1, size, 1), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, size), 0);
	drv_dbbuf_on(d);
	d->rings = 0;
	return d;
}

static void no_rings_while_polled(void **state)
{
	static const uint32_t sizes[] = {2, 3, 4, 64, 1024};

	for (unsigned s = 0; s < 5; s++) {
		struct drv *d = shadowed(sizes[s]);

		for (unsigned i = 0; i < 3000; i++)
			assert_int_equal(drv_command(d, 1, flush, NULL), 0);
		assert_int_equal(d->rings, 0);
		drv_free(d);
	}
}

static void half_full_queues_while_polled(void **state)
{
	struct drv *d = shadowed(16);
	struct nvme_cqe cqe;

	for (unsigned round = 0; round < 300; round++) {
		unsigned count = 1 + round % 8;

		for (unsigned i = 0; i < count; i++)
			drv_submit(d, 1, flush);
		for (unsigned i = 0; i < count; i++)
			assert_true(drv_wait(d, 1, &cqe));
	}
	assert_int_equal(d->rings, 0);
	drv_free(d);
}

static void full_queues_ring_once_per_turn(void **state)
{
	struct drv *d = shadowed(16);
	struct nvme_cqe cqe;

	for (unsigned round = 0; round < 160; round++) {
		for (unsigned i = 0; i < 15; i++)
			drv_submit(d, 1, flush);
		for (unsigned i = 0; i < 15; i++)
			assert_true(drv_wait(d, 1, &cqe));
	}
	assert_true(d->rings <= 2 * 160); /* tail and head */
	drv_free(d);
}

static void ring_after_arm(void **state)
{
	struct drv *d = shadowed(8);
	struct nvme_cqe cqe;

	for (unsigned i = 0; i < 40; i++) {
		unsigned kicks;

		drv_finish(d);
		assert_true(nvme_arm(d->nvme));
		kicks = d->kicks;
		d->rings = 0;
		drv_submit(d, 1, flush);
		assert_int_equal(d->rings, 1);
		assert_true(d->kicks > kicks);
		assert_true(drv_wait(d, 1, &cqe));
		/* polled again: no more */
		assert_int_equal(drv_command(d, 1, flush, NULL), 0);
		assert_int_equal(d->rings, 1);
	}
	drv_free(d);
}

static void arm_sees_what_came_before(void **state)
{
	struct drv *d = shadowed(8);

	drv_finish(d);
	drv_submit(d, 1, flush);
	assert_int_equal(d->rings, 0);
	assert_false(nvme_arm(d->nvme));
	drv_finish(d);
	drv_free(d);
}

static void full_completion_queue_is_rung_for(void **state)
{
	struct drv *d = drv_new(NULL);
	struct nvme_cqe cqe;

	assert_true(drv_enable(d, 32, 32));
	drv_msix_on(d);
	assert_int_equal(drv_create_cq(d, 1, 4, 1), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 32), 0);
	drv_dbbuf_on(d);
	for (unsigned i = 0; i < 20; i++)
		drv_submit(d, 1, flush);
	drv_finish(d);
	assert_true(nvme_arm(d->nvme));
	d->rings = 0;
	assert_true(drv_take(d, 1, &cqe));
	assert_int_equal(d->rings, 1);
	for (unsigned i = 1; i < 20; i++)
		assert_true(drv_wait(d, 1, &cqe));
	drv_free(d);
}

static void intx_falls(void **state)
{
	struct drv *d = drv_ready();
	struct nvme_cqe cqe;

	drv_dbbuf_on(d);
	drv_submit(d, 1, flush);
	drv_finish(d);
	assert_true(d->intx);
	assert_true(drv_take(d, 1, &cqe));
	drv_finish(d);
	assert_false(d->intx);
	/* and while asleep the move of the head is rung for */
	drv_submit(d, 1, flush);
	drv_finish(d);
	assert_true(nvme_arm(d->nvme));
	d->rings = 0;
	assert_true(drv_take(d, 1, &cqe));
	assert_int_equal(d->rings, 1);
	drv_finish(d);
	assert_false(d->intx);
	drv_free(d);
}

/* The driver's rule, for a head that moved from `old` and EventIdx as it is now. */
static bool would_ring(struct drv *d, unsigned old)
{
	const uint32_t *shadow = drv_at(d, d->shadow), *event = drv_at(d, d->event);

	return (uint16_t)(shadow[3] - event[3] - 1) < (uint16_t)(shadow[3] - old);
}

/*
 * A guest that does not ring leaves the pin of QEMU up, and gets the interrupt
 * again and again. It stores its head, the controller does what it likes, and
 * then it looks at EventIdx.
 */
static void intx_is_rung_for_however_it_races(void **state)
{
	struct drv *d = drv_ready();
	uint32_t *shadow;

	drv_dbbuf_on(d);
	shadow = drv_at(d, d->shadow);
	for (unsigned head = 0; head < 3 * 64; head++) {
		drv_submit(d, 1, flush);
		drv_finish(d);
		assert_true(d->intx);
		shadow[3] = (head + 1) % 64;
		if (head % 3 == 1)
			nvme_arm(d->nvme);
		if (head % 5 < 3)
			drv_finish(d); /* and completions of others */
		if (head % 7 == 2)
			drv_submit(d, 1, flush);
		if (head % 64 != 63)
			assert_true(would_ring(d, head % 64));
		drv_write32(d, NVME_REG_DOORBELLS + 12, shadow[3]);
		drv_finish(d);
		if (head % 7 == 2) {
			assert_true(d->intx);
			head++;
			shadow[3] = (head + 1) % 64;
			if (head % 64 != 63)
				assert_true(would_ring(d, head % 64));
			drv_write32(d, NVME_REG_DOORBELLS + 12, shadow[3]);
			drv_finish(d);
		}
		assert_false(d->intx);
	}
	drv_free(d);
}

static struct {
	struct drv *d;
	unsigned head;
} mover;

/* Before the controller stores EventIdx the guest has moved on, and saw the old one. */
static void move_on(void *arg)
{
	uint32_t *shadow = drv_at(mover.d, mover.d->shadow);

	shadow[3] = mover.head;
}

static void intx_sees_the_move_that_was_not_rung_for(void **state)
{
	struct drv *d = drv_ready();
	uint32_t *shadow;

	drv_dbbuf_on(d);
	shadow = drv_at(d, d->shadow);
	for (unsigned i = 0; i < 2; i++)
		drv_submit(d, 1, flush);
	drv_finish(d);
	shadow[3] = 1;
	mover.d = d;
	mover.head = 2;
	d->memory.hook = move_on;
	d->memory.hook_at = d->memory.accesses + 2; /* after the shadow was read */
	drv_write32(d, NVME_REG_DOORBELLS + 12, 1);
	nvme_poll(d->nvme, 64);
	drv_finish(d);
	assert_false(d->intx);
	assert_int_equal(((uint32_t *)drv_at(d, d->event))[3], 2);
	drv_free(d);
}

static void msix_comes_and_goes(void **state)
{
	struct drv *d = drv_ready();
	struct nvme_cqe cqe;

	drv_dbbuf_on(d);
	drv_msix_on(d);
	assert_int_equal(drv_command(d, 1, flush, NULL), 0);
	drv_finish(d);
	drv_config_write16(d, 0x52, 0);
	drv_finish(d);
	d->rings = 0;
	drv_submit(d, 1, flush);
	drv_finish(d);
	assert_true(d->intx);
	assert_true(drv_take(d, 1, &cqe));
	assert_true(d->rings >= 1);
	drv_finish(d);
	assert_false(d->intx);
	drv_free(d);
}

static void bad_shadow_values(void **state)
{
	struct drv *d = shadowed(16);
	uint32_t *shadow = drv_at(d, d->shadow);
	struct nvme_cqe cqe;

	drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
	shadow[2] = 16;
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.result, 0x010100);
	drv_finish(d); /* reported once, then idle */
	assert_int_equal(nvme_poll(d->nvme, 64), 0);
	shadow[2] = d->queue[1].tail;
	assert_int_equal(drv_command(d, 1, flush, NULL), 0);
	drv_free(d);
}

/* ------------------------------------------------------------- the admin queue */

static const struct nvme_sqe unknown = {.opcode = 0xfe}; /* answered at once */

static struct drv *admin_shadowed(bool zeroed)
{
	struct drv *d = drv_ready();
	uint32_t *shadow;

	drv_dbbuf_on(d);
	d->shadows_admin = true;
	shadow = drv_at(d, d->shadow);
	if (!zeroed) { /* as the driver's queue is, from the next command on */
		shadow[0] = d->queue[0].tail;
		shadow[1] = d->queue[0].head;
	}
	return d;
}

static void admin_queue_is_shadowed(void **state)
{
	for (unsigned zeroed = 0; zeroed < 2; zeroed++) {
		struct drv *d = admin_shadowed(zeroed);
		struct nvme_cqe cqe;

		for (unsigned i = 0; i < 200; i++) {
			unsigned count = 1 + i % 7;

			for (unsigned k = 0; k < count; k++)
				drv_submit(d, 0, unknown);
			for (unsigned k = 0; k < count; k++)
				assert_true(drv_wait(d, 0, &cqe));
			if (i % 3 == 0)
				drv_finish(d);
			if (i % 5 == 0)
				nvme_arm(d->nvme);
		}
		drv_free(d);
	}
}

/* Between the look at the shadow and the store of EventIdx; the driver saw the old one and does not ring. */
static void submit_unrung(void *arg)
{
	uint32_t *shadow = drv_at(mover.d, mover.d->shadow);

	drv_put(mover.d, 0, unknown);
	shadow[0] = mover.d->queue[0].tail;
}

static void admin_queue_sees_what_was_not_rung_for(void **state)
{
	struct drv *d = admin_shadowed(false);
	struct nvme_cqe cqe;

	assert_int_equal(drv_command(d, 0, unknown, NULL), NVME_INVALID_OPCODE);
	mover.d = d;
	d->memory.hook = submit_unrung;
	drv_submit(d, 0, unknown);
	d->memory.hook_at = d->memory.accesses + 2;
	assert_true(drv_wait(d, 0, &cqe));
	assert_true(drv_wait(d, 0, &cqe));
	drv_free(d);
}

/* A register write that arrives after a later shadow was read would move the tail backwards. */
static void admin_queue_late_rings_say_nothing(void **state)
{
	struct drv *d = admin_shadowed(false);
	unsigned old;
	struct nvme_cqe cqe;

	assert_int_equal(drv_command(d, 0, unknown, NULL), NVME_INVALID_OPCODE);
	old = d->queue[0].tail;
	drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT}); /* would tell of a bad value */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(drv_command(d, 0, unknown, NULL), NVME_INVALID_OPCODE);
	drv_write32(d, NVME_REG_DOORBELLS, old);
	drv_write32(d, NVME_REG_DOORBELLS + 4, old - 1);
	drv_finish(d);
	assert_false(drv_take(d, 0, &cqe));
	assert_int_equal(d->nvme->sq[0].tail, d->queue[0].tail);
	assert_int_equal(d->nvme->cq[0].head, d->queue[0].head);
	assert_int_equal(drv_command(d, 0, unknown, NULL), NVME_INVALID_OPCODE);
	drv_free(d);
}

/* A register write that arrives after the shadow was read says something old. */
static void late_rings_say_nothing(void **state)
{
	struct drv *d = drv_ready(); /* with INTx heads are looked at each time */
	struct nvme_cqe cqe;

	drv_dbbuf_on(d);
	drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(drv_command(d, 1, flush, NULL), 0);
	drv_finish(d);
	drv_write32(d, NVME_REG_DOORBELLS + 8, 2);
	drv_write32(d, NVME_REG_DOORBELLS + 12, 3);
	drv_finish(d);
	assert_false(drv_take(d, 1, &cqe));
	assert_false(drv_take(d, 0, &cqe));
	assert_int_equal(d->nvme->sq[1].head, 5);
	assert_int_equal(drv_command(d, 1, flush, NULL), 0);
	drv_free(d);
}

static void bad_pages(void **state)
{
	struct drv *d = drv_ready();
	uint64_t page = drv_alloc(d, 8192);
	struct nvme_sqe sqe = {.opcode = NVME_ADMIN_DOORBELL_BUFFER, .prp1 = page + 8, .prp2 = page + 4096};

	assert_int_equal(drv_admin(d, sqe), NVME_INVALID_FIELD);
	sqe.prp1 = page;
	fake_refuse(&d->memory, page, 4096, true, false);
	drv_submit(d, 0, sqe);
	assert_true(drv_poll_until(d, NVME_CSTS_CFS, NVME_CSTS_CFS));
	d->memory.refusal_count = 0;
	assert_true(drv_disable(d));
	drv_free(d);
}

/* Guest and controller race for the sleep; a lost wake-up would hang. */
struct worker {
	struct drv *d;
	atomic_bool stop;
	atomic_uint sleeps;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&w->stop)) {
		unsigned kicks = atomic_load(&w->d->kicks);

		if (nvme_poll(w->d->nvme, 16) || !nvme_arm(w->d->nvme))
			continue;
		atomic_fetch_add(&w->sleeps, 1);
		/* asleep until kicked, or (a disk) for a moment only when something is there */
		while (atomic_load(&w->d->kicks) == kicks && !atomic_load(&w->stop)) {
			struct timeval none = {0, 100};
			fd_set set;
			int fd = nvme_completion_fd(w->d->nvme);

			FD_ZERO(&set);
			FD_SET(fd, &set);
			if (select(fd + 1, &set, NULL, NULL, &none) > 0)
				break;
		}
	}
	return NULL;
}

static bool wait_other_thread(struct drv *d, struct nvme_cqe *ret_cqe)
{
	for (unsigned i = 0; i < 200000; i++) {
		if (drv_take(d, 1, ret_cqe))
			return true;
		if (i > 100)
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	return false;
}

static void no_lost_wake_up(void **state)
{
	struct drv *d = shadowed(32);
	struct worker w = {.d = d};
	struct nvme_cqe cqe;
	pthread_t thread;
	unsigned burst = 1;

	assert_int_equal(pthread_create(&thread, NULL, work, &w), 0);
	for (unsigned i = 0; i < 1500; i++) {
		burst = (burst * 7 + 3) % 13 + 1;
		for (unsigned k = 0; k < burst; k++)
			drv_submit(d, 1,
				   (struct nvme_sqe){.opcode = k % 2 ? NVME_IO_FLUSH : 0xff, .nsid = 1});
		for (unsigned k = 0; k < burst; k++)
			assert_true(wait_other_thread(d, &cqe));
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	print_message("%u sleeps, %u rings\n", w.sleeps, d->rings);
	drv_free(d);
}

/* Registers from one thread, work in the other, resets in between. */
static void resets_against_the_work_thread(void **state)
{
	struct drv *d = drv_new(NULL);
	struct worker w = {.d = d};
	uint64_t start = d->next;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work, &w), 0);
	for (unsigned i = 0; i < 100; i++) {
		unsigned tries = 0;

		d->next = start + i % 64 * 65536;
		drv_config_write16(d, 4, 6);
		d->queue[0] = (struct drv_queue){.sq = drv_alloc(d, 4096),
						 .cq = drv_alloc(d, 4096),
						 .sq_size = 16,
						 .cq_size = 16,
						 .phase = 1};
		drv_write32(d, NVME_REG_AQA, 15 << 16 | 15);
		assert_int_equal(nvme_bar_write(d->nvme, 0, NVME_REG_ASQ, &d->queue[0].sq, 8), 0);
		assert_int_equal(nvme_bar_write(d->nvme, 0, NVME_REG_ACQ, &d->queue[0].cq, 8), 0);
		drv_write32(d, NVME_REG_CC, 4u << 20 | 6u << 16 | NVME_CC_EN);
		while (!(drv_read32(d, NVME_REG_CSTS) & NVME_CSTS_RDY) && tries++ < 50000)
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
		assert_true(tries < 50000);
		for (unsigned k = 0; k < 10; k++)
			drv_put(d, 0, (struct nvme_sqe){.opcode = 0xff});
		drv_ring(d, 0);
		if (i % 2) {
			nvme_reset(d->nvme);
			continue;
		}
		drv_write32(d, NVME_REG_CC, 0);
		for (tries = 0; (drv_read32(d, NVME_REG_CSTS) & NVME_CSTS_RDY) && tries < 50000; tries++)
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
		assert_true(tries < 50000);
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_rings_while_polled),
		cmocka_unit_test(half_full_queues_while_polled),
		cmocka_unit_test(full_queues_ring_once_per_turn),
		cmocka_unit_test(ring_after_arm),
		cmocka_unit_test(arm_sees_what_came_before),
		cmocka_unit_test(full_completion_queue_is_rung_for),
		cmocka_unit_test(intx_falls),
		cmocka_unit_test(intx_is_rung_for_however_it_races),
		cmocka_unit_test(intx_sees_the_move_that_was_not_rung_for),
		cmocka_unit_test(msix_comes_and_goes),
		cmocka_unit_test(bad_shadow_values),
		cmocka_unit_test(late_rings_say_nothing),
		cmocka_unit_test(admin_queue_is_shadowed),
		cmocka_unit_test(admin_queue_sees_what_was_not_rung_for),
		cmocka_unit_test(admin_queue_late_rings_say_nothing),
		cmocka_unit_test(bad_pages),
		cmocka_unit_test(no_lost_wake_up),
		cmocka_unit_test(resets_against_the_work_thread),
	};
	int failed = cmocka_run_group_tests_name("doorbell buffer (io_uring)", tests, NULL, NULL);

	drv_engine = DISK_ENGINE_THREADS;
	return failed + cmocka_run_group_tests_name("doorbell buffer (threads)", tests, NULL, NULL);
}
