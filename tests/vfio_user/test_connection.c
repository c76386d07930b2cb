/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio_user/connection.c without memory: whether half a message is left in the stream. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

#include "vfio_user/connection.h"

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

static uint8_t message[1 << 20];

struct pair {
	struct vfu_connection c;
	int epoll, peer;
};

static void open_pair(struct pair *p)
{
	int socks[2];

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, socks), 0);
	assert_int_equal(vfu_connection_init(&p->c, socks[0], p->epoll, NULL), 0);
	p->peer = socks[1];
}

static void close_pair(struct pair *p)
{
	no_memory = false;
	vfu_connection_finish(&p->c);
	close(p->peer);
	close(p->epoll);
}

static void nothing_of_a_message_is_sent(void **state)
{
	static uint8_t byte;
	struct pair p;

	open_pair(&p);
	while (send(p.c.sock, &byte, 1, MSG_DONTWAIT) == 1)
		;
	no_memory = true;
	assert_int_equal(vfu_connection_send(&p.c, message, 64, -1, VFU_MAX_QUEUED_BYTES), -ENOMEM);
	close_pair(&p);
}

/* The server ends the session for anything but -ENOMEM and -ENOBUFS. */
static void a_part_of_a_message_is_sent(void **state)
{
	struct pair p;

	open_pair(&p);
	no_memory = true;
	assert_int_equal(vfu_connection_send(&p.c, message, sizeof(message), -1, VFU_MAX_QUEUED_BYTES),
			 -EPIPE);
	no_memory = false;
	assert_true(recv(p.peer, message, sizeof(message), 0) > 0);
	close_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_of_a_message_is_sent),
		cmocka_unit_test(a_part_of_a_message_is_sent),
	};

	return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
