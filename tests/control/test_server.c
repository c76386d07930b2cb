/* SPDX-License-Identifier: BSD-3-Clause */
/* The control server, turn by turn: its caller has others to serve, too. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/message.h"
#include "control/protocol.h"
#include "control/server.h"

#define MANY  400  /* requests that a client sends at once; they fit into CONTROL_REQUEST_MAX */
#define TURNS 4096 /* more than any of this takes */

static char folder[64], path[96];
static struct control_server *server;
static unsigned handled;

static struct json_object *answer(void *opaque, struct json_object *request, struct control_work **ret_work)
{
	struct json_object *reply = control_ok();

	handled++;
	control_set_u64(reply, "n", control_get_u64(request, "n", UINT64_MAX));
	return reply;
}

static int setup(void **test)
{
	strcpy(folder, "/tmp/viommu-control-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/control.sock", folder);
	assert_int_equal(control_server_create(path, answer, NULL, &server), 0);
	handled = 0;
	return 0;
}

static int teardown(void **test)
{
	control_server_destroy(server);
	return rmdir(folder);
}

static int join(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	control_server_process(server);
	return fd;
}

/* In one piece: the server has all of it before it answers the first. */
static void ask(int fd, unsigned first, unsigned count)
{
	char text[CONTROL_REQUEST_MAX];
	size_t len = 0;

	for (unsigned i = first; i < first + count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "{\"n\":%u}\n", i);
	assert_true(len < sizeof(text));
	assert_int_equal(send(fd, text, len, 0), len);
}

/* Turns until `fd` has this many more replies, which are first, first + 1, ... */
static unsigned turns_to_replies(int fd, unsigned first, unsigned count)
{
	static char text[1 << 16];
	size_t len = 0;
	unsigned turns = 0;

	for (unsigned lines = 0; lines < count; turns++) {
		ssize_t n;
		unsigned before = handled;

		assert_true(turns < TURNS);
		control_server_process(server);
		assert_true(handled - before <= 1);
		n = recv(fd, text + len, sizeof(text) - len - 1, 0);
		if (n < 0)
			continue;
		for (ssize_t i = 0; i < n; i++)
			lines += text[len + (size_t)i] == '\n';
		len += (size_t)n;
	}
	text[len] = '\0';
	for (char *line = text; *line; first++) {
		char *end = strchr(line, '\n'), number[32];

		*end = '\0';
		snprintf(number, sizeof(number), "\"n\":%u}", first);
		assert_non_null(strstr(line, number));
		line = end + 1;
	}
	return turns;
}

static void one_request_a_turn(void **test)
{
	int fd = join();

	ask(fd, 0, MANY);
	turns_to_replies(fd, 0, MANY);
	assert_int_equal(handled, MANY);
	ask(fd, MANY, MANY);
	turns_to_replies(fd, MANY, MANY);
	close(fd);
}

static void others_are_not_kept_waiting(void **test)
{
	int fds[CONTROL_CLIENTS_MAX], last;

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fds[i] = join();
	last = fds[CONTROL_CLIENTS_MAX - 1];
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX - 1; i++)
		ask(fds[i], 0, MANY);
	control_server_process(server);
	ask(last, 7, 1);
	assert_true(turns_to_replies(last, 7, 1) <= 2 * CONTROL_CLIENTS_MAX);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX - 1; i++)
		turns_to_replies(fds[i], 0, MANY);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
}

/* What it has asked is answered, and then the connection ends. */
static void a_client_that_says_no_more(void **test)
{
	int fd = join();
	char byte;

	ask(fd, 0, MANY);
	shutdown(fd, SHUT_WR);
	turns_to_replies(fd, 0, MANY);
	for (unsigned i = 0; i < 4; i++)
		control_server_process(server);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

/* Its requests go with it. */
static void a_client_that_goes(void **test)
{
	int fd = join(), other = join();

	ask(fd, 0, MANY);
	close(fd);
	ask(other, 0, 1);
	turns_to_replies(other, 0, 1);
	for (unsigned i = 0; i < 8; i++)
		control_server_process(server);
	assert_true(handled <= 3);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_request_a_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_not_kept_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_says_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_goes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
