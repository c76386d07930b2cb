/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server and its client, each in turn with calls that fail. The
 * sweeping thread has one end, a thread of its own the other.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failing_alloc.h"
#include "sweep.h"
#include "testing.h"
#include "vfio_user/client.h"
#include "vfio_user/protocol.h"
#include "vfio_user/server.h"

#define MEMORY	 (64u * 4096)
#define REGION	 (64u * 1024)
#define VECTORS	 4
#define PATIENCE 200 /* turns of a server that gets nowhere, before calls succeed again */

static char path[64];
static int memory_fd; /* lent by the client */
static int page_fd;   /* lent by the server */

struct world;
typedef int (*call_fn)(struct world *w);

struct world {
	struct vfu_server *server;
	struct vfu_client *client;
	uint8_t region[REGION];
	unsigned resets, connected;
	int64_t mapped; /* bytes that the device knows of */
	int eventfds[VECTORS];

	/* The other threads. */
	pthread_t thread, client_thread;
	call_fn call;
	int result;
	atomic_bool done, stop;
};

/* ---- the device */

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct world *w = device;

	memcpy(buf, w->region + offset, len);
	return 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct world *w = device;

	memcpy(w->region + offset, buf, len);
	return 0;
}

static void device_reset(void *device)
{
	struct world *w = device;

	w->resets++;
}

static int dma_map(void *device, const struct vfu_dma_map *map)
{
	struct world *w = device;

	if (alloc_call_fails("the device's dma_map", ENOMEM))
		return -ENOMEM;
	w->mapped += (int64_t)map->size;
	return 0;
}

static void dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	struct world *w = device;

	w->mapped -= (int64_t)size;
	assert_true(w->mapped >= 0);
}

static void connected(void *device)
{
	struct world *w = device;

	w->connected++;
}

static void disconnected(void *device, const char *why)
{
	struct world *w = device;

	assert_non_null(why);
	assert_int_equal(w->mapped, 0);
	w->connected--;
}

static int server_create(void *world)
{
	static const struct vfu_device_ops ops = {
		.region_read = region_read,
		.region_write = region_write,
		.reset = device_reset,
		.dma_map = dma_map,
		.dma_unmap = dma_unmap,
		.connected = connected,
		.disconnected = disconnected,
	};
	static const struct vfu_mmap_area area = {.offset = 0, .size = 4096};
	static const unsigned irqs[VFU_NUM_IRQS] = {[VFU_IRQ_INTX] = 1, [VFU_IRQ_MSIX] = VECTORS};
	const struct vfu_region regions[VFU_NUM_REGIONS] = {
		{.size = REGION,
		 .readable = true,
		 .writable = true,
		 .fd = page_fd,
		 .areas = &area,
		 .area_count = 1},
	};
	const struct vfu_server_options options = {
		.path = path, .regions = regions, .irq_counts = irqs, .ops = &ops, .device = world};
	struct world *w = world;

	return vfu_server_create(&options, &w->server);
}

