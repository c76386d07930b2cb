/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which CPUs the driver and the sidecore that serves it run on while calls are
 * timed: not the same, or the time is mostly that of the scheduler. A scheduler
 * that has other work for each CPU puts the two on one now and then, and leaves
 * them there.
 *
 * That is for two threads that spin. Where one sleeps while the other works, as with
 * trapped registers, CPUs are not to be divided: the one that wakes would wait for its
 * own CPU, which others use, though another is free.
 */
#ifndef CLI_REPLAY_CORES_H
#define CLI_REPLAY_CORES_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

struct replay_cores {
	cpu_set_t before, others;
	bool is_divided; /* false: not asked for, there is one CPU only, or it is not allowed */
};

/* The calling thread, the driver, stays on the CPU where it is. */
void replay_cores_divide(struct replay_cores *c);
/*
 * A thread on one of the other CPUs, if they are divided; where those have gone
 * meanwhile the CPUs are divided no longer. Returns 0 or a negative errno.
 */
int replay_cores_start(struct replay_cores *c, pthread_t *ret_thread, void *(*run)(void *arg), void *arg);
/* The calling thread may run where it could before. */
void replay_cores_restore(struct replay_cores *c);

#endif
