/* SPDX-License-Identifier: BSD-3-Clause */
/* The main thread's event loop: descriptors and what to call when they are readable. */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* Signals; of each of 8 VMs 4 units and their timers, 12 controllers, the control socket. */
#define LOOP_SOURCES_MAX 169

struct vm_counters;

typedef void (*loop_fn)(void *arg);

struct loop {
	int epoll;
	bool stop; /* set by a callback: leave loop_run() */
	unsigned count;
	uint64_t cpu_ns; /* of the thread, when the last callback had returned */
	uint64_t steps;
	struct loop_source {
		loop_fn ready;
		void *arg;
		struct vm_counters *counters;
		uint64_t last_step;
	} sources[LOOP_SOURCES_MAX];
};

/*
 * Each returns 0 or a negative errno. Sources stay until loop_finish(). How long
 * the longest call of `ready` took is kept in `counters`, those of the VM that it
 * works for; NULL: of none. VMs have a step each in turn, however many sources of
 * one are ready; these have it one after the other.
 */
int loop_init(struct loop *l);
int loop_add(struct loop *l, int fd, loop_fn ready, void *arg, struct vm_counters *counters);
int loop_run(struct loop *l);
void loop_finish(struct loop *l);

#endif
