/* SPDX-License-Identifier: BSD-3-Clause */
/* Disk requests by worker threads and blocking system calls, for hosts that forbid io_uring. */
#include "nvme/disk_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORKERS 4

struct job_list {
	struct disk_request *first, **end;
};

struct threads {
	int fd, eventfd;
	pthread_t workers[WORKERS];
	unsigned worker_count;

	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct job_list todo, done; /* lock */
	bool stop, armed;	    /* lock */
	atomic_uint done_count;	    /* written under lock; looked at without, to keep an idle poll cheap */
};

static void list_init(struct job_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void list_append(struct job_list *l, struct disk_request *r)
{
	r->next = NULL;
	*l->end = r;
	l->end = &r->next;
}

static struct disk_request *list_take(struct job_list *l)
{
	struct disk_request *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->end = &l->first;
	}
	return r;
}

static bool list_remove(struct job_list *l, struct disk_request *r)
{
	for (struct disk_request **at = &l->first; *at; at = &(*at)->next) {
		if (*at != r)
			continue;
		*at = r->next;
		if (l->end == &r->next)
			l->end = at;
		return true;
	}
	return false;
}

static int64_t run(int fd, const struct disk_step *s)
{
	struct iovec iov = {s->buf, (size_t)s->len};
	int64_t ret = -1;

	switch (s->call) {
	case DISK_CALL_READ:
		ret = preadv2(fd, &iov, 1, (off_t)s->offset, 0);
		break;
	case DISK_CALL_WRITE:
		ret = pwritev2(fd, &iov, 1, (off_t)s->offset, s->durable ? RWF_DSYNC : 0);
		break;
	case DISK_CALL_SYNC:
		ret = fdatasync(fd);
		break;
	case DISK_CALL_FALLOCATE:
		ret = fallocate(fd, s->mode, (off_t)s->offset, (off_t)s->len);
		break;
	}
	return ret < 0 ? -errno : ret;
}

/* Call with the lock. What the step returned waits in `result` for threads_reap(). */
static void finish(struct threads *t, struct disk_request *r, int64_t result)
{
	uint64_t one = 1;

	r->result = (int)result;
	list_append(&t->done, r);
	atomic_fetch_add_explicit(&t->done_count, 1, memory_order_release);
	pthread_cond_signal(&t->finished);
	if (t->armed && write(t->eventfd, &one, sizeof(one)) < 0)
		return; /* the counter is full, so the fd is readable already */
}

static void *worker(void *arg)
{
	struct threads *t = arg;
	struct disk_request *r;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct disk_step s;
		int64_t result;

		r = list_take(&t->todo);
		if (!r) {
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		s = disk_next_step(r);
		result = run(t->fd, &s);
		pthread_mutex_lock(&t->lock);
		finish(t, r, result);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void threads_close(void *engine)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->worker_count; i++)
		pthread_join(t->workers[i], NULL);
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->finished);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* The host's signals are not for the workers. */
static int start_workers(struct threads *t)
{
	sigset_t all, old;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < WORKERS && ret == 0; i++) {
		ret = -pthread_create(&t->workers[i], NULL, worker, t);
		if (ret == 0)
			t->worker_count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return t->worker_count ? 0 : ret;
}

static int threads_open(int fd, int eventfd, unsigned depth, void **ret_engine)
{
	struct threads *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->fd = fd;
	t->eventfd = eventfd;
	list_init(&t->todo);
	list_init(&t->done);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->finished, NULL);
	ret = start_workers(t);
	if (ret < 0)
		threads_close(t);
	else
		*ret_engine = t;
	return ret;
}

static void threads_submit(void *engine, struct disk_request *r)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	list_append(&t->todo, r);
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

static void threads_kick(void *engine)
{
}

/* What a worker has taken cannot be called back; what waits can. */
static void threads_cancel(void *engine, struct disk_request *r)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	if (list_remove(&t->todo, r))
		finish(t, r, -ECANCELED);
	pthread_mutex_unlock(&t->lock);
}

static struct disk_request *threads_reap(void *engine, int64_t *ret_result)
{
	struct threads *t = engine;
	struct disk_request *r;

	if (!atomic_load_explicit(&t->done_count, memory_order_acquire))
		return NULL;
	pthread_mutex_lock(&t->lock);
	r = list_take(&t->done);
	if (r) {
		atomic_fetch_sub_explicit(&t->done_count, 1, memory_order_relaxed);
		*ret_result = r->result;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

static void threads_wait(void *engine)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	while (!t->done.first)
		pthread_cond_wait(&t->finished, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

static bool threads_ready(void *engine)
{
	struct threads *t = engine;
	bool ready;

	pthread_mutex_lock(&t->lock);
	ready = t->done.first != NULL;
	pthread_mutex_unlock(&t->lock);
	return ready;
}

static void threads_arm(void *engine, bool on)
{
	struct threads *t = engine;

	pthread_mutex_lock(&t->lock);
	t->armed = on;
	pthread_mutex_unlock(&t->lock);
}

const struct disk_engine_ops disk_threads_ops = {
	.open = threads_open,
	.close = threads_close,
	.submit = threads_submit,
	.kick = threads_kick,
	.cancel = threads_cancel,
	.reap = threads_reap,
	.wait = threads_wait,
	.ready = threads_ready,
	.arm = threads_arm,
};
