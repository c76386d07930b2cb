/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Backings: each as its page says, the VT-d one in front of the real unit,
 * with registers that are trapped, and with a page that a thread polls.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rig.h"
#include "testing.h"

#include <viommu/access.h>
#include <viommu/dma.h>

#define R VIOMMU_BACKING_READ
#define W VIOMMU_BACKING_WRITE

static void put(const struct viommu_backing *b, uint64_t iova, uint64_t address, uint64_t pages,
		unsigned access)
{
	struct viommu_backing_range r = {iova, address, pages * PAGE, access};

	assert_int_equal(b->ops->map(b->opaque, &r, 1), 0);
}

static int out(const struct viommu_backing *b, uint64_t iova, uint64_t pages)
{
	struct viommu_backing_range r = {iova, 0, pages * PAGE, 0};

	return b->ops->unmap(b->opaque, &r, 1);
}

static int settle(const struct viommu_backing *b, uint64_t iova, uint64_t pages)
{
	struct viommu_backing_range r = {iova, 0, pages * PAGE, 0};

	return b->ops->invalidate(b->opaque, &r, 1, VIOMMU_BACKING_LEAVES_ONLY);
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

/* -------------------------------------------------------------- a VT-d unit */

static void check_unit(enum how how, bool caching_mode)
{
	struct viommu_backing_range pair[2] = {{0x10000, 0x5000, PAGE, R}, {0x20000, 0x6000, 2 * PAGE, W}};
	struct machine m;

	power_on(&m, how, caching_mode);
	assert_int_equal(m.backing.ops->map(m.backing.opaque, pair, 2), 0);
	assert_int_equal(device_reads(&m, 0x10fff), 0);
	assert_int_equal(device_writes(&m, 0x10fff), -EACCES);
	assert_int_equal(device_writes(&m, 0x21000), 0);
	assert_int_equal(m.ram[0x7000], 'x');
	assert_int_equal(device_reads(&m, 0x21000), -EACCES);
	assert_int_equal(out(&m.backing, 0x10000, 1), 0);
	assert_int_equal(out(&m.backing, 0x10000, 1), -ENOENT);
	assert_int_equal(settle(&m.backing, 0x10000, 1), 0);
	assert_int_equal(device_reads(&m, 0x10000), -EACCES);
	assert_int_equal(device_writes(&m, 0x20000), 0);
	assert_int_equal(out(&m.backing, 0x20000, 2), 0);
	assert_int_equal(m.backing.ops->invalidate_all(m.backing.opaque), 0);
	assert_int_equal(device_writes(&m, 0x20000), -EACCES);
	/* All or none, and what was there for a moment is not reachable. */
	put(&m.backing, 0x30000, 0x8000, 1, R | W);
	pair[1].iova = 0x2f000;
	assert_int_equal(m.backing.ops->map(m.backing.opaque, pair, 2), -EEXIST);
	assert_int_equal(device_reads(&m, 0x10000), -EACCES);
	assert_int_equal(device_writes(&m, 0x2f000), -EACCES);
	assert_int_equal(device_writes(&m, 0x30000), 0);
	/* Pass-through and back. */
	assert_int_equal(m.backing.ops->pass_through(m.backing.opaque, true), 0);
	assert_int_equal(device_writes(&m, 0x123), 0);
	assert_int_equal(m.ram[0x123], 'x');
	assert_int_equal(m.backing.ops->pass_through(m.backing.opaque, false), 0);
	assert_int_equal(device_writes(&m, 0x123), -EACCES);
	assert_int_equal(device_writes(&m, 0x30000), 0);
	power_off(&m);
}

static void test_queue(void **state)
{
	(void)state;
	check_unit(QUEUE, false);
}

static void test_queue_caching_mode(void **state)
{
	(void)state;
	check_unit(QUEUE, true);
}

static void test_registers(void **state)
{
	(void)state;
	check_unit(REGISTERS, false);
}

static void test_polled(void **state)
{
	(void)state;
	check_unit(POLLED, false);
}

/* More ranges at once than the queue has places, and more than once around. */
static void test_long_lists(void **state)
{
	static struct viommu_backing_range ranges[700];
	struct machine m;

	(void)state;
	power_on(&m, POLLED, false);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 700; i++)
			ranges[i] = (struct viommu_backing_range){(1 + 2 * i) * PAGE, i * PAGE, PAGE, R | W};
		assert_int_equal(m.backing.ops->map(m.backing.opaque, ranges, 700), 0);
		for (unsigned i = 0; i < 700; i++)
			assert_int_equal(device_writes(&m, ranges[i].iova), 0);
		assert_int_equal(m.backing.ops->unmap(m.backing.opaque, ranges, 700), 0);
		assert_int_equal(m.backing.ops->invalidate(m.backing.opaque, ranges, 700, 0), 0);
		for (unsigned i = 0; i < 700; i++)
			assert_int_equal(device_writes(&m, ranges[i].iova), -EACCES);
	}
	power_off(&m);
}

