/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/work_thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "daemon/counters.h"
#include "daemon/vm.h"

#define UNIT_BUDGET 256 /* steps of a unit before the controllers get their turn */
#define NVME_BUDGET 64
#define SLACK_NS    1000 /* the usual 50 us of timer slack would blur short naps */

struct work_thread {
	struct work_options options;
	bool all_trap; /* no VM has polled registers */
	pthread_t thread;
	_Atomic bool stop;

	/* The thread's own. */
	unsigned fd_count;
	struct pollfd fds[1 + VM_MAX * NVME_MAX];
	uint64_t idle_since_ns; /* 0: it worked in the last round */
	uint64_t counted_ns;	/* time is counted up to here */
	unsigned busy_rounds;	/* since then */
	unsigned nap_us;	/* how long the next nap would be */
	bool pending;		/* an invalidation waits for accesses in flight */
};

static _Thread_local bool is_current;

bool work_thread_is_current(void)
{
	return is_current;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * Time is counted where the clock is read anyway: at the end of a round without
 * work, and around sleep. A stretch of busy rounds ends with the first idle
 * one; a long one is told of meanwhile.
 */
#define BUSY_ROUNDS_UNTOLD 256

static void spend(struct work_thread *w, enum sidecore_counter which, uint64_t now)
{
	sidecore_count(w->options.counters, which, now - w->counted_ns);
	w->counted_ns = now;
	w->busy_rounds = 0;
}

static void count_busy_round(struct work_thread *w)
{
	sidecore_count(w->options.counters, SIDECORE_COUNT_sidecore_polls, 1);
	sidecore_count(w->options.counters, SIDECORE_COUNT_sidecore_busy_polls, 1);
	if (++w->busy_rounds == BUSY_ROUNDS_UNTOLD)
		spend(w, SIDECORE_COUNT_sidecore_busy_ns, now_ns());
}

static void count_idle_round(struct work_thread *w, uint64_t now)
{
	sidecore_count(w->options.counters, SIDECORE_COUNT_sidecore_polls, 1);
	spend(w, w->busy_rounds ? SIDECORE_COUNT_sidecore_busy_ns : SIDECORE_COUNT_sidecore_idle_ns, now);
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* ------------------------------------------------------------------- a round */

static unsigned process_unit(struct work_thread *w, struct unit *u)
{
	int done = viommu_process(u->v, UNIT_BUDGET);

	if (done < 0)
		return 0;
	if (done & VIOMMU_PROCESS_PENDING)
		w->pending = true;
	return (unsigned)done & ~(unsigned)VIOMMU_PROCESS_PENDING;
}

/* Each returns the steps done. */

static unsigned work_for(struct work_thread *w, struct vm *vm)
{
	unsigned steps = 0;

	for (unsigned i = 0; i < vm->unit_count; i++)
		steps += process_unit(w, vm->units[i]);
	for (unsigned i = 0; i < vm->nvme_count; i++)
		steps += nvme_function_poll(vm->nvme[i], NVME_BUDGET);
	return steps;
}

static unsigned work(struct work_thread *w)
{
	unsigned steps = 0;

	w->pending = false;
	for (unsigned i = 0; i < w->options.vm_count; i++)
		steps += work_for(w, w->options.vms[i]);
	return steps;
}

/* --------------------------------------------------------------------- sleep */

static bool keep_polling(struct work_thread *w)
{
	uint64_t now = now_ns();

	count_idle_round(w, now);
	if (w->all_trap && !w->pending)
		return false;
	if (!w->idle_since_ns)
		w->idle_since_ns = now;
	return now - w->idle_since_ns < w->options.idle_us * 1000ull;
}

static bool arm(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvme_count; i++) {
		if (!nvme_arm(nvme_function_controller(vm->nvme[i])))
			return false;
	}
	return true;
}

static bool arm_all(struct work_thread *w)
{
	for (unsigned i = 0; i < w->options.vm_count; i++) {
		if (!arm(w->options.vms[i]))
			return false;
	}
	return true;
}

static bool registers_are_polled(struct work_thread *w)
{
	for (unsigned i = 0; i < w->options.vm_count; i++) {
		if (vm_registers_are_polled(w->options.vms[i]))
			return true;
	}
	return false;
}

/* NULL: until something wakes us. */
static const struct timespec *next_nap(struct work_thread *w, struct timespec *nap)
{
	if (w->pending)
		w->nap_us = WORK_NAP_FIRST_US;
	else if (!registers_are_polled(w))
		return NULL;
	*nap = (struct timespec){.tv_nsec = w->nap_us * 1000L};
	w->nap_us = w->nap_us * 2 < WORK_NAP_LAST_US ? w->nap_us * 2 : WORK_NAP_LAST_US;
	return nap;
}

static void sleep_a_while(struct work_thread *w)
{
	struct timespec nap;
	const struct timespec *timeout = next_nap(w, &nap);
	int n;

	if (!arm_all(w) || !waker_fall_asleep(w->options.waker))
		return;
	n = ppoll(w->fds, w->fd_count, timeout, NULL);
	waker_woke(w->options.waker);
	sidecore_count(w->options.counters, SIDECORE_COUNT_sidecore_sleeps, 1);
	spend(w, SIDECORE_COUNT_sidecore_sleep_ns, now_ns());
	if (n > 0) {
		w->idle_since_ns = 0;
		w->nap_us = WORK_NAP_FIRST_US;
	}
}

/* -------------------------------------------------------------------- thread */

static void *run(void *arg)
{
	struct work_thread *w = arg;

	is_current = true;
	pthread_setname_np(pthread_self(), "sidecore");
	prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0);
	w->counted_ns = now_ns();
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		waker_begin(w->options.waker);
		if (work(w)) {
			count_busy_round(w);
			w->idle_since_ns = 0;
			w->nap_us = WORK_NAP_FIRST_US;
		} else if (keep_polling(w)) {
			relax();
		} else {
			sleep_a_while(w);
		}
	}
	return NULL;
}

static int create_thread(struct work_thread *w)
{
	int cpu = w->options.cpu, err;
	pthread_attr_t attr;
	cpu_set_t set;

	pthread_attr_init(&attr);
	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	err = pthread_create(&w->thread, &attr, run, w);
	pthread_attr_destroy(&attr);
	return -err;
}

static void watch(struct work_thread *w, int fd)
{
	w->fds[w->fd_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void add_vm(struct work_thread *w, struct vm *vm)
{
	w->all_trap = w->all_trap && vm->options->trap;
	for (unsigned i = 0; i < vm->nvme_count; i++)
		watch(w, nvme_completion_fd(nvme_function_controller(vm->nvme[i])));
}

int work_thread_start(const struct work_options *o, struct work_thread **ret_thread)
{
	struct work_thread *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->options = *o;
	w->all_trap = true;
	w->nap_us = WORK_NAP_FIRST_US;
	watch(w, o->waker->fd);
	for (unsigned i = 0; i < o->vm_count; i++)
		add_vm(w, o->vms[i]);
	err = create_thread(w);
	if (err) {
		free(w);
		return err;
	}
	*ret_thread = w;
	return 0;
}

void work_thread_stop(struct work_thread *w)
{
	if (!w)
		return;
	atomic_store(&w->stop, true);
	waker_kick(w->options.waker);
	pthread_join(w->thread, NULL);
	free(w);
}
