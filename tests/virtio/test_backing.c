/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's half of virtio-iommu (viommu/backing.h) before the real unit: requests
 * travel through the virtqueue, which a thread polls or is woken for.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <viommu/access.h>
#include <viommu/backing.h>

#include "virtio/iommu.h"

#define PAGE	 UINT64_C(4096)
#define RAM_SIZE (UINT64_C(4) << 20)
#define QUEUE	 (UINT64_C(3) << 20) /* gpa of the driver's memory */
#define RID	 0x0088
#define OWN	 0x0080
#define COMMAND	 4
#define MASTER	 4
#define R	 VIOMMU_BACKING_READ
#define W	 VIOMMU_BACKING_WRITE
#define MANY	 300 /* more than a batch, and than the queue holds */

struct machine {
	uint8_t *ram;
	struct viommu *unit;
	struct viommu_requester *device, *own;
	struct viommu_thread *thread, *polling;
	struct virtio_iommu *queues;
	struct viommu_backing backing;
	pthread_t sidecore;
	_Atomic bool stop, sleeps, kicked;
	_Atomic unsigned kicks;
	bool dead; /* nobody polls, and the driver loses patience */
};

static void no_msix(void *opaque, unsigned vector)
{
	(void)opaque;
	(void)vector;
}

static void kick(void *opaque)
{
	struct machine *m = opaque;

	m->kicks++;
	m->kicked = true;
}

static void no_log(void *opaque, const char *line)
{
	(void)opaque;
	(void)line;
}

static uint64_t read_register(void *arg, uint64_t offset, unsigned size)
{
	struct machine *m = arg;
	uint64_t value = 0;

	assert_int_equal(virtio_bar_read(virtio_iommu_transport(m->queues), 0, offset, &value, size), 0);
	return value;
}

static void write_register(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct machine *m = arg;

	assert_int_equal(virtio_bar_write(virtio_iommu_transport(m->queues), 0, offset, &value, size), 0);
}

static bool relax(void *arg)
{
	const struct machine *m = arg;

	sched_yield();
	return !m->dead;
}

static bool poll_once(struct machine *m)
{
	struct virtio_iommu_look look = {0};
	int done;

	virtio_iommu_take(m->queues, 64, &look);
	done = viommu_process(m->unit, 64);
	virtio_iommu_give(m->queues, done > 0, &look);
	return done > 0 || look.steps || look.pending;
}

/* With `sleeps` it looks at nothing but its kicks after each look that found nothing. */
static void *run(void *arg)
{
	struct machine *m = arg;

	while (!m->stop) {
		if (poll_once(m) || !m->sleeps) {
			sched_yield();
			continue;
		}
		m->kicked = false;
		if (!virtio_iommu_arm(m->queues))
			continue;
		while (!m->kicked && !m->stop)
			sched_yield();
	}
	return NULL;
}