/* A unit that does not answer: an error, and no success afterwards for what may still be cached. */
static void test_no_answer(void **state)
{
	struct machine m;

	(void)state;
	power_on(&m, QUEUE, false);
	put(&m.backing, 0x1000, 0x2000, 1, R);
	assert_int_equal(out(&m.backing, 0x1000, 1), 0);
	m.deaf = true;
	/* The trapped write of the tail does the work; a unit that is gone does not. */
	viommu_requester_remove(m.device);
	viommu_reset(m.unit);
	assert_int_equal(settle(&m.backing, 0x1000, 1), -EIO);
	m.deaf = false;
	assert_int_equal(settle(&m.backing, 0x1000, 1), -EIO);
	power_off(&m);
}

static void test_options(void **state)
{
	struct machine m;

	(void)state;
	power_on(&m, QUEUE, false);
	struct viommu_backing_vtd_options o = {.sz = sizeof(o),
					       .read = read_register,
					       .write = write_register,
					       .arg = &m,
					       .table_memory = m.ram + 1,
					       .table_size = 64 << 10};
	struct viommu_backing b;

	assert_int_equal(viommu_backing_vtd_create(&o, &b), -EINVAL);
	o.table_memory = m.ram;
	o.table_size = PAGE;
	assert_int_equal(viommu_backing_vtd_create(&o, &b), -EINVAL);
	o.sz = 4;
	assert_int_equal(viommu_backing_vtd_create(&o, &b), -EINVAL);
	power_off(&m);
}

#define PAIRS 3

struct pair {
	struct machine *machine;
	uint64_t iova;
	_Atomic unsigned wrong;
};

/* Threads of a driver with ranges of their own: what is invalidated is gone for the device. */
static void *run_pair(void *arg)
{
	struct pair *p = arg;
	struct viommu_thread *thread;
	uint8_t byte;

	if (viommu_thread_create(p->machine->unit, &thread))
		return NULL;
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t iova = p->iova + i % 64 * PAGE;
		struct viommu_backing_range r = {iova, 0x3000, PAGE, R};

		p->wrong += p->machine->backing.ops->map(p->machine->backing.opaque, &r, 1) != 0;
		p->wrong += viommu_read(thread, p->machine->device, iova, &byte, 1) != 0;
		p->wrong += out(&p->machine->backing, iova, 1) != 0;
		p->wrong += settle(&p->machine->backing, iova, 1) != 0;
		p->wrong += viommu_read(thread, p->machine->device, iova, &byte, 1) != -EACCES;
	}
	viommu_thread_destroy(thread);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[PAIRS];
	struct pair pairs[PAIRS];
	struct machine m;

	(void)state;
	power_on(&m, POLLED, false);
	for (unsigned i = 0; i < PAIRS; i++) {
		pairs[i] = (struct pair){.machine = &m, .iova = (i + 1) << 24};
		assert_int_equal(pthread_create(&threads[i], NULL, run_pair, &pairs[i]), 0);
	}
	for (unsigned i = 0; i < PAIRS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(pairs[i].wrong, 0);
	}
	power_off(&m);
}

/* ---------------------------------------------------------------- observer */

static struct viommu_backing_work work_of(const struct viommu_backing *b)
{
	struct viommu_backing_work w;

	viommu_backing_observer_work(b, &w);
	return w;
}

static void test_observer_counts(void **state)
{
	struct viommu_backing b;

	(void)state;
	assert_int_equal(viommu_backing_observer_create(NULL, 48, &b), 0);
	put(&b, 0x10000, 0x5000, 2, R);
	put(&b, 0x20000, 0x5000, 1, W); /* the same page of memory once more */
	assert_int_equal(work_of(&b).mapped_pages, 3);
	assert_int_equal(work_of(&b).reachable_pages, 2);
	assert_int_equal(viommu_backing_observer_reach(&b, 0x5fff), R | W);
	assert_int_equal(viommu_backing_observer_reach(&b, 0x6000), R);
	assert_int_equal(viommu_backing_observer_reach(&b, 0x7000), 0);
	assert_int_equal(out(&b, 0x20000, 1), 0);
	assert_int_equal(work_of(&b).stale_pages, 1);
	assert_int_equal(viommu_backing_observer_reach(&b, 0x5000), R | W); /* until it is invalidated */
	assert_int_equal(settle(&b, 0x20000, 1), 0);
	assert_int_equal(viommu_backing_observer_reach(&b, 0x5000), R);
	assert_int_equal(out(&b, 0x10000, 2), 0);
	assert_int_equal(b.ops->invalidate_all(b.opaque), 0);
	assert_int_equal(work_of(&b).reachable_pages, 0);
	assert_int_equal(work_of(&b).peak_reachable_pages, 2);
	assert_int_equal(work_of(&b).table_writes, 6);
	assert_int_equal(work_of(&b).broken_rules, 0);
	viommu_backing_observer_destroy(&b);
}

