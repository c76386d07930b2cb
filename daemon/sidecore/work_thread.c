/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sidecore/work_thread.h"

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
#include "daemon/sidecore/turns.h"
#include "daemon/vm.h"
#include "os/clock.h"

/* Steps of a function before the next gets its turn, and before other VMs get theirs, if there are any. */
#define BUDGET_ALONE	64
#define BUDGET_FIRST	8
#define BUDGET_LEAST	2    /* a doorbell, and a command */
#define COSTLY_NS	1000 /* a look that finds nothing and takes longer is work */
#define LOOKS_PER_CLOCK 8    /* reading it costs a quarter of a look */
#define ROUNDS_PER_LOOK 8    /* at the next of the quiet VMs */
#define SLACK_NS	1000 /* the usual 50 us of timer slack would blur short naps */

struct work_thread {
	struct work_options options;
	bool all_trap; /* no VM has polled registers */
	pthread_t thread;
	_Atomic bool stop;

	/*
	 * A visit. `asked` is set by the main thread, which then waits for `visited`;
	 * all but the look at `asked` is under the lock.
	 */
	pthread_mutex_t lock;
	pthread_cond_t visited;
	_Atomic bool asked;
	void (*visit)(void *arg);
	void *visit_arg;

	/* The thread's own. */
	struct turns turns; /* of several VMs */
	struct served {
		unsigned budget; /* such that its steps take about a turn */
		unsigned looks;
		bool costly; /* the last look whose time was taken */
	} served[VM_MAX];
	uint64_t now_ns; /* when the clock was read last */
	unsigned rounds;
	bool owing; /* a VM has no turn for a time; it may have work */
	unsigned fd_count;
	struct pollfd fds[1 + VM_MAX * FUNCTIONS_MAX];
	uint64_t idle_since_ns; /* 0: it worked in the last round */
	uint64_t counted_ns;	/* time is counted up to here */
	unsigned busy_rounds;	/* since then */
	unsigned nap_us;	/* how long the next nap would be */
	bool pending;		/* an invalidation waits for accesses in flight */
	bool deep;		/* the last look left many requests waiting */
};

static _Thread_local bool is_current;

