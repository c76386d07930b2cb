/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slots of mappings, which come and go while a handler looks at them: the
 * source itself, with each atomic load and exchange as a moment before which
 * another thread may have been there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void at_a_moment(void);

#ifdef __clang__
#define LOAD	 __c11_atomic_load
#define EXCHANGE __c11_atomic_compare_exchange_strong
#else
#define LOAD __atomic_load_n
#define EXCHANGE(object, expected, wanted, on_success, on_failure)                                           \
	__atomic_compare_exchange_n(object, expected, wanted, false, on_success, on_failure)
#endif
#undef atomic_load
#undef atomic_load_explicit
#undef atomic_compare_exchange_strong
#define atomic_load(object)		    (at_a_moment(), LOAD(object, __ATOMIC_SEQ_CST))
#define atomic_load_explicit(object, order) (at_a_moment(), LOAD(object, order))
#define atomic_compare_exchange_strong(object, expected, wanted)                                             \
	(at_a_moment(), EXCHANGE(object, expected, wanted, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))

#include "vfio_user/sigbus.c"

#define PAGE	4096u
#define ROOM	(UINT64_C(64) << 20)
#define MOMENTS 12

static struct {
	uint8_t *low, *high; /* a page, and ROOM bytes far above it */
	struct vfu_sigbus_owner owner;
	int slot;
	unsigned seen, moment; /* the one at which another thread is there; 0: never */
	void (*other)(void);   /* what that thread does */
	bool grown;
} world;

static void at_a_moment(void)
{
	if (!world.moment || ++world.seen != world.moment)
		return;
	world.moment = 0;
	world.other();
}

/* The small mapping goes, the large one comes into its slot. */
static void change_hands(void)
{
	vfu_sigbus_unregister(world.slot);
	assert_int_equal(vfu_sigbus_register(world.high, ROOM, &world.owner), world.slot);
}

/* The file has grown into the room of its mapping. */
static void grow(void)
{
	world.grown = vfu_sigbus_grow(world.slot, 2 * PAGE);
}

static void at_moment(unsigned moment, void (*other)(void))
{
	world.seen = 0;
	world.other = other;
	world.moment = moment;
}

static void *reserve(size_t size)
{
	void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(at != MAP_FAILED);
	return at;
}

/* The address is behind the small one, at a distance less than the size of the large one: in neither. */
static void base_and_size_are_of_one_mapping(void **state)
{
	uint8_t *area = reserve(4 * ROOM);
	bool changed = true;

	world.owner.wake_fd = eventfd(0, EFD_NONBLOCK);
	world.low = area;
	world.high = area + 2 * ROOM;
	for (unsigned moment = 1; changed; moment++) {
		assert_true(moment < MOMENTS);
		world.moment = 0;
		world.slot = vfu_sigbus_register(world.low, PAGE, &world.owner);
		at_moment(moment, change_hands);
		assert_false(vfu_handle_sigbus(area + ROOM / 2));
		assert_false(world.owner.hit);
		changed = !world.moment;
		world.moment = 0;
		vfu_sigbus_unregister(world.slot);
	}
	close(world.owner.wake_fd);
	munmap(area, 4 * ROOM);
}

static void replaced_by_zeroes(void **state)
{
	uint8_t *area = reserve(4 * PAGE);
	struct vfu_sigbus_owner owner = {.wake_fd = eventfd(0, EFD_NONBLOCK)};
	int slot = vfu_sigbus_register(area + PAGE, PAGE, &owner);

	assert_false(vfu_handle_sigbus(area));
	assert_false(vfu_handle_sigbus(area + 2 * PAGE));
	assert_true(vfu_sigbus_grow(slot, 2 * PAGE));
	assert_false(vfu_handle_sigbus(area + 3 * PAGE));
	assert_false(owner.hit);
	assert_true(vfu_handle_sigbus(area + 3 * PAGE - 1));
	assert_true(owner.hit);
	area[PAGE] = area[3 * PAGE - 1] = 1;
	/* A second thread that had faulted there too goes on, and nothing of the first is lost. */
	assert_true(vfu_handle_sigbus(area + PAGE));
	assert_int_equal(area[PAGE], 1);
	vfu_sigbus_unregister(slot);
	assert_false(vfu_handle_sigbus(area + PAGE));
	assert_int_equal(vfu_sigbus_register(area, PAGE, &owner), slot);
	assert_true(vfu_handle_sigbus(area));
	vfu_sigbus_unregister(slot);
	close(owner.wake_fd);
	munmap(area, 4 * PAGE);
}

static bool is_mapped(const uint8_t *page)
{
	int to[2];
	bool good;

	assert_int_equal(pipe(to), 0);
	good = write(to[1], page, 1) == 1; /* else EFAULT */
	close(to[0]);
	close(to[1]);
	return good;
}

/* Whenever the mapping grows, what may be touched of it is there after the handler: no fault comes for ever.
 */
static void zeroes_cover_what_has_grown(void **state)
{
	bool came = true;

	world.owner.wake_fd = eventfd(0, EFD_NONBLOCK);
	for (unsigned moment = 1; came; moment++) {
		world.low = reserve(2 * PAGE);
		assert_true(moment < MOMENTS);
		world.slot = vfu_sigbus_register(world.low, PAGE, &world.owner);
		at_moment(moment, grow);
		assert_true(vfu_handle_sigbus(world.low));
		came = !world.moment;
		world.moment = 0;
		if (!came)
			grow();
		assert_true(!world.grown || is_mapped(world.low + PAGE));
		vfu_sigbus_unregister(world.slot);
		munmap(world.low, 2 * PAGE);
	}
	/* The last of them was too late. */
	assert_false(world.grown);
	close(world.owner.wake_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaced_by_zeroes),
		cmocka_unit_test(base_and_size_are_of_one_mapping),
		cmocka_unit_test(zeroes_cover_what_has_grown),
	};

	return cmocka_run_group_tests_name("sigbus", tests, NULL, NULL);
}