static void power_on(struct machine *m, bool sleeps)
{
	static const struct virtio_iommu_host_ops ops = {no_msix, kick, no_log};
	const struct viommu_host_ops host = {.sz = sizeof(host)};
	const struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_VIRTIO};
	const uint16_t master = MASTER;

	memset(m, 0, sizeof(*m));
	m->sleeps = sleeps;
	m->ram = aligned_alloc(PAGE, RAM_SIZE);
	assert_non_null(m->ram);
	memset(m->ram, 0, RAM_SIZE);
	assert_int_equal(viommu_create(&host, NULL, &options, &m->unit), 0);
	assert_int_equal(viommu_mem_add(m->unit, 0, RAM_SIZE, m->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	assert_int_equal(viommu_requester_add(m->unit, RID, &m->device), 0);
	assert_int_equal(viommu_requester_bypass_add(m->unit, OWN, &m->own), 0);
	assert_int_equal(viommu_thread_create(m->unit, &m->thread), 0);
	assert_int_equal(viommu_thread_create(m->unit, &m->polling), 0);
	m->queues = virtio_iommu_create(m->unit, m->own, m->polling, &ops, m);
	assert_non_null(m->queues);
	assert_int_equal(
		virtio_config_write(virtio_iommu_transport(m->queues), COMMAND, &master, sizeof(master)), 0);
	assert_int_equal(pthread_create(&m->sidecore, NULL, run, m), 0);
}

static struct viommu_backing_virtio_options options_of(struct machine *m)
{
	return (struct viommu_backing_virtio_options){.sz = sizeof(struct viommu_backing_virtio_options),
						      .read = read_register,
						      .write = write_register,
						      .relax = relax,
						      .arg = m,
						      .notify = VIRTIO_BAR0_NOTIFY,
						      .notify_multiplier = VIRTIO_NOTIFY_MULTIPLIER,
						      .queue_memory = m->ram + QUEUE,
						      .queue_gpa = QUEUE,
						      .queue_size = RAM_SIZE - QUEUE,
						      .endpoint = RID,
						      .domain = 7};
}

static void open_backing(struct machine *m)
{
	const struct viommu_backing_virtio_options o = options_of(m);

	assert_int_equal(viommu_backing_virtio_create(&o, &m->backing), 0);
}

static void stop_polling(struct machine *m)
{
	m->stop = true;
	pthread_join(m->sidecore, NULL);
}

static void power_off(struct machine *m)
{
	viommu_backing_virtio_destroy(&m->backing);
	stop_polling(m);
	virtio_iommu_destroy(m->queues);
	viommu_thread_destroy(m->thread);
	viommu_thread_destroy(m->polling);
	viommu_destroy(m->unit);
	free(m->ram);
}

static int device_reads(struct machine *m, uint64_t iova)
{
	uint8_t byte;

	return viommu_read(m->thread, m->device, iova, &byte, 1);
}

static int device_writes(struct machine *m, uint64_t iova)
{
	return viommu_write(m->thread, m->device, iova, "x", 1);
}

static int map(struct machine *m, const struct viommu_backing_range *ranges, size_t count)
{
	return m->backing.ops->map(m->backing.opaque, ranges, count);
}

static int take_out(struct machine *m, const struct viommu_backing_range *ranges, size_t count)
{
	int err = m->backing.ops->unmap(m->backing.opaque, ranges, count);
	int late = m->backing.ops->invalidate(m->backing.opaque, ranges, count, 0);

	return err ? err : late;
}

static void check_unit(bool sleeps)
{
	const struct viommu_backing_range pair[] = {{0x10000, 0x5000, PAGE, R},
						    {0x20000, 0x6000, 2 * PAGE, W}};
	struct viommu_backing_range overlap[] = {{0x40000, 0x5000, PAGE, R}, {0x21000, 0x6000, PAGE, W}};
	struct machine m;

	power_on(&m, sleeps);
	open_backing(&m);
	assert_int_equal(device_writes(&m, 0x123), -EACCES); /* in the domain, where nothing is mapped */
	assert_int_equal(map(&m, pair, 2), 0);
	assert_int_equal(device_reads(&m, 0x10fff), 0);
	assert_int_equal(device_writes(&m, 0x10fff), -EACCES);
	assert_int_equal(device_writes(&m, 0x21000), 0);
	assert_int_equal(m.ram[0x7000], 'x');
	assert_int_equal(map(&m, overlap, 2), -EEXIST);
	assert_int_equal(device_reads(&m, 0x40000), -EACCES); /* all or none */
	assert_int_equal(m.backing.ops->pass_through(m.backing.opaque, true), -EBUSY);
	assert_int_equal(take_out(&m, pair, 2), 0);
	assert_int_equal(device_reads(&m, 0x10000), -EACCES);
	assert_int_equal(device_writes(&m, 0x20000), -EACCES);
	assert_int_equal(m.backing.ops->pass_through(m.backing.opaque, true), 0);
	assert_int_equal(device_writes(&m, 0x123), 0);
	assert_int_equal(m.backing.ops->pass_through(m.backing.opaque, false), 0);
	assert_int_equal(device_writes(&m, 0x123), -EACCES);
	power_off(&m);
}

static void test_polled(void **state)
{
	(void)state;
	check_unit(false);
}

static void test_woken(void **state)
{
	(void)state;
	check_unit(true);
}

/* Batches, and the rings more than once around. */
static void test_long_lists(void **state)
{
	struct viommu_backing_range many[MANY];
	struct machine m;
	unsigned before;

	(void)state;
	power_on(&m, false);
	open_backing(&m);
	for (unsigned i = 0; i < MANY; i++)
		many[i] = (struct viommu_backing_range){(i + 1) * 2 * PAGE, i * PAGE, PAGE, R | W};
	assert_int_equal(map(&m, many, 1), 0); /* from now on the queue is polled */
	assert_int_equal(take_out(&m, many, 1), 0);
	before = m.kicks;
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(map(&m, many, MANY), 0);
		for (unsigned i = 0; i < MANY; i++) {
			assert_int_equal(device_writes(&m, many[i].iova), 0);
			assert_int_equal(m.ram[i * PAGE], 'x');
			m.ram[i * PAGE] = 0;
		}
		assert_int_equal(take_out(&m, many, MANY), 0);
		for (unsigned i = 0; i < MANY; i++)
			assert_int_equal(device_writes(&m, many[i].iova), -EACCES);
	}
	assert_int_equal(m.kicks, before);
	power_off(&m);
}

static void test_no_answer(void **state)
{
	const struct viommu_backing_range one = {0x10000, 0x5000, PAGE, R};
	struct machine m;

	(void)state;
	power_on(&m, false);
	open_backing(&m);
	stop_polling(&m);
	m.dead = true;
	assert_int_equal(map(&m, &one, 1), -EIO);
	assert_int_equal(m.backing.ops->invalidate_all(m.backing.opaque), -EIO);
	assert_int_equal(pthread_create(&m.sidecore, NULL, run, &m), 0);
	power_off(&m);
}

static void test_options(void **state)
{
	struct viommu_backing_virtio_options o;
	struct viommu_backing b;
	struct machine m;

	(void)state;
	power_on(&m, false);
	o = options_of(&m);
	o.read = NULL;
	assert_int_equal(viommu_backing_virtio_create(&o, &b), -EINVAL);
	o = options_of(&m);
	o.queue_size = 4096;
	assert_int_equal(viommu_backing_virtio_create(&o, &b), -EINVAL);
	o = options_of(&m);
	o.queue_gpa++;
	assert_int_equal(viommu_backing_virtio_create(&o, &b), -EINVAL);
	o = options_of(&m);
	o.endpoint = OWN; /* no endpoint: the unit does not stand before it */
	assert_int_equal(viommu_backing_virtio_create(&o, &b), -ENOENT);
	o = options_of(&m);
	o.domain = UINT32_MAX;
	assert_int_equal(viommu_backing_virtio_create(&o, &b), -ERANGE);
	power_off(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_polled),	   cmocka_unit_test(test_woken),
		cmocka_unit_test(test_long_lists), cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests_name("virtio backing", tests, NULL, NULL);
}
