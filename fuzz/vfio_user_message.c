/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client of a whole server, over its socket. The input is a program:
 * bytes as they are, with descriptors; messages that are right but for what
 * the input changes; answers to the server's own requests, which a device
 * thread waits for; interrupts of the device.
 *
 * What must hold, beside what the sanitizers see: as long as the client sends
 * whole messages, each gets one reply with its id and command, in order; a
 * region is accessed within its size; each page is mapped as often as it was
 * unmapped, never twice at once; nothing is mapped when the client has gone.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
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

#define PAGE	 4096u
#define PAGES	 256 /* device addresses below this are looked at page by page */
#define EXPECTED 512
#define ASKERS	 4
#define MOST_FDS 16
#define WAIT_MS	 20 /* for a message of a thread that has just been started */

enum { NO_FD, MEMORY_FD, EVENT_FD, OTHER_FD, FD_KINDS };

static struct vfu_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int fds[FD_KINDS];
static uint8_t region_memory[PAGE];

static uint64_t mapped; /* bytes */
static uint8_t pages[PAGES];

/* A thread of the device that waits for memory by message. */
struct asker {
	pthread_t thread;
	bool write;
	uint64_t address;
	size_t len;
	uint8_t data[3 * PAGE];
};

static struct fuzz {
	const uint8_t *at;
	size_t left;
	int sock;
	bool clean; /* only whole messages were sent */
	uint16_t next_id;
	struct {
		uint16_t id, command;
	} expected[EXPECTED];
	unsigned first, count;
	uint8_t in[1u << 17];
	size_t in_len;
	struct vfio_user_header asked; /* the server's last request, and how far it goes */
	struct vfio_user_dma_access access;
	bool has_asked;
	struct asker askers[ASKERS];
	unsigned asker_count;
} z;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "oracle: %s\n", what);
	abort();
}

static uint64_t take(unsigned bytes)
{
	uint64_t value = 0;
	unsigned n = bytes < z.left ? bytes : (unsigned)z.left;

	memcpy(&value, z.at, n);
	z.at += n;
	z.left -= n;
	return value;
}

/* ------------------------------------------------------------------ the device */

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	require(offset <= sizeof(region_memory) && len <= sizeof(region_memory) - offset, "a read outside");
	memcpy(buf, region_memory + offset, len);
	return offset == 8 ? -EIO : 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	require(offset <= sizeof(region_memory) && len <= sizeof(region_memory) - offset, "a write outside");
	memcpy(region_memory + offset, buf, len);
	return offset == 8 ? -EIO : 0;
}

static void count_pages(uint64_t iova, uint64_t size, int change)
{
	require(!(iova % PAGE) && !(size % PAGE) && size, "a map of parts of pages");
	for (uint64_t i = 0; i < size / PAGE && iova / PAGE + i < PAGES; i++) {
		uint8_t *page = &pages[iova / PAGE + i];

		require(*page == (change < 0), change < 0 ? "an unmap of nothing" : "a map over a map");
		*page = (uint8_t)(*page + change);
	}
}

static int dma_map(void *device, const struct vfu_dma_map *map)
{
	volatile uint8_t *host = map->host;

	if (map->size == 3 * PAGE)
		return -EPERM;
	count_pages(map->iova, map->size, 1);
	mapped += map->size;
	if (host && (map->readable || map->writable)) {
		(void)host[0];
		(void)host[map->size - 1];
	}
	return 0;
}

static void dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	count_pages(iova, size, -1);
	mapped -= size;
}

static void irq_masked(void *device, unsigned index, unsigned first, unsigned count, bool masked)
{
	static const unsigned counts[VFU_NUM_IRQS] = {1, 4, 8, 1, 1};

	require(index < VFU_NUM_IRQS && first < counts[index] && count <= counts[index] - first,
		"no such interrupt");
	if (!masked && first == 0)
		vfu_irq_raise(server, index, 0);
}

static void reset(void *device)
{
}

static void connected(void *device)
{
}

static void disconnected(void *device, const char *why)
{
	require(!mapped, "memory is mapped without a client");
}

static void log_line(void *device, const char *line)
{
}

static void remove_socket(void)
{
	vfu_server_destroy(server);
}

