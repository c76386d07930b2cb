/* SPDX-License-Identifier: BSD-3-Clause */
/* The answer to a request that takes something away is a barrier; and what waits for it, and what does not.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "bed.h"

#define DEVICES 4

/* ------------------------------------------------------------- beside devices */

struct writer {
	struct bed *bed;
	_Atomic bool *stop;
	pthread_t thread;
	_Atomic bool began;
	uint64_t landed, blocked;
};

/* One word at iova 0, as fast as may be. */
static void *write_on(void *arg)
{
	const uint64_t stamp = 1;
	struct writer *w = arg;
	struct viommu_thread *t;

	if (viommu_thread_create(w->bed->viommu, &t)) {
		w->began = true;
		return NULL;
	}
	while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
		if (viommu_write(t, w->bed->device, 0, &stamp, sizeof(stamp)))
			w->blocked++;
		else
			w->landed++;
		atomic_store_explicit(&w->began, true, memory_order_relaxed);
	}
	viommu_thread_destroy(t);
	return NULL;
}

/* The page is the driver's again: what lands there now is stale. */
static unsigned look(struct bed *b, uint64_t gpa)
{
	uint64_t *word = (uint64_t *)(void *)(b->ram + gpa);
	unsigned stale = 0;

	__atomic_store_n(word, 0, __ATOMIC_RELAXED);
	for (unsigned looks = 0; looks < 4; looks++) {
		sched_yield();
		stale += __atomic_load_n(word, __ATOMIC_RELAXED) != 0;
	}
	return stale;
}

/* Each gives the device the page `to` in place of `from`, and tells what came to that afterwards. */

static unsigned move_by_unmap(struct bed *b, uint64_t from, uint64_t to)
{
	unsigned stale;

	assert_int_equal(bed_unmap(b, 1, 0, PAGE - 1), OK);
	stale = look(b, from);
	assert_int_equal(bed_map(b, 1, 0, PAGE - 1, to, RW), OK);
	return stale + look(b, from);
}

static unsigned move_by_detach(struct bed *b, uint64_t from, uint64_t to)
{
	unsigned stale;

	assert_int_equal(bed_detach(b, 1, EP), OK);
	stale = look(b, from);
	assert_int_equal(bed_attach(b, 1, EP, 0), OK);
	assert_int_equal(bed_map(b, 1, 0, PAGE - 1, to, RW), OK);
	return stale + look(b, from);
}

/* Domain 1 has page 1, domain 2 has page 2, and both have an endpoint that stays in them. */
static unsigned move_by_attach(struct bed *b, uint64_t from, uint64_t to)
{
	assert_int_equal(bed_attach(b, (uint32_t)(to / PAGE), EP, 0), OK);
	return look(b, from);
}

