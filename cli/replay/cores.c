/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/cores.h"

void replay_cores_divide(struct replay_cores *c)
{
	int cpu = sched_getcpu();
	cpu_set_t own;

	c->is_divided = false;
	if (cpu < 0 || sched_getaffinity(0, sizeof(c->before), &c->before) || CPU_COUNT(&c->before) < 2)
		return;
	c->others = c->before;
	CPU_CLR(cpu, &c->others);
	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	c->is_divided = !sched_setaffinity(0, sizeof(own), &own);
}

static int start_on_others(const struct replay_cores *c, pthread_t *ret_thread, void *(*run)(void *arg),
			   void *arg)
{
	pthread_attr_t attributes;
	int err = pthread_attr_init(&attributes);

	if (err)
		return err;
	err = pthread_attr_setaffinity_np(&attributes, sizeof(c->others), &c->others);
	if (!err)
		err = pthread_create(ret_thread, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	return err;
}

int replay_cores_start(struct replay_cores *c, pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
	if (c->is_divided && !start_on_others(c, ret_thread, run, arg))
		return 0;
	replay_cores_restore(c); /* or the thread shares the one CPU of this one */
	return -pthread_create(ret_thread, NULL, run, arg);
}

void replay_cores_restore(struct replay_cores *c)
{
	if (c->is_divided)
		sched_setaffinity(0, sizeof(c->before), &c->before);
	c->is_divided = false;
}