static void start(void)
{
	static const struct vfu_mmap_area areas[] = {{0, PAGE}, {2 * PAGE, PAGE}};
	static const unsigned irqs[VFU_NUM_IRQS] = {1, 4, 8, 1, 1};
	static const struct vfu_device_ops ops = {region_read, region_write, reset,	   dma_map, dma_unmap,
						  irq_masked,  connected,    disconnected, log_line};
	struct vfu_region regions[VFU_NUM_REGIONS];
	struct vfu_server_options opts = {.path = address.sun_path,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &ops,
					  .max_dma_maps = 64};

	fds[NO_FD] = -1;
	fds[MEMORY_FD] = memfd_create("fuzz", MFD_CLOEXEC);
	fds[EVENT_FD] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fds[OTHER_FD] = memfd_create("sealed", MFD_CLOEXEC);
	if (fds[MEMORY_FD] < 0 || fds[EVENT_FD] < 0 || ftruncate(fds[MEMORY_FD], PAGES * PAGE) < 0)
		abort();
	for (int i = 0; i < VFU_NUM_REGIONS; i++)
		regions[i] = (struct vfu_region){
			.size = sizeof(region_memory), .readable = i != 3, .writable = i != 4, .fd = -1};
	regions[0].fd = fds[MEMORY_FD];
	regions[0].areas = areas;
	regions[0].area_count = 2;
	regions[5].size = 0;
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/vfu-fuzz-%d", (int)getpid());
	if (vfu_server_create(&opts, &server))
		abort();
	atexit(remove_socket);
}

/* ------------------------------------------------------------------ the client */

