/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers without a lock against a writer that adds, removes and reclaims.
 * failing_alloc.h overwrites what is freed, so a reader that holds a part of
 * the map too long finds nonsense also without a sanitizer.
 */
#include "testing.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <viommu/viommu.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/epoch.h"
#include "failing_alloc.h"
#include "guestmem/guestmem.h"

enum { READERS = 2, CHANGES = 6000, LOOKS = 20000, PAGES = 1024 };

#define PAGE	  UINT64_C(4096)
#define BASE	  UINT64_C(0x40000000)
#define SIZE	  (PAGES * PAGE)
#define WORD(gpa) ((gpa) ^ UINT64_C(0x5555000000000000)) /* what the word there holds */

static const struct viommu_host_ops no_ops = {.sz = sizeof(no_ops)};

struct bed {
	struct vi_guestmem gm;
	struct vi_epoch epoch;
	uint8_t *host; /* of BASE */
	struct vi_epoch_slot *slots[READERS];
	pthread_barrier_t start;
	atomic_bool stop;
	atomic_ulong looks, found, wrong;
};

struct reader {
	struct bed *bed;
	unsigned index;
};

/* A region is right if it lies where it must and the slot leads where the pointer does. */
static bool is_right(const struct bed *b, const struct vi_region *r)
{
	return r->first >= BASE && r->last < BASE + SIZE && r->first <= r->last &&
	       r->flags == VIOMMU_MEM_READ && r->host == b->host + (r->first - BASE) && r->slot == 1 &&
	       vi_guestmem_host(&b->gm, r->slot, r->first) == r->host;
}

static void look_once(struct bed *b, uint64_t gpa, unsigned long *io_found, unsigned long *io_wrong)
{
	const struct vi_region *r = vi_guestmem_find(&b->gm, gpa);
	const struct vi_region *next = vi_guestmem_find_next(&b->gm, gpa);
	uint64_t value;

	if (r)
		*io_wrong += !is_right(b, r) || gpa < r->first || gpa > r->last;
	if (next)
		*io_wrong += !is_right(b, next) || next->last < gpa;
	if (vi_guestmem_load64(&b->gm, gpa, &value))
		*io_wrong += value != WORD(gpa);
	*io_found += r != NULL;
}

static void *reader(void *arg)
{
	struct reader *self = arg;
	struct bed *b = self->bed;
	struct chance c = {self->index + 100};
	unsigned long found = 0, wrong = 0;

	pthread_barrier_wait(&b->start);
	while (!b->stop) {
		vi_epoch_enter(&b->epoch, b->slots[self->index]);
		for (unsigned i = 0; i < 4; i++)
			look_once(b, BASE + chance_below(&c, SIZE / 8) * 8, &found, &wrong);
		vi_epoch_exit(b->slots[self->index]);
		/* Relaxed: it must not order what the epochs are there to order. */
		atomic_fetch_add_explicit(&b->looks, 1, memory_order_relaxed);
		sched_yield(); /* rather here than inside, where the writer waits for it */
	}
	b->found += found;
	b->wrong += wrong;
	return NULL;
}

static void change(struct bed *b, struct chance *c)
{
	uint64_t first = BASE + chance_below(c, PAGES) * PAGE;
	uint64_t last =
		vi_min(first + chance_between(c, 1, chance_one_in(c, 50) ? PAGES : 4) * PAGE, BASE + SIZE) -
		1;
	struct vi_region r = {first, last, b->host + (first - BASE), VIOMMU_MEM_READ, 0};

	if (chance_one_in(c, 3))
		vi_guestmem_remove(&b->gm, first, last);
	else
		vi_guestmem_add(&b->gm, &r);
}

static void writer(struct bed *b)
{
	struct chance c = {3};

	for (unsigned i = 0; i < CHANGES || atomic_load_explicit(&b->looks, memory_order_relaxed) < LOOKS;
	     i++) {
		uint64_t epoch;

		change(b, &c);
		if (chance_one_in(&c, 2))
			continue; /* reclaim for several at once */
		epoch = vi_epoch_begin(&b->epoch);
		while (!vi_epoch_passed(&b->epoch, epoch))
			sched_yield();
		vi_guestmem_reclaim(&b->gm);
	}
}

static void begin(struct bed *b)
{
	b->host = aligned_alloc(PAGE, SIZE);
	for (uint64_t offset = 0; offset < SIZE; offset += 8)
		vi_store_le64(b->host + offset, WORD(BASE + offset));
	assert_int_equal(vi_guestmem_init(&b->gm, &no_ops, NULL), 0);
	assert_int_equal(vi_epoch_init(&b->epoch, READERS), 0);
	for (unsigned i = 0; i < READERS; i++)
		b->slots[i] = vi_epoch_slot_take(&b->epoch);
	pthread_barrier_init(&b->start, NULL, READERS + 1);
}

static void finish(struct bed *b)
{
	pthread_barrier_destroy(&b->start);
	vi_guestmem_finish(&b->gm);
	vi_epoch_finish(&b->epoch);
	free(b->host);
	assert_int_equal(alloc_live(), 0);
}

static void test_readers_and_a_writer(void **state)
{
	struct bed b = {.stop = false};
	struct reader readers[READERS];
	pthread_t threads[READERS];

	begin(&b);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){&b, i};
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &readers[i]), 0);
	}
	pthread_barrier_wait(&b.start);
	writer(&b);
	b.stop = true;
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(b.wrong, 0);
	assert_true(b.found > 0);
	finish(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readers_and_a_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
