/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user/protocol.h"
#include "vfio_user/version.h"

#define MAX_FDS	    16
#define MAX_MESSAGE (VFIO_USER_DEFAULT_MAX_DATA_XFER + 64)

struct vfu_client {
	int sock;
	uint16_t next_id;
	struct vfu_client_ops ops;
	void *opaque;
	struct vfio_user_header header; /* of the message received last */
	int fd;				/* that came with it, or -1 */
	_Alignas(8) uint8_t payload[MAX_MESSAGE];
};

/* A message in up to three pieces, so that data need not be copied. */
struct outgoing {
	struct vfio_user_header header;
	struct iovec parts[3];
	int part_count;
	const int *fds;
	unsigned fd_count;
};

static int send_all(struct vfu_client *c, struct msghdr *mh)
{
	while (mh->msg_iovlen) {
		ssize_t n = sendmsg(c->sock, mh, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE ? -ECONNRESET : -errno;
		mh->msg_control = NULL;
		mh->msg_controllen = 0;
		while (mh->msg_iovlen && (size_t)n >= mh->msg_iov->iov_len) {
			n -= (ssize_t)mh->msg_iov->iov_len;
			mh->msg_iov++;
			mh->msg_iovlen--;
		}
		if (mh->msg_iovlen) {
			mh->msg_iov->iov_base = (uint8_t *)mh->msg_iov->iov_base + n;
			mh->msg_iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static int send_message(struct vfu_client *c, struct outgoing *out)
{
	union {
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr mh = {.msg_iov = out->parts, .msg_iovlen = (size_t)out->part_count};
	int i;

	out->parts[0] = (struct iovec){&out->header, sizeof(out->header)};
	out->header.size = 0;
	for (i = 0; i < out->part_count; i++)
		out->header.size += (uint32_t)out->parts[i].iov_len;
	if (out->fd_count) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(out->fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(out->fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), out->fds, out->fd_count * sizeof(int));
	}
	return send_all(c, &mh);
}

static void take_fd(struct vfu_client *c, struct msghdr *mh)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(mh);

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return;
	if (c->fd >= 0)
		close(c->fd);
	memcpy(&c->fd, CMSG_DATA(cmsg), sizeof(c->fd));
}

static int receive_exactly(struct vfu_client *c, void *buf, size_t size)
{
	uint8_t *to = buf;

	while (size) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {to, size};
		struct msghdr mh = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.bytes,
				    .msg_controllen = sizeof(control.bytes)};
		ssize_t n = recvmsg(c->sock, &mh, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		take_fd(c, &mh);
		to += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The next message, into c->header and c->payload. */
static int receive_message(struct vfu_client *c)
{
	int err;

	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	err = receive_exactly(c, &c->header, sizeof(c->header));
	if (err)
		return err;
	if (c->header.size < sizeof(c->header) || c->header.size - sizeof(c->header) > sizeof(c->payload))
		return -EPROTO;
	return receive_exactly(c, c->payload, c->header.size - sizeof(c->header));
}

static size_t payload_size(const struct vfu_client *c)
{
	return c->header.size - sizeof(c->header);
}

static int access_memory(struct vfu_client *c, const struct vfio_user_dma_access *access)
{
	uint8_t *data = c->payload + sizeof(*access);

	if (access->count > VFIO_USER_DEFAULT_MAX_DATA_XFER)
		return -EINVAL;
	if (c->header.command == VFIO_USER_DMA_READ && c->ops.dma_read)
		return c->ops.dma_read(c->opaque, access->address, data, access->count);
	if (c->header.command != VFIO_USER_DMA_WRITE || !c->ops.dma_write)
		return -ENOTSUP;
	if (payload_size(c) - sizeof(*access) < access->count)
		return -EINVAL;
	return c->ops.dma_write(c->opaque, access->address, data, access->count);
}

/* Answers the request of the server that was just received. */
static int answer(struct vfu_client *c)
{
	struct vfio_user_dma_access access = {0};
	struct outgoing out = {.header = c->header, .part_count = 1};
	int err = -EINVAL;

	if (payload_size(c) >= sizeof(access)) {
		memcpy(&access, c->payload, sizeof(access));
		err = access_memory(c, &access);
	}
	if (c->header.flags & VFIO_USER_NO_REPLY)
		return 0;
	out.header.flags = VFIO_USER_TYPE_REPLY | (err ? VFIO_USER_ERROR : 0);
	out.header.error = (uint32_t)-err;
	if (!err) {
		size_t data = c->header.command == VFIO_USER_DMA_READ ? access.count : 0;

		out.parts[1] = (struct iovec){c->payload, sizeof(access) + data};
		out.part_count = 2;
	}
	return send_message(c, &out);
}

static int wait_for_reply(struct vfu_client *c, uint16_t id)
{
	for (;;) {
		int err = receive_message(c);

		if (err)
			return err;
		if ((c->header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY) {
			err = answer(c);
			if (err)
				return err;
			continue;
		}
		if (c->header.id != id)
			return -EPROTO;
		return c->header.flags & VFIO_USER_ERROR ? -(int)c->header.error : 0;
	}
}

/* The reply is in c->payload then, at least `expect` bytes of it. */
static int call(struct vfu_client *c, uint16_t command, struct outgoing *out, size_t expect)
{
	int err;

	out->header.id = c->next_id++;
	out->header.command = command;
	err = send_message(c, out);
	if (!err && !(out->header.flags & VFIO_USER_NO_REPLY))
		err = wait_for_reply(c, out->header.id);
	if (!err && expect && payload_size(c) < expect)
		err = -EPROTO;
	return err;
}

static struct outgoing with_payload(const void *payload, size_t size)
{
	struct outgoing out = {.part_count = 2};

	out.parts[1] = (struct iovec){(void *)(uintptr_t)payload, size};
	return out;
}

static int agree_on_version(struct vfu_client *c)
{
	const struct vfu_capabilities caps = {
		.max_msg_fds = MAX_FDS,
		.max_data_xfer_size = VFIO_USER_DEFAULT_MAX_DATA_XFER,
		.max_dma_maps = VFIO_USER_DEFAULT_MAX_DMA_MAPS,
		.pgsizes = VFIO_USER_PAGE_SIZE,
		.write_multiple = true,
	};
	struct vfio_user_version version = {VFIO_USER_MAJOR, VFIO_USER_MINOR};
	struct outgoing out = with_payload(&version, sizeof(version));
	char text[VFU_CAPABILITIES_MAX];

	out.parts[2] = (struct iovec){text, vfu_capabilities_format(&caps, text)};
	out.part_count = 3;
	return call(c, VFIO_USER_VERSION, &out, sizeof(version));
}

static int connect_socket(const char *path, int *ret_sock)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = -errno;

		close(sock);
		return err;
	}
	*ret_sock = sock;
	return 0;
}

int vfu_client_connect(const char *path, const struct vfu_client_ops *ops, void *opaque,
		       struct vfu_client **ret_client)
{
	struct vfu_client *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	if (ops)
		c->ops = *ops;
	c->opaque = opaque;
	c->fd = c->sock = -1;
	err = connect_socket(path, &c->sock);
	if (!err)
		err = agree_on_version(c);
	if (err) {
		vfu_client_close(c);
		return err;
	}
	*ret_client = c;
	return 0;
}

void vfu_client_close(struct vfu_client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	if (c->sock >= 0)
		close(c->sock);
	free(c);
}

int vfu_client_fd(const struct vfu_client *c)
{
	return c->sock;
}

int vfu_client_serve(struct vfu_client *c, int timeout_ms)
{
	struct pollfd pfd = {.fd = c->sock, .events = POLLIN};
	int err, n = poll(&pfd, 1, timeout_ms);

	if (n <= 0)
		return n < 0 && errno != EINTR ? -errno : 0;
	err = receive_message(c);
	if (err)
		return err;
	return (c->header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND ? answer(c) : -EPROTO;
}

static int read_areas(const struct vfu_client *c, uint32_t at, struct vfu_client_region *r)
{
	struct vfio_region_info_cap_sparse_mmap cap;
	size_t i, size = payload_size(c);

	if (at > size || size - at < sizeof(cap))
		return -EPROTO;
	memcpy(&cap, c->payload + at, sizeof(cap));
	if (cap.header.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP)
		return 0;
	at += sizeof(cap);
	if (cap.nr_areas > VFU_CLIENT_MAX_AREAS || cap.nr_areas * sizeof(*r->areas) > size - at)
		return -EPROTO;
	for (i = 0; i < cap.nr_areas; i++)
		memcpy(&r->areas[i], c->payload + at + i * sizeof(*r->areas), sizeof(*r->areas));
	r->area_count = cap.nr_areas;
	return 0;
}

int vfu_client_region_info(struct vfu_client *c, unsigned region, struct vfu_client_region *ret_region)
{
	struct vfio_user_region_info info = {.argsz = 4096, .index = region};
	struct outgoing out = with_payload(&info, sizeof(info));
	struct vfu_client_region r = {.fd = -1};
	int err = call(c, VFIO_USER_DEVICE_GET_REGION_INFO, &out, sizeof(info));

	if (err)
		return err;
	memcpy(&info, c->payload, sizeof(info));
	r.size = info.size;
	r.readable = info.flags & VFIO_REGION_INFO_FLAG_READ;
	r.writable = info.flags & VFIO_REGION_INFO_FLAG_WRITE;
	r.fd_offset = info.offset;
	if (info.flags & VFIO_REGION_INFO_FLAG_CAPS)
		err = read_areas(c, info.cap_offset, &r);
	if (err)
		return err;
	if (info.flags & VFIO_REGION_INFO_FLAG_MMAP) {
		r.fd = c->fd;
		c->fd = -1;
	}
	*ret_region = r;
	return 0;
}

int vfu_client_region_read(struct vfu_client *c, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct vfio_user_region_access access = {.offset = offset, .region = region, .count = (uint32_t)len};
	struct outgoing out = with_payload(&access, sizeof(access));
	int err;

	if (len > VFIO_USER_DEFAULT_MAX_DATA_XFER)
		return -EINVAL;
	err = call(c, VFIO_USER_REGION_READ, &out, sizeof(access) + len);
	if (!err)
		memcpy(buf, c->payload + sizeof(access), len);
	return err;
}

static int region_write(struct vfu_client *c, unsigned region, uint64_t offset, const void *buf, size_t len,
			uint32_t flags)
{
	struct vfio_user_region_access access = {.offset = offset, .region = region, .count = (uint32_t)len};
	struct outgoing out = with_payload(&access, sizeof(access));

	if (len > VFIO_USER_DEFAULT_MAX_DATA_XFER)
		return -EINVAL;
	out.header.flags = flags;
	out.parts[2] = (struct iovec){(void *)(uintptr_t)buf, len};
	out.part_count = 3;
	return call(c, VFIO_USER_REGION_WRITE, &out, 0);
}

int vfu_client_region_write(struct vfu_client *c, unsigned region, uint64_t offset, const void *buf,
			    size_t len)
{
	return region_write(c, region, offset, buf, len, 0);
}

int vfu_client_region_post(struct vfu_client *c, unsigned region, uint64_t offset, const void *buf,
			   size_t len)
{
	return region_write(c, region, offset, buf, len, VFIO_USER_NO_REPLY);
}

int vfu_client_dma_map(struct vfu_client *c, uint64_t iova, uint64_t size, int fd, uint64_t offset,
		       bool readable, bool writable)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map),
		.flags = (readable ? VFIO_DMA_MAP_FLAG_READ : 0) | (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.offset = offset,
		.iova = iova,
		.size = size,
	};
	struct outgoing out = with_payload(&map, sizeof(map));

	out.fds = &fd;
	out.fd_count = fd >= 0;
	return call(c, VFIO_USER_DMA_MAP, &out, 0);
}

static int unmap(struct vfu_client *c, uint64_t iova, uint64_t size, uint32_t flags)
{
	struct vfio_user_dma_unmap message = {
		.argsz = sizeof(message), .flags = flags, .iova = iova, .size = size};
	struct outgoing out = with_payload(&message, sizeof(message));

	return call(c, VFIO_USER_DMA_UNMAP, &out, 0);
}

int vfu_client_dma_unmap(struct vfu_client *c, uint64_t iova, uint64_t size)
{
	return unmap(c, iova, size, 0);
}

int vfu_client_dma_unmap_all(struct vfu_client *c)
{
	return unmap(c, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL);
}

static int set_irqs(struct vfu_client *c, unsigned index, unsigned first, unsigned count, uint32_t flags,
		    const int *fds)
{
	struct vfio_user_irq_set set = {
		.argsz = sizeof(set), .flags = flags, .index = index, .start = first, .count = count};
	struct outgoing out = with_payload(&set, sizeof(set));

	out.fds = fds;
	out.fd_count = fds ? count : 0;
	return out.fd_count > MAX_FDS ? -EINVAL : call(c, VFIO_USER_DEVICE_SET_IRQS, &out, 0);
}

int vfu_client_set_irq_eventfds(struct vfu_client *c, unsigned index, unsigned first, unsigned count,
				const int *eventfds)
{
	return set_irqs(c, index, first, count, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			eventfds);
}

int vfu_client_unmask_irq(struct vfu_client *c, unsigned index, unsigned vector)
{
	return set_irqs(c, index, vector, 1, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, NULL);
}

int vfu_client_reset(struct vfu_client *c)
{
	struct outgoing out = {.part_count = 1};

	return call(c, VFIO_USER_DEVICE_RESET, &out, 0);
}
