/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/loop.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

int loop_init(struct loop *l)
{
	*l = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return l->epoll < 0 ? -errno : 0;
}

int loop_add(struct loop *l, int fd, loop_fn ready, void *arg)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = l->count};

	if (l->count == LOOP_SOURCES_MAX)
		return -ENOSPC;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	l->sources[l->count++] = (struct loop_source){.ready = ready, .arg = arg};
	return 0;
}

int loop_run(struct loop *l)
{
	struct epoll_event events[LOOP_SOURCES_MAX];

	while (!l->stop) {
		int n = epoll_wait(l->epoll, events, LOOP_SOURCES_MAX, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct loop_source *source = &l->sources[events[i].data.u32];

			source->ready(source->arg);
		}
	}
	return 0;
}

void loop_finish(struct loop *l)
{
	if (l->epoll >= 0)
		close(l->epoll);
}
