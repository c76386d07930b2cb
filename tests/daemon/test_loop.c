/* SPDX-License-Identifier: BSD-3-Clause */
/* The main thread's loop: whose step processor time is counted for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/counters.h"
#include "daemon/loop.h"

#define SHORT_NS 1000
#define LONG_NS	 900000000

int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

static uint64_t now;

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	*t = (struct timespec){.tv_sec = (time_t)(now / 1000000000), .tv_nsec = (long)(now % 1000000000)};
	return 0;
}

static struct loop loop;

struct source {
	int fd;
	uint64_t takes_ns;
	struct source *next; /* that becomes ready; NULL: the loop stops */
};

static void make_ready(const struct source *s)
{
	assert_int_equal(eventfd_write(s->fd, 1), 0);
}

static void step(void *arg)
{
	struct source *s = arg;
	eventfd_t count;

	assert_int_equal(eventfd_read(s->fd, &count), 0);
	now += s->takes_ns;
	if (s->next)
		make_ready(s->next);
	else
		loop.stop = true;
}

static uint64_t count(const struct vm_counters *c, enum vm_counter which)
{
	return atomic_load(&c->values[which]);
}

static void a_step_pays_for_itself_alone(void **test)
{
	struct vm_counters first = {0}, second = {0};
	struct source last = {.takes_ns = SHORT_NS}, of_nobody = {.takes_ns = LONG_NS, .next = &last},
		      begin = {.takes_ns = 2 * SHORT_NS, .next = &of_nobody};
	struct source *sources[] = {&begin, &of_nobody, &last};
	struct vm_counters *counters[] = {&first, NULL, &second};

	assert_int_equal(loop_init(&loop), 0);
	for (unsigned i = 0; i < 3; i++) {
		sources[i]->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_int_equal(loop_add(&loop, sources[i]->fd, step, sources[i], counters[i]), 0);
	}
	make_ready(&begin);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(count(&first, VM_COUNT_main_step_cpu_ns_max), 2 * SHORT_NS);
	assert_int_equal(count(&first, VM_COUNT_main_step_ns_max), 2 * SHORT_NS);
	assert_int_equal(count(&second, VM_COUNT_main_step_cpu_ns_max), SHORT_NS);
	assert_int_equal(count(&second, VM_COUNT_main_step_ns_max), SHORT_NS);
	loop_finish(&loop);
	for (unsigned i = 0; i < 3; i++)
		close(sources[i]->fd);
}

#define OF_MANY 13
#define STEPS	1000

/* Ready for ever. */
struct endless {
	int fd;
	unsigned steps;
};

static unsigned steps_left;

static void step_endless(void *arg)
{
	struct endless *s = arg;

	s->steps++;
	steps_left -= steps_left > 0;
	loop.stop = !steps_left;
}

static void a_vm_with_many_connections_has_one_step_a_round(void **test)
{
	struct vm_counters many = {0}, one = {0};
	struct endless of_many[OF_MANY] = {0}, of_one = {0};
	unsigned steps = 0;

	assert_int_equal(loop_init(&loop), 0);
	for (unsigned i = 0; i < OF_MANY; i++) {
		of_many[i].fd = eventfd(1, EFD_CLOEXEC);
		assert_int_equal(loop_add(&loop, of_many[i].fd, step_endless, &of_many[i], &many), 0);
	}
	of_one.fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(loop_add(&loop, of_one.fd, step_endless, &of_one, &one), 0);
	steps_left = STEPS;
	assert_int_equal(loop_run(&loop), 0);
	for (unsigned i = 0; i < OF_MANY; i++) {
		assert_in_range(of_many[i].steps, STEPS / 2 / OF_MANY, STEPS / 2 / OF_MANY + 1);
		steps += of_many[i].steps;
		close(of_many[i].fd);
	}
	assert_int_equal(steps, STEPS / 2);
	assert_int_equal(of_one.steps, STEPS / 2);
	close(of_one.fd);
	loop_finish(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_step_pays_for_itself_alone),
		cmocka_unit_test(a_vm_with_many_connections_has_one_step_a_round),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