static void test_observer_keeps_the_rules(void **state)
{
	struct viommu_backing_range r = {0x1000, 0, PAGE, R},
				    two[2] = {{0x8000, 0, PAGE, R}, {0x1000, 0, PAGE, R}};
	struct viommu_backing b;

	(void)state;
	assert_int_equal(viommu_backing_observer_create(NULL, 48, &b), 0);
	put(&b, 0x1000, 0, 1, R);
	assert_int_equal(b.ops->map(b.opaque, &r, 1), -EEXIST);
	assert_int_equal(b.ops->map(b.opaque, two, 2), -EEXIST);
	assert_int_equal(work_of(&b).mapped_pages, 1);
	assert_int_equal(out(&b, 0x2000, 1), -ENOENT);
	assert_int_equal(out(&b, 0x1000, 1), 0);
	assert_int_equal(out(&b, 0x1000, 1), -ENOENT);
	assert_int_equal(b.ops->map(b.opaque, &r, 1), -EEXIST); /* not yet invalidated */
	assert_int_equal(settle(&b, 0x1000, 1), 0);
	assert_int_equal(b.ops->map(b.opaque, &r, 1), 0);
	assert_int_equal(work_of(&b).broken_rules, 5);
	viommu_backing_observer_destroy(&b);
	assert_int_equal(viommu_backing_observer_create(NULL, 20, &b), -EINVAL);
}

/* What was told, last and in all. */
static struct told {
	uint64_t address;
	bool leads, alone, through;
	unsigned count;
} told;

static void note_page(void *opaque, uint64_t address, bool leads, bool alone)
{
	struct told *t = opaque;

	t->address = address;
	t->leads = leads;
	t->alone = alone;
	t->count++;
}

static void note_pass_through(void *opaque, bool on)
{
	struct told *t = opaque;

	t->through = on;
	t->count++;
}

static void check_told(uint64_t address, bool leads, bool alone)
{
	assert_int_equal(told.address, address);
	assert_int_equal(told.leads, leads);
	assert_int_equal(told.alone, alone);
}

static void test_observer_tells(void **state)
{
	struct viommu_backing_watch watch = {.sz = sizeof(watch), .page = note_page, .opaque = &told};
	struct viommu_backing_range two[2] = {{0x8000, 0x9000, PAGE, R}, {0x1000, 0, PAGE, R}};
	struct viommu_backing b;

	(void)state;
	assert_int_equal(viommu_backing_observer_create(NULL, 48, &b), 0);
	assert_int_equal(viommu_backing_observer_watch(&b, &watch), -EINVAL);
	watch.pass_through = note_pass_through;
	assert_int_equal(viommu_backing_observer_watch(&b, &watch), 0);
	put(&b, 0x1000, 0x5000, 1, R);
	check_told(0x5000, true, true);
	put(&b, 0x2000, 0x5000, 1, W);
	check_told(0x5000, true, false);
	assert_int_equal(out(&b, 0x1000, 1), 0);
	assert_int_equal(told.count, 2); /* a device may still reach it */
	assert_int_equal(settle(&b, 0x1000, 1), 0);
	check_told(0x5000, false, false);
	assert_int_equal(out(&b, 0x2000, 1), 0);
	assert_int_equal(b.ops->invalidate_all(b.opaque), 0);
	check_told(0x5000, false, true);
	put(&b, 0x1000, 0x6000, 1, R);
	assert_int_equal(b.ops->map(b.opaque, two, 2), -EEXIST);
	check_told(0x9000, false, true); /* what was there for a moment */
	assert_int_equal(told.count, 7);
	assert_int_equal(b.ops->pass_through(b.opaque, true), 0);
	assert_true(told.through);
	assert_int_equal(b.ops->pass_through(b.opaque, true), 0);
	assert_int_equal(told.count, 8);
	viommu_backing_observer_destroy(&b);
}