static void server_destroy(void *world)
{
	struct world *w = world;

	vfu_server_destroy(w->server);
	assert_int_equal(w->connected, 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- what a client does */

static int call_connect(struct world *w)
{
	return vfu_client_connect(path, NULL, NULL, &w->client);
}

static int call_info(struct world *w)
{
	struct vfu_client_region region;
	int err = vfu_client_region_info(w->client, 0, &region);

	if (err)
		return err;
	assert_int_equal(region.size, REGION);
	assert_true(region.fd >= 0);
	close(region.fd);
	return 0;
}

static int call_access(struct world *w)
{
	static _Thread_local uint8_t out[REGION], in[REGION];
	int err;

	memset(out, 0x71, sizeof(out));
	err = vfu_client_region_write(w->client, 0, 0, out, sizeof(out));
	if (!err)
		err = vfu_client_region_read(w->client, 0, 0, in, sizeof(in));
	if (!err)
		assert_memory_equal(in, out, sizeof(in));
	return err;
}

static int call_map(struct world *w)
{
	return vfu_client_dma_map(w->client, 0x100000, 16 * 4096, memory_fd, 0, true, true);
}

static int call_map_read_only(struct world *w)
{
	return vfu_client_dma_map(w->client, 0x200000, 4096, memory_fd, 16 * 4096, true, false);
}

static int call_map_without_file(struct world *w)
{
	return vfu_client_dma_map(w->client, 0x300000, 4096, -1, 0, true, true);
}

static int call_irqs(struct world *w)
{
	int err = vfu_client_set_irq_eventfds(w->client, VFU_IRQ_MSIX, 0, VECTORS, w->eventfds);

	return err ? err : vfu_client_set_irq_eventfds(w->client, VFU_IRQ_INTX, 0, 1, w->eventfds);
}

static int call_unmask(struct world *w)
{
	return vfu_client_unmask_irq(w->client, VFU_IRQ_INTX, 0);
}

/* INTx's eventfd for unmasking, for which the client has no function. */
static int call_control(struct world *w)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_irq_set set;
	} request = {
		.header = {.id = 0x7777, .command = VFIO_USER_DEVICE_SET_IRQS, .size = sizeof(request)},
		.set = {.argsz = sizeof(request.set),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
			.count = 1},
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {&request, sizeof(request)};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes)};
	struct vfio_user_header reply;

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &w->eventfds[1], sizeof(int));
	assert_int_equal(sendmsg(vfu_client_fd(w->client), &mh, 0), sizeof(request));
	assert_int_equal(recv(vfu_client_fd(w->client), &reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
	return reply.flags & VFIO_USER_ERROR ? -(int)reply.error : 0;
}

/* The middle of a map, so that it is cut in two. */
static int call_cut(struct world *w)
{
	return vfu_client_dma_unmap(w->client, 0x104000, 4096);
}

static int call_reset(struct world *w)
{
	return vfu_client_reset(w->client);
}

static int call_unmap_all(struct world *w)
{
	return vfu_client_dma_unmap_all(w->client);
}

static int call_close(struct world *w)
{
	vfu_client_close(w->client);
	w->client = NULL;
	return 0;
}

/* ---- the server's end is swept */

static void *client_thread(void *arg)
{
	struct world *w = arg;

	w->result = w->call(w);
	atomic_store(&w->done, true);
	return NULL;
}

static void one_turn(struct vfu_server *s)
{
	struct pollfd p = {.fd = vfu_server_fd(s), .events = POLLIN};

	poll(&p, 1, 2);
	vfu_server_process(s);
}

/* The client calls, in a thread of its own, and we serve. */
static int serve(struct world *w, call_fn call)
{
	pthread_t thread;

	w->call = call;
	atomic_store(&w->done, false);
	alloc_pause(true);
	assert_int_equal(pthread_create(&thread, NULL, client_thread, w), 0);
	alloc_pause(false);
	for (unsigned turns = 0; !atomic_load(&w->done); turns++) {
		alloc_pause(turns > PATIENCE);
		one_turn(w->server);
	}
	alloc_pause(false);
	pthread_join(thread, NULL);
	return w->result;
}

#define SERVED(name)                                                                                         \
	static int served_##name(void *world)                                                                \
	{                                                                                                    \
		return serve(world, call_##name);                                                            \
	}

SERVED(connect)
SERVED(info)
SERVED(access)
SERVED(map)
SERVED(map_read_only)
SERVED(map_without_file)
SERVED(irqs)
SERVED(control)
SERVED(unmask)
SERVED(reset)
SERVED(unmap_all)

/* Until it has seen that the client has gone. */
static void settle(struct world *w)
{
	for (unsigned turns = 0; turns < 5 || vfu_server_connected(w->server); turns++)
		one_turn(w->server);
}

static void leave(void *world)
{
	struct world *w = world;

	if (!w->client)
		return;
	call_close(w);
	settle(w);
}

/* A client that cannot be let in is shown out; one whose request cannot be read hears of it. */
static void expect_turned_away(void *world, int err)
{
	struct world *w = world;

	assert_true(err == -ECONNRESET || err == -ENOMEM);
	assert_null(w->client);
	settle(w);
	assert_int_equal(w->connected, 0);
}

static int served_cut(void *world)
{
	struct world *w = world;
	int err = serve(w, call_cut);

	if (!err)
		assert_int_equal(w->mapped, (16 - 1 + 2) * 4096);
	return err;
}

/* What cannot be cut is revoked all the same: with the whole session. */
static void expect_end_of_session(void *world, int err)
{
	struct world *w = world;

	assert_int_equal(err, -ENOMEM);
	settle(w);
	assert_int_equal(w->mapped, 0);
	assert_int_equal(w->connected, 0);
	call_close(w);
	assert_int_equal(serve(w, call_connect), 0);
	assert_int_equal(serve(w, call_map), 0);
	assert_int_equal(serve(w, call_map_read_only), 0);
	assert_int_equal(serve(w, call_map_without_file), 0);
	assert_int_equal(serve(w, call_irqs), 0);
	assert_int_equal(serve(w, call_control), 0);
}

static int make_eventfds(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	for (unsigned i = 0; i < VECTORS; i++)
		w->eventfds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	alloc_pause(false);
	return 0;
}

static void close_eventfds(void *world)
{
	struct world *w = world;

	for (unsigned i = 0; i < VECTORS; i++)
		close(w->eventfds[i]);
}

/* No interrupt gets lost for want of memory. */
static int trigger(void *world)
{
	struct world *w = world;
	uint64_t count;

	for (unsigned i = 0; i < VECTORS; i++) {
		assert_true(vfu_irq_trigger(w->server, VFU_IRQ_MSIX, i));
		assert_int_equal(read(w->eventfds[i], &count, sizeof(count)), sizeof(count));
		assert_int_equal(count, 1);
	}
	return 0;
}

static void a_server(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "make eventfds", .run = make_eventfds, .undo = close_eventfds},
		{.name = "create", .run = server_create, .undo = server_destroy},
		{.name = "connect",
		 .run = served_connect,
		 .undo = leave,
		 .examine = expect_turned_away,
		 .keeps = true},
		{.name = "info", .run = served_info, .keeps = true},
		{.name = "access", .run = served_access, .keeps = true},
		{.name = "map", .run = served_map, .keeps = true},
		{.name = "map read-only", .run = served_map_read_only, .keeps = true},
		{.name = "map without a file", .run = served_map_without_file},
		{.name = "set interrupts", .run = served_irqs},
		{.name = "set a control", .run = served_control},
		{.name = "trigger", .run = trigger},
		{.name = "unmask", .run = served_unmask},
		{.name = "cut a map", .run = served_cut, .examine = expect_end_of_session},
		{.name = "reset", .run = served_reset},
		{.name = "unmap all", .run = served_unmap_all},
		{.name = "map again", .run = served_map, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("vfio-user server", struct world, steps);

	nth_sweep(&q);
}

/* ---- the client's end is swept */

static void *server_thread(void *arg)
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
	assert_int_equal(pthread_create(&w->thread, NULL, server_thread, w), 0);
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

#define CALLED(name)                                                                                         \
	static int called_##name(void *world)                                                                \
	{                                                                                                    \
		return call_##name(world);                                                                   \
	}

CALLED(connect)
CALLED(info)
CALLED(access)
CALLED(map)
CALLED(irqs)
CALLED(unmask)
CALLED(cut)
CALLED(reset)
CALLED(unmap_all)

static void hang_up(void *world)
{
	call_close(world);
}

static void a_client(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "make eventfds", .run = make_eventfds, .undo = close_eventfds},
		{.name = "start a server", .run = start_server, .undo = stop_server},
		{.name = "connect", .run = called_connect, .undo = hang_up, .keeps = true},
		{.name = "info", .run = called_info},
		{.name = "access", .run = called_access},
		{.name = "map", .run = called_map},
		{.name = "set interrupts", .run = called_irqs},
		{.name = "unmask", .run = called_unmask},
		{.name = "cut a map", .run = called_cut},
		{.name = "reset", .run = called_reset},
		{.name = "unmap all", .run = called_unmap_all},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("vfio-user client", struct world, steps);

	nth_sweep(&q);
}

/* ---- the threads that ask a client for its memory are swept */

static int client_read(void *opaque, uint64_t address, void *buf, size_t len)
{
	memset(buf, 0x39, len);
	return 0;
}

static int client_write(void *opaque, uint64_t address, const void *buf, size_t len)
{
	return 0;
}

static void *serving_client(void *arg)
{
	static const struct vfu_client_ops ops = {client_read, client_write};
	struct world *w = arg;

	assert_int_equal(vfu_client_connect(path, &ops, w, &w->client), 0);
	while (!atomic_load(&w->done))
		assert_int_equal(vfu_client_serve(w->client, 1), 0);
	vfu_client_close(w->client);
	return NULL;
}

static int start_client(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	assert_int_equal(pthread_create(&w->client_thread, NULL, serving_client, w), 0);
	while (!vfu_server_connected(w->server))
		poll(NULL, 0, 1);
	alloc_pause(false);
	return 0;
}

static void stop_client(void *world)
{
	struct world *w = world;

	atomic_store(&w->done, true);
	pthread_join(w->client_thread, NULL);
	while (vfu_server_connected(w->server))
		poll(NULL, 0, 1);
}

static int ask(void *world)
{
	static uint8_t data[100000];
	struct world *w = world;
	int err = vfu_dma_write(w->server, 0x1000, data, sizeof(data));

	if (!err)
		err = vfu_dma_read(w->server, 0x1000, data, sizeof(data));
	if (!err)
		assert_int_equal(data[sizeof(data) - 1], 0x39);
	return err ? err : vfu_dma_write_posted(w->server, 0xfee00000, data, 4);
}

static void who_asks_a_client(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "start a server", .run = start_server, .undo = stop_server},
		{.name = "start a client", .run = start_client, .undo = stop_client},
		{.name = "ask", .run = ask, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("vfio-user dma", struct world, steps);

	nth_sweep(&q);
}

/* ---- the descriptor that is kept for when there are none */

static void a_spare_that_was_lost_comes_back(void **test)
{
	static struct world w;

	assert_int_equal(server_create(&w), 0);
	alloc_fail_from(1); /* accept4(), and then the spare */
	assert_int_equal(serve(&w, call_connect), 0);
	alloc_fail_at(0);
	leave(&w);
	alloc_fail_at(1);
	assert_int_equal(serve(&w, call_connect), -ECONNRESET);
	alloc_fail_at(0);
	server_destroy(&w);
}

static int open_files(void **test)
{
	snprintf(path, sizeof(path), "/tmp/nth-vfio-user-%d.sock", (int)getpid());
	memory_fd = memfd_create("memory", MFD_CLOEXEC);
	page_fd = memfd_create("page", MFD_CLOEXEC);
	return memory_fd < 0 || page_fd < 0 || ftruncate(memory_fd, MEMORY) || ftruncate(page_fd, REGION);
}

static int close_files(void **test)
{
	return close(memory_fd) || close(page_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server),
		cmocka_unit_test(a_client),
		cmocka_unit_test(who_asks_a_client),
		cmocka_unit_test(a_spare_that_was_lost_comes_back),
	};

	return cmocka_run_group_tests_name("nth vfio_user", tests, open_files, close_files);
}