static void race(struct bed *b, unsigned (*move)(struct bed *b, uint64_t from, uint64_t to))
{
	struct writer writers[DEVICES];
	_Atomic bool stop = false;
	uint64_t landed = 0;
	unsigned stale = 0;

	for (unsigned i = 0; i < DEVICES; i++) {
		writers[i] = (struct writer){.bed = b, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
	}
	for (unsigned i = 0; i < DEVICES; i++)
		while (!atomic_load(&writers[i].began))
			sched_yield();
	for (unsigned round = 0; round < 12; round++) {
		stale += move(b, PAGE, 2 * PAGE);
		stale += move(b, 2 * PAGE, PAGE);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < DEVICES; i++) {
		pthread_join(writers[i].thread, NULL);
		landed += writers[i].landed;
	}
	assert_int_equal(stale, 0);
	assert_true(landed > 0);
	/* In no domain, and with bypass, iova 0 is gpa 0. */
	assert_int_equal(b->ram[0], 0);
}

static void begin_race(struct bed *b)
{
	const struct viommu_virtio_options options = {.sz = sizeof(options), .blocked = true};

	bed_begin(b, &options);
	assert_int_equal(bed_attach(b, 1, EP, 0), OK);
	assert_int_equal(bed_map(b, 1, 0, PAGE - 1, PAGE, RW), OK);
}

static void test_unmap_is_a_barrier(void **state)
{
	struct bed b;

	(void)state;
	begin_race(&b);
	race(&b, move_by_unmap);
	bed_end(&b);
}

static void test_detach_is_a_barrier(void **state)
{
	struct bed b;

	(void)state;
	begin_race(&b);
	race(&b, move_by_detach);
	bed_end(&b);
}

/* Also: between two domains an endpoint is never in none, where all memory would be its own. */
static void test_attach_elsewhere_is_a_barrier(void **state)
{
	struct viommu_requester *third;
	struct bed b;

	(void)state;
	begin_race(&b);
	assert_int_equal(viommu_requester_add(b.viommu, 5, &third), 0);
	assert_int_equal(bed_attach(&b, 2, EP2, 0), OK);
	assert_int_equal(bed_attach(&b, 1, SEGMENT << 16 | 5, 0), OK);
	assert_int_equal(bed_map(&b, 2, 0, PAGE - 1, 2 * PAGE, RW), OK);
	bed_set_bypass(&b, 1);
	race(&b, move_by_attach);
	bed_end(&b);
}

/* ------------------------------------------------------------ what is waited for */

/* A device that is inside, by a thread of its own. */
struct inside {
	struct viommu_thread *thread;
};

static void go_inside(struct bed *b, struct inside *i, uint64_t iova)
{
	struct viommu_span span;

	assert_int_equal(viommu_thread_create(b->viommu, &i->thread), 0);
	viommu_enter(i->thread);
	assert_int_equal(viommu_translate(i->thread, b->device, iova, 1, VIOMMU_WRITE, &span), 0);
}

static void come_out(struct inside *i)
{
	viommu_exit(i->thread);
	viommu_thread_destroy(i->thread);
}

static void process_for_a_while(struct bed *b)
{
	for (unsigned i = 0; i < 50; i++)
		assert_true(viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING);
}

/* The answer comes when the device has come out, and what was asked for behind it is done before. */
static void expect_to_wait(struct bed *b, const uint8_t *request, size_t length, uint64_t iova)
{
	uint8_t behind[VIOMMU_REQUEST_BYTES];
	struct inside i;

	go_inside(b, &i, iova);
	bed_submit(b, request, length, 4);
	bed_submit(b, behind, bed_write_map(behind, 2, 8 * PAGE, 9 * PAGE - 1, 8 * PAGE, RW), 4);
	process_for_a_while(b);
	assert_int_equal(bed_answer(b), WAITING);
	bed_lands(b, b->device2, 8 * PAGE, 8 * PAGE);
	come_out(&i);
	bed_settle(b);
	assert_int_equal(bed_answer(b), OK);
	assert_int_equal(bed_answer(b), OK);
	assert_int_equal(bed_answer(b), WAITING);
	assert_int_equal(bed_unmap(b, 2, 8 * PAGE, 9 * PAGE - 1), OK);
}

static void test_answers_wait_for_accesses_in_flight(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 2, EP2, 0), OK);
	/* Out of bypass. */
	expect_to_wait(&b, request, bed_write_attach(request, 1, EP, 0), 4 * PAGE);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	expect_to_wait(&b, request, bed_write_unmap(request, 1, 0, PAGE - 1), 0);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	expect_to_wait(&b, request, bed_write_attach(request, 3, EP, 0), 0);
	assert_int_equal(bed_map(&b, 3, 0, PAGE - 1, PAGE, RW), OK);
	expect_to_wait(&b, request, bed_write_detach(request, 3, EP), 0);
	bed_end(&b);
}

