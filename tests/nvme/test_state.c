/* SPDX-License-Identifier: BSD-3-Clause */
/* A controller that goes on in another one, between any two steps of its driver. */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAX (64u << 10)

static uint64_t state[STATE_MAX / 8];

static void move(struct drv *d)
{
	size_t length = drv_save(d, state, sizeof(state));

	drv_another(d, NULL);
	assert_int_equal(nvme_restore(d->nvme, state, length), 0);
}

/* ------------------------------------------------------------- the driver's steps */

struct journey {
	struct drv *d;
	uint64_t out, back;
	uint16_t event_cid, cid[4];
	unsigned interrupts;
};

static void turn_on(struct journey *j)
{
	assert_true(drv_enable(j->d, 32, 32));
}

static void use_msix(struct journey *j)
{
	drv_msix_on(j->d);
}

static void wait_for_events(struct journey *j)
{
	j->event_cid = drv_submit(j->d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
	drv_settle(j->d);
}

static void set_features(struct journey *j)
{
	assert_int_equal(drv_admin(j->d, (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES,
							   .cdw10 = NVME_FEATURE_TEMPERATURE,
							   .cdw11 = 350}),
			 0);
	assert_int_equal(drv_admin(j->d, (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES,
							   .cdw10 = NVME_FEATURE_VECTOR,
							   .cdw11 = 1u << 16 | 3}),
			 0);
}

static void make_queues(struct journey *j)
{
	assert_int_equal(drv_create_cq(j->d, 2, 7, 5), 0);
	assert_int_equal(drv_create_sq(j->d, 2, 2, 6), 0);
	assert_int_equal(drv_create_cq(j->d, 1, 4, 1), 0);
	assert_int_equal(drv_create_sq(j->d, 1, 1, 4), 0);
}

static void shadow_doorbells(struct journey *j)
{
	drv_dbbuf_on(j->d);
}

static struct nvme_sqe transfer(uint8_t opcode, uint64_t at, unsigned lba)
{
	return (struct nvme_sqe){.opcode = opcode, .nsid = 1, .prp1 = at, .cdw10 = lba, .cdw12 = 7};
}

/* More than the queue's turn, so that heads, tails and phases have wrapped. */
static void write_much(struct journey *j)
{
	for (unsigned i = 0; i < 11; i++) {
		memset(drv_at(j->d, j->out), (int)(0x30 + i), 4096);
		assert_int_equal(drv_command(j->d, 2, transfer(NVME_IO_WRITE, j->out, 8 * i), NULL), 0);
	}
}

/* Rung, and nobody has looked. */
static void leave_rung(struct journey *j)
{
	for (unsigned i = 0; i < 2; i++)
		j->cid[i] = drv_submit(j->d, 1, transfer(NVME_IO_READ, j->back + 4096 * i, 8 * (3 + i)));
}

static void take_rung(struct journey *j)
{
	struct nvme_cqe e;

	for (unsigned i = 0; i < 2; i++) {
		assert_true(drv_wait(j->d, 1, &e));
		assert_true(e.cid == j->cid[0] || e.cid == j->cid[1]);
		assert_int_equal(e.status >> 1, 0);
	}
	for (unsigned i = 0; i < 4096; i++) {
		assert_int_equal(((uint8_t *)drv_at(j->d, j->back))[i], 0x33);
		assert_int_equal(((uint8_t *)drv_at(j->d, j->back))[4096 + i], 0x34);
	}
}

/* Fetched and at the disk, or waiting there. */
static void leave_under_way(struct journey *j)
{
	leave_rung(j);
	nvme_poll(j->d->nvme, 1);
}

static void do_wrong(struct journey *j)
{
	assert_int_equal(drv_command(j->d, 2, transfer(NVME_IO_READ, j->back, DRV_BLOCKS), NULL),
			 NVME_LBA_OUT_OF_RANGE);
	drv_write32(j->d, NVME_REG_DOORBELLS + 8, 60000); /* an event: no such tail */
	drv_settle(j->d);
}

static void take_event(struct journey *j)
{
	struct nvme_cqe e;

	assert_true(drv_wait(j->d, 0, &e));
	assert_int_equal(e.cid, j->event_cid);
	assert_int_equal(e.result & 7, NVME_EVENT_ERROR);
}

static void read_logs(struct journey *j)
{
	struct nvme_error_entry log[2];
	uint32_t value = 0;

	assert_int_equal(drv_admin(j->d, (struct nvme_sqe){.opcode = NVME_ADMIN_GET_LOG_PAGE,
							   .nsid = NVME_NSID_ALL,
							   .prp1 = j->back,
							   .cdw10 = 31u << 16 | NVME_LOG_ERROR}),
			 0);
	memcpy(log, drv_at(j->d, j->back), sizeof(log));
	assert_int_equal(log[0].count, 1);
	assert_int_equal(log[0].lba, DRV_BLOCKS);
	assert_int_equal(log[1].count, 0);
	assert_int_equal(drv_command(j->d, 0,
				     (struct nvme_sqe){.opcode = NVME_ADMIN_GET_FEATURES,
						       .cdw10 = NVME_FEATURE_TEMPERATURE},
				     &value),
			 0);
	assert_int_equal(value, 350);
	assert_int_equal(drv_command(j->d, 0,
				     (struct nvme_sqe){.opcode = NVME_ADMIN_GET_FEATURES,
						       .cdw10 = NVME_FEATURE_VECTOR,
						       .cdw11 = 3},
				     &value),
			 0);
	assert_int_equal(value, 1u << 16 | 3);
}

/* Completed, and cannot be told while the guest keeps the bus. */
static void leave_unposted(struct journey *j)
{
	j->cid[2] = drv_submit(j->d, 1, transfer(NVME_IO_FLUSH, 0, 0));
	nvme_poll(j->d->nvme, 1);
	for (unsigned i = 0; i < 50000 && j->d->nvme->disk_in_flight; i++)
		nvme_poll(j->d->nvme, 1);
}

static void take_unposted(struct journey *j)
{
	struct nvme_cqe e;

	assert_true(drv_wait(j->d, 1, &e));
	assert_int_equal(e.cid, j->cid[2]);
	assert_int_equal(e.status >> 1, 0);
}

static void count_interrupts(struct journey *j)
{
	drv_settle(j->d);
	/* One for each completion at least, but for those that came together. */
	assert_true(j->d->msix[5] >= 11);
	assert_true(j->d->msix[1] >= 1);
	assert_int_equal(j->d->intx_changes % 2, 0);
}

static void shut_down(struct journey *j)
{
	drv_write32(j->d, NVME_REG_CC, drv_read32(j->d, NVME_REG_CC) | 1u << 14);
}

static void wait_for_the_end(struct journey *j)
{
	assert_true(drv_poll_until(j->d, NVME_CSTS_SHST, NVME_CSTS_SHST_END));
	assert_true(drv_disable(j->d));
}

static void (*const steps[])(struct journey *j) = {
	turn_on,	  use_msix,	    wait_for_events, set_features,    make_queues,   write_much,
	shadow_doorbells, leave_rung,	    take_rung,	     leave_under_way, take_rung,     do_wrong,
	take_event,	  read_logs,	    write_much,	     leave_unposted,  take_unposted, count_interrupts,
	shut_down,	  wait_for_the_end, turn_on,	     make_queues,
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* `at`: after this step the controller moves; STEPS: after each. */
static void travel(size_t at)
{
	struct journey j = {.d = drv_new(NULL)};

	j.out = drv_alloc(j.d, 4096);
	j.back = drv_alloc(j.d, 8192);
	for (size_t i = 0; i < STEPS; i++) {
		if (i + 1 == STEPS)
			j.d->shadow = 0; /* switched off by the reset */
		steps[i](&j);
		if (i == at || at == STEPS)
			move(j.d);
	}
	assert_int_equal(j.d->memory.strays, 0);
	drv_free(j.d);
}

static void between_any_two_steps(void **test)
{
	for (size_t at = 0; at < STEPS; at++)
		travel(at);
}

static void after_each_step(void **test)
{
	travel(STEPS);
}

/* ------------------------------------------------------------------ single cases */

static void take_the_bus_away(void *arg)
{
	drv_config_write16(arg, 4, 2);
}

/* With bus mastering off a completion waits; it is posted by the controller that took over. */
static void completions_that_cannot_be_posted(void **test)
{
	struct drv *d = drv_ready();
	uint16_t cid = drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	struct nvme_cqe e;

	/* The command is fetched, then the completion is stored in two halves. */
	d->memory.hook_at = d->memory.accesses + 2;
	d->memory.hook = take_the_bus_away;
	d->memory.hook_arg = d;
	drv_settle(d);
	assert_non_null(d->nvme->unposted);
	move(d);
	drv_settle(d);
	assert_false(drv_take(d, 1, &e));
	drv_config_write16(d, 4, 6);
	assert_true(drv_wait(d, 1, &e));
	assert_int_equal(e.cid, cid);
	drv_free(d);
}

static void intx_stays_up(void **test)
{
	struct drv *d = drv_ready();
	struct nvme_cqe e;

	d->hold_head = true;
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1}, NULL), 0);
	drv_settle(d);
	assert_true(d->intx);
	move(d);
	drv_settle(d);
	assert_true(d->intx);
	d->hold_head = false;
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1}, NULL), 0);
	drv_write32(d, NVME_REG_DOORBELLS + 4, d->queue[0].head);
	drv_settle(d);
	assert_false(d->intx);
	assert_false(drv_take(d, 1, &e));
	drv_free(d);
}