bool work_thread_is_current(void)
{
	return is_current;
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
		spend(w, SIDECORE_COUNT_sidecore_busy_ns, os_now_ns());
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

/* Returns the steps done, as all that follow. */
static unsigned work_for(struct work_thread *w, struct vm *vm, unsigned budget)
{
	struct function_look found = {0};

	w->deep = false;
	if (vm->host.frozen)
		return 0;
	for (unsigned i = 0; i < vm->function_count; i++)
		vm->functions[i]->ops->poll(vm->functions[i], budget, &found);
	w->pending = w->pending || found.pending;
	w->deep = found.deep;
	return found.steps;
}

/* The clock is read after work, and else now and then: to find out that looking alone takes long. */
static unsigned look(struct work_thread *w, unsigned who, unsigned budget, uint64_t *ret_began)
{
	struct served *s = &w->served[who];
	bool timed = s->costly || turns_is_heavy(&w->turns, who) || ++s->looks % LOOKS_PER_CLOCK == 0;
	unsigned steps;

	if (timed)
		w->now_ns = os_now_ns();
	*ret_began = w->now_ns;
	steps = work_for(w, w->options.vms[who], budget);
	if (!timed && !steps)
		return 0;
	w->now_ns = os_now_ns();
	s->costly = timed && !steps && w->now_ns - *ret_began > COSTLY_NS;
	return steps + s->costly;
}

/* So that a turn is some looks long, or one where a step takes longer. */
static void adapt_budget(struct served *s, unsigned steps, uint64_t ns)
{
	if (ns > TURN_NS / 2 && s->budget > BUDGET_LEAST)
		s->budget /= 2;
	else if (ns < TURN_NS / 8 && steps >= s->budget && s->budget < BUDGET_ALONE)
		s->budget *= 2;
}

static unsigned take_turn(struct work_thread *w, unsigned who)
{
	struct served *s = &w->served[who];
	uint64_t began, looked;
	unsigned steps = look(w, who, s->budget, &began), total = steps;

	if (!steps) {
		turns_idle(&w->turns, who);
		return 0;
	}
	turns_begun(&w->turns, who, began);
	adapt_budget(s, steps, w->now_ns - began);
	while (steps && w->now_ns - began < TURN_NS) {
		steps = look(w, who, s->budget, &looked);
		total += steps;
	}
	turns_ended(&w->turns, who, began, w->now_ns, w->deep || s->costly);
	return total;
}

/* While one has work, those that have none are looked at in turn, one in ROUNDS_PER_LOOK rounds. */
static bool is_passed_over(struct work_thread *w, unsigned who)
{
	return w->rounds % (ROUNDS_PER_LOOK * w->options.vm_count) != ROUNDS_PER_LOOK * who &&
	       turns_is_quiet(&w->turns, who, w->now_ns);
}

static bool all_are_quiet(struct work_thread *w)
{
	for (unsigned i = 0; i < w->options.vm_count; i++) {
		if (!turns_is_quiet(&w->turns, i, w->now_ns))
			return false;
	}
	return true;
}

static unsigned work_in_turns(struct work_thread *w, bool kicked)
{
	bool look_at_all = kicked || all_are_quiet(w);
	unsigned steps = 0;

	w->rounds++;
	w->owing = false;
	for (unsigned i = 0; i < w->options.vm_count; i++) {
		if (!look_at_all && is_passed_over(w, i))
			continue;
		if (turns_may_begin(&w->turns, i, w->now_ns))
			steps += take_turn(w, i);
		else
			w->owing = true;
	}
	return steps;
}

static unsigned work(struct work_thread *w, bool kicked)
{
	w->pending = false;
	if (w->options.vm_count == 1)
		return work_for(w, w->options.vms[0], BUDGET_ALONE);
	return work_in_turns(w, kicked);
}

/* --------------------------------------------------------------------- sleep */

static bool keep_polling(struct work_thread *w)
{
	uint64_t now = os_now_ns();

	count_idle_round(w, now);
	w->now_ns = now;
	if (w->owing)
		return true;
	if (w->all_trap && !w->pending)
		return false;
	if (!w->idle_since_ns)
		w->idle_since_ns = now;
	return now - w->idle_since_ns < w->options.idle_us * 1000ull;
}

static bool arm(struct vm *vm)
{
	for (unsigned i = 0; i < vm->function_count && !vm->host.frozen; i++) {
		struct function *f = vm->functions[i];

		if (f->ops->arm && !f->ops->arm(f))
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

static bool has_silent_work(struct work_thread *w)
{
	for (unsigned i = 0; i < w->options.vm_count; i++) {
		struct vm *vm = w->options.vms[i];

		for (unsigned k = 0; k < vm->function_count; k++) {
			if (vm->functions[k]->ops->has_silent_work(vm->functions[k]))
				return true;
		}
	}
	return false;
}

/* NULL: until something wakes us. */
static const struct timespec *next_nap(struct work_thread *w, struct timespec *nap)
{
	if (w->pending)
		w->nap_us = WORK_NAP_FIRST_US;
	else if (!has_silent_work(w))
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
	spend(w, SIDECORE_COUNT_sidecore_sleep_ns, os_now_ns());
	if (n > 0) {
		w->idle_since_ns = 0;
		w->nap_us = WORK_NAP_FIRST_US;
	}
}

/* --------------------------------------------------------------------- visits */

static void visit(struct work_thread *w)
{
	pthread_mutex_lock(&w->lock);
	if (atomic_load(&w->asked)) {
		w->visit(w->visit_arg);
		atomic_store(&w->asked, false);
		pthread_cond_signal(&w->visited);
	}
	pthread_mutex_unlock(&w->lock);
}

/* A visit that has begun holds the lock, so that who waits does not give up in the midst of it. */
int work_thread_visit(struct work_thread *w, void (*call)(void *arg), void *arg)
{
	struct timespec deadline = os_deadline(WORK_VISIT_MS);
	int err = 0;

	pthread_mutex_lock(&w->lock);
	w->visit = call;
	w->visit_arg = arg;
	atomic_store(&w->asked, true);
	waker_kick(w->options.waker);
	while (atomic_load(&w->asked) && !err)
		err = pthread_cond_timedwait(&w->visited, &w->lock, &deadline);
	err = atomic_load(&w->asked) ? -EAGAIN : 0;
	atomic_store(&w->asked, false);
	pthread_mutex_unlock(&w->lock);
	return err;
}

/* -------------------------------------------------------------------- thread */

static void *run(void *arg)
{
	struct work_thread *w = arg;

	is_current = true;
	pthread_setname_np(pthread_self(), "sidecore");
	prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0);
	w->counted_ns = os_now_ns();
	for (;;) {
		/* First: a kick that this takes is for what is looked at below. */
		bool kicked = waker_begin(w->options.waker);

		if (atomic_load_explicit(&w->stop, memory_order_relaxed))
			break;
		if (atomic_load_explicit(&w->asked, memory_order_relaxed))
			visit(w);
		if (work(w, kicked)) {
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

static void init_visits(struct work_thread *w)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->visited, &attr);
	pthread_condattr_destroy(&attr);
}

static void free_thread(struct work_thread *w)
{
	pthread_cond_destroy(&w->visited);
	pthread_mutex_destroy(&w->lock);
	free(w);
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

static void add_vm(struct work_thread *w, unsigned who)
{
	struct vm *vm = w->options.vms[who];

	w->served[who].budget = BUDGET_FIRST;
	w->all_trap = w->all_trap && vm->options->trap;
	for (unsigned i = 0; i < vm->function_count; i++) {
		if (vm->functions[i]->wake_fd >= 0)
			watch(w, vm->functions[i]->wake_fd);
	}
}

int work_thread_start(const struct work_options *o, struct work_thread **ret_thread)
{
	struct work_thread *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->options = *o;
	init_visits(w);
	w->all_trap = true;
	w->nap_us = WORK_NAP_FIRST_US;
	watch(w, o->waker->fd);
	turns_init(&w->turns, o->vm_count);
	for (unsigned i = 0; i < o->vm_count; i++)
		add_vm(w, i);
	err = create_thread(w);
	if (err) {
		free_thread(w);
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
	free_thread(w);
}
