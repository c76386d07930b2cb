/* SPDX-License-Identifier: BSD-3-Clause */
/* Epochs: what one thread can see of them, and readers against a writer that poisons what it took back. */
#include "testing.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/epoch.h"
#include "failing_alloc.h"

static void test_init(void **state)
{
	struct vi_epoch e;
	long live = alloc_live();

	alloc_fail_at(1);
	assert_int_equal(vi_epoch_init(&e, 4), -ENOMEM);
	assert_int_equal(alloc_live(), live);
	assert_int_equal(vi_epoch_init(&e, 4), 0);
	vi_epoch_finish(&e);
	assert_int_equal(alloc_live(), live);
}

static void test_slots(void **state)
{
	struct vi_epoch_slot *slots[3];
	struct vi_epoch e;

	assert_int_equal(vi_epoch_init(&e, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		slots[i] = vi_epoch_slot_take(&e);
		assert_non_null(slots[i]);
		assert_int_equal((uintptr_t)slots[i] % 128, 0); /* alone on its cache lines */
		for (unsigned j = 0; j < i; j++)
			assert_ptr_not_equal(slots[i], slots[j]);
	}
	assert_null(vi_epoch_slot_take(&e));
	vi_epoch_slot_release(slots[1]);
	assert_ptr_equal(vi_epoch_slot_take(&e), slots[1]);
	assert_null(vi_epoch_slot_take(&e));
	vi_epoch_finish(&e);
}

static void test_passes_without_readers(void **state)
{
	struct vi_epoch e;
	uint64_t previous = 0;

	assert_int_equal(vi_epoch_init(&e, 2), 0);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t target = vi_epoch_begin(&e);

		assert_true(target > previous);
		assert_true(vi_epoch_passed(&e, target));
		previous = target;
	}
	vi_epoch_finish(&e);
}

/* Only a reader that entered before holds the writer up, and in whichever slot it sits. */
static void test_who_holds_the_writer_up(void **state)
{
	enum { SLOTS = 4 };
	struct vi_epoch_slot *slots[SLOTS];
	struct vi_epoch e;

	assert_int_equal(vi_epoch_init(&e, SLOTS), 0);
	for (unsigned i = 0; i < SLOTS; i++)
		slots[i] = vi_epoch_slot_take(&e);
	for (unsigned early = 0; early < SLOTS; early++) {
		unsigned late = (early + 1) % SLOTS;
		uint64_t target;

		vi_epoch_enter(&e, slots[early]);
		target = vi_epoch_begin(&e);
		assert_true(vi_epoch_entered(slots[early]) < target);
		vi_epoch_enter(&e, slots[late]);
		assert_int_equal(vi_epoch_entered(slots[late]), target);
		assert_false(vi_epoch_passed(&e, target));
		vi_epoch_exit(slots[early]);
		assert_int_equal(vi_epoch_entered(slots[early]), 0);
		assert_true(vi_epoch_passed(&e, target));
		assert_false(vi_epoch_passed(&e, vi_epoch_begin(&e)));
		vi_epoch_exit(slots[late]);
	}
	vi_epoch_finish(&e);
}

static void test_reader_enters_again(void **state)
{
	struct vi_epoch_slot *slot;
	struct vi_epoch e;
	uint64_t target;

	assert_int_equal(vi_epoch_init(&e, 1), 0);
	slot = vi_epoch_slot_take(&e);
	vi_epoch_enter(&e, slot);
	target = vi_epoch_begin(&e);
	vi_epoch_exit(slot);
	vi_epoch_enter(&e, slot);
	assert_true(vi_epoch_passed(&e, target));
	vi_epoch_exit(slot);
	vi_epoch_finish(&e);
}

enum { READERS = 3, ROUNDS = 50000, SECTIONS = 600000, WORDS = 256, SECTIONS_OF_A_SLOT = 256 };

#define GOOD   UINT64_C(0x600d600d600d600d)
#define POISON UINT64_C(0xdeaddeaddeaddead)

struct thing {
	uint64_t words[WORDS];
};

struct stress {
	struct vi_epoch epoch;
	pthread_mutex_t lock; /* of the slots */
	pthread_barrier_t start;
	_Atomic(struct thing *) published;
	atomic_bool stop;
	atomic_ulong sections, poisoned;
};

static void set_all(struct thing *t, uint64_t value)
{
	for (unsigned i = WORDS; i-- > 0;) /* against the readers' direction: the last word tells soonest */
		t->words[i] = value;
}

static bool is_good(const struct thing *t)
{
	bool good = true;

	for (unsigned i = 0; i < WORDS; i++)
		good &= t->words[i] == GOOD;
	return good;
}

static struct vi_epoch_slot *swap_slot(struct stress *s, struct vi_epoch_slot *slot, bool take)
{
	pthread_mutex_lock(&s->lock);
	if (slot)
		vi_epoch_slot_release(slot);
	slot = take ? vi_epoch_slot_take(&s->epoch) : NULL;
	pthread_mutex_unlock(&s->lock);
	return slot;
}

/* Relaxed: it must not order what the epochs are there to order. */
static void count_one(atomic_ulong *count)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

static unsigned long counted(atomic_ulong *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static void *reader(void *arg)
{
	struct stress *s = arg;
	struct vi_epoch_slot *slot = NULL;
	unsigned long sections = 0, poisoned = 0;

	pthread_barrier_wait(&s->start);
	for (; !s->stop; sections++) {
		if (sections % SECTIONS_OF_A_SLOT == 0)
			slot = swap_slot(s, slot, true);
		vi_epoch_enter(&s->epoch, slot);
		poisoned += !is_good(atomic_load_explicit(&s->published, memory_order_acquire));
		vi_epoch_exit(slot);
		count_one(&s->sections);
		if (sections % 16 == 0)
			sched_yield(); /* rather here than inside, where the writer waits for it */
	}
	swap_slot(s, slot, false);
	s->poisoned += poisoned;
	return NULL;
}

static void write_rounds(struct stress *s, struct thing things[2])
{
	for (unsigned round = 1; round <= ROUNDS || counted(&s->sections) < SECTIONS; round++) {
		struct thing *fresh = &things[round % 2], *old;
		uint64_t target;

		set_all(fresh, GOOD);
		old = atomic_exchange(&s->published, fresh);
		target = vi_epoch_begin(&s->epoch);
		while (!vi_epoch_passed(&s->epoch, target))
			sched_yield();
		set_all(old, POISON);
	}
}

static void test_no_reader_sees_poison(void **state)
{
	struct thing things[2];
	pthread_t threads[READERS];
	struct stress s = {.lock = PTHREAD_MUTEX_INITIALIZER, .published = &things[0]};

	set_all(&things[0], GOOD);
	pthread_barrier_init(&s.start, NULL, READERS + 1);
	assert_int_equal(vi_epoch_init(&s.epoch, READERS), 0);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
	pthread_barrier_wait(&s.start);
	write_rounds(&s, things);
	s.stop = true;
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.poisoned, 0);
	pthread_barrier_destroy(&s.start);
	vi_epoch_finish(&s.epoch);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_passes_without_readers),
		cmocka_unit_test(test_who_holds_the_writer_up),
		cmocka_unit_test(test_reader_enters_again),
		cmocka_unit_test(test_no_reader_sees_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
