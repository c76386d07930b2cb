/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/loop.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "daemon/counters.h"
#include "os/clock.h"

int loop_init(struct loop *l)
{
	*l = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return l->epoll < 0 ? -errno : 0;
}

int loop_add(struct loop *l, int fd, loop_fn ready, void *arg, struct vm_counters *counters)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = l->count};

	if (l->count == LOOP_SOURCES_MAX)
		return -ENOSPC;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	l->sources[l->count++] = (struct loop_source){
		.ready = ready, .arg = arg, .counters = counters, .last_step = l->steps++};
	return 0;
}

/*
 * Processor time is what a step cost, whoever else wanted the processor; time by
 * the clock is what the others waited. A thread has spent next to none between two
 * steps, so the clock of the first, a system call, is read once for each.
 */
static void run_step(struct loop *l, const struct loop_source *source)
{
	uint64_t began = os_clock_ns(CLOCK_MONOTONIC), cpu;

	source->ready(source->arg);
	cpu = os_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (source->counters) {
		vm_count_maximum(source->counters, VM_COUNT_main_step_ns_max,
				 os_clock_ns(CLOCK_MONOTONIC) - began);
		vm_count_maximum(source->counters, VM_COUNT_main_step_cpu_ns_max, cpu - l->cpu_ns);
	}
	l->cpu_ns = cpu;
}

/*
 * A VM has a source for each function, unit and client, and a turn of each would be
 * some twenty for it and one for another. So the one of its sources that has waited longest has a step
 * in a round; the others stay readable.
 */
static bool has_waited_longest(const struct loop *l, const struct loop_source *source,
			       const struct epoll_event *ready, int count)
{
	for (int i = 0; source->counters && i < count; i++) {
		const struct loop_source *other = &l->sources[ready[i].data.u32];

		if (other->counters == source->counters && other->last_step < source->last_step)
			return false;
	}
	return true;
}

/* Chosen before any has its step, since that changes who has waited longest. */
static int choose(const struct loop *l, const struct epoll_event *ready, int count,
		  uint32_t chosen[LOOP_SOURCES_MAX])
{
	int n = 0;

	for (int i = 0; i < count; i++) {
		if (has_waited_longest(l, &l->sources[ready[i].data.u32], ready, count))
			chosen[n++] = ready[i].data.u32;
	}
	return n;
}

static void run_round(struct loop *l, const struct epoll_event *ready, int count)
{
	uint32_t chosen[LOOP_SOURCES_MAX];
	int n = choose(l, ready, count, chosen);

	for (int i = 0; i < n; i++) {
		l->sources[chosen[i]].last_step = l->steps++;
		run_step(l, &l->sources[chosen[i]]);
	}
}

int loop_run(struct loop *l)
{
	struct epoll_event events[LOOP_SOURCES_MAX];

	l->cpu_ns = os_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	while (!l->stop) {
		int n = epoll_wait(l->epoll, events, LOOP_SOURCES_MAX, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		run_round(l, events, n);
	}
	return 0;
}

void loop_finish(struct loop *l)
{
	if (l->epoll >= 0)
		close(l->epoll);
}