/* What takes nothing away is answered beside them; a MAP that is seen by the next access, too. */
static void test_other_answers_do_not_wait(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct inside i;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	go_inside(&b, &i, 0);
	bed_refused(&b, b.device, 4 * PAGE, 2);
	assert_int_equal(bed_map(&b, 1, 4 * PAGE, 5 * PAGE - 1, 2 * PAGE, RW), OK);
	bed_lands(&b, b.device, 4 * PAGE, 2 * PAGE);
	assert_int_equal(bed_ask(&b, request, bed_write_probe(request, EP), 516), OK);
	assert_int_equal(bed_unmap(&b, 1, 8 * PAGE, 9 * PAGE - 1), OK); /* a hole */
	assert_int_equal(bed_unmap(&b, 1, 0, 1), RANGE);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	come_out(&i);
	bed_end(&b);
}

static void test_bypass_off_is_over_when_nothing_is_pending(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct inside i;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	go_inside(&b, &i, 0);
	bed_set_bypass(&b, 0);
	process_for_a_while(&b);
	assert_int_equal(bed_config8(&b, 36), 0);
	assert_int_equal(bed_put(&b, 0, 1), -EACCES);
	bed_submit(&b, request, bed_write_attach(request, 1, EP, 0), 4);
	process_for_a_while(&b);
	assert_int_equal(bed_answer(&b), WAITING);
	come_out(&i);
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	bed_end(&b);
}

static void on_revoke(struct viommu_pin *pin)
{
	++*(unsigned *)pin->opaque;
}

static void test_pins_are_asked_back_and_waited_for(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	unsigned revoked = 0, revoked_other = 0;
	struct viommu_pin pin = {.revoke = on_revoke, .opaque = &revoked};
	struct viommu_pin other = {.revoke = on_revoke, .opaque = &revoked_other};
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(bed_map(&b, 1, PAGE, 2 * PAGE - 1, 2 * PAGE, RW), OK);
	assert_int_equal(viommu_pin(b.thread, b.device, 0, 8, VIOMMU_WRITE, &pin), 0);
	assert_int_equal(viommu_pin(b.thread, b.device, PAGE, 8, VIOMMU_WRITE, &other), 0);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, PAGE - 1), 4);
	process_for_a_while(&b);
	assert_int_equal(revoked, 1);
	assert_int_equal(bed_answer(&b), WAITING);
	viommu_unpin(&pin);
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	assert_int_equal(revoked_other, 0);
	/* With its domain all of them. */
	bed_submit(&b, request, bed_write_detach(request, 1, EP), 4);
	process_for_a_while(&b);
	assert_int_equal(revoked_other, 1);
	viommu_unpin(&other);
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	bed_end(&b);
}

/* A batch is waited for once, and what comes while that wait is under way once more. */
static void test_a_batch_waits_once(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct inside i;
	uint64_t drains;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned n = 0; n < 100; n++)
		assert_int_equal(bed_map(&b, 1, n * PAGE, (n + 1) * PAGE - 1, n * PAGE, RW), OK);
	drains = bed_counter(&b, "drains");
	go_inside(&b, &i, 0);
	for (unsigned n = 0; n < 100; n++) {
		bed_submit(&b, request, bed_write_unmap(request, 1, n * PAGE, (n + 1) * PAGE - 1), 4);
		if (n >= 49)
			process_for_a_while(&b);
	}
	come_out(&i);
	bed_settle(&b);
	for (unsigned n = 0; n < 100; n++)
		assert_int_equal(bed_answer(&b), OK);
	assert_int_equal(bed_answer(&b), WAITING);
	assert_int_equal(bed_counter(&b, "drains"), drains + 2);
	bed_end(&b);
}

/* --------------------------------------------------------------- the driver's reset */

