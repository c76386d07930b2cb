/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work thread, or sidecore: polls all that is served: the registers
 * and queues of units, and the queues of controllers.
 *
 * Sidecore mode: it polls without pause while there is work and for `idle_us`
 * afterwards. Then it arms the doorbells and sleeps; a kick or a disk wakes it
 * at once. What the guest writes to the shared register page is announced by
 * nothing, so while a guest may do that each sleep has an end: WORK_NAP_FIRST_US,
 * doubled while nothing happens up to WORK_NAP_LAST_US, which is the bound of
 * the latency of an idle sidecore (plus what the scheduler takes to wake it).
 *
 * Trap mode: it sleeps whenever there is no work, without end, until kicked.
 */
#ifndef DAEMON_SIDECORE_WORK_THREAD_H
#define DAEMON_SIDECORE_WORK_THREAD_H

#include <stdbool.h>

#include "daemon/options.h"

#define WORK_NAP_FIRST_US 20
#define WORK_NAP_LAST_US  500
#define WORK_VISIT_MS	  100

struct sidecore_counters;
struct vm;
struct waker;
struct work_thread;

struct work_options {
	struct waker *waker;
	struct sidecore_counters *counters; /* the thread writes them */
	unsigned idle_us;
	int cpu; /* -1: any */
	unsigned vm_count;
	struct vm *vms[VM_MAX];
};

/* `o` is copied; what it names, and all that the VMs serve, stays until work_thread_stop(). 0 or a negative
 * errno. */
int work_thread_start(const struct work_options *o, struct work_thread **ret_thread);
/* Ends and joins it. NULL is fine. */
void work_thread_stop(struct work_thread *w);

/*
 * Have the work thread do call(arg) between two of its rounds, and wait for that. `call` must not wait for
 * the main thread. 0; or -EAGAIN: it did not come to it within WORK_VISIT_MS, and will not. [main thread]
 */
int work_thread_visit(struct work_thread *w, void (*call)(void *arg), void *arg);

/* Is the caller the work thread? */
bool work_thread_is_current(void);

#endif
