/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mutex whose rules check themselves. A function that wants a lock held says so
 * by VI_WITH(lock) where it is declared: clang's thread-safety analysis, which the
 * gate runs, refuses a caller that does not hold it. What the analysis cannot
 * follow (calls by a table of functions, other units' locks) is asserted where it
 * matters by vi_lock_assert(), in builds with VI_CHECKED_LOCKS: those of the gate
 * with sanitizers, and debug builds.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#ifdef __clang__
#define VI_ANALYSED(attribute) __attribute__((attribute))
#else
#define VI_ANALYSED(attribute)
#endif

#define VI_WITH(...)  VI_ANALYSED(requires_capability(__VA_ARGS__))
#define VI_TAKES(...) VI_ANALYSED(acquire_capability(__VA_ARGS__))
#define VI_GIVES(...) VI_ANALYSED(release_capability(__VA_ARGS__))

struct VI_ANALYSED(capability("mutex")) vi_lock {
	pthread_mutex_t mutex;
#ifdef VI_CHECKED_LOCKS
	_Atomic(pthread_t) holder; /* means something while `held` */
	atomic_bool held;
#endif
};

static inline void vi_lock_note(struct vi_lock *l, bool held)
{
#ifdef VI_CHECKED_LOCKS
	if (held)
		atomic_store_explicit(&l->holder, pthread_self(), memory_order_relaxed);
	atomic_store_explicit(&l->held, held, memory_order_relaxed);
#else
	(void)l;
	(void)held;
#endif
}

static inline void vi_lock_init(struct vi_lock *l)
{
	pthread_mutex_init(&l->mutex, NULL);
	vi_lock_note(l, false);
}

static inline void vi_lock_finish(struct vi_lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

static inline void vi_lock_take(struct vi_lock *l) VI_TAKES(*l) VI_ANALYSED(no_thread_safety_analysis)
{
	pthread_mutex_lock(&l->mutex);
	vi_lock_note(l, true);
}

static inline bool vi_lock_try(struct vi_lock *l) VI_ANALYSED(try_acquire_capability(true, *l))
	VI_ANALYSED(no_thread_safety_analysis)
{
	bool taken = pthread_mutex_trylock(&l->mutex) == 0;

	if (taken)
		vi_lock_note(l, true);
	return taken;
}

static inline void vi_lock_give(struct vi_lock *l) VI_GIVES(*l) VI_ANALYSED(no_thread_safety_analysis)
{
	vi_lock_note(l, false);
	pthread_mutex_unlock(&l->mutex);
}

/* The calling thread holds it, which the analysis then knows, too. */
static inline void vi_lock_assert(struct vi_lock *l) VI_ANALYSED(assert_capability(*l))
{
#ifdef VI_CHECKED_LOCKS
	assert(atomic_load_explicit(&l->held, memory_order_relaxed) &&
	       pthread_equal(atomic_load_explicit(&l->holder, memory_order_relaxed), pthread_self()));
#else
	(void)l;
#endif
}

#endif
