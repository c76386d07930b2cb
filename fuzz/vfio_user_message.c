/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes of a hostile client against a whole server, over its socket: the first
 * byte says whether VERSION was agreed on before, then come chunks, each with
 * a length byte and one that says what descriptor goes along.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user/protocol.h"
#include "vfio_user/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vfu_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int memory_fd, event_fd;
static uint8_t region_memory[4096];
static uint64_t mapped;

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	if (offset > sizeof(region_memory) || len > sizeof(region_memory) - offset)
		abort();
	memcpy(buf, region_memory + offset, len);
	return 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	if (offset > sizeof(region_memory) || len > sizeof(region_memory) - offset)
		abort();
	memcpy(region_memory + offset, buf, len);
	return 0;
}

/* Each byte is unmapped as often as it was mapped, and what is lent can be read. */
static int dma_map(void *device, const struct vfu_dma_map *map)
{
	volatile uint8_t *host = map->host;

	mapped += map->size;
	if (host) {
		(void)host[0];
		(void)host[map->size - 1];
	}
	return 0;
}

static void dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	mapped -= size;
}

static void disconnected(void *device, const char *why)
{
	if (mapped)
		abort();
}

static void remove_socket(void)
{
	vfu_server_destroy(server);
}

static void start(void)
{
	static const struct vfu_mmap_area area = {0, 4096};
	static const unsigned irqs[VFU_NUM_IRQS] = {1, 4, 8, 1, 1};
	static const struct vfu_device_ops ops = {
		.region_read = region_read,
		.region_write = region_write,
		.dma_map = dma_map,
		.dma_unmap = dma_unmap,
		.disconnected = disconnected,
	};
	struct vfu_region regions[VFU_NUM_REGIONS];
	struct vfu_server_options opts = {.path = address.sun_path,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &ops,
					  .max_dma_maps = 64};
	int i;

	memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (memory_fd < 0 || event_fd < 0 || ftruncate(memory_fd, 1 << 20) < 0)
		abort();
	for (i = 0; i < VFU_NUM_REGIONS; i++)
		regions[i] = (struct vfu_region){
			.size = sizeof(region_memory), .readable = true, .writable = true, .fd = -1};
	regions[0].fd = memory_fd;
	regions[0].areas = &area;
	regions[0].area_count = 1;
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/vfu-fuzz-%d", (int)getpid());
	if (vfu_server_create(&opts, &server))
		abort();
	atexit(remove_socket);
}

static void send_chunk(int sock, const uint8_t *data, size_t size, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	(void)!sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void agree_on_version(int sock)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_version version;
	} hello = {{.command = VFIO_USER_VERSION, .size = 20}, {0, 0}};

	send_chunk(sock, (const uint8_t *)&hello, sizeof(hello), -1);
	vfu_server_process(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	int sock;

	if (!server)
		start();
	if (!size)
		return 0;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	vfu_server_process(server);
	if (*data++ & 1)
		agree_on_version(sock);
	while (end - data > 2) {
		size_t n = data[0] < end - data - 2 ? data[0] : (size_t)(end - data - 2);
		int kind = data[1] & 3;

		send_chunk(sock, data + 2, n, kind == 1 ? memory_fd : kind == 2 ? event_fd : -1);
		data += 2 + n;
		vfu_server_process(server);
	}
	close(sock);
	vfu_server_process(server);
	vfu_server_process(server);
	return 0;
}