static void held_means_held(void **test)
{
	struct drv *d = drv_ready();
	struct nvme_cqe e;
	uint64_t accesses;

	nvme_hold(d->nvme, true);
	drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	accesses = d->memory.accesses;
	drv_settle(d);
	assert_int_equal(d->memory.accesses, accesses);
	assert_true(nvme_save(d->nvme, NULL, 0) > 0);
	nvme_hold(d->nvme, false);
	assert_true(drv_wait(d, 1, &e));
	drv_free(d);
}

static void another_controller_refuses(void **test)
{
	static const struct nvme_options others[] = {
		{.io_queues = DRV_QUEUES + 1},
		{.io_queues = DRV_QUEUES, .read_only = true},
		{.io_queues = DRV_QUEUES, .rogue = true},
		{.io_queues = DRV_QUEUES, .no_dbbuf = true},
	};
	struct drv *d = drv_ready();
	size_t length = drv_save(d, state, sizeof(state));

	assert_int_equal(nvme_save(d->nvme, state, length - 1), -ENOSPC);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		drv_another(d, &others[i]);
		assert_int_equal(nvme_restore(d->nvme, state, length), -ENOTSUP);
		assert_int_equal(drv_read32(d, NVME_REG_CSTS), 0);
	}
	drv_another(d, NULL);
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(nvme_restore(d->nvme, state, cut), -EBADMSG);
	state[1]++;
	assert_int_equal(nvme_restore(d->nvme, state, length), -ENOTSUP);
	state[1]--;
	assert_int_equal(nvme_restore(d->nvme, state, length), 0);
	drv_free(d);
}

