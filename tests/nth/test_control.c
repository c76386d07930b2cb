/* SPDX-License-Identifier: BSD-3-Clause */
/* The control server and its client, each in turn with calls that fail. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/client.h"
#include "control/message.h"
#include "control/protocol.h"
#include "control/server.h"
#include "failing_alloc.h"
#include "sweep.h"
#include "testing.h"

#define ITEMS	 10
#define TIMEOUT	 20000
#define PATIENCE 200 /* turns of a server that gets nowhere, before calls succeed again */

static char folder[64], path[96];

struct world {
	struct control_server *server;
	pthread_t thread;
	int result;
	atomic_bool done, stop;
};

static struct json_object *answer(void *opaque, struct json_object *request, struct control_work **ret_work)
{
	struct json_object *reply = control_ok(), *list = control_array();

	for (unsigned i = 0; i < ITEMS; i++) {
		struct json_object *item = control_object();

		control_set_u64(item, "number", i);
		control_set_bool(item, "odd", i & 1);
		control_append(list, item);
	}
	control_set_string(reply, "command", control_get_string(request, "command"));
	control_add(reply, "list", list);
	return reply;
}

/* All of the reply is there, or it says that it is not: -ENOMEM. */
static int check(struct json_object *reply)
{
	const char *error = control_get_string(reply, "error");

	if (error) {
		assert_non_null(strstr(error, "no memory"));
		return -ENOMEM;
	}
	assert_true(control_get_bool(reply, "ok"));
	assert_string_equal(control_get_string(reply, "command"), "ask");
	assert_int_equal(control_get_length(reply, "list"), ITEMS);
	for (unsigned i = 0; i < ITEMS; i++) {
		struct json_object *item = control_get_item(reply, "list", i);

		assert_int_equal(control_get_u64(item, "number", UINT64_MAX), i);
		assert_int_equal(control_get_bool(item, "odd"), i & 1);
	}
	return 0;
}

static int ask(void)
{
	struct json_object *reply = NULL;
	int err = control_ask(folder, "ask", TIMEOUT, &reply);

	if (err)
		return err;
	err = check(reply);
	json_object_put(reply);
	return err;
}

static int server_create(void *world)
{
	struct world *w = world;

	return control_server_create(path, answer, w, &w->server);
}

static void server_destroy(void *world)
{
	struct world *w = world;

	control_server_destroy(w->server);
	assert_int_equal(access(path, F_OK), -1);
}

static void one_turn(struct control_server *s)
{
	struct pollfd p = {.fd = control_server_fd(s), .events = POLLIN};

	poll(&p, 1, 2);
	control_server_process(s);
}

/* ---- the server's end is swept */

static void *asking(void *arg)
{
	struct world *w = arg;

	w->result = ask();
	atomic_store(&w->done, true);
	return NULL;
}

static int serve(void *world)
{
	struct world *w = world;
	pthread_t thread;

	atomic_store(&w->done, false);
	alloc_pause(true);
	assert_int_equal(pthread_create(&thread, NULL, asking, w), 0);
	alloc_pause(false);
	for (unsigned turns = 0; !atomic_load(&w->done); turns++) {
		alloc_pause(turns > PATIENCE);
		one_turn(w->server);
	}
	alloc_pause(true); /* the client has gone, and that is seen */
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 1; i++)
		one_turn(w->server);
	alloc_pause(false);
	return w->result;
}

/* Told in a reply, or shown out for want of a descriptor. */
static void expect_refusal(void *world, int err)
{
	if (err != -ENOMEM && err != -ECONNRESET && err != -EPROTO && err != -EPIPE)
		fail_msg("the client's result is %d", err);
}

static void a_server(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "create", .run = server_create, .undo = server_destroy},
		{.name = "serve", .run = serve, .examine = expect_refusal},
		{.name = "serve again", .run = serve, .examine = expect_refusal},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("control server", struct world, steps);

	nth_sweep(&q);
}

/* ---- the client's end is swept */

static void *serving(void *arg)
{
	struct world *w = arg;

	while (!atomic_load(&w->stop))
		one_turn(w->server);
	return NULL;
}

static int start_server(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	assert_int_equal(server_create(w), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, serving, w), 0);
	alloc_pause(false);
	return 0;
}

static void stop_server(void *world)
{
	struct world *w = world;

	atomic_store(&w->stop, true);
	pthread_join(w->thread, NULL);
	server_destroy(w);
}

static int client_asks(void *world)
{
	return ask();
}

static void a_client(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "start a server", .run = start_server, .undo = stop_server},
		{.name = "ask", .run = client_asks, .keeps = true},
		{.name = "ask again", .run = client_asks, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("control client", struct world, steps);

	nth_sweep(&q);
}

static int make_folder(void **test)
{
	snprintf(folder, sizeof(folder), "/tmp/nth-control-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET_NAME, folder);
	return 0;
}

static int remove_folder(void **test)
{
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server),
		cmocka_unit_test(a_client),
	};

	return cmocka_run_group_tests_name("nth control", tests, make_folder, remove_folder);
}
