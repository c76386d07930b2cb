/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/unmapper.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon/options.h"

/* Mappings of one VM that wait. With so many its clients wait, too: they could make more than are unmapped.
 */
#define SHARE	     8
#define WAITING_MOST (VM_MAX * SHARE)
/*
 * Unmapped at once: a fraction of a millisecond. Other threads that map something,
 * or that fault for the first time in some page, wait for no more than that.
 */
#define PIECE ((size_t)8 << 20)

struct unmapper {
	pthread_t thread;
	pthread_mutex_t lock; /* of all below, and of the counts of the shares */
	pthread_cond_t changed;
	struct mapping {
		struct unmapper_share *share;
		uint8_t *base;
		size_t size;
	} waiting[WAITING_MOST];
	unsigned first, count;
	bool stop;
};

static void unmap_in_pieces(struct mapping m)
{
	while (m.size > PIECE) {
		m.size -= PIECE;
		munmap(m.base + m.size, PIECE);
	}
	munmap(m.base, m.size);
}

static void *run(void *arg)
{
	struct unmapper *u = arg;

	pthread_setname_np(pthread_self(), "unmapper");
	pthread_mutex_lock(&u->lock);
	while (u->count || !u->stop) {
		struct mapping m;

		if (!u->count) {
			pthread_cond_wait(&u->changed, &u->lock);
			continue;
		}
		m = u->waiting[u->first];
		pthread_mutex_unlock(&u->lock);
		unmap_in_pieces(m);
		/* Counted until now, so that what is under way is bounded with what waits. */
		pthread_mutex_lock(&u->lock);
		u->first = (u->first + 1) % WAITING_MOST;
		u->count--;
		m.share->count--;
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

static bool may_unmap(void *opaque, size_t size)
{
	struct unmapper_share *share = opaque;
	bool may;

	if (size <= PIECE)
		return true;
	pthread_mutex_lock(&share->unmapper->lock);
	may = share->count < SHARE;
	pthread_mutex_unlock(&share->unmapper->lock);
	return may;
}

static void unmap(void *opaque, void *base, size_t size)
{
	struct unmapper_share *share = opaque;
	struct unmapper *u = share->unmapper;

	if (size <= PIECE) {
		munmap(base, size);
		return;
	}
	pthread_mutex_lock(&u->lock);
	share->count++;
	u->waiting[(u->first + u->count++) % WAITING_MOST] = (struct mapping){share, base, size};
	pthread_cond_signal(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

void unmapper_share_init(struct unmapper_share *share, struct unmapper *u)
{
	*share = (struct unmapper_share){
		.of_servers = {.may_unmap = may_unmap, .unmap = unmap, .opaque = share}, .unmapper = u};
}

static void free_unmapper(struct unmapper *u)
{
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

int unmapper_start(struct unmapper **ret_unmapper)
{
	struct unmapper *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->changed, NULL);
	err = pthread_create(&u->thread, NULL, run, u);
	if (err) {
		free_unmapper(u);
		return -err;
	}
	*ret_unmapper = u;
	return 0;
}

void unmapper_stop(struct unmapper *u)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_signal(&u->changed);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	free_unmapper(u);
}