/* No queue is there that Set Features does not grant, and none can be taken out of the grant. */
static void check_grants(const struct nvme *n)
{
	const uint32_t granted = n->features[NVME_FEATURE_QUEUES];

	assert_true(granted >> 16 < DRV_QUEUES && (granted & 0xffff) < DRV_QUEUES);
	for (unsigned i = 1; i < NVME_MAX_QUEUES; i++) {
		assert_true(!n->cq[i].exists || (n->queues_created && i <= (granted >> 16) + 1));
		assert_true(!n->sq[i].exists || (n->queues_created && i <= (granted & 0xffff) + 1));
	}
}

/* Where the features are in the state: `mark` is the value of Arbitration, and nowhere else. */
static uint32_t *find_features(size_t length, uint32_t mark)
{
	uint32_t *words = (uint32_t *)state;

	for (size_t i = 0; i < length / 4; i++) {
		if (words[i] == mark)
			return words + i - NVME_FEATURE_ARBITRATION;
	}
	fail_msg("the features are not in the state");
	return NULL;
}

static void forged_features(void **test)
{
	const uint32_t mark = 0x5a6b7c05, most = DRV_QUEUES - 1;
	const struct {
		unsigned slot;
		uint32_t value;
		int result;
	} cases[] = {
		{NVME_FEATURE_QUEUES, most << 16 | most, 0},
		{NVME_FEATURE_QUEUES, 1 << 16 | 1, 0},
		{NVME_FEATURE_QUEUES, 1 << 16, -EBADMSG},
		{NVME_FEATURE_QUEUES, 1, -EBADMSG},
		{NVME_FEATURE_QUEUES, 0, -EBADMSG},
		{NVME_FEATURE_QUEUES, most << 16 | DRV_QUEUES, -EBADMSG},
		{NVME_FEATURE_QUEUES, DRV_QUEUES << 16 | most, -EBADMSG},
		{NVME_FEATURE_QUEUES, UINT32_MAX, -EBADMSG},
		{NVME_FEATURE_ARBITRATION, mark | 8, -EBADMSG},
		{NVME_FEATURE_WRITE_CACHE, 0, 0},
		{NVME_FEATURE_WRITE_CACHE, 2, -EBADMSG},
		{NVME_FEATURE_ASYNC_EVENTS, 0x200, -EBADMSG},
		{NVME_FEATURE_TEMPERATURE, 1, -EBADMSG},
		{0, 1, -EBADMSG},
		{NVME_FEATURE_SLOTS - 1, 1, -EBADMSG},
	};
	struct drv *d = drv_ready();
	size_t length;
	uint32_t *features;

	assert_int_equal(drv_create_cq(d, 2, 8, 2), 0);
	assert_int_equal(drv_create_sq(d, 2, 2, 8), 0);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES,
							.cdw10 = NVME_FEATURE_ARBITRATION,
							.cdw11 = mark}),
			 0);
	length = drv_save(d, state, sizeof(state));
	features = find_features(length, mark);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t was = features[cases[i].slot];

		features[cases[i].slot] = cases[i].value;
		assert_int_equal(nvme_restore(d->nvme, state, length), cases[i].result);
		check_grants(d->nvme);
		features[cases[i].slot] = was;
	}
	for (size_t i = 0; i < 128; i++) {
		uint8_t *byte = (uint8_t *)state + i, was = *byte;

		*byte = 0;
		nvme_restore(d->nvme, state, length);
		check_grants(d->nvme);
		*byte = was;
	}
	assert_int_equal(nvme_restore(d->nvme, state, length), 0);
	drv_free(d);
}

