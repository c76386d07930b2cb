/* SPDX-License-Identifier: BSD-3-Clause */
/* A server on a machine where the time of a turn is always over: it does something in each turn all the same.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio_user/protocol.h"
#include "vfio_user/server.h"

#define MANY  50
#define TURNS (4 * MANY) /* more than as many things take, one a turn */

/* A minute goes by between any two looks at the clock. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	static time_t now;

	*t = (struct timespec){.tv_sec = now += 60};
	return 0;
}

static struct device {
	struct vfu_server *server;
	int client;
	unsigned writes, maps, in_turn;
	bool gone;
} device;

static int region_read(void *d, unsigned region, uint64_t offset, void *buf, size_t len)
{
	return -EIO;
}

static int region_write(void *d, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	device.writes++;
	device.in_turn++;
	return 0;
}

static int dma_map(void *d, const struct vfu_dma_map *map)
{
	device.maps++;
	return 0;
}

static void dma_unmap(void *d, uint64_t iova, uint64_t size)
{
	device.maps--;
	device.in_turn++;
}

static void disconnected(void *d, const char *why)
{
	device.gone = true;
}

static void turn(void)
{
	device.in_turn = 0;
	vfu_server_process(device.server);
	assert_true(device.in_turn <= 1);
}

static void say(uint16_t command, const void *payload, size_t size)
{
	struct vfio_user_header header = {.command = command, .size = (uint32_t)(sizeof(header) + size)};

	assert_int_equal(send(device.client, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(send(device.client, payload, size, 0), size);
}

/* Turns until the next reply is here, which is a success. */
static void await_reply(uint16_t command)
{
	uint8_t bytes[1024];
	struct vfio_user_header header;

	for (unsigned i = 0; i < TURNS; i++) {
		turn();
		if (recv(device.client, bytes, sizeof(bytes), MSG_DONTWAIT) < (ssize_t)sizeof(header))
			continue;
		memcpy(&header, bytes, sizeof(header));
		assert_int_equal(header.command, command);
		assert_int_equal(header.flags, VFIO_USER_TYPE_REPLY);
		return;
	}
	fail_msg("command %u is not done after %d turns", command, TURNS);
}

static void connect_client(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct vfio_user_version version = {VFIO_USER_MAJOR, VFIO_USER_MINOR};

	strcpy(address.sun_path, path);
	device.client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(device.client, (struct sockaddr *)&address, sizeof(address)), 0);
	say(VFIO_USER_VERSION, &version, sizeof(version));
	await_reply(VFIO_USER_VERSION);
}

static int setup(void **test)
{
	static char path[64];
	static const struct vfu_device_ops ops = {.region_read = region_read,
						  .region_write = region_write,
						  .dma_map = dma_map,
						  .dma_unmap = dma_unmap,
						  .disconnected = disconnected};
	static const unsigned irq_counts[VFU_NUM_IRQS];
	static struct vfu_region regions[VFU_NUM_REGIONS];
	struct vfu_server_options opts = {
		.path = path, .regions = regions, .irq_counts = irq_counts, .ops = &ops};

	strcpy(path, "/tmp/viommu-turns-XXXXXX");
	close(mkstemp(path));
	unlink(path);
	regions[0] = (struct vfu_region){.size = 4096, .readable = true, .writable = true, .fd = -1};
	device = (struct device){0};
	assert_int_equal(vfu_server_create(&opts, &device.server), 0);
	connect_client(path);
	return 0;
}

static int teardown(void **test)
{
	vfu_server_destroy(device.server);
	close(device.client);
	return 0;
}

static void map_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		const struct vfio_user_dma_map map = {.argsz = sizeof(map),
						      .flags = VFIO_DMA_MAP_FLAG_READ,
						      .iova = 2 * i * VFIO_USER_PAGE_SIZE,
						      .size = VFIO_USER_PAGE_SIZE};

		say(VFIO_USER_DMA_MAP, &map, sizeof(map));
		await_reply(VFIO_USER_DMA_MAP);
	}
	assert_int_equal(device.maps, MANY);
}

static void many_writes(void **test)
{
	struct {
		struct vfio_user_write_multi multi;
		struct vfio_user_write_one writes[MANY];
	} message = {.multi.count = MANY};

	for (unsigned i = 0; i < MANY; i++)
		message.writes[i].count = 1;
	say(VFIO_USER_REGION_WRITE_MULTI, &message, sizeof(message));
	await_reply(VFIO_USER_REGION_WRITE_MULTI);
	assert_int_equal(device.writes, MANY);
}

static void an_unmap_of_many(void **test)
{
	const struct vfio_user_dma_unmap unmap = {.argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL};

	map_many();
	say(VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap));
	await_reply(VFIO_USER_DMA_UNMAP);
	assert_int_equal(device.maps, 0);
}

static void what_a_client_left(void **test)
{
	map_many();
	shutdown(device.client, SHUT_RDWR);
	for (unsigned i = 0; i < TURNS && !device.gone; i++)
		turn();
	assert_true(device.gone);
	assert_int_equal(device.maps, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_writes, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unmap_of_many, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_client_left, setup, teardown),
	};

	return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