static void test_observer_hands_on(void **state)
{
	struct viommu_backing b;
	struct machine m;

	(void)state;
	power_on(&m, QUEUE, false);
	assert_int_equal(viommu_backing_observer_create(&m.backing, 0, &b), 0);
	assert_int_equal(b.address_width, 48);
	put(&b, 0x1000, 0x2000, 1, R);
	assert_int_equal(device_reads(&m, 0x1000), 0);
	assert_int_equal(out(&b, 0x1000, 1), 0);
	assert_int_equal(settle(&b, 0x1000, 1), 0);
	assert_int_equal(device_reads(&m, 0x1000), -EACCES);
	viommu_backing_observer_destroy(&b);
	power_off(&m);
}

/* ------------------------------------------------------------- paravirtual */

struct peer {
	unsigned submissions, requests;
	uint64_t refuse; /* the iova whose map is refused */
	int dead;
	bool mapped[256]; /* by page of iova */
};

static int answer(void *arg, struct viommu_backing_request *requests, size_t count)
{
	struct peer *p = arg;

	p->submissions++;
	p->requests += (unsigned)count;
	for (size_t i = 0; i < count && !p->dead; i++) {
		bool is_map = requests[i].type == VIOMMU_BACKING_REQUEST_MAP;

		requests[i].status = is_map && requests[i].range.iova == p->refuse ? -ENOMEM : 0;
		if (!requests[i].status)
			for (uint64_t at = 0; at < requests[i].range.len; at += PAGE)
				p->mapped[(requests[i].range.iova + at) / PAGE] = is_map;
	}
	return p->dead;
}

static unsigned mapped_at(const struct peer *p)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 256; i++)
		count += p->mapped[i];
	return count;
}

static void test_paravirt(void **state)
{
	struct peer p = {0};
	struct viommu_backing_paravirt_options o = {.sz = sizeof(o), .submit = answer, .arg = &p, .batch = 4};
	struct viommu_backing_range many[10];
	struct viommu_backing b;

	(void)state;
	assert_int_equal(viommu_backing_paravirt_create(&o, &b), 0);
	for (unsigned i = 0; i < 10; i++)
		many[i] = (struct viommu_backing_range){(i + 1) * PAGE, 0, PAGE, R};
	assert_int_equal(b.ops->map(b.opaque, many, 10), 0);
	assert_int_equal(p.submissions, 3); /* 4, 4, 2 */
	assert_int_equal(mapped_at(&p), 10);
	assert_int_equal(b.ops->unmap(b.opaque, many, 3), 0);
	assert_int_equal(p.submissions, 3); /* they wait */
	assert_int_equal(b.ops->invalidate(b.opaque, many, 3, 0), 0);
	assert_int_equal(p.submissions, 4);
	assert_int_equal(mapped_at(&p), 7);
	/* A map takes the unmaps that wait along. */
	assert_int_equal(out(&b, 4 * PAGE, 1), 0);
	put(&b, PAGE, 0, 1, R);
	assert_int_equal(p.submissions, 5);
	assert_int_equal(mapped_at(&p), 7);
	assert_int_equal(b.ops->invalidate_all(b.opaque), 0);
	assert_int_equal(p.submissions, 5); /* nothing waits */
	/* All or none. */
	assert_int_equal(b.ops->unmap(b.opaque, many + 4, 6), 0);
	assert_int_equal(out(&b, PAGE, 1), 0);
	assert_int_equal(b.ops->invalidate_all(b.opaque), 0);
	p.refuse = 7 * PAGE;
	assert_int_equal(b.ops->map(b.opaque, many, 10), -ENOMEM);
	assert_int_equal(mapped_at(&p), 0);
	/* What did not get through is told when it is waited for. */
	p.refuse = 0;
	put(&b, PAGE, 0, 1, R);
	assert_int_equal(out(&b, PAGE, 1), 0);
	p.dead = -EIO;
	assert_int_equal(b.ops->invalidate_all(b.opaque), -EIO);
	viommu_backing_paravirt_destroy(&b);
	o.submit = NULL;
	assert_int_equal(viommu_backing_paravirt_create(&o, &b), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue),		cmocka_unit_test(test_queue_caching_mode),
		cmocka_unit_test(test_registers),	cmocka_unit_test(test_polled),
		cmocka_unit_test(test_long_lists),	cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_options),		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_observer_counts), cmocka_unit_test(test_observer_keeps_the_rules),
		cmocka_unit_test(test_observer_tells),	cmocka_unit_test(test_observer_hands_on),
		cmocka_unit_test(test_paravirt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
