/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has a CPU for itself while calls are timed, and who has not. */
#include "testing.h"

#include "cli/replay/machine.h"
#include "cli/replay/steps.h"

static struct replay_machine machine;

static int allowed_cpus(void)
{
	cpu_set_t allowed;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	return CPU_COUNT(&allowed);
}

/* How many CPUs the driver may run on, meanwhile. */
static int cpus_of_the_driver(enum replay_registers registers)
{
	struct replay_steps steps;
	struct replay_memory memory;
	int cpus;

	assert_int_equal(replay_steps_init(&steps), 0);
	assert_int_equal(replay_steps_add(&steps, &(struct trace_step){.kind = TRACE_MAP,
								       .direction = TRACE_TO_DEVICE,
								       .phys = 0x1000,
								       .len = 4096}),
			 0);
	assert_int_equal(replay_memory_init(&memory, &steps.blocks), 0);
	assert_int_equal(replay_machine_init(&machine, 1, registers, &memory, 0), 0);
	cpus = allowed_cpus();
	replay_machine_finish(&machine);
	replay_memory_finish(&memory);
	replay_steps_finish(&steps);
	return cpus;
}

/* Who answers a trapped access sleeps until there is one, and wakes wherever there is a CPU. */
static void test_only_for_who_spins(void **state)
{
	int before = allowed_cpus();

	(void)state;
	assert_int_equal(cpus_of_the_driver(REPLAY_TRAP), before);
	assert_int_equal(cpus_of_the_driver(REPLAY_SIDECORE), 1);
	assert_int_equal(allowed_cpus(), before);
}

static void *run(void *arg)
{
	*(int *)arg = allowed_cpus();
	return NULL;
}

/* The thread is there, and not on the one CPU of the driver. */
static void test_cpus_that_have_gone(void **state)
{
	int before = allowed_cpus(), found = 0;
	struct replay_cores c;
	pthread_t thread;

	(void)state;
	replay_cores_divide(&c);
	CPU_ZERO(&c.others);
	assert_int_equal(replay_cores_start(&c, &thread, run, &found), 0);
	pthread_join(thread, NULL);
	assert_int_equal(found, before);
	assert_false(c.is_divided);
	assert_int_equal(allowed_cpus(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_for_who_spins),
		cmocka_unit_test(test_cpus_that_have_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