/* Any byte, any bit: refused, or a controller that keeps within its memory and can be reset. */
static void any_bit_flipped(void **test)
{
	struct drv *d = drv_ready();
	static uint64_t good[STATE_MAX / 8];
	uint8_t *bytes = (uint8_t *)state;
	unsigned refused = 0, taken = 0;
	size_t length;

	wait_for_events(&(struct journey){.d = d});
	drv_dbbuf_on(d);
	drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	length = drv_save(d, good, sizeof(good));
	d->shadow = 0;
	for (size_t i = 0; i < 8 * length; i += i < 8 * 512 ? 1 : 13) {
		memcpy(state, good, length);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		if (nvme_restore(d->nvme, state, length)) {
			refused++;
			continue;
		}
		taken++;
		check_grants(d->nvme);
		for (unsigned turns = 0; turns < 8; turns++)
			nvme_poll(d->nvme, 64);
		nvme_arm(d->nvme);
		nvme_reset(d->nvme);
		assert_true(drv_poll_until(d, NVME_CSTS_RDY, 0));
		while (d->nvme->disk_in_flight)
			nvme_poll(d->nvme, 64);
	}
	assert_true(refused > 500 && taken > 500);
	drv_another(d, NULL);
	assert_int_equal(nvme_restore(d->nvme, good, length), 0);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_any_two_steps),
		cmocka_unit_test(after_each_step),
		cmocka_unit_test(completions_that_cannot_be_posted),
		cmocka_unit_test(intx_stays_up),
		cmocka_unit_test(held_means_held),
		cmocka_unit_test(another_controller_refuses),
		cmocka_unit_test(forged_features),
		cmocka_unit_test(any_bit_flipped),
	};

	return cmocka_run_group_tests_name("nvme state", tests, NULL, NULL);
}