static void test_reset_of_the_driver(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct inside i;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(bed_put(&b, 4 * PAGE, 1), -EACCES);
	bed_settle(&b);
	go_inside(&b, &i, 0);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, PAGE - 1), 4);
	process_for_a_while(&b);
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(viommu_driver_reset(b.viommu, false), VIOMMU_PROCESS_PENDING);
		process_for_a_while(&b);
		/* Whatever comes in its midst would be forgotten. */
		assert_int_equal(viommu_request_submit(b.viommu, 7, request,
						       bed_write_attach(request, 1, EP, 0), 4),
				 -EAGAIN);
	}
	come_out(&i);
	bed_settle(&b);
	assert_int_equal(viommu_driver_reset(b.viommu, false), 0);
	b.answered++;
	/* Nothing is left of the request, the event, the features and the domain. */
	assert_int_equal(bed_answer(&b), WAITING);
	assert_false(bed_event(&b, request));
	bed_lands(&b, b.device, 4 * PAGE, 4 * PAGE);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), UNSUPP);
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), NOENT);
	/* The field `bypass` outlives it, and ends with a reset of the unit. */
	bed_set_bypass(&b, 0);
	bed_settle(&b);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	assert_int_equal(bed_config8(&b, 36), 0);
	viommu_reset(b.viommu);
	assert_int_equal(bed_config8(&b, 36), 1);
	bed_end(&b);
}

/* A Linux that shuts down resets the IOMMU, and its disk goes on with the addresses that it was given. */
static void test_domains_outlive_the_driver(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	bed_lands(&b, b.device, 0, PAGE);
	bed_refused(&b, b.device, 4 * PAGE, 2);
	/* The next one does not find them, and each device stays until it is attached itself. */
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	assert_int_equal(bed_ask(&b, request, bed_write_probe(request, EP), 516), OK);
	assert_int_equal(bed_map(&b, 1, PAGE, 2 * PAGE - 1, PAGE, RW), NOENT);
	assert_int_equal(bed_unmap(&b, 1, 0, PAGE - 1), NOENT);
	assert_int_equal(bed_detach(&b, 1, EP), INVAL);
	assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
	bed_refused(&b, b.device2, 0, 2);
	assert_int_equal(bed_detach(&b, 1, EP), INVAL);
	/* A further reset, with domains of two drivers. */
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	bed_lands(&b, b.device, 0, PAGE);
	bed_refused(&b, b.device2, 0, 2);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	bed_refused(&b, b.device, 0, 2);
	assert_int_equal(bed_detach(&b, 1, EP), OK);
	bed_lands(&b, b.device, 4 * PAGE, 4 * PAGE);
	assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
	/* Or says that nobody reaches anything without a domain. */
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	bed_set_bypass(&b, 0);
	bed_settle(&b);
	bed_refused(&b, b.device, 0, 1);
	/* Where that is so already nothing is kept. */
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	bed_refused(&b, b.device, 0, 1);
	bed_end(&b);
}

/* A reset that keeps nothing ends it for all, and so does one of the unit; `bypass` off spares the new
 * domains. */
static void test_what_ends_the_keeping(void **state)
{
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	for (unsigned way = 0; way < 3; way++) {
		assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
		assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
		assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
		assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
		assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
		bed_refused(&b, b.device, 4 * PAGE, 2);
		if (way == 0) {
			bed_set_bypass(&b, 0);
			bed_settle(&b);
			bed_refused(&b, b.device, 4 * PAGE, 1);
			bed_lands(&b, b.device2, 0, PAGE);
			bed_set_bypass(&b, 1);
		} else if (way == 1) {
			assert_int_equal(viommu_driver_reset(b.viommu, false), 0);
		} else {
			viommu_reset(b.viommu);
		}
		bed_lands(&b, b.device, 4 * PAGE, 4 * PAGE);
		assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
	}
	bed_end(&b);
}

/* What was taken away before the reset is not in a cache afterwards. */
static void test_reset_in_the_middle_of_an_unmap(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned n = 0; n < 8; n++)
		assert_int_equal(bed_map(&b, 1, n * PAGE, (n + 1) * PAGE - 1, n * PAGE, RW), OK);
	bed_lands(&b, b.device, 0, 0);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, UINT64_MAX), 4);
	viommu_process(b.viommu, 4);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	bed_refused(&b, b.device, 0, 2);
	bed_lands(&b, b.device, 7 * PAGE, 7 * PAGE);
	bed_end(&b);
}

