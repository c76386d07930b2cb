/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register thread and the work thread side by side: a driver starts, asks, is
 * answered, resets in every way, and starts again, while the device polls and sleeps.
 */
#include "driver.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS	     1500
#define DEADLINE     20 /* seconds; an answer takes some microseconds */
#define SLEEPS_SOUND 2	/* seconds without a kick: more than any step of the driver takes */

struct machine {
	struct drv *d;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint overslept; /* the device slept, and there was something to do */
	unsigned random;
};

/* -------------------------------------------------------------------- work thread */

static void sleep_until_kicked(struct machine *m)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SLEEPS_SOUND;
	if (sem_timedwait(&m->d->kicked, &until) == 0)
		return;
	drv_turn(m->d);
	m->overslept += !m->d->armed;
}

static void *work(void *arg)
{
	struct machine *m = arg;

	while (!m->stop) {
		drv_turn(m->d);
		if (m->d->armed)
			sleep_until_kicked(m);
	}
	return NULL;
}

/* ---------------------------------------------------------------- register thread */

static unsigned pick(struct machine *m, unsigned below)
{
	m->random = m->random * 1664525 + 1013904223;
	return (m->random >> 16) % below;
}

static time_t deadline(void)
{
	return time(NULL) + DEADLINE;
}

static void notify(struct drv *d, unsigned queue)
{
	if (!(ring_used_flags(&d->rings[queue]) & VIRTQ_USED_F_NO_NOTIFY))
		drv_write(d, DRV_NOTIFY + 4 * queue, 2, queue);
}

/* What a driver and its system do beside it. */
static void disturb(struct machine *m)
{
	struct drv *d = m->d;

	switch (pick(m, 8)) {
	case 0:
		drv_config_write(d, DRV_COMMAND, 2, 2);
		drv_config_write(d, DRV_COMMAND, 2, DRV_MASTER);
		break;
	case 1:
		assert_int_equal(virtio_bar_write(d->v, 4, 4 * pick(m, 20), "abcd", 4), 0);
		break;
	case 2:
		drv_config_write(d, DRV_WINDOW_OFFSET, 4, VIRTIO_COMMON_STATUS);
		drv_config_write(d, DRV_WINDOW_LENGTH, 4, 1);
		assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 1), drv_status(d));
		break;
	case 3:
		drv_write(d, VIRTIO_COMMON_QUEUE_SELECT, 2, pick(m, 2));
		drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, pick(m, 3));
		break;
	case 4:
		drv_config_write(d, DRV_MSIX_CONTROL, 2, 0);
		drv_config_write(d, DRV_MSIX_CONTROL, 2, DRV_MSIX_ENABLE);
		break;
	}
}

static void exchange(struct machine *m, unsigned queue)
{
	struct drv *d = m->d;
	uint8_t seed = (uint8_t)pick(m, 256);
	time_t end = deadline();

	drv_ask(d, queue, seed);
	notify(d, queue);
	disturb(m);
	while (ring_used_index(&d->rings[queue]) == d->rings[queue].seen) {
		if (time(NULL) > end)
			fail_msg("no answer; status %x", drv_status(d));
		sched_yield();
	}
	assert_true(drv_answered(d, queue, seed));
	assert_int_equal(d->accepted, DRV_FEATURES);
	assert_int_equal(drv_status(d), DRV_STARTED);
}

/* The second queue may come when the first one is in use. */
static void live(struct machine *m)
{
	struct drv *d = m->d;
	bool late = pick(m, 2);

	drv_agree(d);
	drv_set_up_queue(d, 0);
	if (!late)
		drv_set_up_queue(d, 1);
	d->is_off = false;
	drv_set_status(d, DRV_STARTED);
	exchange(m, 0);
	if (late)
		drv_set_up_queue(d, 1);
	for (unsigned i = 0; i < 4; i++)
		exchange(m, pick(m, 2));
	for (unsigned i = pick(m, 4); i > 0; i--)
		drv_ask(d, 1, (uint8_t)i);
	notify(d, 1);
}

static void reset_by_driver(struct drv *d)
{
	time_t end = deadline();

	drv_set_status(d, 0);
	while (drv_status(d)) {
		if (time(NULL) > end)
			fail_msg("a reset without end");
		sched_yield();
	}
	d->is_off = true;
}

static void end(struct machine *m)
{
	struct drv *d = m->d;

	switch (pick(m, 4)) {
	case 0:
		virtio_reset(d->v);
		break;
	case 1:
		drv_set_status(d, 0);
		virtio_reset(d->v);
		break;
	default:
		reset_by_driver(d);
	}
}

static void side_by_side(void **state)
{
	struct machine m = {.d = drv_new(), .random = 1};

	m.d->dawdles = true;
	assert_int_equal(pthread_create(&m.thread, NULL, work, &m), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		live(&m);
		end(&m);
	}
	m.stop = true;
	sem_post(&m.d->kicked);
	pthread_join(m.thread, NULL);
	assert_int_equal(m.d->late, 0);
	assert_int_equal(m.d->logs, 0);
	assert_int_equal(m.overslept, 0);
	assert_int_equal(m.d->memory.strays, 0);
	assert_true(m.d->resets >= ROUNDS / 2);
	drv_free(m.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(side_by_side)};

	return cmocka_run_group_tests_name("virtio threads", tests, NULL, NULL);
}