static void send_bytes(const void *data, size_t size, int kind, unsigned fd_count)
{
	union {
		char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)data, size};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int list[MOST_FDS];

	for (unsigned i = 0; i < fd_count; i++)
		list[i] = fds[kind];
	if (kind != NO_FD && fd_count) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), list, fd_count * sizeof(int));
	}
	if (sendmsg(z.sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
		z.clean = false;
}

static void expect(uint16_t id, uint16_t command)
{
	unsigned last = (z.first + z.count++) % EXPECTED;

	z.expected[last].id = id;
	z.expected[last].command = command;
}

static void check_reply(const struct vfio_user_header *h)
{
	if (!z.clean)
		return;
	require(z.count > 0, "a reply to nothing");
	require(h->id == z.expected[z.first].id && h->command == z.expected[z.first].command,
		"not its reply");
	require(!(h->flags & VFIO_USER_ERROR) == !h->error, "an error that is none");
	z.first = (z.first + 1) % EXPECTED;
	z.count--;
}

static void take_message(const struct vfio_user_header *h, const uint8_t *payload)
{
	if ((h->flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY) {
		check_reply(h);
		return;
	}
	require(h->command == VFIO_USER_DMA_READ || h->command == VFIO_USER_DMA_WRITE,
		"a request of another kind");
	require(h->size >= sizeof(*h) + sizeof(z.access), "a request without an access");
	if (h->flags & VFIO_USER_NO_REPLY)
		return;
	z.asked = *h;
	z.has_asked = true;
	memcpy(&z.access, payload, sizeof(z.access));
}

/* All that is there by now. */
static void receive(void)
{
	ssize_t n;

	while ((n = recv(z.sock, z.in + z.in_len, sizeof(z.in) - z.in_len, MSG_DONTWAIT)) > 0) {
		struct vfio_user_header h;
		size_t at = 0;

		z.in_len += (size_t)n;
		while (z.in_len - at >= sizeof(h)) {
			memcpy(&h, z.in + at, sizeof(h));
			require(h.size >= sizeof(h) && h.size <= sizeof(z.in), "a message of an odd size");
			if (z.in_len - at < h.size)
				break;
			take_message(&h, z.in + at + sizeof(h));
			at += h.size;
		}
		memmove(z.in, z.in + at, z.in_len - at);
		z.in_len -= at;
	}
}

static void serve(void)
{
	vfu_server_process(server);
	receive();
}

/* A whole message. A flip of its header is not the client's best side. */
static void send_message(uint16_t command, const void *payload, size_t size, int kind, unsigned fd_count)
{
	struct {
		struct vfio_user_header header;
		uint8_t payload[2048];
	} m = {.header = {.id = z.next_id++, .command = command}};
	uint8_t shape = (uint8_t)take(1);

	if (z.count == EXPECTED)
		return;
	memcpy(m.payload, payload, size);
	if (shape >= 240)
		size = take(1) < size ? (size_t)take(1) % (size + 1) : size;
	m.header.size = (uint32_t)(sizeof(m.header) + size);
	if (shape % 16 == 15)
		m.header.flags = VFIO_USER_NO_REPLY;
	if (shape == 224) {
		m.header.size ^= 1u << (take(1) & 31);
		z.clean = false;
	}
	if (shape % 16 != 15)
		expect(m.header.id, command);
	send_bytes(&m, sizeof(m.header) + size, kind, fd_count);
	serve();
}

/* ------------------------------------------------------------------- the steps */

static void step_bytes(void)
{
	size_t n = (size_t)take(1);
	int kind = (int)take(1) % FD_KINDS;

	n = n < z.left ? n : z.left;
	z.clean = false;
	send_bytes(z.at, n, kind, kind ? 1 : 0);
	z.at += n;
	z.left -= n;
	serve();
}

static void step_version(void)
{
	struct {
		struct vfio_user_version version;
		char text[256];
	} v = {.version = {0, 0}};
	uint8_t shape = (uint8_t)take(1);
	int n = 0;

	v.version.minor = shape & 1;
	v.version.major = shape >= 250;
	if (shape & 2)
		n = snprintf(v.text, sizeof(v.text),
			     "{\"capabilities\":{\"max_msg_fds\":%u,\"max_data_xfer_size\":%u,"
			     "\"max_dma_maps\":%d,\"pgsizes\":%u,\"write_multiple\":%s}}",
			     (unsigned)take(1), (unsigned)take(shape & 4 ? 4 : 1), (int)take(2),
			     (unsigned)take(2), shape & 8 ? "true" : "[]");
	else if (shape & 16)
		for (n = (int)take(1) % 200; n > 0 && z.left; n--)
			v.text[strlen(v.text)] = (char)(take(1) | 1);
	n = (int)strlen(v.text) + (shape & 0x80 ? 0 : 1);
	send_message(VFIO_USER_VERSION, &v, sizeof(v.version) + (size_t)n, NO_FD, 0);
}

/* Small numbers of pages, which overlap often, or anything. */
static uint64_t place(void)
{
	uint8_t shape = (uint8_t)take(1);

	return shape < 248 ? shape % 32 * PAGE : take(8);
}

static void step_map(void)
{
	struct vfio_user_dma_map m = {.argsz = sizeof(m)};
	uint8_t shape = (uint8_t)take(1);

	m.flags = shape & 3 ? shape & 3 : 3;
	m.iova = place();
	m.size = place();
	m.offset = shape & 4 ? place() : 0;
	if (shape >= 0xf0)
		m.argsz = (uint32_t)take(4);
	send_message(VFIO_USER_DMA_MAP, &m, sizeof(m), shape >> 3 & 3, 1 + (shape >= 0xe0));
}

static void step_unmap(void)
{
	struct vfio_user_dma_unmap m = {.argsz = sizeof(m)};
	uint8_t shape = (uint8_t)take(1);

	m.flags = shape & 15 ? 0 : VFIO_DMA_UNMAP_FLAG_ALL;
	m.iova = shape & 15 ? place() : 0;
	m.size = shape & 15 ? place() : 0;
	if (shape >= 0xf0)
		m.flags = (uint32_t)take(4);
	send_message(VFIO_USER_DMA_UNMAP, &m, sizeof(m), NO_FD, 0);
}

static void step_info(void)
{
	static const uint16_t commands[] = {VFIO_USER_DEVICE_GET_INFO,	   VFIO_USER_DEVICE_GET_REGION_INFO,
					    VFIO_USER_DEVICE_GET_IRQ_INFO, VFIO_USER_DEVICE_GET_REGION_IO_FDS,
					    VFIO_USER_DEVICE_FEATURE,	   VFIO_USER_DEVICE_RESET};
	uint16_t command = commands[take(1) % 6];
	uint32_t payload[8] = {(uint32_t)take(1) * 4, 0, (uint32_t)take(1) % 16};

	payload[1] = (uint32_t)take(command == VFIO_USER_DEVICE_FEATURE ? 4 : 1);
	send_message(command, payload, command == VFIO_USER_DEVICE_GET_REGION_INFO ? 32 : 16, NO_FD, 0);
}

static void step_irqs(void)
{
	struct {
		struct vfio_user_irq_set set;
		uint8_t data[64];
	} m = {.set = {.argsz = sizeof(m.set)}};
	uint8_t shape = (uint8_t)take(1);
	unsigned fd_count;
	size_t size = 0;

	m.set.flags = 1u << (shape & 3) % 3 | 8u << (shape >> 2 & 3) % 3;
	m.set.index = (uint32_t)take(1) % 6;
	m.set.start = (uint32_t)take(1) % 10;
	m.set.count = (uint32_t)take(1) % 18;
	fd_count = shape & 0x40 ? m.set.count % MOST_FDS : 0;
	if (m.set.flags & VFIO_IRQ_SET_DATA_BOOL)
		size = m.set.count;
	else if (shape & 0x20)
		size = m.set.count % 16 * 4;
	for (size_t i = 0; i < size; i += 4) {
		uint64_t value = (int64_t)(int8_t)take(1);

		memcpy(m.data + i, &value, 4);
	}
	m.set.argsz += (uint32_t)size;
	if (shape & 0x80)
		m.set.flags ^= 1u << (take(1) & 31);
	send_message(VFIO_USER_DEVICE_SET_IRQS, &m, sizeof(m.set) + size, fd_count ? EVENT_FD : NO_FD,
		     fd_count);
}

static void step_region(void)
{
	struct {
		struct vfio_user_region_access access;
		uint8_t data[256];
	} m = {{0}};
	uint8_t shape = (uint8_t)take(1);
	bool write = shape & 1;

	m.access.region = shape >> 1 & 15;
	m.access.offset = take(shape & 32 ? 8 : 2);
	m.access.count = (uint32_t)take(shape & 64 ? 4 : 1);
	send_message(write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ, &m,
		     sizeof(m.access) + (write ? m.access.count % 256 : 0), NO_FD, 0);
}

static void step_multi(void)
{
	struct {
		struct vfio_user_write_multi multi;
		struct vfio_user_write_one one[8];
	} m = {{0}};
	size_t count = (size_t)take(1) % 9;

	m.multi.count = take(1) < 240 ? count : take(8);
	for (size_t i = 0; i < count; i++) {
		m.one[i].region = (uint32_t)take(1) % 10;
		m.one[i].offset = take(2);
		m.one[i].count = (uint32_t)take(1) % 10;
	}
	send_message(VFIO_USER_REGION_WRITE_MULTI, &m, sizeof(m.multi) + count * sizeof(m.one[0]), NO_FD, 0);
}

static void step_unknown(void)
{
	uint64_t payload[2] = {take(8), take(8)};
	uint16_t command = (uint16_t)take(1);

	send_message(command, payload, sizeof(payload), NO_FD, 0);
}

static void *ask(void *arg)
{
	struct asker *a = arg;

	if (a->write)
		vfu_dma_write(server, a->address, a->data, a->len);
	else
		vfu_dma_read(server, a->address, a->data, a->len);
	return NULL;
}

static void step_ask(void)
{
	struct pollfd p = {.fd = z.sock, .events = POLLIN};
	uint8_t shape = (uint8_t)take(1);
	struct asker *a = &z.askers[z.asker_count];

	if (z.asker_count == ASKERS)
		return;
	*a = (struct asker){.write = shape & 1,
			    .address = place(),
			    .len = 1 + (size_t)take(2) % sizeof(a->data)};
	if (pthread_create(&a->thread, NULL, ask, a))
		abort();
	z.asker_count++;
	poll(&p, 1, shape & 2 ? WAIT_MS : 0);
	serve();
}

/* What the server wants to know, or something near it. */
static void step_answer(void)
{
	static struct {
		struct vfio_user_header header;
		struct vfio_user_dma_access access;
		uint8_t data[4 * PAGE];
	} m;
	uint8_t shape = (uint8_t)take(1);
	size_t len = z.asked.command == VFIO_USER_DMA_READ ? (size_t)z.access.count % (3 * PAGE + 1) : 0;

	if (!z.has_asked)
		return;
	m.header = z.asked;
	m.header.flags = VFIO_USER_TYPE_REPLY;
	m.access = z.access;
	if (shape & 1)
		m.header.flags |= VFIO_USER_ERROR;
	m.header.error = shape & 1 ? (uint32_t)take(shape & 2 ? 4 : 1) : 0;
	if (shape >= 0xf0)
		m.access.count ^= take(8);
	if (shape >= 0xe0)
		len = (size_t)take(2) % (sizeof(m.data) + 1);
	if (shape >= 0xd0)
		m.header.command ^= (uint16_t)take(1);
	m.header.size = (uint32_t)(sizeof(m.header) + (shape & 4 ? 0 : sizeof(m.access) + len));
	send_bytes(&m, m.header.size, NO_FD, 0);
	z.has_asked = shape & 8; /* again, later */
	serve();
}

static void step_device(void)
{
	uint8_t shape = (uint8_t)take(1);
	uint64_t word = 0;

	switch (shape % 8) {
	case 0:
		vfu_dma_hold(server);
		vfu_dma_release(server);
		break;
	case 1:
		if (shape >= 0xf0) {
			vfu_server_disconnect(server, "the input says so");
			z.clean = false;
		}
		break;
	case 2:
		vfu_dma_write_posted(server, place(), &word, 1 + (shape >> 3) % 8);
		break;
	case 3:
	case 4:
		vfu_irq_trigger(server, (shape >> 3) % VFU_NUM_IRQS, shape >> 6);
		break;
	case 5:
		vfu_irq_raise(server, VFU_IRQ_INTX, 0);
		break;
	default:
		vfu_handle_sigbus(&word); /* nobody's */
	}
	serve();
}

static int connect_client(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (sock < 0 || connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	vfu_server_process(server);
	return sock;
}

static void step_second(void)
{
	close(connect_client());
	serve();
}

/* A client that asks and does not read for a while: the replies wait at the server. */
static void step_flood(void)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} m = {.access = {.count = PAGE}};

	for (unsigned i = (unsigned)take(1) % 64; i > 0 && z.count < EXPECTED; i--) {
		m.header = (struct vfio_user_header){.id = z.next_id++,
						     .command = VFIO_USER_REGION_READ,
						     .size = sizeof(m)};
		expect(m.header.id, m.header.command);
		send_bytes(&m, sizeof(m), NO_FD, 0);
		vfu_server_process(server);
	}
	for (unsigned i = 0; i < 8; i++)
		serve();
}

static void step(void)
{
	static void (*const steps[])(void) = {step_map,	   step_map,	 step_map,     step_unmap,
					      step_info,   step_irqs,	 step_irqs,    step_region,
					      step_multi,  step_region,	 step_ask,     step_answer,
					      step_answer, step_bytes,	 step_device,  step_device,
					      step_second, step_unknown, step_version, step_flood};

	steps[take(1) % (sizeof(steps) / sizeof(steps[0]))]();
}

static void agree_on_version(void)
{
	struct vfio_user_version version = {0, 0};
	struct vfio_user_header h = {.command = VFIO_USER_VERSION, .size = sizeof(h) + sizeof(version)};
	uint8_t hello[sizeof(h) + sizeof(version)];

	memcpy(hello, &h, sizeof(h));
	memcpy(hello + sizeof(h), &version, sizeof(version));
	expect(z.next_id++, VFIO_USER_VERSION);
	send_bytes(hello, sizeof(hello), NO_FD, 0);
	serve();
}

static void end_session(void)
{
	require(!z.clean || !z.count, "a message without a reply");
	close(z.sock);
	for (unsigned i = 0; i < 3; i++)
		vfu_server_process(server);
	for (unsigned i = 0; i < z.asker_count; i++)
		pthread_join(z.askers[i].thread, NULL);
	require(!mapped && !vfu_server_connected(server), "a session that does not end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!server)
		start();
	if (!size)
		return 0;
	memset(&z, 0, offsetof(struct fuzz, in));
	z.in_len = 0;
	z.has_asked = false;
	z.asker_count = 0;
	z.at = data;
	z.left = size;
	z.clean = true;
	z.sock = connect_client();
	if (take(1) & 15)
		agree_on_version();
	while (z.left)
		step();
	serve();
	end_session();
	return 0;
}