/* The driver's features change there, too: the UNMAP goes on as it began. */
static void test_features_in_the_middle_of_an_unmap(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	for (unsigned n = 0; n < 8; n++)
		assert_int_equal(bed_map(&b, 1, n * PAGE, (n + 1) * PAGE - 1, n * PAGE, RW), OK);
	bed_lands(&b, b.device, 0, 0);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, UINT64_MAX), 4);
	viommu_process(b.viommu, 4);
	assert_int_equal(viommu_features_accept(b.viommu, F_BYPASS_CONFIG), 0);
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	bed_refused(&b, b.device, 0, 2);
	bed_refused(&b, b.device, 7 * PAGE, 2);
	assert_int_equal(bed_unmap(&b, 1, 0, UINT64_MAX), UNSUPP);
	bed_end(&b);
}

/* One that keeps nothing, while one that keeps is waited for. */
static void test_stricter_reset_while_one_is_under_way(void **state)
{
	uint8_t request[VIOMMU_REQUEST_BYTES];
	struct inside i;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	go_inside(&b, &i, 0);
	bed_submit(&b, request, bed_write_unmap(request, 1, 0, PAGE - 1), 4);
	process_for_a_while(&b);
	assert_int_equal(viommu_driver_reset(b.viommu, true), VIOMMU_PROCESS_PENDING);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(viommu_driver_reset(b.viommu, false), VIOMMU_PROCESS_PENDING);
	come_out(&i);
	bed_settle(&b);
	assert_int_equal(viommu_driver_reset(b.viommu, false), 0);
	bed_lands(&b, b.device, 4 * PAGE, 4 * PAGE);
	bed_end(&b);
}

/* ------------------------------------------------- what no endpoint reaches for a moment */

#define OTHERS 200

/* 200 more, each in a domain of its own, so that all of them take their time to leave. */
static void add_others(struct bed *b)
{
	struct viommu_requester *other;

	for (unsigned i = 0; i < OTHERS; i++)
		assert_int_equal(viommu_requester_add(b->viommu, (uint16_t)(0x1000 + i), &other), 0);
}

static void attach_all(struct bed *b)
{
	for (unsigned i = 0; i < OTHERS; i++)
		assert_int_equal(bed_attach(b, 100 + i, SEGMENT << 16 | (0x1000 + i), 0), OK);
	assert_int_equal(bed_attach(b, 1, EP, 0), OK);
	bed_set_bypass(b, 1);
	bed_settle(b);
}

/* The unit blocks what is in no domain, before its guest says otherwise and after a reset or a restoration.
 */
static void test_blocked_all_along(void **state)
{
	const struct viommu_virtio_options options = {.sz = sizeof(options), .blocked = true};
	static uint8_t bytes[4096];
	struct writer w = {.began = false};
	_Atomic bool stop = false;
	int64_t length;
	struct bed b;

	(void)state;
	bed_begin(&b, &options);
	length = viommu_save(b.viommu, bytes, sizeof(bytes));
	assert_true(length > 0);
	add_others(&b);
	attach_all(&b);
	w = (struct writer){.bed = &b, .stop = &stop};
	assert_int_equal(pthread_create(&w.thread, NULL, write_on, &w), 0);
	while (!atomic_load(&w.began))
		sched_yield();
	for (unsigned round = 0; round < 20; round++) {
		if (round % 2)
			viommu_reset(b.viommu);
		else
			assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)length), 0);
		assert_int_equal(viommu_features_accept(b.viommu, F_ALL), 0);
		attach_all(&b);
	}
	atomic_store(&stop, true);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.landed, 0);
	bed_end(&b);
}

/* Nothing is taken away by a reset that keeps, so nobody is asked for a pin. */
static void test_keeping_reset_leaves_pins(void **state)
{
	unsigned revoked = 0;
	struct viommu_pin pin = {.revoke = on_revoke, .opaque = &revoked};
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP, 0), OK);
	assert_int_equal(bed_map(&b, 1, 0, PAGE - 1, PAGE, RW), OK);
	assert_int_equal(viommu_pin(b.thread, b.device, 0, 8, VIOMMU_WRITE, &pin), 0);
	assert_int_equal(viommu_driver_reset(b.viommu, true), 0);
	assert_int_equal(revoked, 0);
	assert_int_equal(viommu_driver_reset(b.viommu, false), VIOMMU_PROCESS_PENDING);
	assert_int_equal(revoked, 1);
	viommu_unpin(&pin);
	bed_settle(&b);
	assert_int_equal(viommu_driver_reset(b.viommu, false), 0);
	bed_end(&b);
}

/* ------------------------------------------------- beside a call that waits itself */

static void *remove_memory(void *arg)
{
	struct bed *b = arg;

	viommu_mem_remove(b->viommu, 0, RAM_SIZE);
	return NULL;
}

static void test_nothing_waits_for_calls_that_wait(void **state)
{
	uint8_t bytes[VIOMMU_ANSWER_BYTES];
	pthread_t remover;
	struct inside i;
	uint64_t token;
	struct bed b;

	(void)state;
	bed_begin(&b, NULL);
	assert_int_equal(bed_attach(&b, 1, EP2, 0), OK);
	go_inside(&b, &i, 0);
	bed_submit(&b, bytes, bed_write_probe(bytes, EP), 516);
	assert_int_equal(pthread_create(&remover, NULL, remove_memory, &b), 0);
	while (viommu_event_take(b.viommu, bytes, sizeof(bytes)) != -EBUSY)
		sched_yield();
	assert_int_equal(viommu_request_submit(b.viommu, 9, bytes, 72, 516), -EBUSY);
	assert_int_equal(viommu_request_answer(b.viommu, &token, bytes, sizeof(bytes)), -EBUSY);
	assert_int_equal(viommu_driver_reset(b.viommu, false), VIOMMU_PROCESS_PENDING);
	come_out(&i);
	pthread_join(remover, NULL);
	/* None of them has done anything. */
	bed_settle(&b);
	assert_int_equal(bed_answer(&b), OK);
	assert_int_equal(bed_answer(&b), WAITING);
	assert_int_equal(viommu_write(b.thread, b.device2, 0, bytes, 1), -EACCES);
	bed_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmap_is_a_barrier),
		cmocka_unit_test(test_detach_is_a_barrier),
		cmocka_unit_test(test_attach_elsewhere_is_a_barrier),
		cmocka_unit_test(test_answers_wait_for_accesses_in_flight),
		cmocka_unit_test(test_other_answers_do_not_wait),
		cmocka_unit_test(test_bypass_off_is_over_when_nothing_is_pending),
		cmocka_unit_test(test_pins_are_asked_back_and_waited_for),
		cmocka_unit_test(test_a_batch_waits_once),
		cmocka_unit_test(test_reset_of_the_driver),
		cmocka_unit_test(test_domains_outlive_the_driver),
		cmocka_unit_test(test_what_ends_the_keeping),
		cmocka_unit_test(test_reset_in_the_middle_of_an_unmap),
		cmocka_unit_test(test_features_in_the_middle_of_an_unmap),
		cmocka_unit_test(test_stricter_reset_while_one_is_under_way),
		cmocka_unit_test(test_blocked_all_along),
		cmocka_unit_test(test_keeping_reset_leaves_pins),
		cmocka_unit_test(test_nothing_waits_for_calls_that_wait),
	};

	return cmocka_run_group_tests_name("virtio-iommu barrier", tests, NULL, NULL);
}
